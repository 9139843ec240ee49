"""The ports that tests listen at: nobody else's, and not from where others take theirs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.waiting import ports


def test_a_port_is_not_given_to_another_process() -> None:
    """Suites run side by side: what one was given, another is not, although nobody listens there yet."""
    mine = ports.free_port()
    another = f"import ports; ports._PORTS, ports._TRIES = range({mine}, {mine + 1}), 1; ports.free_port()"
    asked = subprocess.run(
        [sys.executable, "-c", another], cwd=Path(ports.__file__).parent, capture_output=True, text=True, check=False
    )
    assert "no free port" in asked.stderr


def test_no_port_is_one_that_the_kernel_gives_out() -> None:
    """A connection of anybody's may take a port from that range at any moment."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert all(not first <= port <= last for port in ports._PORTS)  # noqa: SLF001 - the range that is promised
