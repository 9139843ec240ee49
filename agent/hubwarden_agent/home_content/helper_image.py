"""Which image the agent itself runs from: the only one that a helper container is ever made of.

Invariants: the container is found by its full id in what the kernel says is mounted on the files that Docker gives
every container, and its image by asking the engine for exactly that id; nothing is guessed from a host name or a tag.
`reset.helper_image` is for an agent that runs in no container of this engine, and cannot contradict what was found.
"""

from __future__ import annotations

import re
from pathlib import Path

from hubwarden_agent.engine.home_port import Helper
from hubwarden_agent.engine.port import Engine, EngineError
from hubwarden_agent.names import ContainerId, ImageId, Names

MOUNTS = Path("/proc/self/mountinfo")
"""Where the kernel says what is mounted here; see proc(5)."""
_OWN = re.compile(r"^\S+ \S+ \S+ \S*/containers/([0-9a-f]{64})/\S+ /etc/(?:hostname|hosts|resolv\.conf) ", re.MULTILINE)


def helper(engine: Engine, names: Names, configured: str, own: ContainerId | None) -> Helper:
    """What helpers are made of.

    Args:
        engine: knows the image of our container.
        names: gives the label.
        configured: `reset.helper_image`; empty for the image that the agent runs from.
        own: what `own_container` found.

    Raises:
        EngineError: there is no image that may be used.
    """
    container = engine.container(own) if own else None
    found = container.image_id if container else ""
    if configured and found not in ("", configured):
        raise EngineError("reset.helper_image is not the image that the agent runs from")
    if not (configured or found):
        raise EngineError("the agent runs in no container of this engine, and reset.helper_image is not set")
    return Helper(ImageId(configured or found), names.scheme)


def own_container(mounts: Path = MOUNTS) -> ContainerId | None:
    """The container that this process runs in; None when it runs in none, or that is not clear."""
    try:
        found = set(_OWN.findall(mounts.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return None
    return ContainerId(found.pop()) if len(found) == 1 else None
