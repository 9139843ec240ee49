"""A stop on a Spawner without Docker: how long it goes on, and what ends it."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from hubwarden_hub import pending_stop
from hubwarden_hub.commands import RequestId
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.operations import Turns
from hubwarden_hub.pending_stop import PendingStop, StopAbandoned
from hubwarden_hub.records import Records
from hubwarden_hub.stops import Stops
from support.waiting import virtual_time
from support.waiting.conditions import until

STARTED = object()


class Spawner:
    """What a stop uses of the mixin. `answers` are Docker's, one a poll; after them the container is stopped."""

    name, object_name, object_id, _log_name, api_token = "", "jupyterlab-alice", "id", "alice", ""
    log = logging.getLogger("test")

    def __init__(self, *answers: Any, shutdown_wait: float = 60, seconds: float = 0) -> None:
        self.answers = list(answers)
        self.seconds = seconds  # each answer takes so long
        self.attempts = 0
        self.answering = asyncio.Event()
        self.answering.set()
        self.plugin = SimpleNamespace(
            turns=Turns(),
            settings=SimpleNamespace(turn_wait=0.01),
            stops=Stops(shutdown_wait),
            records=Records([], self.log),
        )
        self.user = SimpleNamespace(id=1, name="alice", db=None)
        self.orm_spawner = SimpleNamespace(started=STARTED)
        self.pending_stop = PendingStop(self)  # type: ignore[arg-type]  # as far as it is used

    async def unguarded_poll(self) -> Any:
        """The next answer; "stopped" after the last one."""
        self.attempts += 1
        await self.answering.wait()
        await asyncio.sleep(self.seconds)
        answer = self.answers.pop(0) if self.answers else "stopped"
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def stop_container(self, *, now: bool) -> None:
        """Docker refuses, as long as there are answers left."""
        assert not now
        if self.answers:
            raise ConnectionError


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become milliseconds."""
    monkeypatch.setattr(pending_stop, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(pending_stop, "_LONGEST_PAUSE", 0.005)
    monkeypatch.setattr(pending_stop, "_SLOW", 0.02)


async def test_attempts_go_on_until_docker_reports_a_stop() -> None:
    """When polls and stops fail, they are repeated; the first answer "stopped" ends the stop."""
    spawner = Spawner(ConnectionError(), None, ConnectionError(), "exited")
    await spawner.pending_stop.carry_out(now=False)
    assert (spawner.attempts, spawner.pending_stop.waiting_for) == (4, None)


async def test_a_second_caller_joins_the_first() -> None:
    """When JupyterHub shuts down while a stop is pending, it calls the same stop again: there is one."""
    spawner = Spawner(ConnectionError())
    await asyncio.gather(*(spawner.pending_stop.carry_out(now=False) for _ in range(2)))
    assert spawner.attempts == 2


async def test_a_late_answer_is_reported() -> None:
    """When Docker does not answer for `_SLOW`, the stop waits for the agent, and no longer once it has answered."""
    spawner = Spawner()
    spawner.answering.clear()
    stop = asyncio.create_task(spawner.pending_stop.carry_out(now=False))
    await until(lambda: spawner.pending_stop.waiting_for == "agent")
    spawner.answering.set()
    await stop
    assert spawner.pending_stop.waiting_for is None


async def test_a_stop_waits_for_the_users_other_operation() -> None:
    """When another operation holds the user's lock for longer than `turn_wait`, the stop goes on waiting."""
    spawner = Spawner()
    async with spawner.plugin.turns.take(1, 1):
        stop = asyncio.create_task(spawner.pending_stop.carry_out(now=False))
        await until(lambda: spawner.pending_stop.waiting_for == "operation")
        await asyncio.wait({stop}, timeout=0.05)
        assert (stop.done(), spawner.attempts) == (False, 0)
    await stop


async def test_one_attempt_at_a_time_uses_the_only_thread() -> None:
    """When two servers' stops wait for Docker, the second asks after the first has its answer."""
    first, second = Spawner(), Spawner()
    second.plugin.stops = first.plugin.stops
    first.answering.clear()
    stops = [asyncio.create_task(each.pending_stop.carry_out(now=False)) for each in (first, second)]
    await until(lambda: second.pending_stop.waiting_for == "agent")
    assert second.attempts == 0
    first.answering.set()
    await asyncio.gather(*stops)


async def test_a_shutdown_abandons_stops_once_nothing_stops_any_more() -> None:
    """When no stop has succeeded for `shutdown_wait`, the others and later ones end; the record is kept."""
    quick, stuck = Spawner(), Spawner(shutdown_wait=0.05)
    quick.plugin.stops = stuck.plugin.stops
    stuck.answering.clear()
    stop = asyncio.create_task(stuck.pending_stop.carry_out(now=False))
    await until(lambda: stuck.attempts == 1)

    async def cleanup() -> None:
        with pytest.raises(StopAbandoned):
            await stop
        with pytest.raises(StopAbandoned):
            await quick.pending_stop.carry_out(now=False)

    await stuck.plugin.stops.limiting(cleanup)()
    for each in (quick, stuck):
        assert each.pending_stop.keeps_record
        assert each.pending_stop.started is STARTED


async def test_a_cancelled_stop_of_a_hub_that_shuts_down_keeps_the_record() -> None:
    """When the Hub shuts down and leaves servers running, it cancels every task after its cleanup."""
    spawner = Spawner()
    spawner.answering.clear()
    stop = asyncio.create_task(spawner.pending_stop.carry_out(now=False))
    await until(lambda: spawner.attempts == 1)
    await spawner.plugin.stops.limiting(AsyncMock())()
    stop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stop
    await asyncio.sleep(0)
    assert spawner.pending_stop.keeps_record


async def test_a_cancelled_caller_leaves_the_stop_under_way(caplog: pytest.LogCaptureFixture) -> None:
    """When JupyterHub cancels a caller and does not shut down, the stop goes on; the next caller joins it."""
    spawner = Spawner()
    spawner.answering.clear()
    first = asyncio.create_task(spawner.pending_stop.carry_out(now=False))
    await until(lambda: spawner.attempts == 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert "shuts down" not in caplog.text
    assert spawner.pending_stop.keeps_record  # the container runs
    assert spawner.pending_stop.started is STARTED
    second = asyncio.create_task(spawner.pending_stop.carry_out(now=False))
    await until(lambda: spawner.pending_stop.waiting_for == "agent")
    await until(lambda: not spawner.pending_stop.keeps_record)
    spawner.answering.set()
    await second
    assert (spawner.attempts, spawner.pending_stop.waiting_for) == (1, None)


async def test_a_stop_without_a_caller_keeps_the_record_until_its_end() -> None:
    """When nobody joins a stop whose caller was cancelled, the record is kept until the container has stopped."""
    spawner = Spawner()
    spawner.answering.clear()
    stop = asyncio.create_task(spawner.pending_stop.carry_out(now=False))
    await until(lambda: spawner.attempts == 1)
    stop.cancel()
    await asyncio.wait({stop})
    assert spawner.pending_stop.keeps_record
    spawner.answering.set()
    await until(lambda: not spawner.pending_stop.keeps_record)
    assert (spawner.attempts, spawner.plugin.stops.under_way) == (1, set())


@pytest.mark.parametrize("seconds", [13, 30])
def test_attempts_that_fail_slowly_take_a_fifth_of_the_thread(seconds: float) -> None:
    """When Docker can stop none of three containers, their attempts take a fifth of the time together, in turns."""

    async def attempts_in(period: float) -> list[int]:
        stuck = [Spawner(*[ConnectionError()] * 10_000, seconds=seconds) for _ in range(3)]
        for each in stuck:
            each.plugin.stops = stuck[0].plugin.stops
        stops = [asyncio.create_task(each.pending_stop.carry_out(now=False)) for each in stuck]
        await asyncio.wait(stops, timeout=period)
        return [each.attempts for each in stuck]

    first = 3 * seconds
    attempts = virtual_time.run(attempts_in(first + 36_000))
    assert 0.15 < (sum(attempts) * seconds - first) / 36_000 < 0.21
    assert max(attempts) - min(attempts) <= 1


def test_attempts_that_fail_fast_are_not_paced() -> None:
    """When Docker could not stop one container, another one that it refuses at first is stopped after short pauses."""

    async def both() -> float:
        stuck, refused = Spawner(ConnectionError(), None, seconds=30), Spawner(*[ConnectionError()] * 5)
        refused.plugin.stops = stuck.plugin.stops
        other = asyncio.create_task(stuck.pending_stop.carry_out(now=False))
        await asyncio.sleep(31)
        began = asyncio.get_running_loop().time()
        await refused.pending_stop.carry_out(now=False)
        took = asyncio.get_running_loop().time() - began
        assert stuck.attempts == 1
        await other
        return took

    assert virtual_time.run(both()) < 1


async def test_only_a_stop_that_waits_can_be_given_up() -> None:
    """When no stop is under way, or one goes well, giving up is refused."""
    spawner = Spawner()
    with pytest.raises(AgentError) as refused:
        spawner.pending_stop.forget("user:root", RequestId.new())
    assert refused.value.reason is Reason.STOP_NOT_WAITING


async def test_a_container_that_is_down_in_a_restart_is_not_stopped() -> None:
    """When Docker shows the container down while the agent's lock is held, the stop goes on until it is confirmed."""
    spawner = Spawner("exited", None, "exited")
    await spawner.pending_stop.carry_out(now=False)
    assert spawner.attempts == 3
