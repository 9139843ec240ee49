"""The program in a helper that reads: what it hands on, what it says, and when it does not end well."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hubwarden_agent.home_content.helper import OVER_LIMIT
from support.scenarios.zstd_tar import decompressed


def run(limit: int, *command: str) -> subprocess.CompletedProcess[bytes]:
    """The program, as a helper runs it, with a command of the test's in place of tar."""
    program = [sys.executable, "-I", "-m", "hubwarden_agent.home_content.helper", str(limit), *command]
    return subprocess.run(program, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize(("status", "shell"), [(2, "exit 2"), (1, "echo content; exit 1"), (137, "kill -9 $$")])
def test_a_tar_that_fails(status: int, shell: str) -> None:
    """Its status is the helper's, as a shell would say it."""
    assert run(2**40, "sh", "-c", shell).returncode == status


def test_a_byte_too_many() -> None:
    """Ended at once, however much more would come, with no word of how much it was."""
    ended = run(10**6, "cat", "/dev/zero")
    assert (ended.returncode, ended.stderr) == (OVER_LIMIT, b"")
    assert run(3, "printf", "1234").returncode == OVER_LIMIT
    assert run(4, "printf", "1234").returncode == 0


def test_nobody_who_takes_it() -> None:
    """When the reader closes the output early, the helper fails."""
    program = [sys.executable, "-I", "-m", "hubwarden_agent.home_content.helper", str(2**40), "cat", "/dev/urandom"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as helper:
        assert helper.stdout is not None
        helper.stdout.close()
        assert helper.wait(60) != 0


def test_what_it_hands_on() -> None:
    """One frame with all of it; after what the command says, how many bytes became how many."""
    ended = run(2**40, "sh", "-c", "echo a remark >&2; head --bytes=3000000 /dev/zero; echo end")
    assert ended.returncode == 0
    assert decompressed(ended.stdout) == bytes(3_000_000) + b"end\n"
    assert ended.stderr == b"a remark\nCompressed: 3000004 bytes to %d\n" % len(ended.stdout)
    assert len(ended.stdout) < 1000
