"""Sizes are told when they are known and not old, and nobody ever waits for them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hubwarden_agent.config import ResetPolicy
from hubwarden_agent.engine.port import EngineError
from hubwarden_agent.home_content import sizes
from hubwarden_agent.names import VolumeName
from support.agent.core import HOME, AgentStage, reset_command
from support.waiting.conditions import wait_for
from support.waiting.threads import in_background

VOLUME = VolumeName(HOME)
INTERVAL = 60


@pytest.fixture
def stage() -> AgentStage:
    """A home of nine bytes."""
    stage = AgentStage(policy=ResetPolicy(sizes_interval=INTERVAL))
    stage.engine.add_volume(HOME)
    stage.engine.contents[VOLUME] = (b"nine bytes"[:9],)
    return stage


def told(stage: AgentStage) -> int:
    """What validating a reset says."""
    return (stage.resetter.reset(reset_command(validate_only=True))).size_bytes


class AtTheFirstPause(threading.Event):
    """Set as soon as somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout)
        self.set()
        return True


def count_once(stage: AgentStage) -> list[float | None]:
    """Let it count until it pauses. Returns the pauses in seconds."""
    stopping = AtTheFirstPause()
    assert stage.home is not None
    stage.home.run(stopping)
    return stopping.pauses


def test_unknown_at_first_and_then_told(stage: AgentStage) -> None:
    """-1 until it was counted; a reset without a backup tells it, too."""
    assert told(stage) == -1
    count_once(stage)
    assert told(stage) == 9
    assert (stage.resetter.reset(reset_command())).size_bytes == 9


def test_off_counts_nothing(tmp_path: Path) -> None:
    """When sizes are off, which is the default, nothing is counted, also where backups are on."""
    stage = AgentStage()
    stage.engine.add_volume(HOME)
    assert stage.home is None
    assert told(stage) == -1
    assert count_once(AgentStage(policy=ResetPolicy(backup="required", backup_dir=tmp_path))) == []


def test_a_size_belongs_to_one_volume(stage: AgentStage) -> None:
    """When a volume is replaced by one of the same name, the old size is not reported for it."""
    count_once(stage)
    stage.engine.add_volume(HOME)
    assert told(stage) == -1


def test_an_old_size_is_not_told(stage: AgentStage) -> None:
    """When a size is older than three intervals, it is not reported."""
    count_once(stage)
    stage.clock.advance(sizes.OLD * INTERVAL - 1)
    assert told(stage) == 9
    stage.clock.advance(1)
    assert told(stage) == -1


def test_nobody_waits(stage: AgentStage) -> None:
    """While Docker counts, for however long, validating answers."""
    release = stage.engine.hold["volume_sizes"] = threading.Event()
    counting = in_background(lambda: count_once(stage))
    wait_for(lambda: "volume_sizes" in stage.engine.questions, "the count")
    assert told(stage) == -1
    release.set()
    counting.result(30)


def test_a_slow_count_is_seldom(stage: AgentStage) -> None:
    """When a count took a minute, the next one comes twenty minutes later."""
    stage.engine.before["volume_sizes"] = lambda: stage.clock.advance(60)
    assert count_once(stage) == [1200]


def test_a_count_that_fails_is_tried_again(stage: AgentStage) -> None:
    """And what was counted before stays until it is old."""
    count_once(stage)
    stage.engine.fail_next["volume_sizes"] = EngineError("a disk usage operation is already running")
    count_once(stage)
    assert told(stage) == 9
