"""The audit trail: what the agent was about to do, and the result.

Invariants:
- A record is durable (fsync) when `intent` returns; if it raises, the caller must not act.
- Records are only appended, each chained to the one before (`audit_chain`). Records that wait while others are flushed
  share the next flush: many spawns at once would otherwise queue for the disk.
- Queued outcomes are never dropped; they are retried before any later record.
- Refusals are recorded at a bounded rate, so that nobody can fill the disk by being refused. Each listener has its own
  rate, so that nobody can hide the refusals of another listener.
- A record holds names and reasons, never what Docker said and never a secret.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field, fields
from typing import Any, Self

from hubwarden_agent.audit_store import AuditStore
from hubwarden_agent.clock import Clock
from hubwarden_agent.denials import DenialLimiter
from hubwarden_agent.errors import Reason, RequestRefused

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What one operation is, whatever comes of it.

    `client` is who the transport says called (`unix`), `actor` who the caller says asked. `object` and `object_id` are
    the name and id (or creation time) of the container or volume that is acted on. `fingerprint` stands for the
    parameters of a request whose id is remembered; empty for any other. `stop_timeout` is a restart's, in seconds;
    `backup_id` is the backup that is restored or removed; `command` says which of `spawn.exec` runs, counted from 1;
    `peer` is what is proven of a gateway's client.
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
    peer: str = ""


_ENTRY = tuple(one.name for one in fields(AuditEntry))


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A line as it was read back. `answer` is what the operation's result can be made of again."""

    time: dt.datetime
    phase: str
    entry: AuditEntry
    reason: str = ""
    answer: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Self:
        """The line's, which has the hash that it says and so is one that we wrote."""
        entry = AuditEntry(**{name: line[name] for name in _ENTRY if name in line})
        time = dt.datetime.fromisoformat(line["time"])
        return cls(time, line["phase"], entry, line["reason"], line.get("answer", {}))


@dataclass(slots=True, eq=False)
class Line:
    """A record on its way to the disk, or there. `must_write`: retried before any later record if it cannot be written.

    `what` is how the log calls it, as in "an intent".
    """

    fields: Mapping[str, Any]
    what: str
    must_write: bool = False
    on_disk: bool = False


class Audit:
    """An audit trail in files of JSON lines. Threads share it, and records that wait together share one flush.

    Args:
        segments: the files; closed by `close`.
        clock: gives the time of each record.
        denials: limits how many refusals of one listener are recorded.
    """

    def __init__(self, segments: AuditStore, clock: Clock, denials: DenialLimiter) -> None:
        self._segments = segments
        self._clock = clock
        self._denials = denials
        self._unwritten: list[Line] = []
        self._queue: list[Line] = []
        self._queued_count = 0
        self._flushed_count = 0  # of these, how many were written or failed
        self._writing = False
        self._closed = False
        self._changed = threading.Condition()

    def history(self) -> Iterator[AuditRecord]:
        """What is on disk, the newest first. Only before anything is recorded: files change under it otherwise."""
        return map(AuditRecord.of, self._segments.history())

    def intent(self, entry: AuditEntry) -> None:
        """Record, durably, what is about to be done.

        Raises:
            RequestRefused: `AUDIT_UNAVAILABLE`; then nothing may be done.
        """
        line = self._enqueue(Line(self._line(entry, "intent"), "an intent"))
        self._flush()
        if not line.on_disk:
            raise RequestRefused(Reason.AUDIT_UNAVAILABLE)

    def outcome(
        self,
        entry: AuditEntry,
        refusal: RequestRefused | None,
        duration_ms: int,
        answer: Mapping[str, Any] | None = None,
    ) -> None:
        """Record the result, and from what its answer can be restored. Never raises.

        An outcome that cannot be written is retained and written before any later record; nothing new begins before.
        """
        result, reason = ("failed", refusal.reason.value) if refusal else ("ok", "")
        more = {"answer": answer} if answer else {}
        fields = self._line(entry, "outcome", result, reason, duration_ms, **more)
        self._enqueue(Line(fields, "an outcome yet", must_write=True))
        self._flush()

    def event(self, operation: str) -> None:
        """Record what the agent itself did, such as `agent-start`. Never raises; retained as an outcome is."""
        entry = AuditEntry(operation, "", "", "", "", "", "", "")
        self._enqueue(Line(self._line(entry, "event", "ok"), "an event yet", must_write=True))
        self._flush()

    def denied(self, entry: AuditEntry, reason: Reason) -> None:
        """Record a refusal, at a bounded rate: a record counts those left out before it. Never raises."""
        unrecorded = self._denials.admit(_listener(entry.client))
        if unrecorded is None:
            return
        fields = self._line(entry, "denied", "denied", reason.value, unrecorded=unrecorded)
        self._enqueue(Line(fields, "a refusal"))
        self._flush()

    def close(self) -> None:
        """Write what is queued, then close the files: what comes later is not recorded."""
        with self._changed:
            self._closed = True
        self._flush()  # and from here on nobody else has anything to write
        if self._unwritten:
            self._write([])
        if self._unwritten:
            _log.error("audit: %d outcomes are lost", len(self._unwritten))
        self._segments.close()

    def _flush(self) -> None:
        """Write what was queued by now: all of it, or nothing.

        One thread writes at a time, for all; the others wait until their records are among those that were written.
        """
        with self._changed:
            wanted = self._queued_count
            while self._writing and self._flushed_count < wanted:
                self._changed.wait()
            if self._flushed_count >= wanted:
                return
            self._writing = True
            queue, self._queue, flushed = self._queue, [], self._queued_count
        try:
            self._write(queue)
        finally:
            with self._changed:
                self._writing, self._flushed_count = False, flushed
                self._changed.notify_all()

    def _line(
        self,
        entry: AuditEntry,
        phase: str,
        result: str = "",
        reason: str = "",
        duration_ms: int | None = None,
        **more: Any,
    ) -> Mapping[str, Any]:
        """A line's fields but for the chain's, in the order in which they are written."""
        record = {name: getattr(entry, name) for name in _ENTRY}
        optional = ("fingerprint", "stop_timeout", "backup_id", "command", "peer")
        more = {key: value for key in optional if (value := record.pop(key))} | more
        first = {
            key: record.pop(key) for key in ("request_id", "client", "actor", "username", "server_name", "operation")
        }
        time = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        ended = {"phase": phase, "result": result, "reason": reason, **record, "duration_ms": duration_ms}
        return {"time": time, **first, **ended, **more}

    def _enqueue(self, line: Line) -> Line:
        with self._changed:
            if not self._closed:
                self._queue.append(line)
                self._queued_count += 1
                return line
        _log_lost([line], OSError("the audit is closed; the next start goes on from the intent"))
        return line

    def _write(self, queue: Sequence[Line]) -> None:
        """Put these records on disk, after the ones that are still unwritten: all of them, or none."""
        self._unwritten += [line for line in queue if line.must_write]
        lines = [*self._unwritten, *(line for line in queue if not line.must_write)]
        try:
            # In an empty context: what the files log is not about the request of the thread that happens to write.
            Context().run(self._segments.append, [line.fields for line in lines])
        except Exception as error:  # noqa: BLE001 - whatever it is, the records are not on disk
            _log_lost(queue, error)
            return
        self._unwritten.clear()
        for line in lines:
            line.on_disk = True


def _listener(client: str) -> str:
    """The listener that a client came by. Names of TLS clients have a type, and are never one of these."""
    return client if client in ("unix", "gateway") else "tcp"


def _log_lost(lines: Sequence[Line], why: Exception) -> None:
    for line in lines:
        _log.error("audit: cannot record %s", line.what, exc_info=why, extra={"request_id": line.fields["request_id"]})
