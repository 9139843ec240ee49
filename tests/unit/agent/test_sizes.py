"""Sizes are told when they are known and not old, and nobody ever waits for them."""

from __future__ import annotations

import asyncio

import pytest
from hubwarden_agent.config import ResetPolicy
from hubwarden_agent.engine.port import EngineError
from hubwarden_agent.names import VolumeName
from hubwarden_agent.operations import sizes
from support.agent.core import HOME, AgentStage, reset_command
from support.waiting.conditions import until

VOLUME = VolumeName(HOME)
INTERVAL = 60


@pytest.fixture
def stage() -> AgentStage:
    """A home of nine bytes."""
    stage = AgentStage(policy=ResetPolicy(sizes_interval=INTERVAL))
    stage.engine.add_volume(HOME)
    stage.engine.contents[VOLUME] = (b"nine bytes"[:9],)
    return stage


async def told(stage: AgentStage) -> int:
    """What validating a reset says."""
    return (await stage.resetter.reset(reset_command(validate_only=True))).size_bytes


async def count_once(stage: AgentStage) -> None:
    """Let it count, as many times as it does without its pause."""
    counting = asyncio.ensure_future(stage.sizes.follow())
    for _ in range(10):
        await asyncio.sleep(0)
    counting.cancel()


async def test_unknown_at_first_and_then_told(stage: AgentStage) -> None:
    """-1 until it was counted; a reset without a backup tells it, too."""
    assert await told(stage) == -1
    await count_once(stage)
    assert await told(stage) == 9
    assert (await stage.resetter.reset(reset_command())).size_bytes == 9


async def test_off_counts_nothing() -> None:
    """When sizes are off, which is the default, nothing is counted."""
    stage = AgentStage()
    stage.engine.add_volume(HOME)
    await stage.sizes.follow()
    assert await told(stage) == -1


async def test_a_size_belongs_to_one_volume(stage: AgentStage) -> None:
    """When a volume is replaced by one of the same name, the old size is not reported for it."""
    await count_once(stage)
    stage.engine.add_volume(HOME)
    assert await told(stage) == -1


async def test_an_old_size_is_not_told(stage: AgentStage) -> None:
    """When a size is older than three intervals, it is not reported."""
    await count_once(stage)
    stage.clock.advance(sizes.OLD * INTERVAL - 1)
    assert await told(stage) == 9
    stage.clock.advance(1)
    assert await told(stage) == -1


async def test_nobody_waits(stage: AgentStage) -> None:
    """While Docker counts, for however long, validating answers."""
    stage.engine.stall["volume_sizes"] = asyncio.Event()
    began = list[bool]()
    stage.engine.before["volume_sizes"] = lambda: began.append(True)
    counting = asyncio.ensure_future(stage.sizes.follow())
    await until(lambda: began)
    assert await told(stage) == -1
    counting.cancel()


async def test_a_slow_count_is_seldom(stage: AgentStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that took a minute is followed by twenty without."""
    pauses, sleep = list[float](), asyncio.sleep

    async def pause(seconds: float) -> None:
        await sleep(0)
        if seconds:
            pauses.append(seconds)
            raise asyncio.CancelledError

    stage.engine.before["volume_sizes"] = lambda: stage.clock.advance(60)
    monkeypatch.setattr(asyncio, "sleep", pause)
    with pytest.raises(asyncio.CancelledError):
        await stage.sizes.follow()
    assert pauses == [1200]


async def test_a_count_that_fails_is_tried_again(stage: AgentStage) -> None:
    """And what was counted before stays until it is old."""
    await count_once(stage)
    stage.engine.fail_next["volume_sizes"] = EngineError("a disk usage operation is already running")
    await count_once(stage)
    assert await told(stage) == 9
