"""A clock that tests move, and an audit trail that tests read."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hubwarden_agent.audit import Entry
from hubwarden_agent.errors import Reason, Refusal


class FakeClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
        self.seconds = 1000.0

    def now(self) -> dt.datetime:
        """See `Clock.now`."""
        return self.time

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds
        self.time += dt.timedelta(seconds=seconds)


class TickingClock(FakeClock):
    """A second goes by between two looks at it, so that patience ends without anybody waiting."""

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        self.seconds += 1
        return self.seconds


@dataclass(frozen=True, slots=True)
class Line:
    """What one audit line would say."""

    phase: str
    entry: Entry
    reason: Reason | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)


class MemoryAudit:
    """An audit trail in memory. With `broken`, nothing can be written; with `flushing`, outcomes are on their way."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.broken = False
        self.flushing: asyncio.Future[None] | None = None

    async def intent(self, entry: Entry) -> None:
        """See `AuditTrail.intent`."""
        if self.broken:
            raise Refusal(Reason.AUDIT_UNAVAILABLE)
        self.lines.append(Line("intent", entry))

    def outcome(
        self, entry: Entry, refusal: Refusal | None, duration_ms: int, answer: Mapping[str, Any] | None = None
    ) -> asyncio.Future[None]:
        """See `AuditTrail.outcome`."""
        assert duration_ms >= 0
        self.lines.append(Line("outcome", entry, refusal.reason if refusal else None, answer or {}))
        if self.flushing is not None:
            return self.flushing
        written = asyncio.get_running_loop().create_future()
        written.set_result(None)
        return written

    async def denied(self, entry: Entry, reason: Reason) -> None:
        """See `AuditTrail.denied`."""
        self.lines.append(Line("denied", entry, reason))

    def phases(self) -> list[tuple[str, Reason | None]]:
        """Phase and reason of each line."""
        return [(line.phase, line.reason) for line in self.lines]


class BlockingMemoryAudit:
    """The same trail as the gateway's threads write it.

    `flushes` is how many lines there were at each flush, which `hold` puts off.
    """

    def __init__(self, audit: MemoryAudit) -> None:
        self._audit = audit
        self.flushes: list[int] = []
        self.hold: threading.Event | None = None

    def intent(self, entry: Entry) -> None:
        """See `BlockingAuditTrail.intent`."""
        if self._audit.broken:
            raise Refusal(Reason.AUDIT_UNAVAILABLE)
        self._audit.lines.append(Line("intent", entry))

    def outcome(self, entry: Entry, refusal: Refusal | None, duration_ms: int) -> None:
        """See `BlockingAuditTrail.outcome`."""
        assert duration_ms >= 0
        self._audit.lines.append(Line("outcome", entry, refusal.reason if refusal else None))

    def denied(self, entry: Entry, reason: Reason) -> None:
        """See `BlockingAuditTrail.denied`."""
        self._audit.lines.append(Line("denied", entry, reason))

    def flush(self) -> None:
        """See `BlockingAuditTrail.flush`."""
        if self.hold is not None:
            assert self.hold.wait(30)
        self.flushes.append(len(self._audit.lines))
