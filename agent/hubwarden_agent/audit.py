"""The record of what the agent was about to do, and of what came of it.

What holds here: an intent is on disk (fsync) before its caller goes on; if it cannot be written the caller gets
`AUDIT_UNAVAILABLE` and does nothing. Lines are only ever appended, each chained to the one before (`audit_chain`);
those that wait while others are flushed share the next flush, or many spawns at once would queue for the disk. An
outcome is ours from the moment it is handed over: it goes before any line that comes later, and if it cannot be written
it is kept and still goes first, so nothing new is done until it is there.
Refusals are recorded at a bounded rate, so that nobody can fill the disk by being refused. A line holds names and
reasons, never what Docker said and never a secret.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from queue import SimpleQueue
from typing import Any, Protocol, Self

from hubwarden_agent.audit_segments import Segments
from hubwarden_agent.budgets import Window
from hubwarden_agent.clock import Clock
from hubwarden_agent.errors import Reason, Refusal

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """What one operation is, whatever comes of it.

    `client` is who the transport says called (`unix`), `actor` who the caller says asked. `object` and `object_id` are
    the name and id (or creation time) of the container or volume that is acted on. `fingerprint` stands for the
    parameters of a request whose id is remembered; empty for any other. `stop_timeout` is a restart's, in seconds;
    `backup_id` is the backup that is restored or removed; `command` says which of `spawn.exec` runs, counted from 1.
    """

    operation: str
    username: str
    server_name: str
    client: str
    actor: str
    request_id: str
    object: str
    object_id: str
    fingerprint: str = ""
    stop_timeout: int = 0
    backup_id: str = ""
    command: int = 0


_ENTRY = tuple(one.name for one in fields(Entry))


@dataclass(frozen=True, slots=True)
class Past:
    """A line as it was read back. `answer` is what the operation's result can be made of again."""

    time: dt.datetime
    phase: str
    entry: Entry
    reason: str = ""
    answer: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Self:
        """The line's, which has the hash that it says and so is one that we wrote."""
        entry = Entry(**{name: line[name] for name in _ENTRY if name in line})
        time = dt.datetime.fromisoformat(line["time"])
        return cls(time, line["phase"], entry, line["reason"], line.get("answer", {}))


class AuditTrail(Protocol):
    """Where operations are recorded."""

    async def intent(self, entry: Entry) -> None:
        """Record, durably, what is about to be done.

        Raises:
            Refusal: `AUDIT_UNAVAILABLE`; then nothing may be done.
        """

    def outcome(
        self, entry: Entry, refusal: Refusal | None, duration_ms: int, answer: Mapping[str, Any] | None = None
    ) -> asyncio.Future[None]:
        """Record what came of it. Never raises: what was done is done.

        It is on its way when this returns, and what is returned ends when it is on disk, or could not be written yet.
        """

    async def denied(self, entry: Entry, reason: Reason) -> None:
        """Record that something was refused, at a bounded rate. Never raises: the answer is no in any case."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A line on its way to the disk. One that is owed stays owed if it does not get there, and nobody is told of it."""

    line: Mapping[str, Any]
    owed: bool
    written: asyncio.Future[None]


class AuditFile:
    """An audit trail in files of JSON lines, which a thread of its own writes.

    Everything else is of one event loop at a time, which ends with no line on its way that anybody waits for.

    Args:
        segments: the files; closed by `close`.
        clock: gives the time of each line.
        denials: how many refusals are recorded, over all callers.
    """

    def __init__(self, segments: Segments, clock: Clock, denials: Window) -> None:
        self._segments = segments
        self._clock = clock
        self._denials = denials
        self._unrecorded = 0
        self._owed: list[Mapping[str, Any]] = []
        self._waiting: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._write_until_closed, name="audit", daemon=True)
        self._thread.start()

    def history(self) -> Iterator[Past]:
        """What is on disk, the newest first. Only before anything is recorded: files change under it otherwise."""
        return map(Past.of, self._segments.history())

    async def intent(self, entry: Entry) -> None:
        """See `AuditTrail.intent`."""
        try:
            await self._append(self._line(entry, "intent"))
        except OSError as error:
            _log.exception("audit: cannot record an intent", extra={"request_id": entry.request_id})
            raise Refusal(Reason.AUDIT_UNAVAILABLE) from error

    def outcome(
        self, entry: Entry, refusal: Refusal | None, duration_ms: int, answer: Mapping[str, Any] | None = None
    ) -> asyncio.Future[None]:
        """See `AuditTrail.outcome`."""
        result, reason = ("failed", refusal.reason.value) if refusal else ("ok", "")
        more = {"answer": answer} if answer else {}
        return self._append(self._line(entry, "outcome", result, reason, duration_ms, **more), owed=True)

    async def denied(self, entry: Entry, reason: Reason) -> None:
        """See `AuditTrail.denied`. A line says how many before it were not recorded."""
        try:
            self._denials.spend("")
        except Refusal:
            self._unrecorded += 1
            return
        unrecorded, self._unrecorded = self._unrecorded, 0
        try:
            line = self._line(entry, "denied", "denied", reason.value, unrecorded=unrecorded)
            await self._append(line)
        except OSError:
            _log.exception("audit: cannot record a refusal", extra={"request_id": entry.request_id})

    def close(self) -> None:
        """Wait for lines on their way, then close the file."""
        self._closed = True
        self._waiting.put(None)
        self._thread.join()
        self._segments.close()

    def _line(
        self, entry: Entry, phase: str, result: str = "", reason: str = "", duration_ms: int | None = None, **more: Any
    ) -> Mapping[str, Any]:
        """A line's fields but for the chain's, in the order in which they are written."""
        said = {name: getattr(entry, name) for name in _ENTRY}
        optional = ("fingerprint", "stop_timeout", "backup_id", "command")
        more = {key: value for key in optional if (value := said.pop(key))} | more
        first = {
            key: said.pop(key) for key in ("request_id", "client", "actor", "username", "server_name", "operation")
        }
        time = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        ended = {"phase": phase, "result": result, "reason": reason, **said, "duration_ms": duration_ms}
        return {"time": time, **first, **ended, **more}

    def _append(self, line: Mapping[str, Any], *, owed: bool = False) -> asyncio.Future[None]:
        """The line is on its way when this returns. Whoever waits for it may be cancelled; the line is not."""
        waiting = _Waiting(line, owed, asyncio.get_running_loop().create_future())
        if self._closed or not self._thread.is_alive():
            self._end([waiting], OSError("nobody writes the audit any more"))
        else:
            self._waiting.put(waiting)
        return waiting.written

    def _write_until_closed(self) -> None:
        """What the thread does. What is owed at the end is tried once more."""
        closed = False
        while not closed:
            found = [self._waiting.get(), *(self._waiting.get() for _ in range(self._waiting.qsize()))]
            closed = None in found
            if waiting := [one for one in found if one is not None]:
                failure = self._write(waiting)
                with suppress(RuntimeError):  # the event loop has ended, and with it whoever waited
                    waiting[0].written.get_loop().call_soon_threadsafe(self._end, waiting, failure)
        if self._owed and (failure := self._write([])):
            _log.error("audit: %d outcomes are lost", len(self._owed), exc_info=failure)

    def _write(self, waiting: Sequence[_Waiting]) -> Exception | None:
        """Put these lines on disk, together with what is owed: all of them, or none. Returns why not."""
        self._owed += [one.line for one in waiting if one.owed]
        try:
            self._segments.append([*self._owed, *(one.line for one in waiting if not one.owed)])
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits is told
            return error
        self._owed.clear()
        return None

    @staticmethod
    def _end(waiting: Sequence[_Waiting], failure: Exception | None) -> None:
        """Tell whoever still waits."""
        for one in waiting:
            if failure is not None and one.owed:
                extra = {"request_id": one.line["request_id"]}
                _log.error("audit: cannot record an outcome yet", exc_info=failure, extra=extra)
            if one.written.done():  # whoever waited was cancelled
                continue
            if failure is None or one.owed:
                one.written.set_result(None)
            else:
                one.written.set_exception(failure)
