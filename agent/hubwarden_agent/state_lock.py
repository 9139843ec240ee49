"""The state directory's lock: one agent, or one tool that changes something, at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PENDING_RESTORES = "restoring-*.json"
"""The files in the state directory that stand for restores without an end; see `home_content.pending_restores`."""


class AlreadyRunning(Exception):  # noqa: N818 - that is what it says
    """Another process holds the state directory."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the state directory for the body.

    Raises:
        AlreadyRunning: another process holds it.
        OSError: it is not there, or not ours to write.
    """
    with (directory / "lock").open("w") as file:
        _lock(file, directory)
        yield


def _lock(file: IO[str], directory: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise AlreadyRunning(f"another agent or tool is using {directory}") from error
