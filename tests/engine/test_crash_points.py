"""An agent that is killed at any step of a restart or a reset leaves a record that is true, and never acts twice.

The agent is a real process in front of a real engine; the relay between the two kills it (SIGKILL) before, during or
after a request to Docker. Between two steps there always is one, except after the last: there the answer is.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from docker.errors import NotFound  # noqa: TID251 - tests look at the engine behind the agent's back
from hubwarden_agent.tools.audit import verify
from support.agent.client import PATIENCE, refused, restart_request
from support.agent.killable_agent import AgentProcess
from support.docker.private_engine import Workbench
from support.docker.relay import Point, relay
from support.scenarios.relayed_agent import RelayedAgent, result_of
from support.waiting.conditions import until

INSPECT, RESTART = r"GET /v[^/]*/containers/[0-9a-z-]{9,}/json", r"POST /.*/restart"
RESTART_POINTS = [
    Point("before", INSPECT),  # 1 | 2
    Point("after", INSPECT),  # 2 | 3
    Point("before", RESTART),  # 3 | 4
    Point("during", RESTART),  # in 4
    Point("after", RESTART),  # 4 | 5
    Point("before", INSPECT, 2),  # 4 | 5
    Point("after", INSPECT, 2),  # 5 | 6
    None,  # 6 |
]
VOLUME, REMOVE, DELETE, CREATE = "GET /.*/volumes/", "DELETE /.*/containers/", "DELETE /.*/volumes/", "/volumes/create"
HOLDERS = r"GET /.*/containers/json"
RESET_POINTS = [
    Point("before", VOLUME),  # 1 | 2
    Point("after", HOLDERS),  # 2 | 3
    Point("before", REMOVE),  # 3, 4 | 5; a backup asks nothing of Docker in this version
    Point("after", REMOVE),  # 5 | 6
    Point("before", VOLUME, 2),  # 5 | 6
    Point("after", VOLUME, 2),  # in 6
    Point("before", DELETE),  # in 6
    Point("during", DELETE),  # in 6
    Point("after", DELETE),  # 6 | 7
    Point("before", CREATE),  # 6 | 7
    Point("after", CREATE),  # 7 | 8
    None,  # 8 |
]


@dataclass
class Case(RelayedAgent):
    """One user, one agent, and what the engine shows."""

    async def ask(self, operation: str, identifier: str = "") -> tuple[str, Any]:
        """Ask the agent for a reset, as `reset`, or likewise for a restart."""
        if operation == "reset":
            return await self.reset(identifier)
        restart = restart_request(self.username, request_id=identifier or self.identifier, stop_timeout=1)
        async with self.agent.client() as stub:
            return await result_of(stub.RestartContainer(restart, timeout=PATIENCE))

    def kept(self) -> str:
        """What is in the home: its file, nothing, or `gone` with the whole volume."""
        try:
            folder = Path(self.bench.client.volumes.get(self.home).attrs["Mountpoint"])
        except NotFound:
            return "gone"
        return " ".join(sorted(file.name for file in folder.iterdir()))

    async def write_thesis(self) -> None:
        """A home with a file in it, and with a label, so that it has to come back; of an earlier second than now.

        Docker gives a volume's creation in whole seconds, so of one second it could not tell an old from a new one.
        """
        volume = self.bench.volume(self.home, labels={"kept": "yes"})
        Path(volume.attrs["Mountpoint"], "thesis").touch()
        created = dt.datetime.fromisoformat(volume.attrs["CreatedAt"])
        await until(lambda: dt.datetime.now(dt.UTC) >= created + dt.timedelta(seconds=1), "another second")

    def check_the_record(self, changes: list[str]) -> None:
        """No action without an intent, every intent closed once, and the chain whole."""
        assert self.relay.unrecorded == []
        assert len(self.relay.changes) == len(set(self.relay.changes)), "something was done twice"
        assert self.relay.changes == changes
        assert len(self.recorded("intent")) == len(self.recorded("outcome"))
        assert list(verify(self.agent.audit, []))[-1].startswith("whole from 1 ")


@pytest.fixture
async def case(tmp_path: Path, bench: Workbench, engine_socket: str) -> AsyncIterator[Case]:
    """An agent that serves, behind a relay."""
    agent = AgentProcess(tmp_path, tmp_path / "relay.sock")
    made: list[Case] = []
    intended = lambda: bool(made[0].recorded("intent"))  # noqa: E731 - the case does not exist yet
    async with relay(tmp_path / "relay.sock", engine_socket, intended) as between:
        made.append(Case(agent, between, bench, bench.username()))
        await agent.start()
        yield made[0]
        agent.close()


@pytest.mark.parametrize("point", RESTART_POINTS, ids=str)
async def test_a_restart_that_is_cut_off(case: Case, point: Point | None) -> None:
    """What was not recorded was not done; what was begun answers INTERRUPTED with what runs; what ended, its answer."""
    container = case.bench.container(case.container)
    result = await case.killed_at(point, case.ask("restart"))
    assert result == ("UNREACHABLE" if point else "ok")
    intended, ended = case.recorded("intent"), case.recorded("outcome")
    changes = list(case.relay.changes)
    await case.agent.start()

    reason, answer = await case.ask("restart")

    container.reload()
    if ended:
        assert (reason, answer.container_id) == ("ok", container.id)
    elif intended:
        assert reason == "INTERRUPTED"
        assert answer.message.endswith(
            "The server runs." if container.status == "running" else "The server does not run."
        )
        assert case.recorded("outcome")[0]["answer"] == {case.container: container.status}
    else:
        assert (reason, changes) == ("ok", [])
        changes = case.relay.changes[:1]
    again = await case.ask("restart")
    assert again[0] == reason
    assert again[1] == answer or again[1].message == answer.message
    case.check_the_record(changes)
    if container.status != "running":
        container.start()
    case.relay.changes.clear()
    reason, new = await case.ask("restart", str(uuid.uuid4()))
    assert (reason, new.container_id, len(case.relay.changes)) == ("ok", container.id, 1)


async def test_a_restart_that_docker_is_still_at(case: Case) -> None:
    """Until Docker is done nobody gets at that user, with no id; then the server runs, and its home is whole."""
    await case.write_thesis()
    stubborn = "trap '' TERM; while [ ! -e /home/go ]; do sleep 0.1; done; rm /home/go"
    container = case.bench.container(case.container, stubborn, mounts={case.home: "/home"})
    before = container.attrs["State"]["StartedAt"]
    case.relay.stop_at(Point("during", RESTART), case.agent.kill)
    patient = restart_request(case.username, request_id=case.identifier, stop_timeout=60)
    async with case.agent.client() as stub:
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.RestartContainer(patient, timeout=PATIENCE)
    await case.agent.start()

    assert (await case.ask("reset", str(uuid.uuid4())))[0] == "OPERATION_IN_PROGRESS"
    assert not case.relay.stopped.is_set(), "Docker was to be at it still"
    assert case.recorded("outcome") == []
    Path(case.bench.client.volumes.get(case.home).attrs["Mountpoint"], "go").touch()
    async with case.agent.client() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as interrupted:
            await stub.RestartContainer(patient, timeout=PATIENCE)
    refusal = refused(interrupted.value)
    assert (refusal.reason, refusal.message.endswith("The server runs.")) == ("INTERRUPTED", True)
    container.reload()
    assert container.attrs["State"]["StartedAt"] != before
    assert (await case.ask("reset", str(uuid.uuid4())))[0] == "SERVER_RUNNING"
    assert case.kept() == "thesis"


@pytest.mark.parametrize("point", RESET_POINTS, ids=str)
async def test_a_reset_that_is_cut_off(case: Case, point: Point | None) -> None:
    """The home is whole or gone, never half, and the answer and the audit say which; nothing is carried on."""
    await case.write_thesis()
    case.bench.container(case.container, start=False, mounts={case.home: "/home"}).start()
    case.bench.client.containers.get(case.container).stop(timeout=5)
    result = await case.killed_at(point, case.reset())
    assert result == ("UNREACHABLE" if point else "ok")
    intended, ended = case.recorded("intent"), case.recorded("outcome")
    changes, kept = list(case.relay.changes), case.kept()
    await case.agent.start()

    reason, answer = await case.ask("reset")

    if ended:
        assert (reason, answer.volume, list(answer.removed_containers)) == ("ok", case.home, [case.container])
    elif intended:
        assert (reason, case.kept()) == ("INTERRUPTED", kept)
        says = {"thesis": "is still there.", "gone": "is gone.", "": "there is a new one."}[kept]
        assert answer.message.endswith(says)
        found = case.recorded("outcome")[0]["answer"]
        assert found[case.home] == {"thesis": "present", "gone": "gone", "": "replaced"}[kept]
        assert found[case.container] == ("gone" if changes else "exited")
    else:
        assert (reason, changes, kept) == ("ok", [], "thesis")
        changes = list(case.relay.changes)
    again = await case.ask("reset")
    assert again[0] == reason
    assert again[1] == answer or again[1].message == answer.message
    case.check_the_record(changes)
    before = case.kept()
    reason, _ = await case.ask("reset", str(uuid.uuid4()))
    assert reason == ("VOLUME_NOT_FOUND" if before == "gone" else "ok")
    assert case.kept() in ("", "gone")
