"""Races that need no engine: many calls for one target, and many targets at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from hubwarden_agent.engine.port import ContainerState
from hubwarden_agent.errors import Reason, Refusal
from support.agent.core import AgentStage, request_id, reset_command, restart_command
from support.fakes.engine import home_of

CALLS = 200


def _reasons(results: Sequence[object]) -> Counter[Reason | None]:
    return Counter(result.reason if isinstance(result, Refusal) else None for result in results)


async def test_of_many_restarts_of_one_container_one_acts() -> None:
    """With request ids of their own, one restarts and all others are told that it does."""
    stage = AgentStage()
    stage.engine.add_container("jupyterlab-alice")
    calls = [stage.restarter.restart(restart_command()) for _ in range(CALLS)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert _reasons(results) == {None: 1, Reason.OPERATION_IN_PROGRESS: CALLS - 1}
    assert len(stage.touched) == 1


@pytest.mark.parametrize("operation", ["restart", "reset"])
async def test_of_many_calls_with_one_request_id_one_acts_and_all_have_its_outcome(operation: str) -> None:
    """Whoever repeats the id, while it runs or afterwards, gets the one outcome there is."""
    stage = AgentStage()
    identifier = request_id()
    calls: Sequence[Coroutine[Any, Any, object]]
    if operation == "restart":
        stage.engine.add_container("jupyterlab-alice")
        calls = [stage.restarter.restart(restart_command(identifier=identifier)) for _ in range(CALLS)]
    else:
        stage.engine.add_volume("jupyterlab-alice_home")
        calls = [stage.resetter.reset(reset_command(identifier=identifier)) for _ in range(CALLS)]
    results = await asyncio.gather(*calls)
    assert all(result == results[0] for result in results)
    assert len(stage.touched) == 1
    assert stage.audit.phases() == [("intent", None), ("outcome", None)]


async def test_many_users_at_once_are_all_served() -> None:
    """Half restart and half reset; each gets their own and nothing else is touched."""
    stage = AgentStage(resets_total="200/hour")
    for number in range(CALLS):
        state = ContainerState.EXITED if number % 2 else ContainerState.RUNNING
        stage.engine.add_container(f"jupyterlab-u{number}", state, mounts=(home_of(f"u{number}"),))
        stage.engine.add_volume(f"jupyterlab-u{number}_home")
    results: list[Any] = await asyncio.gather(
        *(stage.restarter.restart(restart_command(f"u{number}")) for number in range(0, CALLS, 2)),
        *(stage.resetter.reset(reset_command(f"u{number}")) for number in range(1, CALLS, 2)),
    )
    assert [result.container for result in results[: CALLS // 2]] == [
        f"jupyterlab-u{number}" for number in range(0, CALLS, 2)
    ]
    assert {volume.value for volume in stage.engine.volumes} == {f"jupyterlab-u{n}_home" for n in range(0, CALLS, 2)}
    assert len(stage.engine.containers) == CALLS // 2
