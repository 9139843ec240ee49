"""Budgets over a restart of the agent: which records of the audit are charges, and how old they count."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

import pytest
from hubwarden_agent.audit import AuditEntry, AuditRecord
from hubwarden_agent.budgets import SlidingWindow
from hubwarden_agent.errors import RequestRefused
from hubwarden_agent.operations.charges import OLD_RECORDS, charges, restore_budgets
from hubwarden_agent.rates import parse_rate
from support.fakes.edges import FakeClock

HOUR = 3600.0
Budgets = tuple[SlidingWindow, SlidingWindow, SlidingWindow]


@pytest.fixture
def clock() -> FakeClock:
    """Stands still."""
    return FakeClock()


@pytest.fixture
def budgets(clock: FakeClock) -> Budgets:
    """Restarts, resets and the total of resets, as a new process begins with them."""
    restarts, resets, total = (SlidingWindow(parse_rate(rate), clock) for rate in ("2/10 minutes", "2/hour", "3/hour"))
    return restarts, resets, total


def _record(
    clock: FakeClock, operation: str, age: float, *, username: str = "alice", phase: str = "intent"
) -> AuditRecord:
    entry = AuditEntry(operation, username, "", "unix", "user:alice", f"{operation}-{age}", "object", "id")
    return AuditRecord(clock.now() - dt.timedelta(seconds=age), phase, entry)


def _restore(clock: FakeClock, budgets: Budgets, records: Sequence[AuditRecord]) -> None:
    """Begin with a trail: `records` in the order of writing."""
    restore_budgets(charges(reversed(records), clock.now(), HOUR), *budgets)


def test_each_intent_is_one_charge(clock: FakeClock, budgets: Budgets) -> None:
    """When two restarts and one reset began, just these are charged; outcomes, refusals and other operations are not.

    A charge that was given back had no intent, so there is nothing of it to count.
    """
    phases = ("intent", "outcome", "denied")
    began = [_record(clock, "reset", 60), *(_record(clock, "restart", age) for age in (30, 20))]
    other = [_record(clock, "reset", 10, phase=phase) for phase in phases[1:]]
    gateway = [_record(clock, operation, 5) for operation in ("create", "start", "stop", "restore", "prune")]
    event = [AuditRecord(clock.now(), "event", AuditEntry("agent-start", "", "", "", "", "", "", ""))]
    _restore(clock, budgets, [*began, *other, *gateway, *event])
    restarts, resets, total = budgets
    assert [window.remaining("alice") for window in (restarts, resets)] == [0, 1]
    assert (restarts.remaining("bob"), resets.remaining("bob"), total.remaining("")) == (2, 2, 2)


def test_the_total_is_over_all_users(clock: FakeClock, budgets: Budgets) -> None:
    """When three users reset once each, the total of three is spent."""
    _restore(clock, budgets, [_record(clock, "reset", 10, username=user) for user in ("alice", "bob", "carol")])
    assert budgets[2].remaining("") == 0


def test_a_charge_ends_when_it_would_have(clock: FakeClock, budgets: Budgets) -> None:
    """When a process begins 40 minutes after a charge of an hour, `retry_after` says the 20 minutes that remain."""
    _restore(clock, budgets, [_record(clock, "reset", age) for age in (2400, 600)])
    with pytest.raises(RequestRefused) as refused:
        budgets[1].check("alice")
    assert refused.value.retry_after == 1200
    clock.advance(1200)
    budgets[1].acquire("alice")


@pytest.mark.parametrize(
    ("ages", "left"),
    [
        ([HOUR, HOUR + 1], 2),
        ([-86400.0, -86399.0], 0),
        ([-86400.0, 86400.0], 0),
        ([60.0, 86400.0], 0),
        ([60.0, -86400.0], 0),
    ],
    ids=["both-over", "clock-set-back", "set-back-and-on", "once-wrong-in-the-past", "once-wrong-in-the-future"],
)
def test_a_wrong_clock_refills_nothing(clock: FakeClock, budgets: Budgets, ages: Iterable[float], left: int) -> None:
    """When the time of day moved between two records, or between record and start, both still count.

    Two resets in the order of writing; a negative age is a record from a future that the clock now calls so.
    """
    _restore(clock, budgets, [_record(clock, "reset", age) for age in ages])
    assert budgets[1].remaining("alice") == left
    clock.advance(HOUR)
    assert budgets[1].remaining("alice") == 2


def test_reading_ends(clock: FakeClock) -> None:
    """When the trail goes on before the longest window, a bounded number of records is read beyond it."""
    read = list[float]()

    def history() -> Iterable[AuditRecord]:
        for age in range(10, 10**6, 10):
            read.append(age)
            yield _record(clock, "reset", age)

    charges(history(), clock.now(), HOUR)
    assert len(read) == HOUR / 10 + OLD_RECORDS + 1
