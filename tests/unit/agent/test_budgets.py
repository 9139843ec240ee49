"""Budgets: a window that slides over an injected clock. Looking is free; two are spent together or not at all."""

from __future__ import annotations

from functools import partial

import pytest
from hubwarden_agent.budgets import SlidingWindow, acquire_together, check_together
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.rates import parse_rate
from support.fakes.edges import FakeClock
from support.waiting.threads import at_once


@pytest.fixture
def clock() -> FakeClock:
    """Time stands still."""
    return FakeClock()


def _refused(window: SlidingWindow, key: str = "alice") -> RequestRefused:
    with pytest.raises(RequestRefused) as refused:
        window.acquire(key)
    return refused.value


def test_one_more_than_the_amount_is_refused(clock: FakeClock) -> None:
    """Three an hour means three; the fourth is refused with the window's reason."""
    window = SlidingWindow(parse_rate("3/hour"), clock, Reason.RESET_BUDGET_SPENT)
    for _ in range(3):
        window.acquire("alice")
    assert _refused(window).reason is Reason.RESET_BUDGET_SPENT


def test_retry_after_is_true(clock: FakeClock) -> None:
    """A moment before `retry_after` there is no room, and then there is."""
    window = SlidingWindow(parse_rate("2/hour"), clock)
    window.acquire("alice")
    clock.advance(600)
    window.acquire("alice")
    wait = _refused(window).retry_after
    assert wait == 3000
    clock.advance(wait - 0.001)
    _refused(window)
    clock.advance(0.001)
    window.acquire("alice")
    _refused(window)


def test_a_refusal_is_not_acquired(clock: FakeClock) -> None:
    """Being refused does not push the next chance away."""
    window = SlidingWindow(parse_rate("1/hour"), clock)
    window.acquire("alice")
    clock.advance(3599)
    _refused(window)
    clock.advance(1)
    window.acquire("alice")


def test_looking_is_free(clock: FakeClock) -> None:
    """`check` refuses as `spend` would and spends nothing."""
    window = SlidingWindow(parse_rate("1/hour"), clock)
    for _ in range(5):
        window.check("alice")
    window.acquire("alice")
    with pytest.raises(RequestRefused):
        window.check("alice")


def test_what_is_given_back_can_be_spent_again(clock: FakeClock) -> None:
    """Once, and only by the same key; giving back what was forgotten meanwhile gives nothing."""
    window = SlidingWindow(parse_rate("1/hour"), clock)
    window.acquire("alice")
    window.acquire("bob")
    window.release("alice")
    window.acquire("alice")
    _refused(window)
    _refused(window, "bob")
    clock.advance(3600)
    window.release("alice")
    assert window.remaining("alice") == 1


def test_keys_are_apart_and_forgotten(clock: FakeClock) -> None:
    """One user's spending is not another's, and a key without recent spending takes no memory."""
    window = SlidingWindow(parse_rate("1/minute"), clock)
    window.acquire("alice")
    window.acquire("bob")
    clock.advance(60)
    window.check("carol")
    assert window._acquired == {}  # noqa: SLF001 - what is kept in memory shows nowhere else


def test_a_key_is_forgotten_after_its_own_last_spending(clock: FakeClock) -> None:
    """When a key acquires again, keys in between are still forgotten in time."""
    window = SlidingWindow(parse_rate("2/minute"), clock)
    window.acquire("alice")
    window.acquire("bob")
    clock.advance(30)
    window.acquire("alice")
    clock.advance(30)
    assert window.remaining("alice") == 1
    assert list(window._acquired) == ["alice"]  # noqa: SLF001 - what is kept in memory shows nowhere else


def test_nothing_is_left_of_a_spending_that_was_given_back(clock: FakeClock) -> None:
    """When a spending is given back, nothing is kept for its key."""
    window = SlidingWindow(parse_rate("1/minute"), clock)
    window.acquire("alice")
    window.release("alice")
    window.check("carol")
    assert window._acquired == {}  # noqa: SLF001 - what is kept in memory shows nowhere else


def test_a_clock_that_is_set_back_changes_nothing(clock: FakeClock) -> None:
    """When the time of day is set back, budgets stay as they were."""
    window = SlidingWindow(parse_rate("1/hour"), clock)
    window.acquire("alice")
    clock.time = clock.time.replace(year=2020)
    assert _refused(window).retry_after == 3600


@pytest.mark.parametrize("spent_first", ["user", "total"])
def test_two_budgets_are_spent_together_or_not_at_all(clock: FakeClock, spent_first: str) -> None:
    """When one has no room the other keeps its own, and the refusal is that one's."""
    windows = {
        "user": SlidingWindow(parse_rate("1/hour"), clock),
        "total": SlidingWindow(parse_rate("1/hour"), clock, Reason.RESET_BUDGET_SPENT),
    }
    windows[spent_first].acquire("")
    with pytest.raises(RequestRefused) as refused:
        acquire_together((windows["user"], ""), (windows["total"], ""))
    expected = Reason.RATE_LIMITED if spent_first == "user" else Reason.RESET_BUDGET_SPENT
    assert refused.value.reason is expected
    windows["total" if spent_first == "user" else "user"].check("")


def test_together_spends_one_of_each(clock: FakeClock) -> None:
    """When both budgets have room, one is spent of each."""
    user, total = SlidingWindow(parse_rate("1/hour"), clock), SlidingWindow(parse_rate("1/hour"), clock)
    acquire_together((user, "alice"), (total, ""))
    _refused(user)
    _refused(total, "")


def test_of_two_without_room_the_longer_wait_is_told(clock: FakeClock) -> None:
    """When a client waits for the given time, the other budget does not refuse it."""
    minute, hour = (
        SlidingWindow(parse_rate("1/minute"), clock),
        SlidingWindow(parse_rate("1/hour"), clock, Reason.RESET_BUDGET_SPENT),
    )
    acquire_together((minute, "alice"), (hour, ""))
    with pytest.raises(RequestRefused) as refused:
        check_together((minute, "alice"), (hour, ""))
    assert (refused.value.reason, refused.value.retry_after) == (Reason.RESET_BUDGET_SPENT, 3600)
    clock.advance(3600)
    acquire_together((minute, "alice"), (hour, ""))


def test_what_is_left_comes_back(clock: FakeClock) -> None:
    """When spendings grow old, the number of remaining ones grows again."""
    window = SlidingWindow(parse_rate("2/hour"), clock)
    window.acquire("alice")
    assert (window.remaining("alice"), window.remaining("bob")) == (1, 2)
    clock.advance(3600)
    assert window.remaining("alice") == 2


def test_threads_never_spend_more_together(clock: FakeClock) -> None:
    """However they meet: as much as there is, and what is given back is there again."""
    for _ in range(100):
        window, other = SlidingWindow(parse_rate("3/hour"), clock), SlidingWindow(parse_rate("5/hour"), clock)
        refused = at_once(8, partial(acquire_together, (window, "x"), (other, "")))
        assert (refused.count(None), other.remaining("")) == (3, 2)
        at_once(3, partial(window.release, "x"))
        assert window.remaining("x") == 3
