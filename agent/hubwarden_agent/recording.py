"""Doing something on the record: the intent first, then the deed, then the outcome.

What holds here: the body runs only after its intent is on disk, and whatever ends the body, an outcome follows. Nothing
that the engine said leaves through here: engine errors become refusals with the engine's error as their cause.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from hubwarden_agent.audit import Entry
from hubwarden_agent.audit_trails import AuditTrail
from hubwarden_agent.budgets import Window
from hubwarden_agent.clock import Clock
from hubwarden_agent.engine.port import EngineError, EngineUnavailable
from hubwarden_agent.errors import Reason, Refusal


@dataclass(slots=True)
class Outcome:
    """What the body wants remembered: of what its answer can be made again after a start."""

    answer: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def engine_errors_refused() -> Iterator[None]:
    """Turn what the engine raises into refusals, the engine's own error kept as their cause for the log."""
    try:
        yield
    except EngineUnavailable as error:
        raise Refusal(Reason.DOCKER_UNAVAILABLE) from error
    except EngineError as error:
        raise Refusal(Reason.DOCKER_ERROR) from error


@asynccontextmanager
async def considered(audit: AuditTrail, entry: Entry) -> AsyncIterator[None]:
    """Run the body, which looks, decides and spends but changes nothing; its refusal is recorded as denied.

    Raises:
        Refusal: the body's own; `DOCKER_UNAVAILABLE` or `DOCKER_ERROR` for what the engine raised in it.
    """
    try:
        with engine_errors_refused():
            yield
    except Refusal as refusal:
        await audit.denied(entry, refusal.reason)
        raise


@contextmanager
def ending(clock: Clock, record: Callable[[Refusal | None, int], object]) -> Iterator[None]:
    """Run the body. Whatever ends it, `record` gets the refusal, if that is what it was, and how many ms it took.

    Raises:
        Refusal: the body's own; `DOCKER_UNAVAILABLE` or `DOCKER_ERROR` for what the engine raised in it.
    """
    started = clock.monotonic()
    refusal: Refusal | None = Refusal(Reason.DOCKER_ERROR)
    try:
        with engine_errors_refused():
            yield
        refusal = None
    except Refusal as raised:
        refusal = raised
        raise
    finally:
        record(refusal, int((clock.monotonic() - started) * 1000))


@asynccontextmanager
async def recorded(
    audit: AuditTrail, entry: Entry, clock: Clock, spent: Sequence[tuple[Window, str]] = ()
) -> AsyncIterator[Outcome]:
    """Run the body between an intent and an outcome. What was `spent` for it is given back if there is no intent.

    The outcome is on disk when this ends: a repeated request gets its answer again, also after a crash.

    Raises:
        Refusal: `AUDIT_UNAVAILABLE` before the body ran, or as `ending`.
    """
    try:
        await audit.intent(entry)
    except Refusal:
        for window, key in spent:
            window.give_back(key)
        raise
    outcome, written = Outcome(), list[asyncio.Future[None]]()
    try:
        with ending(clock, lambda refusal, ms: written.append(audit.outcome(entry, refusal, ms, outcome.answer))):
            yield outcome
    finally:
        for outcome_written in written:
            await outcome_written
