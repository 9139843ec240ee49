"""The table of states over Docker, for every state that Docker can be made to hold, and who holds a home.

Not here, but over the fake engine in `unit/agent/test_states.py`: `exited` or `restarting` together with AutoRemove.
Docker removes the first in the same breath (the half of that which can be held is `removing`, or `dead` if it fails),
and refuses to create the second.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from docker.errors import NotFound  # noqa: TID251 - tests look at the engine behind the agent's back
from hubwarden_agent.clock import SystemClock
from hubwarden_agent.config import ResetPolicy
from hubwarden_agent.engine.docker_engine import DockerEngine
from hubwarden_agent.engine.port import Container
from hubwarden_agent.errors import Reason
from hubwarden_agent.names import VolumeName
from hubwarden_agent.operations import reset
from support.agent.core import AgentStage
from support.docker.dying_containers import die, is_gone, removing, state
from support.docker.private_engine import Workbench
from support.scenarios.container_states import CASES, DONE, Case, S, ask
from support.waiting.conditions import PATIENCE, wait_for
from support.waiting.threads import in_background

NEVER_WITH_AUTO_REMOVE = {S.EXITED, S.RESTARTING}
FAILS_UNTIL_MENDED = "[ -e /data/mended ] || exit 1; trap 'exit 0' TERM; while :; do sleep 0.1; done"
STOPPED = [
    Case("reset", own=True, state=state, auto_remove=auto_remove)
    for state, auto_remove in product((S.CREATED, S.EXITED, S.DEAD), (False, True))
]


def held(case: Case) -> bool:
    """Whether Docker can hold such a container in this state."""
    return not (case.auto_remove and case.state in NEVER_WITH_AUTO_REMOVE)


@contextmanager
def make(bench: Workbench, case: Case, username: str) -> Iterator[Any]:
    """A container in the case's state, with the user's home mounted; one that is being removed, for the body."""
    volume = bench.volume(f"jupyterlab-{username}_home")
    options: dict[str, Any] = {"labels": case.labels(username), "auto_remove": case.auto_remove}
    if case.state is S.RESTARTING:
        options |= {"command": FAILS_UNTIL_MENDED, "restart_policy": {"Name": "always"}}
    name, ends = case.container_name(username), case.state in {S.REMOVING, S.DEAD}
    started = case.auto_remove if ends else case.state is not S.CREATED
    container = bench.container(name, start=started, mounts={volume.name: "/data"}, **options)
    with ExitStack() as stack:
        if case.state is S.PAUSED:
            container.pause()
        elif case.state is S.EXITED:
            container.stop(timeout=1)
        elif case.state is S.REMOVING:
            stack.enter_context(removing(container, by_itself=case.auto_remove))
        elif case.state is S.DEAD:
            die(container, by_itself=case.auto_remove)
        elif case.state is S.RESTARTING:
            fail_often(bench, container, Path(volume.attrs["Mountpoint"], "mended"))
        assert state(container) == case.state
        yield container


def fail_often(bench: Workbench, container: Any, mended: Path) -> None:
    """Docker waits longer after each failure: after this many it is seconds, in which `restarting` holds."""
    wait_for(lambda: bench.client.api.inspect_container(container.id)["RestartCount"] > 5, "failing often enough")
    wait_for(lambda: state(container) == S.RESTARTING, "restarting")
    mended.touch()


def has_home(bench: Workbench, username: str) -> bool:
    """Whether the home is there."""
    try:
        bench.client.volumes.get(f"jupyterlab-{username}_home")
    except NotFound:
        return False
    return True


@pytest.mark.parametrize("case", [case for case in CASES if held(case) and case.state is not S.RESTARTING], ids=str)
def test_every_state_that_docker_holds(
    case: Case, bench: Workbench, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table's answer; and what was refused is as it was."""
    monkeypatch.setattr(reset, "REMOVING_PATIENCE", 1)
    username = bench.username()
    stage = AgentStage(engine=engine, clock=SystemClock())
    with make(bench, case, username) as container:
        assert ask(stage, case, username) is case.answer
        if case.answer:
            assert state(container) == case.state
            assert has_home(bench, username)
        elif case.operation == "restart":
            assert state(container) == S.RUNNING
        else:
            assert is_gone(container)
            assert not has_home(bench, username)


def is_restarting(container: Any) -> bool:
    """Whether Docker is between two starts of a container; in the moment of each it says running."""
    return bool(state(container) == S.RESTARTING)


def test_containers_that_keep_restarting(bench: Workbench, engine: DockerEngine) -> None:
    """When Docker restarts a container again and again, the table's answer holds.

    Docker takes seconds to hold that state, so all cases of it fail side by side.
    """
    cases = {bench.username(): case for case in CASES if held(case) and case.state is S.RESTARTING}
    with ExitStack() as stack, ThreadPoolExecutor(len(cases)) as threads:
        making = [threads.submit(stack.enter_context, make(bench, case, user)) for user, case in cases.items()]
        containers = [made.result() for made in making]
        asked = [
            threads.submit(ask, AgentStage(engine=engine, clock=SystemClock()), case, user)
            for user, case in cases.items()
        ]
        answers = [one.result() for one in asked]
        assert answers == [case.answer for case in cases.values()]
        for (user, case), container in zip(cases.items(), containers, strict=True):
            if case.answer:
                wait_for(partial(is_restarting, container), "the loop to go on")
                assert has_home(bench, user)
            else:
                assert state(container) == S.RUNNING


@pytest.mark.parametrize("keep", [False, True], ids=["remove", "refuse"])
@pytest.mark.parametrize("case", [case for case in STOPPED if held(case)], ids=str)
def test_a_stopped_container_of_the_user(case: Case, bench: Workbench, engine: DockerEngine, *, keep: bool) -> None:
    """Goes with the home, one that was created long ago too; or by policy both stay: CONTAINER_KEPT."""
    username = bench.username()
    policy = ResetPolicy(stopped_container="refuse" if keep else "remove", start_timeout=0)
    stage = AgentStage(engine=engine, clock=SystemClock(), policy=policy)
    with make(bench, case, username) as container:
        assert ask(stage, case, username) is (Reason.CONTAINER_KEPT if keep else DONE)
        assert is_gone(container) is not keep
        assert has_home(bench, username) is keep


@pytest.mark.parametrize("auto_remove", [False, True])
def test_a_container_that_is_removed_in_the_end(
    bench: Workbench, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch, *, auto_remove: bool
) -> None:
    """A reset that found it `removing` waits for that, and then goes on."""
    looked, ask_docker = threading.Event(), engine.containers_holding

    def holding(volume: VolumeName) -> tuple[Container, ...]:
        found = ask_docker(volume)
        if [holder.state for holder in found] == [S.REMOVING]:
            looked.set()
        return found

    monkeypatch.setattr(engine, "containers_holding", holding)
    case = Case("reset", own=True, state=S.REMOVING, auto_remove=auto_remove)
    username = bench.username()
    with make(bench, case, username):
        resetting = in_background(lambda: ask(AgentStage(engine=engine, clock=SystemClock()), case, username))
        assert looked.wait(PATIENCE)
        assert not resetting.done()
    assert resetting.result(PATIENCE) is DONE
    assert not has_home(bench, username)
