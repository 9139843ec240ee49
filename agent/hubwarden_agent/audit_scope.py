"""Operations on the record: first the intent, then the change, then the outcome.

Invariants:
- The body of `audited` runs only after its intent is on disk. However the body ends, an outcome follows.
- What the engine said leaves no scope: engine errors become refusals with the engine's error as their cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hubwarden_agent.audit import Audit, AuditEntry
from hubwarden_agent.budgets import SlidingWindow
from hubwarden_agent.clock import Clock
from hubwarden_agent.engine.port import EngineError, EngineUnavailable
from hubwarden_agent.errors import Reason, RequestRefused


@dataclass(slots=True)
class Outcome:
    """What the body wants remembered: from it, its answer can be restored after a start."""

    answer: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def map_engine_errors() -> Iterator[None]:
    """Turn the engine's errors into refusals, and keep them as their cause for the log."""
    try:
        yield
    except EngineUnavailable as error:
        raise RequestRefused(Reason.DOCKER_UNAVAILABLE) from error
    except EngineError as error:
        raise RequestRefused(Reason.DOCKER_ERROR) from error


@contextmanager
def audit_denials(audit: Audit, entry: AuditEntry) -> Iterator[None]:
    """Run the body, which checks, decides and charges but changes nothing. Its refusal is recorded as denied.

    Raises:
        RequestRefused: the body's own; `DOCKER_UNAVAILABLE` or `DOCKER_ERROR` for what the engine raised in it.
    """
    try:
        with map_engine_errors():
            yield
    except RequestRefused as refusal:
        audit.denied(entry, refusal.reason)
        raise


@contextmanager
def audited(
    audit: Audit, entry: AuditEntry, clock: Clock, charges: Sequence[tuple[SlidingWindow, str]] = ()
) -> Iterator[Outcome]:
    """Run the body between an intent and an outcome. Without an intent, the `charges` for it are given back.

    The outcome is on disk when this ends: a repeated request gets its answer again, also after a crash.

    Raises:
        RequestRefused: `AUDIT_UNAVAILABLE` before the body ran; the body's own; `DOCKER_UNAVAILABLE` or `DOCKER_ERROR`
            for what the engine raised in it.
    """
    try:
        audit.intent(entry)
    except RequestRefused:
        for window, key in charges:
            window.release(key)
        raise
    outcome, started = Outcome(), clock.monotonic()
    failure: RequestRefused | None = RequestRefused(Reason.DOCKER_ERROR)
    try:
        with map_engine_errors():
            yield outcome
        failure = None
    except RequestRefused as refusal:
        failure = refusal
        raise
    finally:
        audit.outcome(entry, failure, int((clock.monotonic() - started) * 1000), outcome.answer)
