"""Races that need no engine: many calls for one target, and many targets at once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from functools import partial

import pytest
from hubwarden_agent.engine.port import ContainerState
from hubwarden_agent.errors import Reason, RequestRefused
from support.agent.core import AgentStage, request_id, reset_command, restart_command
from support.fakes.engine import home_of
from support.waiting.conditions import wait_for
from support.waiting.threads import in_background

CALLS = 60


def _reasons(results: Sequence[object]) -> Counter[Reason | None]:
    return Counter(result.reason if isinstance(result, RequestRefused) else None for result in results)


def test_of_many_restarts_of_one_container_one_acts() -> None:
    """With request ids of their own, one restarts and all others are told that it does."""
    stage = AgentStage()
    stage.engine.add_container("jupyterlab-alice")
    release = stage.engine.hold["restart_container"] = threading.Event()
    calls = [in_background(lambda: stage.restarter.restart(restart_command())) for _ in range(CALLS)]
    wait_for(lambda: sum(call.done() for call in calls) == CALLS - 1, "all but one")
    release.set()
    assert _reasons([call.exception(30) for call in calls]) == {None: 1, Reason.OPERATION_IN_PROGRESS: CALLS - 1}
    assert len(stage.touched) == 1


@pytest.mark.parametrize("operation", ["restart", "reset"])
def test_of_many_calls_with_one_request_id_one_acts_and_all_have_its_outcome(operation: str) -> None:
    """When the id is repeated, while it runs or afterwards, the answer is the one outcome."""
    stage = AgentStage()
    identifier = request_id()
    stage.engine.add_container("jupyterlab-alice")
    stage.engine.add_volume("jupyterlab-alice_home")

    def call() -> object:
        if operation == "restart":
            return stage.restarter.restart(restart_command(identifier=identifier))
        return stage.resetter.reset(reset_command(identifier=identifier))

    calls = [in_background(call) for _ in range(CALLS)]
    results = [one.result(30) for one in calls]
    assert all(result == results[0] for result in results)
    assert len(stage.touched) == 1
    assert stage.audit.phases() == [("intent", None), ("outcome", None)]


def test_many_users_at_once_are_all_served() -> None:
    """Half restart and half reset; each gets their own and nothing else is touched."""
    stage = AgentStage(resets_total="200/hour")
    for number in range(CALLS):
        state = ContainerState.EXITED if number % 2 else ContainerState.RUNNING
        stage.engine.add_container(f"jupyterlab-u{number}", state, mounts=(home_of(f"u{number}"),))
        stage.engine.add_volume(f"jupyterlab-u{number}_home")
    names = [f"u{number}" for number in range(CALLS)]
    restarts = [in_background(partial(stage.restarter.restart, restart_command(name))) for name in names[::2]]
    resets = [in_background(partial(stage.resetter.reset, reset_command(name))) for name in names[1::2]]
    assert [one.result(30).container for one in restarts] == [f"jupyterlab-{name}" for name in names[::2]]
    assert [one.result(30).volume for one in resets] == [f"jupyterlab-{name}_home" for name in names[1::2]]
    assert {volume.value for volume in stage.engine.volumes} == {f"jupyterlab-u{n}_home" for n in range(0, CALLS, 2)}
    assert len(stage.engine.containers) == CALLS // 2
