"""What `home_content` asks of a container engine, and nothing else does: helper containers, and the sizes of volumes.

Invariants: as in `port`. It is a port of its own so that an agent without backups and sizes does not load what is
behind it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hubwarden_agent.names import ImageId, VolumeName

HOME = "/home-volume"
"""Where a helper sees the one volume that it is given."""


@dataclass(frozen=True, slots=True)
class Helper:
    """What a helper container is made of: the agent's own image, by id, and the agent's naming scheme as its label."""

    image: ImageId
    scheme: str


@dataclass(frozen=True, slots=True)
class VolumeSize:
    """How long all files of a volume are together, holes included, in bytes; `created` as in `Volume`."""

    name: VolumeName
    created: str
    size_bytes: int


class HomeEngine(Protocol):
    """Asked from any thread. Each method blocks, and raises `EngineError` or what is named beside it."""

    def run_helper(
        self,
        helper: Helper,
        volume: VolumeName,
        command: tuple[str, ...],
        transfer: Callable[[socket.socket], object],
        *,
        writes: bool,
    ) -> int:
        """Run a command in a new helper container with this one volume, and remove the container.

        Args:
            helper: its image and label.
            volume: mounted at `HOME`, writable only if the helper `writes`.
            command: what it runs, as root without network and with the few rights that reading or writing needs.
            transfer: uses its input and output, which Docker frames (stream, three zeros, length, bytes).
            writes: whether it writes the volume, and reads its input.

        Returns:
            the command's exit status.

        Raises:
            EngineError: the helper did not run to its end. What `transfer` raises ends the helper and is raised.
        """

    def volume_sizes(self) -> tuple[VolumeSize, ...]:
        """The size of each volume, for which the engine may have to walk all their files."""
