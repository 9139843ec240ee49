"""A clock that tests move, and an audit trail that tests read."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hubwarden_agent.audit import Audit, AuditEntry
from hubwarden_agent.errors import Reason, RequestRefused


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

    def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`: the time passes at once."""
        self.advance(seconds)

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
    entry: AuditEntry
    reason: Reason | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)


class MemoryAudit(Audit):
    """An audit trail in memory. With `broken`, no intent can be written; `hold` is a disk that stalls."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.broken = False
        self.hold: threading.Event | None = None

    def intent(self, entry: AuditEntry) -> None:
        self._stall()
        if self.broken:
            raise RequestRefused(Reason.AUDIT_UNAVAILABLE)
        self.lines.append(Line("intent", entry))

    def outcome(
        self,
        entry: AuditEntry,
        refusal: RequestRefused | None,
        duration_ms: int,
        answer: Mapping[str, Any] | None = None,
    ) -> None:
        assert duration_ms >= 0
        self.lines.append(Line("outcome", entry, refusal.reason if refusal else None, answer or {}))
        self._stall()

    def denied(self, entry: AuditEntry, reason: Reason) -> None:
        self.lines.append(Line("denied", entry, reason))

    def phases(self) -> list[tuple[str, Reason | None]]:
        """Phase and reason of each line."""
        return [(line.phase, line.reason) for line in self.lines]

    def _stall(self) -> None:
        if self.hold is not None:
            assert self.hold.wait(30)
