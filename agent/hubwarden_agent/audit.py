"""The record of what the agent was about to do, and of what came of it.

What holds here: a line is on disk (fsync) once a flush has said so of it, and whoever was told otherwise does nothing.
Lines are only ever appended, each chained to the one before (`audit_chain`); those that wait while others are flushed
share the next flush, or many spawns at once would queue for the disk. An outcome is ours from the moment it is put: it
goes before any line that comes later, and if it cannot be written it is kept and still goes first, so nothing new is
done until it is there. Threads share all of this; `audit_trails` is how the two sides of the agent wait for it.
Refusals are recorded at a bounded rate, so that nobody can fill the disk by being refused. A line holds names and
reasons, never what Docker said and never a secret.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field, fields
from typing import Any, Self

from hubwarden_agent.audit_segments import Segments
from hubwarden_agent.budgets import Window
from hubwarden_agent.clock import Clock
from hubwarden_agent.denials import DenialLimiter
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


@dataclass(slots=True, eq=False)
class Line:
    """A line on its way to the disk, or there. One that is owed stays owed if it does not get there.

    `what` is in the words of the log: that of an intent is "an intent".
    """

    fields: Mapping[str, Any]
    what: str
    owed: bool = False
    on_disk: bool = False


class AuditFile:
    """An audit trail in files of JSON lines. A line that was put is written by whoever flushes next.

    Args:
        segments: the files; closed by `close`.
        clock: gives the time of each line.
        denials: how many refusals are recorded, over all callers.
    """

    def __init__(self, segments: Segments, clock: Clock, denials: Window) -> None:
        self._segments = segments
        self._clock = clock
        self._denials = DenialLimiter(denials)
        self._owed: list[Line] = []
        self._put: list[Line] = []
        self._numbered = 0  # lines that were put, over all
        self._settled = 0  # of these, how many were written or refused
        self._busy = False  # somebody writes
        self._closed = False
        self._turn = threading.Condition()

    def history(self) -> Iterator[Past]:
        """What is on disk, the newest first. Only before anything is recorded: files change under it otherwise."""
        return map(Past.of, self._segments.history())

    def intent(self, entry: Entry) -> Line:
        """Put what is about to be done."""
        return self._take(Line(self._line(entry, "intent"), "an intent"))

    def outcome(
        self, entry: Entry, refusal: Refusal | None, duration_ms: int, answer: Mapping[str, Any] | None = None
    ) -> Line:
        """Put what came of it, and what its answer can be made of again."""
        result, reason = ("failed", refusal.reason.value) if refusal else ("ok", "")
        more = {"answer": answer} if answer else {}
        said = self._line(entry, "outcome", result, reason, duration_ms, **more)
        return self._take(Line(said, "an outcome yet", owed=True))

    def event(self, operation: str) -> Line:
        """Put that the agent itself did something, such as `agent-start`. No later record precedes it."""
        entry = Entry(operation, "", "", "", "", "", "", "")
        return self._take(Line(self._line(entry, "event", "ok"), "an event yet", owed=True))

    def denied(self, entry: Entry, reason: Reason) -> Line | None:
        """Put that something was refused, unless that was too often. A line says how many before it were left out."""
        unrecorded = self._denials.admit()
        if unrecorded is None:
            return None
        return self._take(Line(self._line(entry, "denied", "denied", reason.value, unrecorded=unrecorded), "a refusal"))

    @property
    def numbered(self) -> int:
        """How many lines were put by now: what to `flush` up to."""
        return self._numbered

    def flush(self, up_to: int | None = None) -> None:
        """See that what was put is written: all of it, or nothing.

        One thread writes at a time, for all; the others wait until their lines are among those that were written.

        Args:
            up_to: how many lines this is about, by default all that were put by now.
        """
        with self._turn:
            wanted = self._numbered if up_to is None else up_to
            while self._busy and self._settled < wanted:
                self._turn.wait()
            if self._settled >= wanted:
                return
            self._busy = True
            put, self._put, settled = self._put, [], self._numbered
        try:
            self._write(put)
        finally:
            with self._turn:
                self._busy, self._settled = False, settled
                self._turn.notify_all()

    def close(self) -> None:
        """Write what was put and what is owed, then close the files: what comes later is not recorded."""
        with self._turn:
            self._closed = True
        self.flush()  # and from here on nobody else has anything to write
        if self._owed:
            self._write([])
        if self._owed:
            _log.error("audit: %d outcomes are lost", len(self._owed))
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

    def _take(self, line: Line) -> Line:
        with self._turn:
            if not self._closed:
                self._put.append(line)
                self._numbered += 1
                return line
        _not_recorded([line], OSError("the audit is closed; the next start goes on from the intent"))
        return line

    def _write(self, put: Sequence[Line]) -> None:
        """Put these lines on disk, together with what is owed: all of them, or none."""
        self._owed += [line for line in put if line.owed]
        lines = [*self._owed, *(line for line in put if not line.owed)]
        try:
            # In nobody's context: what the files log is not about the request of whoever happens to write.
            Context().run(self._segments.append, [line.fields for line in lines])
        except Exception as error:  # noqa: BLE001 - whatever it is, the lines are not there, and that is what counts
            _not_recorded(put, error)
            return
        self._owed.clear()
        for line in lines:
            line.on_disk = True


def _not_recorded(lines: Sequence[Line], why: Exception) -> None:
    for line in lines:
        _log.error("audit: cannot record %s", line.what, exc_info=why, extra={"request_id": line.fields["request_id"]})
