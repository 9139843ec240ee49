"""The audit file: durable before anything is done, chained, only ever appended to, bounded in size and in refusals."""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hubwarden_agent import logging_setup
from hubwarden_agent.audit import Audit, AuditEntry
from hubwarden_agent.audit_store import AuditStore
from hubwarden_agent.budgets import SlidingWindow
from hubwarden_agent.denials import DenialLimiter
from hubwarden_agent.engine.port import EngineError
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.logging_setup import anchors
from hubwarden_agent.rates import parse_rate
from hubwarden_agent.tools.audit import verify
from support.agent.core import SECRET
from support.fakes.edges import FakeClock
from support.waiting.conditions import wait_for
from support.waiting.threads import in_background

ENTRY = AuditEntry("restart", "木村", "lab", "unix", "user:alice", "an-id", "jupyterlab-x", "f" * 64, "a-fingerprint")
LISTED = [
    *("time", "sequence", "request_id", "client", "actor", "username", "server_name", "operation", "phase", "result"),
    *("reason", "object", "object_id", "duration_ms", "previous", "hash"),
]
Make = Callable[..., Audit]


@pytest.fixture
def clock() -> FakeClock:
    """Stands still."""
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The segment that is written."""
    return tmp_path / "audit.jsonl"


@pytest.fixture
def make(path: Path, clock: FakeClock) -> Make:
    """Opens the audit, as one agent after the other does."""

    def make(max_bytes: int = 2**20, keep: int = 3, fsync: Callable[[int], None] = os.fsync) -> Audit:
        segments = AuditStore(path, max_bytes, keep, fsync)
        return Audit(segments, clock, DenialLimiter(SlidingWindow(parse_rate("2/minute"), clock)))

    return make


def _files(path: Path) -> list[Path]:
    return [*sorted(path.parent.glob("audit-*.jsonl")), path]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _whole(path: Path) -> bool:
    return list(verify(path, []))[-1].startswith("whole from 1 ")


def _broken(*_: object) -> None:
    raise OSError(errno.ENOSPC, "no space")


@contextmanager
def _disk_takes(monkeypatch: pytest.MonkeyPatch, taken: int) -> Iterator[None]:
    """A disk that takes so many bytes of the next line, and then nothing."""
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:taken]))
        yield


def _refused(audit: Audit) -> Reason:
    with pytest.raises(RequestRefused) as refused:
        audit.intent(ENTRY)
    return refused.value.reason


class TestRecord:
    def test_an_intent_is_flushed_before_it_is_told(self, make: Make, path: Path) -> None:
        """At the moment of the flush the whole line is in the file, and only then does the caller go on."""
        seen: list[str] = []
        make(fsync=lambda _: seen.append(path.read_text(encoding="utf-8"))).intent(ENTRY)
        assert seen == [path.read_text(encoding="utf-8")]
        assert seen[0].endswith("\n")

    def test_every_line_has_every_field(self, make: Make, path: Path) -> None:
        """The listed ones, in their order, whatever the phase; what else there is stands before `previous`."""
        audit = make()
        audit.intent(ENTRY)
        audit.outcome(ENTRY, None, 1, {"started_at": None})
        audit.denied(ENTRY, Reason.NOT_OWNED)
        audit.event("agent-start")
        extra = {"fingerprint", "answer", "unrecorded"}
        assert [[key for key in line if key not in extra] for line in _lines(path)] == [LISTED] * 4
        assert all(list(line)[-2:] == ["previous", "hash"] for line in _lines(path))
        assert _whole(path)

    def test_what_a_line_says(self, make: Make, path: Path) -> None:
        """The entry; an outcome also the result, its reason, the duration and what the answer is made of."""
        audit = make()
        audit.intent(ENTRY)
        audit.outcome(ENTRY, None, 12, {"started_at": "then"})
        audit.outcome(ENTRY, RequestRefused(Reason.RESTART_FAILED), 7)
        intent, success, failure = _lines(path)
        common = {"time": "2026-11-22T12:00:00.000Z", "operation": "restart", "username": "木村", "server_name": "lab"}
        assert common.items() <= intent.items()
        assert (intent["phase"], intent["object"], intent["object_id"]) == ("intent", "jupyterlab-x", "f" * 64)
        assert (intent["result"], intent["reason"], intent["duration_ms"]) == ("", "", None)
        assert (intent["client"], intent["actor"], intent["request_id"]) == ("unix", "user:alice", "an-id")
        assert (success["phase"], success["result"], success["duration_ms"]) == ("outcome", "ok", 12)
        assert (success["fingerprint"], success["answer"]) == ("a-fingerprint", {"started_at": "then"})
        assert (failure["result"], failure["reason"]) == ("failed", "RESTART_FAILED")

    def test_a_peer_is_optional(self, make: Make, path: Path) -> None:
        """When a record has a peer it is read back; one without it, as older agents wrote all, is read too."""
        audit = make()
        audit.intent(ENTRY)
        audit.intent(replace(ENTRY, peer="uid=1000 gid=0"))
        assert ["peer" in line for line in _lines(path)] == [False, True]
        audit.close()
        assert [past.entry.peer for past in make().history()] == ["uid=1000 gid=0", ""]

    def test_what_docker_said_is_not_in_it(self, make: Make, path: Path) -> None:
        """When Docker fails, its words are not in the audit."""
        refusal = RequestRefused(Reason.DOCKER_ERROR)
        refusal.__cause__ = EngineError(SECRET)
        make().outcome(ENTRY, refusal, 1)
        assert SECRET not in path.read_text(encoding="utf-8")

    def test_only_its_owner_reads_it(self, make: Make, path: Path) -> None:
        """When the audit is created, its mode is 0600."""
        make().close()
        assert path.stat().st_mode & 0o777 == 0o600

    def test_the_next_agent_goes_on_with_the_chain(self, make: Make, path: Path) -> None:
        """Nothing is rewritten, and sequence and hash go on."""
        for _ in range(2):
            audit = make()
            audit.intent(ENTRY)
            audit.close()
        assert [line["sequence"] for line in _lines(path)] == [1, 2]
        assert _whole(path)

    def test_a_clock_that_is_set_back_changes_no_order(self, make: Make, path: Path, clock: FakeClock) -> None:
        """AuditStore and lines are numbered: the chain holds, and what is read back is in the order of writing."""
        audit = make(max_bytes=1, keep=9)
        for _ in range(4):
            audit.intent(ENTRY)
            clock.time -= dt.timedelta(days=30)
        assert _whole(path)
        times = [past.time for past in make(max_bytes=1, keep=9).history()]
        assert times == sorted(times)


class TestFailure:
    def test_no_flush_no_intent(self, make: Make, path: Path) -> None:
        """An intent that may not be on disk is AUDIT_UNAVAILABLE, and taken back."""
        assert _refused(make(fsync=_broken)) is Reason.AUDIT_UNAVAILABLE
        assert path.read_bytes() == b""

    def test_an_outcome_and_a_denial_never_raise(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        """What was done is done: the failure to write it goes to the log."""
        audit = make(fsync=_broken)
        audit.outcome(ENTRY, None, 1)
        audit.denied(ENTRY, Reason.NOT_OWNED)
        assert "cannot record an outcome yet" in caplog.text
        assert "cannot record a refusal" in caplog.text

    def test_nothing_new_before_an_outcome_that_is_owed(self, make: Make, path: Path) -> None:
        """While it cannot be written no intent is; once it can, it goes first."""
        working = [False]
        audit = make(fsync=lambda _: None if working[0] else _broken())
        audit.outcome(ENTRY, None, 1)
        assert _refused(audit) is Reason.AUDIT_UNAVAILABLE
        working[0] = True
        audit.intent(ENTRY)
        assert [line["phase"] for line in _lines(path)] == ["outcome", "intent"]

    def test_nothing_new_before_the_start_is_recorded(self, make: Make, path: Path) -> None:
        """When the start cannot be written, no intent is; once it can, the start goes first."""
        working = [False]
        audit = make(fsync=lambda _: None if working[0] else _broken())
        audit.event("agent-start")
        assert _refused(audit) is Reason.AUDIT_UNAVAILABLE
        working[0] = True
        audit.intent(ENTRY)
        recorded = [(line["phase"], line["operation"], line["result"]) for line in _lines(path)]
        assert recorded == [("event", "agent-start", "ok"), ("intent", "restart", "")]

    def test_an_outcome_that_nobody_waits_for(self, make: Make, path: Path) -> None:
        """It is ours once it is handed over: before the next intent's line, and on disk when the audit is closed."""
        audit = make()
        for number in range(20):
            audit.outcome(ENTRY, None, number)
        audit.intent(ENTRY)
        audit.outcome(ENTRY, None, 20)
        audit.close()
        assert [line["duration_ms"] for line in _lines(path)] == [*range(20), None, 20]
        assert _whole(path)

    def test_closing_waits_for_a_flush(self, make: Make, path: Path) -> None:
        """When the audit is closed during a flush, the file stays open until that flush has ended."""
        disk = _SlowDisk(path)
        audit = make(fsync=disk.fsync)
        recording = in_background(lambda: audit.outcome(ENTRY, None, 1))
        wait_for(lambda: disk.flushes, "the flush")
        closing = in_background(audit.close)
        wait_for(lambda: _waiting(1), "closing")
        assert not closing.done()
        disk.release.set()
        closing.result(30)
        recording.result(30)
        assert len(_lines(path)) == 1

    def test_an_outcome_after_the_end(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        """Logged, and nobody waits for good; the next start closes the intent."""
        audit = make()
        audit.close()
        audit.outcome(ENTRY, None, 1)
        assert "cannot record an outcome yet" in caplog.text

    def test_an_outcome_that_is_owed_at_the_end(self, make: Make, path: Path) -> None:
        """It is tried once more when the audit is closed, or the next start would have to guess."""
        working = [False]
        audit = make(fsync=lambda _: None if working[0] else _broken())
        audit.outcome(ENTRY, None, 1)
        assert path.read_bytes() == b""
        working[0] = True
        audit.close()
        assert [line["phase"] for line in _lines(path)] == ["outcome"]
        assert _whole(path)

    def test_an_outcome_that_is_lost(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        """The disk takes it not even at the end: the log says so."""
        audit = make(fsync=_broken)
        audit.outcome(ENTRY, None, 1)
        audit.close()
        assert "1 outcomes are lost" in caplog.text

    def test_what_nobody_foresaw(self, make: Make, path: Path) -> None:
        """Whatever keeps a line from the disk keeps its caller from going on, and the outcome is still owed."""
        trouble = [MemoryError(), None]

        def fsync(_: int) -> None:
            if trouble[0]:
                raise trouble[0]

        audit = make(fsync=fsync)
        audit.outcome(ENTRY, None, 1)
        assert _refused(audit) is Reason.AUDIT_UNAVAILABLE
        trouble.pop(0)
        audit.intent(ENTRY)
        assert [line["phase"] for line in _lines(path)][-2:] == ["outcome", "intent"]

    def test_what_fails_after_the_flush(
        self, make: Make, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An old segment that cannot be removed is for the log: the line is there, and told, and there once."""
        audit = make(max_bytes=1, keep=1)
        audit.intent(ENTRY)
        audit.intent(ENTRY)
        monkeypatch.setattr(Path, "unlink", _broken)
        audit.outcome(ENTRY, None, 1)
        audit.intent(ENTRY)
        assert [line["phase"] for line in _lines(path)] == ["intent"]
        assert [line["phase"] for file in _files(path) for line in _lines(file)][2:] == ["outcome", "intent"]
        assert "cannot be looked after" in caplog.text

    def test_an_intent_after_the_end(self, make: Make, path: Path) -> None:
        """When the audit is closed, an intent is refused and nothing is done."""
        audit = make()
        audit.close()
        assert _refused(audit) is Reason.AUDIT_UNAVAILABLE
        assert path.read_bytes() == b""

    @pytest.mark.parametrize("taken", [0, 1, 100])
    def test_a_disk_that_is_full(self, make: Make, path: Path, monkeypatch: pytest.MonkeyPatch, taken: int) -> None:
        """The part of a line that it took is taken back; once there is room, the next one is whole."""
        audit = make()
        audit.intent(ENTRY)
        with _disk_takes(monkeypatch, taken):
            for _ in range(3):
                assert _refused(audit) is Reason.AUDIT_UNAVAILABLE
        audit.intent(ENTRY)
        assert (len(_lines(path)), _whole(path)) == (2, True)

    def test_a_part_that_cannot_be_taken_back(self, make: Make, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is written behind it: it ends its segment, and the chain goes on in a new one."""
        audit = make()
        audit.intent(ENTRY)
        with _disk_takes(monkeypatch, 100), monkeypatch.context() as patched:
            patched.setattr(os, "ftruncate", _broken)
            assert _refused(audit) is Reason.AUDIT_UNAVAILABLE
        audit.intent(ENTRY)
        assert [file.read_bytes().endswith(b"\n") for file in _files(path)] == [False, True]
        assert _whole(path)

    @pytest.mark.parametrize("end", [b'{"phase":"int', b"not a line\n"])
    def test_what_a_crash_left(self, make: Make, path: Path, end: bytes, caplog: pytest.LogCaptureFixture) -> None:
        """A last line that is cut off, or not ours, is reported and set aside as it is; a new segment goes on."""
        audit = make()
        audit.intent(ENTRY)
        audit.close()
        path.write_bytes(left := path.read_bytes() + end)
        make().intent(ENTRY)
        aside, present = _files(path)
        assert aside.read_bytes() == left
        assert (len(_lines(present)), _lines(present)[0]["sequence"]) == (1, 2)
        assert "A new segment begins" in caplog.text

    def test_a_file_that_was_removed(self, make: Make, path: Path) -> None:
        """No line goes to where nobody can read it: a new file is begun, and the gap shows."""
        audit = make()
        audit.intent(ENTRY)
        path.unlink()
        audit.intent(ENTRY)
        assert _lines(path)[0]["sequence"] == 2

    @pytest.mark.parametrize("problem", ["no directory", "a directory in its place"])
    def test_an_audit_that_cannot_be_opened(self, make: Make, path: Path, problem: str) -> None:
        """When the audit cannot be opened, the agent does not start."""
        if problem == "no directory":
            path.parent.rmdir()
        else:
            path.mkdir()
        with pytest.raises(OSError, match=r"audit\.jsonl"):
            make()

    def test_an_outcome_is_written_when_the_audit_is_closed(self, make: Make, path: Path) -> None:
        """When the disk fails at an outcome and works again at the end, closing the audit writes it."""
        trouble: list[OSError] = [OSError(errno.EIO, "no")]

        def fsync(_: int) -> None:
            if trouble:
                raise trouble.pop()

        audit = make(fsync=fsync)
        audit.outcome(ENTRY, None, 1)
        assert path.read_bytes() == b""
        audit.close()
        assert [line["phase"] for line in _lines(path)] == ["outcome"]


class _SlowDisk:
    """A disk whose first flush waits. `flushes`: how many records the file had at each."""

    def __init__(self, path: Path) -> None:
        self.flushes: list[int] = []
        self.release = threading.Event()
        self.failing: set[int] = set()
        self._path = path

    def fsync(self, _: int) -> None:
        self.flushes.append(len(_lines(self._path)))
        assert self.release.wait(30)
        if len(self.flushes) in self.failing:
            _broken()


def _waiting(count: int) -> bool:
    """Whether that many threads wait for a flush, besides the one that flushes."""
    stacks = sys._current_frames().values()  # noqa: SLF001 - nothing public shows which threads wait
    return sum(_is_flushing(frame) for frame in stacks) == count + 1


def _is_flushing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_qualname == "Audit._flush":
            return True
        frame = frame.f_back
    return False


class TestThreads:
    """Threads share one file, one order and their flushes."""

    def test_records_that_wait_share_the_next_flush(self, make: Make, path: Path) -> None:
        """When fifty intents are recorded during one flush, one more is needed, and each returns only after it."""
        disk = _SlowDisk(path)
        audit = make(fsync=disk.fsync)
        first = in_background(lambda: audit.intent(ENTRY))
        wait_for(lambda: disk.flushes == [1], "the first flush")
        others = [in_background(lambda: audit.intent(ENTRY)) for _ in range(50)]
        wait_for(lambda: _waiting(50), "all intents")
        assert not any(other.done() for other in others)
        disk.release.set()
        for one in (first, *others):
            one.result(30)
        assert disk.flushes == [1, 51]
        assert _whole(path)

    def test_records_that_share_a_failing_flush_are_refused_together(self, make: Make, path: Path) -> None:
        """When a shared flush fails, no caller continues; an outcome among them is written before the next record."""
        disk = _SlowDisk(path)
        disk.failing.add(2)
        audit = make(fsync=disk.fsync)
        first = in_background(lambda: audit.intent(ENTRY))
        wait_for(lambda: disk.flushes == [1], "the first flush")
        outcome = in_background(lambda: audit.outcome(ENTRY, None, 7))
        refused = [in_background(lambda: _refused(audit)) for _ in range(3)]
        wait_for(lambda: _waiting(4), "all records")
        disk.release.set()
        assert [one.result(30) for one in refused] == [Reason.AUDIT_UNAVAILABLE] * 3
        first.result(30)
        outcome.result(30)
        assert (disk.flushes, len(_lines(path))) == ([1, 5], 1)
        audit.intent(ENTRY)
        assert [line["phase"] for line in _lines(path)] == ["intent", "outcome", "intent"]
        assert _whole(path)

    def test_what_the_files_log_is_of_no_request(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """When an anchor is logged, it does not have the id of the request in whose thread it is written."""
        seen = list[str]()
        audit = make(max_bytes=1)
        monkeypatch.setattr(anchors, "info", lambda *_, **__: seen.append(logging_setup.request_id.get()))
        with logging_setup.request("an-id"):
            for _ in range(3):
                audit.intent(ENTRY)
            assert logging_setup.request_id.get() == "an-id"
        assert seen == ["", ""]
        assert logging_setup.request_id.get() == ""

    def test_many_at_once(self, make: Make, path: Path) -> None:
        """When threads record at once, each record is whole and there, in one chain, and flushes are shared."""
        flushes = list[int]()

        def fsync(descriptor: int) -> None:
            flushes.append(descriptor)
            os.fsync(descriptor)

        audit = make(max_bytes=20_000, keep=100, fsync=fsync)

        def change() -> None:
            for number in range(50):
                audit.intent(ENTRY)
                audit.outcome(ENTRY, None, number)

        with ThreadPoolExecutor(12) as threads:
            for end in [threads.submit(change) for _ in range(12)]:
                end.result(30)
        audit.close()
        lines = [line for file in _files(path) for line in _lines(file)]
        assert [line["sequence"] for line in lines] == list(range(1, 12 * 100 + 1))
        assert sum(line["phase"] == "intent" for line in lines) == 12 * 50
        assert len(flushes) < len(lines)
        assert _whole(path)


class TestBounds:
    def test_a_full_segment_is_set_aside_and_the_oldest_go(self, make: Make, path: Path) -> None:
        """Every segment is within bounds by one line, `keep` stay besides the present one, and the chain goes on."""
        audit = make(max_bytes=1)
        for number in range(7):
            audit.outcome(ENTRY, None, number)
        assert [file.name for file in _files(path)[:-1]] == [f"audit-00000{number}.jsonl" for number in (4, 5, 6)]
        assert [_lines(file)[0]["duration_ms"] for file in _files(path)] == [3, 4, 5, 6]
        assert all(file.stat().st_mode & 0o777 == 0o600 for file in _files(path))
        assert list(verify(path, []))[-1].startswith("whole from 4 to 7:")

    def test_a_disk_that_fails_between_two_segments(
        self, make: Make, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The new file cannot be made: refused; once it can, it is, and nothing was lost or written elsewhere."""
        audit = make(max_bytes=1)
        audit.intent(ENTRY)
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", _broken)
            assert _refused(audit) is Reason.AUDIT_UNAVAILABLE
        audit.intent(ENTRY)
        assert [len(_lines(file)) for file in _files(path)] == [1, 1]
        assert _whole(path)

    def test_a_full_disk_never_costs_history(self, make: Make, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """However often a new segment is tried in vain, the old ones stay until a line of it is on disk."""
        audit = make(max_bytes=1, keep=1)
        audit.intent(ENTRY)
        audit.intent(ENTRY)
        before = [file.read_bytes() for file in _files(path)]
        with _disk_takes(monkeypatch, 0):
            for _ in range(5):
                _refused(audit)
        assert [file.read_bytes() for file in _files(path) if file.stat().st_size] == before

    def test_where_a_segment_ends_is_said(self, make: Make, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """At the start, when a segment is set aside, and at the end: sequence and hash, which `audit verify` takes."""
        said: list[str] = []
        monkeypatch.setattr(anchors, "info", lambda _, extra: said.append(extra["anchor"]))
        audit = make(max_bytes=1)
        audit.intent(ENTRY)
        audit.intent(ENTRY)
        audit.close()
        lines = [line for file in _files(path) for line in _lines(file)]
        assert said == ["0:" + "0" * 64, *(f"{line['sequence']}:{line['hash']}" for line in lines)]

    def test_a_disk_that_gets_full_is_said_once(
        self, make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When not even one segment fits any more; and once more after there was room again."""
        rooms = iter([2**20, 2**20 - 1, 0, 2**21, 5])

        class Disk:
            f_frsize = 1

            @property
            def f_bavail(self) -> int:
                return next(rooms)

        monkeypatch.setattr(os, "fstatvfs", lambda _: Disk())
        audit = make(max_bytes=2**20)
        for _ in range(5):
            audit.intent(ENTRY)
        warned = [vars(record)["free_bytes"] for record in caplog.records if "free_bytes" in vars(record)]
        assert warned == [2**20 - 1, 5]

    def test_refusals_cannot_fill_the_disk(self, make: Make, path: Path, clock: FakeClock) -> None:
        """Two a minute here; the next line says how many were left out. Intents are never left out."""
        audit = make()
        for _ in range(50):
            audit.denied(ENTRY, Reason.NOT_OWNED)
        assert len(_lines(path)) == 2
        audit.intent(ENTRY)
        clock.advance(60)
        audit.denied(ENTRY, Reason.NOT_OWNED)
        last = _lines(path)[-1]
        assert (last["phase"], last["reason"], last["unrecorded"]) == ("denied", "NOT_OWNED", 48)
