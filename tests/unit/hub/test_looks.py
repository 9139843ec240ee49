"""What open pages cost: looks at Docker are shared and bounded, and many pages take turns."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hubwarden_hub import looks
from hubwarden_hub.commands import RequestId
from hubwarden_hub.looks import Looks
from hubwarden_hub.records import Deed, End, Kind
from support.waiting import virtual_time

LOOK_SECONDS = 0.01


class WatchedSpawner:
    """A server that notes when it is looked at."""

    def __init__(self, username: str = "alice") -> None:
        self.user, self.name, self.ready = SimpleNamespace(name=username), "", True
        self.looked_at: list[float] = []

    async def poll_and_notify(self) -> None:
        self.looked_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(LOOK_SECONDS)


def run(coroutine: Any) -> Any:
    """Run it in virtual time."""
    return virtual_time.run(coroutine)


def test_however_many_pages_ask_a_server_is_looked_at_once() -> None:
    """When pages ask at once, and again while the look is fresh, there is one look; afterwards there is another."""
    spawner = WatchedSpawner()

    async def pages() -> None:
        shared = Looks()
        await asyncio.gather(*(shared.look(spawner) for _page in range(10)))
        await asyncio.sleep(looks.LIFETIME / 2)
        await shared.look(spawner)
        assert len(spawner.looked_at) == 1
        await asyncio.sleep(looks.LIFETIME)
        await shared.look(spawner)

    run(pages())
    assert len(spawner.looked_at) == 2


@pytest.mark.parametrize(("username", "count"), [("alice", 2), ("bob", 1)])
def test_an_operation_that_ends_makes_a_look_stale(username: str, count: int) -> None:
    """When an operation of the server ends, the next page has it looked at anew; another user's changes nothing."""
    spawner = WatchedSpawner()

    async def page() -> None:
        shared = Looks()
        await shared.look(spawner)
        shared.ended(Deed(Kind.RESTART, username, "", "user:root", RequestId.new()), End(None, 1.0))
        await asyncio.sleep(looks.LIFETIME / 2)
        await shared.look(spawner)

    run(page())
    assert len(spawner.looked_at) == count


def test_a_server_that_is_not_ready_is_not_looked_at() -> None:
    """When a server is stopped or pending, also since it was asked about, Docker is not asked."""
    stopped, first, stopping = WatchedSpawner(), WatchedSpawner("bob"), WatchedSpawner("carol")
    stopped.ready = False

    async def pages() -> None:
        shared = Looks()
        asking = asyncio.gather(*(shared.look(spawner) for spawner in (stopped, first, stopping)))
        await asyncio.sleep(0)
        stopping.ready = False
        await asking

    run(pages())
    assert (len(stopped.looked_at), len(first.looked_at), len(stopping.looked_at)) == (0, 1, 0)


def test_looks_at_many_servers_leave_the_thread_to_others() -> None:
    """When 300 pages ask every 1.5 s, looks take a quarter of the time, and each server has its turn."""
    spawners = [WatchedSpawner(f"user{number}") for number in range(300)]

    async def page(shared: Looks, spawner: WatchedSpawner) -> float:
        longest, loop = 0.0, asyncio.get_running_loop()
        while loop.time() < 60:
            begin = loop.time()
            await shared.look(spawner)
            longest = max(longest, loop.time() - begin)
            await asyncio.sleep(looks.BEAT)
        return longest

    async def pages() -> list[float]:
        shared = Looks()
        return await asyncio.gather(*(page(shared, spawner) for spawner in spawners))

    longest = max(run(pages()))
    busy = sum(len(spawner.looked_at) for spawner in spawners) * LOOK_SECONDS
    assert 0.2 < busy / 60 < 0.26
    assert min(len(spawner.looked_at) for spawner in spawners) >= 2
    assert longest < 0.6


@pytest.mark.parametrize(("pages", "at_most"), [(1, None), (200, 9), (1000, 35)])
def test_many_pages_take_turns(pages: int, at_most: int | None) -> None:
    """When more pages are open than `RATE` allows at their beat, each is told when to ask again."""

    async def page(shared: Looks, asked: list[float]) -> list[int | None]:
        loop, waits = asyncio.get_running_loop(), []
        while loop.time() < 60:
            asked.append(loop.time())
            waits.append(shared.seconds_to_next())
            await asyncio.sleep(waits[-1] or looks.BEAT)
        return waits

    async def all_pages(asked: list[float]) -> list[list[int | None]]:
        shared = Looks()
        return await asyncio.gather(*(page(shared, asked) for _ in range(pages)))

    asked: list[float] = []
    waits = run(all_pages(asked))
    settled = [moment for moment in asked if moment > 36]
    assert len(settled) / 24 < looks.RATE * 1.1
    if at_most is None:
        assert not any(any(page) for page in waits)
    else:
        assert 0 < max(wait or 0 for page in waits for wait in page) <= at_most
