"""Containers that are `removing` or `dead`, which Docker passes through in a moment, held for as long as a test looks.

Invariants: Docker does it all itself; only what it finds in its own folder of the container's writable layer
(storage driver overlay2) is prepared. Nothing stays prepared: a test that is killed lets a removal go on.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound  # noqa: TID251 - tests look at the engine behind the agent's back
from support.waiting.conditions import wait_for


def state(container: Any) -> str:
    """What Docker says now."""
    container.reload()
    return str(container.status)


def is_gone(container: Any) -> bool:
    """Whether Docker has it no more."""
    try:
        container.reload()
    except NotFound:
        return True
    return False


@contextmanager
def removing(container: Any, *, by_itself: bool) -> Iterator[None]:
    """It is being removed until the body ends, and then it is gone.

    A removal reads the layer's file `link`: here a pipe, which ends when its writer, this process, lets go of it.

    Args:
        container: as `Workbench.container` makes it.
        by_itself: it runs, and AutoRemove removes it when it ends.
    """
    link = _layer(container) / "link"
    content, pipe = link.read_bytes(), link.with_name("pipe")
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDWR)
    pipe.replace(link)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(container.kill if by_itself else container.remove)
        try:
            wait_for(lambda: state(container) == "removing", "being removed")
            yield
        finally:
            link.unlink()
            link.write_bytes(content)  # for a reader that opens it only now
            os.write(held, content)
            os.close(held)
        wait_for(lambda: is_gone(container), "removed")


def die(container: Any, *, by_itself: bool) -> None:
    """Make it dead: Docker began to remove it, and could not, because of a file that nobody may delete just then."""
    file = _layer(container) / "diff" / "kept"
    file.touch()
    subprocess.run(["chattr", "+i", file], check=True)
    try:
        with suppress(APIError):  # which says that it could not be removed
            (container.kill if by_itself else container.remove)()
        wait_for(lambda: state(container) == "dead", "dead")
    finally:
        subprocess.run(["chattr", "-i", file], check=True)


def _layer(container: Any) -> Path:
    container.reload()
    return Path(container.attrs["GraphDriver"]["Data"]["UpperDir"]).parent
