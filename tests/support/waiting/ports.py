"""TCP ports for the services that tests start, each given out once to everybody on this machine.

Invariants: a port is the caller's for as long as its process lives, because a lock on a file says so; suites that
run side by side never get the same one. It is outside the range from which the kernel takes ports for outgoing
connections and Docker takes them for published ones: what was free when it was looked at stays free until it is bound.
"""

from __future__ import annotations

import fcntl
import random
import socket
import tempfile
from pathlib import Path
from typing import TextIO

_PORTS = range(20_000, 30_000)
_TRIES = 1_000
_LOCKS = Path(tempfile.gettempdir()) / "hubwarden-test-ports"
_held: list[TextIO] = []


def free_port() -> int:
    """A port that nobody uses, and that nobody else is given before this process ends.

    Raises:
        RuntimeError: there is none.
    """
    _LOCKS.mkdir(exist_ok=True)
    for port in random.SystemRandom().sample(_PORTS, _TRIES):
        if _locked(port) and _unused(port):
            return port
    raise RuntimeError(f"no free port after {_TRIES} tries")


def _locked(port: int) -> bool:
    """Whether it is ours now. The lock goes with the process."""
    lock = (_LOCKS / str(port)).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return False
    _held.append(lock)
    return True


def _unused(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
