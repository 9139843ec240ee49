"""The bound on numbers: never one too many, whatever happens while somebody counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.gateway.quota import Quota
from support.waiting.threads import Meeting, at_once

PATIENCE = 30
"""Seconds for what takes none."""


class Engine:
    """Counts containers, slowly: the answer is what there was when it was asked."""

    def __init__(self, existing: int = 0) -> None:
        self.existing = existing
        self.asked = 0
        self.counting = threading.Event()
        self.answer = threading.Event()
        self.answer.set()

    def count(self) -> int:
        """How many there are."""
        self.asked += 1
        seen = self.existing
        self.counting.set()
        assert self.answer.wait(PATIENCE)
        return seen


class Create:
    """A create in a thread of its own, which goes on to its end once it `may_end`."""

    def __init__(self, threads: ThreadPoolExecutor, room: Quota, engine: Engine) -> None:
        self.may_end = threading.Event()
        self.begun = threading.Event()
        self.end: Future[None] = threads.submit(self._run, room, engine)

    def _run(self, room: Quota, engine: Engine) -> None:
        with room.reserve():
            self.begun.set()
            assert self.may_end.wait(PATIENCE)
            engine.existing += 1


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """For creates at the same time."""
    with ThreadPoolExecutor(4) as threads:
        yield threads


def create(room: Quota, engine: Engine) -> None:
    """Create a container."""
    with room.reserve():
        engine.existing += 1


def refused(room: Quota, engine: Engine) -> None:
    """One more is too many."""
    with pytest.raises(RequestRefused) as refusal:
        create(room, engine)
    assert refusal.value.reason is Reason.LIMIT_REACHED
    assert refusal.value.retry_after


def test_no_room_from_the_beginning() -> None:
    """What was there before the agent started counts."""
    engine = Engine(existing=3)
    refused(Quota(engine.count, 3, "max_containers"), engine)


def test_what_is_being_created_counts(threads: ThreadPoolExecutor) -> None:
    """When a create is running, it counts before the engine lists the container."""
    engine = Engine()
    room = Quota(engine.count, 1, "max_containers")
    first = Create(threads, room, engine)
    assert first.begun.wait(PATIENCE)
    refused(room, engine)
    first.may_end.set()
    first.end.result(PATIENCE)
    refused(room, engine)


def test_what_ends_while_the_engine_counts_is_counted(threads: ThreadPoolExecutor) -> None:
    """A container that the count has just missed, and that is no longer being created when the answer comes."""
    engine = Engine()
    room = Quota(engine.count, 1, "max_containers")
    first = Create(threads, room, engine)
    assert first.begun.wait(PATIENCE)
    engine.answer.clear()
    engine.counting.clear()
    second = threads.submit(refused, room, engine)
    assert engine.counting.wait(PATIENCE)
    first.may_end.set()
    first.end.result(PATIENCE)
    engine.answer.set()
    second.result(PATIENCE)
    assert engine.existing == 1


def test_a_count_holds_up_only_creates_without_room(threads: ThreadPoolExecutor) -> None:
    """They wait for it, and make none of their own that it has made needless. Who is done, or needs none, goes on."""
    engine = Engine()
    room = Quota(engine.count, 4, "max_volumes")
    first = Create(threads, room, engine)
    assert first.begun.wait(PATIENCE)
    for _ in range(3):
        create(room, engine)
    engine.existing = 0  # they were removed
    engine.answer.clear()
    engine.counting.clear()
    waiting = [threads.submit(create, room, engine) for _ in range(2)]
    assert engine.counting.wait(PATIENCE)
    with room.reserve(0):
        pass
    first.may_end.set()
    first.end.result(PATIENCE)
    assert not any(one.done() for one in waiting)
    asked = engine.asked
    engine.answer.set()
    for one in waiting:
        one.result(PATIENCE)
    assert engine.asked == asked


def test_a_smaller_one_that_fits_during_a_count_is_counted(threads: ThreadPoolExecutor) -> None:
    """Three volumes do not fit without a count, one does: what was made of it meanwhile is not forgotten."""
    engine = Engine()
    room = Quota(engine.count, 4, "max_volumes")
    create(room, engine)
    create(room, engine)
    engine.existing = 1  # one was removed
    engine.answer.clear()
    engine.counting.clear()
    three = threads.submit(_three, room, engine)
    assert engine.counting.wait(PATIENCE)
    create(room, engine)
    engine.answer.set()
    assert isinstance(three.exception(PATIENCE), RequestRefused)
    assert engine.existing == 2


def _three(room: Quota, engine: Engine) -> None:
    with room.reserve(3):
        engine.existing += 3


def test_many_creates_at_once() -> None:
    """Room for seven: seven are made, whatever way they meet; and what they held is free again when they failed."""
    for _ in range(50):
        made = list[int]()
        room = Quota(made.__len__, 7, "max_containers")

        def attempt(room: Quota = room, made: list[int] = made) -> None:
            with room.reserve():
                made.append(1)

        refused = at_once(20, attempt)
        assert (refused.count(None), len(made)) == (7, 7)
        assert set(refused) == {None, Reason.LIMIT_REACHED}
        assert room._reserved == 0  # noqa: SLF001 - what is kept in memory shows nowhere else


@pytest.mark.parametrize("where", ["__radd__", "__rsub__"])
def test_two_that_end_at_once(where: str) -> None:
    """What each of them held is given back, and what each has made is counted."""
    meeting = Meeting()

    def met(self: int, other: int) -> int:
        meeting.wait()
        return other + int(self) if where == "__radd__" else other - int(self)

    number = type("Number", (int,), {where: met})(1)
    room = Quota(lambda: 0, 10, "max_containers")
    room._upper_bound = 0  # noqa: SLF001 - what is kept in memory shows nowhere else

    def attempt() -> None:
        with room.reserve(number):
            pass

    assert at_once(2, attempt) == [None, None]
    assert (room._reserved, room._upper_bound) == (0, 2)  # noqa: SLF001 - what is kept in memory shows nowhere else


def test_far_from_the_maximum_the_engine_is_asked_once() -> None:
    """A create does not wait for a count that cannot change anything."""
    engine = Engine()
    room = Quota(engine.count, 100, "max_containers")
    for _ in range(50):
        create(room, engine)
    assert engine.asked == 1


def test_what_was_removed_makes_room() -> None:
    """When the maximum is reached, the engine is asked again, and a removed container no longer counts."""
    engine = Engine()
    room = Quota(engine.count, 2, "max_containers")
    create(room, engine)
    create(room, engine)
    refused(room, engine)
    engine.existing -= 1
    create(room, engine)
    refused(room, engine)
    assert engine.existing == 2


def test_a_create_that_fails_gives_its_room_back() -> None:
    """Failures do not use up room, however many there are."""
    engine = Engine()
    room = Quota(engine.count, 1, "max_containers")
    for _ in range(5):
        with pytest.raises(ConnectionError), room.reserve():
            raise ConnectionError
    create(room, engine)
    refused(room, engine)
