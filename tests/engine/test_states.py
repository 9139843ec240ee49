"""The table of states over Docker, for every state that Docker can be made to hold.

Not here, but over the fake engine in `unit/agent/test_states.py`: `removing` and `dead`, which Docker passes through at
times of its own, and `exited` or `restarting` together with AutoRemove, which Docker does not have: it removes the
first and refuses to create the second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agent_stage import AgentStage
from docker.errors import NotFound  # noqa: TID251 - tests look at the engine behind the agent's back
from hub.stack import wait_for
from hubwarden_agent.clock import SystemClock
from hubwarden_agent.engine.docker_engine import DockerEngine
from private_engine import Workbench
from states import CASES, Case, S, ask

NEVER = {S.REMOVING, S.DEAD}
NEVER_WITH_AUTO_REMOVE = NEVER | {S.EXITED, S.RESTARTING}
FAILS_UNTIL_MENDED = "[ -e /data/mended ] || exit 1; trap 'exit 0' TERM; while :; do sleep 0.1; done"


def held(case: Case) -> bool:
    """Whether Docker can hold such a container in this state."""
    return case.state not in (NEVER_WITH_AUTO_REMOVE if case.auto_remove else NEVER)


def make(bench: Workbench, case: Case, username: str) -> Any:
    """A container in the case's state, with the user's home mounted."""
    volume = bench.volume(f"jupyterlab-{username}_home")
    options: dict[str, Any] = {"labels": case.labels(username), "auto_remove": case.auto_remove}
    if case.state is S.RESTARTING:
        options |= {"command": FAILS_UNTIL_MENDED, "restart_policy": {"Name": "always"}}
    name, started = case.container_name(username), case.state is not S.CREATED
    container = bench.container(name, start=started, mounts={volume.name: "/data"}, **options)
    if case.state is S.PAUSED:
        container.pause()
    elif case.state is S.EXITED:
        container.stop(timeout=1)
    elif case.state is S.RESTARTING:
        # Docker waits longer after each failure: after this many it is seconds, in which the state holds.
        wait_for(lambda: bench.client.api.inspect_container(container.id)["RestartCount"] > 5, "failing often enough")
        wait_for(lambda: state(container) == S.RESTARTING, "restarting")
        Path(volume.attrs["Mountpoint"], "mended").touch()
    assert state(container) == case.state
    return container


def state(container: Any) -> str:
    """What Docker says now."""
    container.reload()
    return str(container.status)


@pytest.mark.parametrize("case", [case for case in CASES if held(case)], ids=str)
async def test_every_state_that_docker_holds(case: Case, bench: Workbench, engine: DockerEngine) -> None:
    """The table's answer; and what was refused is as it was."""
    username = bench.username()
    container = make(bench, case, username)
    stage = AgentStage(engine=engine, clock=SystemClock())
    assert await ask(stage, case, username) is case.answer
    if case.answer:
        assert state(container) == case.state
        assert bench.client.volumes.get(f"jupyterlab-{username}_home")
    elif case.operation == "restart":
        assert state(container) == S.RUNNING
    else:
        for gone in (container.reload, lambda: bench.client.volumes.get(f"jupyterlab-{username}_home")):
            with pytest.raises(NotFound):
                gone()
