"""One lock a user: nobody waits, nobody else is held up, and whatever ends the body frees it."""

from __future__ import annotations

import threading

import pytest
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.names import Username
from support.waiting.threads import Meeting, at_once

ALICE, BOB = Username("alice"), Username("bob")


def test_a_held_lock_refuses_at_once() -> None:
    """When the lock is held, `hold` and `check` raise OPERATION_IN_PROGRESS."""
    locks = UserLocks()
    with locks.hold(ALICE):
        for take in (locks.check, lambda user: locks.hold(user).__enter__()):
            with pytest.raises(RequestRefused) as refused:
                take(ALICE)
            assert refused.value.reason is Reason.OPERATION_IN_PROGRESS


def test_a_refused_taker_does_not_free_it() -> None:
    """The lock stays with its holder when somebody else was refused."""
    locks = UserLocks()
    with locks.hold(ALICE):
        with pytest.raises(RequestRefused), locks.hold(ALICE):
            pass
        with pytest.raises(RequestRefused):
            locks.check(ALICE)


def test_checking_takes_nothing() -> None:
    """When a lock is checked, it stays free."""
    locks = UserLocks()
    locks.check(ALICE)
    with locks.hold(ALICE):
        pass


def test_users_do_not_hold_each_other_up() -> None:
    """Another user's lock is another lock; the same name is the same lock."""
    locks = UserLocks()
    with locks.hold(ALICE), locks.hold(BOB), pytest.raises(RequestRefused):
        locks.check(Username("alice"))


@pytest.mark.parametrize("end", [RuntimeError, KeyboardInterrupt, RequestRefused(Reason.DOCKER_ERROR)])
def test_whatever_ends_the_body_frees_the_lock(end: type[BaseException] | BaseException) -> None:
    """When the body raises anything, the lock is free again."""
    locks = UserLocks()
    with pytest.raises(BaseException), locks.hold(ALICE):  # noqa: B017, PT011 - any end at all
        raise end
    locks.check(ALICE)


def test_never_two_threads_at_once() -> None:
    """Two that look at the same moment: one holds it, and the other is refused."""
    meeting = Meeting()

    class Looked(Username):
        def __hash__(self) -> int:
            meeting.wait()
            return 1

    locks, holding = UserLocks(), threading.Semaphore(0)

    def attempt() -> None:
        with locks.hold(Looked("alice")):
            holding.acquire(timeout=5)  # until the other was refused

    def other() -> None:
        try:
            attempt()
        except RequestRefused:
            holding.release()
            raise

    assert sorted(map(str, at_once(2, other))) == ["None", Reason.OPERATION_IN_PROGRESS]
    locks.check(ALICE)
