"""Races on a real engine. Never: a file lost outside a reset, a wrong answer, somebody kept waiting by another."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError, NotFound  # noqa: TID251 - tests look at the engine behind the agent's back
from hubwarden_agent.clock import SystemClock
from hubwarden_agent.engine.docker_engine import DockerEngine
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.rates import parse_rate
from support.agent.core import AgentStage, reset_command, restart_command
from support.agent.gateway import POLICY, gateway, spawner_body
from support.agent.live_agent import reset_request, running
from support.docker.private_engine import Workbench
from support.waiting.conditions import until
from support.waiting.threads import PATIENCE, in_background

MANY = "100000/minute"

pytestmark = pytest.mark.timeout(1800)


def counts(few: int, many: int) -> pytest.MarkDecorator:
    """Run a test with few rounds, and in `make test-full` with many."""
    return pytest.mark.parametrize("rounds", [few, pytest.param(many, marks=pytest.mark.full)])


@pytest.fixture(name="stage")
def _stage(engine: DockerEngine) -> AgentStage:
    return AgentStage(restarts=MANY, resets=MANY, resets_total=MANY, engine=engine, clock=SystemClock())


class Home:
    """A user's home volume, and whether the file in it is still there."""

    def __init__(self, bench: Workbench, username: str) -> None:
        self._bench = bench
        self.name = f"jupyterlab-{username}_home"
        self.make()

    def make(self) -> None:
        """With a file in it."""
        self._file = Path(self._bench.volume(self.name).attrs["Mountpoint"], "thesis.txt")
        self._file.write_text("five years of work")

    def is_whole(self) -> bool:
        """Whether the file is there."""
        return self._file.exists()


def overlaps(seen: Counter[Any]) -> int:
    """How many rounds had a call that was refused because the other one held the lock."""
    return sum(count for answers, count in seen.items() if {Reason.OPERATION_IN_PROGRESS, 409} & set(answers))


async def reason(operation: Callable[[], object]) -> Reason | None:
    """Run an operation in a thread. The reason of a refusal; None when it was done."""
    try:
        await asyncio.to_thread(operation)
    except RequestRefused as refusal:
        return refusal.reason
    return None


@pytest.mark.slow("each round restarts a container")
@counts(30, 200)
async def test_a_reset_never_takes_the_home_from_under_a_restart(
    bench: Workbench, stage: AgentStage, rounds: int
) -> None:
    """Where locks were apart, a reset saw the container stopped in the middle of its restart and removed both."""
    username = bench.username()
    home = Home(bench, username)
    container = bench.container(f"jupyterlab-{username}", mounts={home.name: "/home/jovyan"})
    seen: Counter[tuple[Reason | None, Reason | None]] = Counter()
    for number in range(rounds):
        calls = [
            reason(lambda: stage.restarter.restart(restart_command(username, stop_timeout=1))),
            reason(lambda: stage.resetter.reset(reset_command(username))),
        ]
        # Which of the two is first changes from round to round, and by how much, too.
        if number % 2:
            restarted, reset = await asyncio.gather(*calls)
        else:
            first = asyncio.ensure_future(calls[1])
            for _ in range(number % 7):
                await asyncio.sleep(0)
            restarted, reset = await asyncio.gather(calls[0], first)
        seen[restarted, reset] += 1
        container.reload()
        assert (container.status, home.is_whole()) == ("running", True), (number, seen)
    assert {answer for answer, _ in seen} <= {None, Reason.OPERATION_IN_PROGRESS}
    assert {answer for _, answer in seen} <= {Reason.OPERATION_IN_PROGRESS, Reason.SERVER_RUNNING}
    assert any(answer is None for answer, _ in seen)
    assert overlaps(seen) >= rounds // 2, seen


@contextmanager
def beside(
    patch: pytest.MonkeyPatch, engine: DockerEngine, call: str, act: Callable[[], object], *, ahead: bool
) -> Iterator[list[Future[object]]]:
    """Act in a thread at the engine's first call of a kind, and end it `ahead` of the call or leave it beside that."""
    acting: list[Future[object]] = []
    original = getattr(engine, call)

    def met(*arguments: Any) -> Any:
        if not acting:
            acting.append(in_background(act))
            if ahead:
                acting[0].result(PATIENCE)
        return original(*arguments)

    with patch.context() as context:
        context.setattr(engine, call, met)
        yield acting


CREATED_BEFORE = {
    "volume": Reason.OPERATION_IN_PROGRESS,
    "containers_holding": Reason.OPERATION_IN_PROGRESS,
    "remove_volume": Reason.VOLUME_IN_USE,
}
"""What a reset is refused for when a container was created right before one of its calls to Docker."""


@counts(12, 60)
async def test_a_create_behind_the_agents_back_never_loses_a_file(
    bench: Workbench, stage: AgentStage, monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    """When a container is created during a reset, the reset is refused and the home whole, or it is done and empty."""
    username = bench.username()
    name = f"jupyterlab-{username}"
    home = Home(bench, username)
    bench.forget_container(name)
    seen: Counter[tuple[str, bool, Reason | None]] = Counter()

    def create() -> None:
        with suppress(APIError):
            bench.client.containers.create(bench.image, ["true"], name=name, volumes={home.name: {"bind": "/data"}})

    moments = cycle(product(CREATED_BEFORE, (True, False)))
    for number, (call, ahead) in zip(range(rounds), moments, strict=False):
        with beside(monkeypatch, stage.engine, call, create, ahead=ahead) as creating:
            answer = await reason(lambda: stage.resetter.reset(reset_command(username)))
            assert creating, f"no create during the reset: {number}, {answer}"
            creating[0].result(PATIENCE)
        seen[call, ahead, answer] += 1
        assert home.is_whole() == (answer is not None), (number, answer)
        remove(bench, name)
        home.make()
    assert {answer for _, _, answer in seen} <= {None, *CREATED_BEFORE.values()}, seen
    assert {(call, answer) for call, ahead, answer in seen if ahead} == set(CREATED_BEFORE.items()), seen


@counts(12, 60)
async def test_a_create_through_the_gateway_never_loses_a_file(
    bench: Workbench, stage: AgentStage, tmp_path: Path, rounds: int
) -> None:
    """They share a lock: one is refused at once, or they come one after the other."""
    username = bench.username()
    name = f"jupyterlab-{username}"
    home = Home(bench, username)
    bench.forget_container(name)
    policy = replace(POLICY, images=(bench.image,), max_containers=10_000, max_creates=parse_rate(MANY))
    body = spawner_body(username, Image=bench.image)
    seen: Counter[tuple[Reason | None, int]] = Counter()
    async with gateway(stage.engine, tmp_path, locks=stage.locks, spawn=policy) as served:
        for number in range(rounds):
            creating = asyncio.create_task(served.create(body, name))
            for _ in range(number * 120 // rounds):
                await asyncio.sleep(0)
            answer = await reason(lambda: stage.resetter.reset(reset_command(username)))
            reply = await creating
            seen[answer, reply.status] += 1
            assert home.is_whole() == (answer is not None), (number, answer, json.dumps(reply.json))
            remove(bench, name)
            home.make()
    assert {answer for answer, _ in seen} <= {None, Reason.OPERATION_IN_PROGRESS}, seen
    assert {status for _, status in seen} <= {201, 409}, seen
    assert overlaps(seen) >= rounds // 2, seen


def remove(bench: Workbench, name: str) -> None:
    """Take a container away, if it is there."""
    try:
        bench.client.containers.get(name).remove()
    except NotFound:
        return


async def test_servers_that_ignore_sigterm_delay_nobodys_inspect(bench: Workbench, stage: AgentStage) -> None:
    """While six restarts wait for their stop timeouts, looking at another server is answered."""
    stubborn = [bench.username() for _ in range(6)]
    for username in stubborn:
        bench.container(f"jupyterlab-{username}", "trap '' TERM; while :; do sleep 0.1; done")
    quick = bench.username()
    bench.container(f"jupyterlab-{quick}")
    restarts = [
        asyncio.create_task(reason(partial(stage.restarter.restart, restart_command(username, stop_timeout=5))))
        for username in stubborn
    ]
    await until(lambda: stage.audit.phases().count(("intent", None)) == len(restarts))
    for _ in range(20):
        stage.restarter.restart(restart_command(quick, validate_only=True))
    assert not any(restart.done() for restart in restarts)
    assert await asyncio.gather(*restarts) == [None] * len(restarts)


# A listener accepts 128 calls at once (`grpc_limits`); one that was just answered may still count.
@pytest.mark.parametrize("targets", [40, pytest.param(100, marks=pytest.mark.full)])
async def test_many_targets_at_once_are_all_reset(bench: Workbench, tmp_path: Path, targets: int) -> None:
    """When many users' homes are reset in parallel, each is, twice over. `bench/soak.py` shows the effect on memory."""
    users = [bench.username() for _ in range(targets)]
    with running(tmp_path, bench.socket) as agent:
        stub = agent.stub()

        for _ in range(2):
            for username in users:
                bench.client.volumes.create(f"jupyterlab-{username}_home")
            futures = [stub.ResetHomeVolume.future(reset_request(username), timeout=120) for username in users]
            assert [future.result().volume for future in futures] == [f"jupyterlab-{name}_home" for name in users]
