"""Warns about a container runtime that is known to let containers out, or whose version Docker does not report.

Invariants: a warning never stops the agent. A distribution may have patched an older version under its old number, so
the warning says what to look for; the number alone decides.
"""

from __future__ import annotations

import logging
import math
import re
import threading

from hubwarden_agent.engine.port import Engine, EngineError
from hubwarden_agent.metrics import Metrics, Warned

INTERVAL = 300.0
"""Seconds between two checks: a package upgrade replaces runc under a running Docker."""
FIXES = "CVE-2025-31133, CVE-2025-52565, CVE-2025-52881"
NEEDED = "runc 1.2.8, 1.3.3, 1.4.0-rc.3 or newer"

_FIRST_FIXED = {(1, 2): (8, math.inf), (1, 3): (3, math.inf), (1, 4): (0, 3)}
"""Minor release -> the patch release and release candidate that have all fixes; a final release has no candidate."""
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:[-~+]rc\.?(\d+))?(?!\d|[-~_.]*[A-Za-z]).*", re.DOTALL)
"""A letter behind the number is a pre-release that cannot be compared, but for candidates and what begins with `+`."""

_log = logging.getLogger(__name__)


def weakness(version: str | None) -> tuple[Warned, str] | None:
    """What is wrong with a version of runc; None if it has the fixes.

    Args:
        version: as Docker reports it; None if it reports no runc.
    """
    match = _VERSION.fullmatch(version or "")
    if match is None:
        shown = f"the version {version!r}" if version else "no runc"
        return (
            "runtime_unknown",
            f"cannot tell whether runc confines containers: Docker reports {shown}, needed is {NEEDED}",
        )
    release, patch = (int(match[1]), int(match[2])), int(match[3])
    candidate = float(match[4]) if match[4] else math.inf
    fixed = _FIRST_FIXED.get(release)
    if release > max(_FIRST_FIXED) or (fixed and (patch, candidate) >= fixed):
        return None
    return "runtime_outdated", (
        f"runc {version} lets containers reach the host ({FIXES}): install {NEEDED}, or see that your distribution's "
        "package has the fixes"
    )


class RuntimeCheck:
    """Looks at Docker's runtime at the start and from then on; logs each change, and shows it as a metric.

    Args:
        engine: the container engine.
        metrics: shows the warnings.
    """

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._last: tuple[Warned, str] | None = None

    def run(self, stopping: threading.Event) -> None:
        """Check now and from then on, until `stopping`."""
        while not stopping.is_set():
            self.check()
            stopping.wait(INTERVAL)

    def check(self) -> None:
        """Check once. Without an answer from Docker, what was last known stays."""
        try:
            found = weakness(self._engine.runtime_version())
        except EngineError:
            return  # health reports that
        if found and found != self._last:
            _log.warning(found[1])
        for warned in ("runtime_unknown", "runtime_outdated"):
            self._metrics.warning(warned, standing=found is not None and found[0] == warned)
        self._last = found
