"""The bound on numbers: never one too many, whatever happens while somebody counts."""

from __future__ import annotations

import asyncio

import pytest
from hubwarden_agent.errors import Reason, Refusal
from hubwarden_agent.gateway.room import Room


class Engine:
    """Counts containers, slowly: the answer is what there was when it was asked."""

    def __init__(self, existing: int = 0) -> None:
        self.existing = existing
        self.asked = 0
        self.counting = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()

    async def count(self) -> int:
        """How many there are."""
        self.asked += 1
        seen = self.existing
        self.counting.set()
        await self.answer.wait()
        return seen


async def create(room: Room, engine: Engine, may_end: asyncio.Event | None = None) -> None:
    """Create a container, which exists once `may_end` is set."""
    async with room.for_more():
        if may_end:
            await may_end.wait()
        engine.existing += 1


async def refused(room: Room, engine: Engine) -> None:
    """One more is too many."""
    with pytest.raises(Refusal) as refusal:
        await create(room, engine)
    assert refusal.value.reason is Reason.TOO_BUSY
    assert refusal.value.retry_after


async def test_no_room_from_the_beginning() -> None:
    """What was there before the agent started counts."""
    engine = Engine(existing=3)
    await refused(Room(engine.count, 3, "max_containers"), engine)


async def test_what_is_being_created_counts() -> None:
    """Before the engine lists it."""
    engine, may_end = Engine(), asyncio.Event()
    room = Room(engine.count, 1, "max_containers")
    first = asyncio.create_task(create(room, engine, may_end))
    await asyncio.sleep(0)
    await refused(room, engine)
    may_end.set()
    await first
    await refused(room, engine)


async def test_what_ends_while_the_engine_counts_is_counted() -> None:
    """A container that the count has just missed, and that is no longer being created when the answer comes."""
    engine, may_end = Engine(), asyncio.Event()
    room = Room(engine.count, 1, "max_containers")
    first = asyncio.create_task(create(room, engine, may_end))
    await engine.counting.wait()
    engine.answer.clear()
    engine.counting.clear()
    await asyncio.sleep(0)
    second = asyncio.create_task(refused(room, engine))
    await engine.counting.wait()
    may_end.set()
    await first
    engine.answer.set()
    await second
    assert engine.existing == 1


async def test_far_from_the_maximum_the_engine_is_asked_once() -> None:
    """A create does not wait for a count that cannot change anything."""
    engine = Engine()
    room = Room(engine.count, 100, "max_containers")
    for _ in range(50):
        await create(room, engine)
    assert engine.asked == 1


async def test_what_was_removed_makes_room() -> None:
    """At the maximum the engine is asked again."""
    engine = Engine()
    room = Room(engine.count, 2, "max_containers")
    await create(room, engine)
    await create(room, engine)
    await refused(room, engine)
    engine.existing -= 1
    await create(room, engine)
    await refused(room, engine)
    assert engine.existing == 2


async def test_a_create_that_fails_gives_its_room_back() -> None:
    """Failures do not use up room, however many there are."""
    engine = Engine()
    room = Room(engine.count, 1, "max_containers")
    for _ in range(5):
        with pytest.raises(ConnectionError):
            async with room.for_more():
                raise ConnectionError
    await create(room, engine)
    await refused(room, engine)
