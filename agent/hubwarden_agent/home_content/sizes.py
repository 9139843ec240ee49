"""How large volumes are, as of a while ago: counted beside the operations, never for one of them.

Invariants: `of` answers at once. A size belongs to one volume, not to a name that was given again, and is unknown when
it is old. Counting walks every file of every volume, so it takes at most a twentieth of the time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from hubwarden_agent.clock import Clock
from hubwarden_agent.engine.port import Engine, EngineError, Volume
from hubwarden_agent.names import VolumeName

SHARE = 20
"""After counting for a second, this many seconds go by without."""
OLD = 3
"""A size is unknown after so many intervals without a newer one."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Sizes:
    """The sizes of volumes. `interval` in seconds between two counts; 0: never."""

    engine: Engine
    clock: Clock
    interval: float
    _bytes: Mapping[tuple[VolumeName, str], int] = field(default_factory=dict)
    _old_at: float = 0

    def of(self, volume: Volume) -> int:
        """In bytes; -1 when it is not known."""
        return self._bytes.get((volume.name, volume.created), -1) if self.clock.monotonic() < self._old_at else -1

    def run(self, stopping: threading.Event) -> None:
        """Count, now and from then on, until `stopping`."""
        while self.interval and not stopping.is_set():
            began = self.clock.monotonic()
            try:
                found = self.engine.homes().volume_sizes()
            except EngineError as error:
                _log.warning("sizes: not counted: %s", error)
            else:
                self._bytes = {(one.name, one.created): one.size_bytes for one in found}
                self._old_at = began + OLD * self._pause(began)
            stopping.wait(self._pause(began))

    def _pause(self, began: float) -> float:
        return max(self.interval, SHARE * (self.clock.monotonic() - began))
