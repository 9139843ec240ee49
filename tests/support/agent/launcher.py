"""The one launcher of an agent process: `hubwarden-agent serve`, with its output in a file."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from support.waiting.conditions import wait_for

COMMAND = (str(Path(sys.executable).with_name("hubwarden-agent")),)


def launch(configuration: Path, log: Path, program: Sequence[str] = COMMAND) -> subprocess.Popen[bytes]:
    """Start the agent, or a program in its place, and do not wait; its output is appended to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [*program, "serve", "--config", str(configuration)], stdout=output, stderr=output, cwd=configuration.parent
        )


def connects(path: Path) -> bool:
    """Whether a process listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def wait_until_listening(process: subprocess.Popen[bytes], log: Path, *sockets: Path) -> None:
    """Return as soon as the agent listens on all its sockets.

    Raises:
        AssertionError: the process ended before; with its log.
        TimeoutError: it does not listen in time.
    """
    wait_for(lambda: process.poll() is not None or all(map(connects, sockets)), "the agent listens")
    assert process.poll() is None, log.read_text(encoding="utf-8")
