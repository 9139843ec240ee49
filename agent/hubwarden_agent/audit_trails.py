"""How an operation goes on the record: the two ways to wait for the audit's disk.

What holds here: an intent is on disk when its method returns; if it cannot be written the caller gets
`AUDIT_UNAVAILABLE` and does nothing. What comes of a deed, and refusals, never raise: what was done is done, and the
answer is no in any case. The RPCs wait on their event loop, the gateway in the thread that serves its client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from hubwarden_agent.audit import AuditFile, Entry, Line
from hubwarden_agent.errors import Reason, Refusal


class AuditTrail(Protocol):
    """Where operations are recorded, for whoever runs on the event loop."""

    async def intent(self, entry: Entry) -> None:
        """Record, durably, what is about to be done.

        Raises:
            Refusal: `AUDIT_UNAVAILABLE`; then nothing may be done.
        """

    def outcome(
        self, entry: Entry, refusal: Refusal | None, duration_ms: int, answer: Mapping[str, Any] | None = None
    ) -> asyncio.Future[None]:
        """Record what came of it. Never raises.

        It is on its way when this returns, and what is returned ends when it is on disk, or could not be written yet.
        """

    async def denied(self, entry: Entry, reason: Reason) -> None:
        """Record that something was refused, at a bounded rate. Never raises."""


class BlockingAuditTrail(Protocol):
    """The same for whoever has a thread of its own, which waits."""

    def intent(self, entry: Entry) -> None:
        """See `AuditTrail.intent`."""

    def outcome(self, entry: Entry, refusal: Refusal | None, duration_ms: int) -> None:
        """See `AuditTrail.outcome`. It is on its way, to be written at the next flush."""

    def denied(self, entry: Entry, reason: Reason) -> None:
        """See `AuditTrail.denied`."""

    def flush(self) -> None:
        """Write what is on its way."""


class AsyncAudit:
    """An audit file's trail for the event loop: a thread of its own flushes. Whoever waits for it may be cancelled.

    Args:
        file: closed by `close`.

    Raises:
        RuntimeError: there is no thread to be had.
    """

    def __init__(self, file: AuditFile) -> None:
        self.file = file
        self._thread = ThreadPoolExecutor(1, "audit")
        self._thread.submit(file.flush)  # now, or the first intent would find out that there is no thread

    async def intent(self, entry: Entry) -> None:
        """See `AuditTrail.intent`."""
        line = self.file.intent(entry)
        await self._flushed()
        _check(line)

    def outcome(
        self, entry: Entry, refusal: Refusal | None, duration_ms: int, answer: Mapping[str, Any] | None = None
    ) -> asyncio.Future[None]:
        """See `AuditTrail.outcome`."""
        self.file.outcome(entry, refusal, duration_ms, answer)
        return self._flushed()

    async def denied(self, entry: Entry, reason: Reason) -> None:
        """See `AuditTrail.denied`."""
        if self.file.denied(entry, reason):
            await self._flushed()

    async def event(self, operation: str) -> None:
        """Record that the agent itself did something. Never raises; until it is on disk, no intent can be written."""
        self.file.event(operation)
        await self._flushed()

    def close(self) -> None:
        """Wait for lines on their way, then close the file."""
        self._thread.shutdown()
        self.file.close()

    def _flushed(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        try:
            return asyncio.shield(loop.run_in_executor(self._thread, self.file.flush, self.file.numbered))
        except RuntimeError:  # it was closed; so was the file, and nothing waits to be written
            closed = loop.create_future()
            closed.set_result(None)
            return closed


class BlockingAudit:
    """An audit file's trail for a thread that waits.

    Args:
        file: whoever opened it closes it.
    """

    def __init__(self, file: AuditFile) -> None:
        self._file = file

    def intent(self, entry: Entry) -> None:
        """See `BlockingAuditTrail.intent`."""
        line = self._file.intent(entry)
        self._file.flush()
        _check(line)

    def outcome(self, entry: Entry, refusal: Refusal | None, duration_ms: int) -> None:
        """See `BlockingAuditTrail.outcome`."""
        self._file.outcome(entry, refusal, duration_ms)

    def denied(self, entry: Entry, reason: Reason) -> None:
        """See `BlockingAuditTrail.denied`."""
        if self._file.denied(entry, reason):
            self._file.flush()

    def flush(self) -> None:
        """See `BlockingAuditTrail.flush`."""
        self._file.flush()


def _check(intent: Line) -> None:
    if not intent.on_disk:
        raise Refusal(Reason.AUDIT_UNAVAILABLE)
