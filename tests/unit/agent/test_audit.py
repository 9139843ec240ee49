"""The audit file: durable before anything is done, only ever appended to, bounded in size and in refusals."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent_stage import SECRET
from fake_edges import FakeClock
from hubwarden_agent.audit import AuditFile, Entry
from hubwarden_agent.budgets import Window
from hubwarden_agent.engine.port import EngineError
from hubwarden_agent.errors import Reason, Refusal
from limits import parse

ENTRY = Entry("restart", "木村", "lab", "unix", "user:alice", "an-id", "jupyterlab-x", "f" * 64)
Make = Callable[..., AuditFile]


@pytest.fixture
def clock() -> FakeClock:
    """Time stands still."""
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the audit is."""
    return tmp_path / "audit.jsonl"


@pytest.fixture
def make(path: Path, clock: FakeClock) -> Make:
    """Makes an audit that keeps little."""

    def make(**changed: Any) -> AuditFile:
        options: dict[str, Any] = {"max_bytes": 2**20, "keep": 3, "denials": Window(parse("2/minute"), clock)} | changed
        return AuditFile(path, clock=clock, **options)

    return make


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _text(path).splitlines()]


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def _set_aside(path: Path) -> list[Path]:
    return sorted(path.parent.glob("audit-*.jsonl"))


def _broken(_: int) -> None:
    raise OSError(errno.ENOSPC, "no space")


class TestRecord:
    async def test_an_intent_is_flushed_before_it_is_told(self, make: Make, path: Path) -> None:
        """At the moment of the flush the whole line is in the file, and only then does the caller go on."""
        seen: list[str] = []
        audit = make(fsync=lambda _: seen.append(_text(path)))
        await audit.intent(ENTRY)
        assert seen == [_text(path)]
        assert seen[0].endswith("\n")

    async def test_what_a_line_says(self, make: Make, path: Path) -> None:
        """Time, phase and the whole entry; an outcome also the result, its reason and the duration."""
        audit = make()
        await audit.intent(ENTRY)
        await audit.outcome(ENTRY, None, 12)
        await audit.outcome(ENTRY, Refusal(Reason.RESTART_FAILED), 7)
        intent, success, failure = _lines(path)
        common = {"time": "2026-11-22T12:00:00.000Z", "operation": "restart", "username": "木村", "server_name": "lab"}
        assert common.items() <= intent.items()
        assert (intent["phase"], intent["object"], intent["object_id"]) == ("intent", "jupyterlab-x", "f" * 64)
        assert (intent["client"], intent["actor"], intent["request_id"]) == ("unix", "user:alice", "an-id")
        assert (success["phase"], success["result"], success["duration_ms"]) == ("outcome", "ok", 12)
        assert (failure["result"], failure["reason"]) == ("failed", "RESTART_FAILED")

    async def test_what_docker_said_is_not_in_it(self, make: Make, path: Path) -> None:
        """The cause of a failure is for the log."""
        refusal = Refusal(Reason.DOCKER_ERROR)
        refusal.__cause__ = EngineError(SECRET)
        audit = make()
        await audit.outcome(ENTRY, refusal, 1)
        assert SECRET not in _text(path)

    async def test_only_its_owner_reads_it(self, make: Make, path: Path) -> None:
        """Mode 0600: it says who did what."""
        make().close()
        assert _mode(path) == 0o600

    async def test_nothing_is_ever_rewritten(self, make: Make, path: Path) -> None:
        """A second agent's life appends to the first's."""
        for _ in range(2):
            audit = make()
            await audit.intent(ENTRY)
            audit.close()
        assert len(_lines(path)) == 2


class TestFailure:
    async def test_no_flush_no_intent(self, make: Make) -> None:
        """An intent that may not be on disk is AUDIT_UNAVAILABLE."""
        with pytest.raises(Refusal) as refused:
            await make(fsync=_broken).intent(ENTRY)
        assert refused.value.reason is Reason.AUDIT_UNAVAILABLE

    async def test_an_outcome_and_a_denial_never_raise(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        """What was done is done: the failure to write it goes to the log."""
        audit = make(fsync=_broken)
        await audit.outcome(ENTRY, None, 1)
        await audit.denied(ENTRY, Reason.NOT_OWNED)
        assert "cannot record an outcome" in caplog.text
        assert "cannot record a refusal" in caplog.text

    async def test_a_disk_that_takes_half_a_line(self, make: Make, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The intent is refused, and the next one stands on a line of its own."""
        audit, write = make(), os.write
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[: max(1, len(data) // 2)]))
        with pytest.raises(Refusal):
            await audit.intent(ENTRY)
        monkeypatch.undo()
        await audit.intent(ENTRY)
        assert json.loads(_text(path).splitlines()[-1])["phase"] == "intent"

    async def test_a_disk_that_is_full_in_the_middle(
        self, make: Make, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not even the line's end could be written: the next line still stands alone."""
        audit, write, results = make(), os.write, iter([10])

        def full(descriptor: int, data: bytes) -> int:
            try:
                return write(descriptor, data[: next(results)])
            except StopIteration:
                raise OSError(errno.ENOSPC, "no space") from None

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(Refusal):
            await audit.intent(ENTRY)
        monkeypatch.undo()
        await audit.intent(ENTRY)
        assert json.loads(_text(path).splitlines()[-1])["phase"] == "intent"

    def test_a_line_that_a_crash_cut_off(self, make: Make, path: Path) -> None:
        """It is left as it is, and ended, so that the next one can be read."""
        path.write_text('{"phase":"int', encoding="utf-8")
        asyncio.run(make().intent(ENTRY))
        torn, whole = _text(path).splitlines()
        assert torn == '{"phase":"int'
        assert json.loads(whole)["phase"] == "intent"

    async def test_a_caller_that_is_cancelled_leaves_a_whole_line(self, make: Make, path: Path) -> None:
        """A line is written or refused as a whole."""
        audit = make()
        task = asyncio.create_task(audit.intent(ENTRY))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        audit.close()
        assert len(_lines(path)) == 1


class TestBounds:
    async def test_a_full_file_is_set_aside_and_the_oldest_go(self, make: Make, path: Path, clock: FakeClock) -> None:
        """Every file is within bounds by one line, `keep` of them stay besides the current one, in order."""
        audit = make(max_bytes=1)
        for number in range(7):
            clock.advance(1)
            await audit.outcome(ENTRY, None, number)
        files = [*_set_aside(path), path]
        assert [_lines(file)[0]["duration_ms"] for file in files] == [3, 4, 5, 6]
        assert all(_mode(file) == 0o600 for file in files)

    async def test_a_disk_that_fails_between_two_files(
        self, make: Make, path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The new file cannot be made: refused; once it can, it is, and nothing was lost or written elsewhere."""
        audit = make(max_bytes=1)
        await audit.intent(ENTRY)

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "no space")

        with monkeypatch.context() as patched:
            patched.setattr(os, "open", full)
            with pytest.raises(Refusal):
                await audit.intent(ENTRY)
        clock.advance(1)
        await audit.intent(ENTRY)
        assert len(_lines(path)) == 1
        assert [len(_lines(file)) for file in _set_aside(path)] == [1]

    async def test_refusals_cannot_fill_the_disk(self, make: Make, path: Path, clock: FakeClock) -> None:
        """Two a minute here; the next line says how many were left out. Intents are never left out."""
        audit = make()
        for _ in range(50):
            await audit.denied(ENTRY, Reason.NOT_OWNED)
        assert len(_lines(path)) == 2
        await audit.intent(ENTRY)
        clock.advance(60)
        await audit.denied(ENTRY, Reason.NOT_OWNED)
        last = _lines(path)[-1]
        assert (last["phase"], last["reason"], last["unrecorded"]) == ("denied", "NOT_OWNED", 48)
