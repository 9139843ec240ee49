"""How many refusals are let through, and that the others are counted."""

from __future__ import annotations

import logging

import pytest
from hubwarden_agent.budgets import SlidingWindow
from hubwarden_agent.denials import MAX_SHOWN, DenialLimiter
from hubwarden_agent.engine.port import EngineError
from hubwarden_agent.rates import parse_rate
from support.agent.client import refusal_of
from support.agent.in_process import Served
from support.fakes.edges import FakeClock
from support.waiting.threads import at_once


def test_the_suppressed_are_counted() -> None:
    """When more come than the window has room for, the next one that is let through says how many were suppressed."""
    clock = FakeClock()
    limiter = DenialLimiter(SlidingWindow(parse_rate("2/minute"), clock))
    assert [limiter.admit() for _ in range(5)] == [0, 0, None, None, None]
    clock.advance(60)
    assert [limiter.admit() for _ in range(3)] == [3, 0, None]


def test_no_one_is_lost_between_threads() -> None:
    """When threads are refused at once, each refusal is let through or counted."""
    clock = FakeClock()
    limiter = DenialLimiter(SlidingWindow(parse_rate("1/minute"), clock))
    at_once(32, limiter.admit)
    clock.advance(60)
    assert limiter.admit() == 31


def test_kinds_have_windows_of_their_own() -> None:
    """When one kind of refusal has used up its window, another kind is let through, and each counts its own."""
    clock = FakeClock()
    limiter = DenialLimiter(SlidingWindow(parse_rate("1/minute"), clock))
    assert [limiter.admit() for _ in range(3)] == [0, None, None]
    assert [limiter.admit("failure") for _ in range(2)] == [0, None]
    clock.advance(60)
    assert (limiter.admit(), limiter.admit("failure")) == (2, 1)


async def test_validations_and_refusals_leave_room_for_a_failure(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """When 100 validations and 100 calls are refused, 60 lines are logged, and a failure gets a line with its cause."""
    caplog.set_level(logging.INFO, "hubwarden_agent.service")
    for _ in range(100):
        assert (await refusal_of(served.restart(validate_only=True))).reason == "CONTAINER_NOT_FOUND"
    assert caplog.records == []
    for _ in range(100):
        await refusal_of(served.restart())
    assert [vars(record)["suppressed"] for record in caplog.records] == [0] * 60
    served.stage.engine.fail_next["container"] = EngineError("\u6728" * 100_000)
    assert (await refusal_of(served.restart(validate_only=True))).reason == "DOCKER_ERROR"
    (failure,) = caplog.records[60:]
    cause = vars(failure)["cause"]
    assert (len(cause), cause.isascii()) == (MAX_SHOWN, True)


async def test_the_listeners_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """When a client is refused again and again, 60 refusals a minute are logged and the next line counts the others."""
    caplog.set_level(logging.INFO, "hubwarden_agent.service")
    for _ in range(100):
        assert (await refusal_of(served.restart())).reason == "CONTAINER_NOT_FOUND"
    assert len(caplog.records) == 60
    served.stage.clock.advance(60)
    await refusal_of(served.restart())
    counts = [vars(record)["suppressed"] for record in caplog.records]
    assert counts == [0] * 60 + [40]
