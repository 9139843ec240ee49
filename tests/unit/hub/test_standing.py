"""How an operation stands, as pages and streams are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hubwarden_hub.commands import Home, RequestId, Restarted
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.operations import Operation, Phase
from hubwarden_hub.progress_api import ProgressHandler, standing
from hubwarden_hub.restart import RestartOutcome
from support.waiting import virtual_time

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
RESTARTED = Restarted("jupyterlab-alice", "id", MOMENT)


async def test_under_way_it_is_neither_ready_nor_failed() -> None:
    """Progress and phase, and no word about an end."""
    operation: Operation[Any] = Operation(RequestId.new())
    operation.enter(Phase.STOPPING)
    told = standing(operation, for_admin=False)
    assert (told["phase"], told["progress"]) == ("stopping", 20)
    assert not {"ready", "failed"} & set(told)


async def test_a_failure_is_never_ready() -> None:
    """It says why, and nothing of a server that is ready."""
    operation: Operation[Any] = Operation(RequestId.new())
    operation.fail(AgentError(Reason.RESTART_FAILED))
    told = standing(operation, for_admin=False)
    assert (told["phase"], told["failed"], told["reason"]) == ("done", True, "RESTART_FAILED")
    assert "ready" not in told


@pytest.mark.parametrize(
    ("outcome", "ready"),
    [
        (RestartOutcome(RESTARTED, ready=False), False),
        (RestartOutcome(RESTARTED, ready=True), True),
        (Home("volume", (), MOMENT, None, None), True),
    ],
    ids=["a silent server", "a server that answers", "a home"],
)
async def test_what_was_done_is_ready_if_the_server_answers(outcome: RestartOutcome | Home, *, ready: bool) -> None:
    """A restarted server that does not answer is not called ready; a home that was reset is."""
    operation: Operation[Any] = Operation(RequestId.new())
    operation.succeed(outcome)
    told = standing(operation, for_admin=False)
    assert (told["phase"], told["ready"]) == ("done", ready)
    assert "failed" not in told


class _Hasty(Operation[None]):
    """Has moved on, each time, before anybody was told of the phase that began."""

    async def phases(self) -> AsyncIterator[Phase]:
        following = iter([Phase.CHECKING, Phase.STOPPING])
        async for phase in super().phases():
            if phase is not Phase.DONE:
                moved_to = next(following, None)
                self.enter(moved_to) if moved_to else self.succeed(None)
            yield phase


class _Told(ProgressHandler):
    """Keeps the events."""

    acts_for_everybody = False

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    async def send(self, event: dict[str, Any]) -> None:
        self.events.append(event)


async def test_a_phase_is_told_once() -> None:
    """Also when the next one begins between a phase's beginning and its telling."""
    told = _Told()
    await told.tell(_Hasty(RequestId.new()), {"url": "/"})
    assert [event["phase"] for event in told.events] == ["checking", "stopping", "done"]
    assert [event.get("url") for event in told.events] == [None, None, "/"]


class _Silent(ProgressHandler):
    """Keeps the times at which something is written."""

    def __init__(self) -> None:
        self.times = [0.0]

    async def _write(self, text: str) -> None:
        assert text
        self.times.append(asyncio.get_running_loop().time())


def test_a_stream_says_something_every_15_seconds() -> None:
    """When a phase takes ten minutes, the stream is never silent for 15 s, so that no proxy cuts it."""
    silent = _Silent()

    async def phases() -> AsyncIterator[Phase]:
        yield Phase.REMOVING
        await asyncio.sleep(600)
        yield Phase.DONE

    async def follow() -> list[Phase]:
        return [phase async for phase in silent.with_pauses(phases())]

    assert virtual_time.run(follow()) == [Phase.REMOVING, Phase.DONE]
    assert silent.times[-1] >= 585
    assert max(later - earlier for earlier, later in pairwise(silent.times)) <= 15
