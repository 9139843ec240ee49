"""Commands in containers (`post_start_cmd`): the policy's own, in the Hub's own containers, once an exec id."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hubwarden_agent.engine.port import EngineError
from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway.exec import MAX_EXECS, RAW_STREAM
from hubwarden_agent.names import Username
from support.agent.gateway import IMAGE, POLICY, GatewayStage, Reply, gateway, spawner_body
from support.fakes.engine import FakeEngine
from support.waiting.conditions import until

COMMAND = ["/bin/sh", "-c", "touch /tmp/started"]
CREATE = {
    "Container": "jupyterlab-alice",
    "User": "",
    "Privileged": False,
    "Tty": False,
    "AttachStdin": False,
    "AttachStdout": True,
    "AttachStderr": True,
    "Cmd": COMMAND,
    "Env": None,
}
"""As docker-py sends it."""

START = {"Tty": False, "Detach": False}


@pytest.fixture(name="stage")
async def _stage(fake: FakeEngine, tmp_path: Path) -> AsyncIterator[GatewayStage]:
    """A gateway whose policy names one command, and alice's running server."""
    fake.add_image(IMAGE)
    async with gateway(fake, tmp_path, spawn=replace(POLICY, exec=(tuple(COMMAND),))) as stage:
        created = await stage.create(spawner_body())
        await stage.request("POST", f"/v1.44/containers/{created.json['Id']}/start")
        fake.calls.clear()
        stage.audit.lines.clear()
        yield stage


async def post(stage: GatewayStage, target: str, document: object, **headers: str) -> Reply:
    """POST some JSON."""
    given = {"Content-Type": "application/json", **headers}
    return await stage.request("POST", f"/v1.44{target}", json.dumps(document).encode(), given)


async def ticket(stage: GatewayStage) -> str:
    """A ticket for the listed command."""
    reply = await post(stage, "/containers/jupyterlab-alice/exec", CREATE)
    assert reply.status == 201
    return str(reply.json["Id"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"Cmd": ["/bin/sh"]}, "spawn.exec"),
        ({"Cmd": [*COMMAND, "x"]}, "spawn.exec"),
        ({"Cmd": [" ".join(COMMAND)]}, "spawn.exec"),
        ({"Cmd": []}, "spawn.exec"),
        ({"Cmd": None}, "spawn.exec"),
        ({"Cmd": "/bin/sh"}, "Cmd"),
        ({"Privileged": True}, "Privileged"),
        ({"User": "root"}, "User"),
        ({"User": "0"}, "User"),
        ({"Env": ["LD_PRELOAD=/x"]}, "Env"),
        ({"Tty": True}, "Tty"),
        ({"AttachStdin": True}, "AttachStdin"),
        ({"WorkingDir": "/proc/self/fd/8"}, "WorkingDir"),
        ({"DetachKeys": "a"}, "DetachKeys"),
        ({"ConsoleSize": [1, 1]}, "ConsoleSize"),
        ({"privileged": True}, "privileged"),
    ],
)
async def test_another_command(stage: GatewayStage, fake: FakeEngine, changes: dict[str, Any], named: str) -> None:
    """Word for word the policy's, as the container's own user, with nobody attached: or 400, by name."""
    reply = await post(stage, "/containers/jupyterlab-alice/exec", CREATE | changes)
    assert (reply.status, named in reply.message) == (400, True)
    assert fake.calls == []


@pytest.mark.parametrize("document", [{"Detach": True}, {"Tty": True}, {"ConsoleSize": [1, 1]}, [], "x"])
async def test_another_start(stage: GatewayStage, fake: FakeEngine, document: object) -> None:
    """A start says what docker-py says, or is refused, and the ticket is still good."""
    identifier = await ticket(stage)
    assert (await post(stage, f"/exec/{identifier}/start", document)).status == 400
    assert fake.calls == []
    assert (await post(stage, f"/exec/{identifier}/start", START)).status == 200


async def test_without_a_listed_command_there_is_no_such_endpoint(fake: FakeEngine, tmp_path: Path) -> None:
    """When `spawn.exec` is empty, both calls are 403, also for a container of one's own."""
    fake.add_container("somebody")
    async with gateway(fake, tmp_path) as stage:
        for target in ("/containers/somebody/exec", f"/exec/{'a' * 64}/start"):
            reply = await post(stage, target, CREATE)
            assert (reply.status, "spawn.exec" in reply.message) == (403, True)


async def test_in_others_containers(stage: GatewayStage, fake: FakeEngine) -> None:
    """404, as for what does not exist, whether or not the command is listed."""
    other = fake.add_container("somebody")
    for reference in ("somebody", other.id.value, "nobody"):
        reply = await post(stage, f"/containers/{reference}/exec", CREATE)
        assert (reply.status, reply.message) == (404, f"No such container: {reference}")
    assert fake.calls == []


async def test_a_ticket_is_good_once_and_nothing_else_is_one(stage: GatewayStage, fake: FakeEngine) -> None:
    """The engine's own execs have no tickets here, so nobody's can be started."""
    identifier = await ticket(stage)
    assert (await post(stage, f"/exec/{'0' * 64}/start", START)).status == 404
    assert (await post(stage, f"/exec/{identifier}/start", START)).status == 200
    assert (await post(stage, f"/exec/{identifier}/start", START)).status == 404
    assert [name for name, _ in fake.calls] == ["run_in_container"]


async def test_a_ticket_is_good_once_however_many_use_it(stage: GatewayStage, fake: FakeEngine) -> None:
    """At the same time: one runs, to the others there is no such exec."""
    bought = await ticket(stage)
    release = stage.engine.hold["run_in_container"] = threading.Event()
    asked = [asyncio.create_task(post(stage, f"/exec/{bought}/start", START)) for _ in range(8)]
    await until(lambda: sum(one.done() for one in asked) == 7)
    release.set()
    replies = [await one for one in asked]
    assert sorted(reply.status for reply in replies) == [200] + [404] * 7
    assert len(fake.commands) == 1


async def test_the_oldest_tickets_are_forgotten(stage: GatewayStage) -> None:
    """When there are too many exec ids, the oldest are forgotten."""
    first = await ticket(stage)
    second = await ticket(stage)
    for _ in range(MAX_EXECS - 1):
        await ticket(stage)
    assert (await post(stage, f"/exec/{first}/start", START)).status == 404
    assert (await post(stage, f"/exec/{second}/start", START)).status == 200


async def test_a_container_that_does_not_run(stage: GatewayStage, fake: FakeEngine) -> None:
    """When the container is stopped, exec is 409 in Docker's words."""
    identifier = await ticket(stage)
    await stage.request("POST", "/v1.44/containers/jupyterlab-alice/stop")
    reply = await post(stage, f"/exec/{identifier}/start", START)
    assert (reply.status, "is not running" in reply.message) == (409, True)
    assert fake.commands == []


async def test_a_container_that_is_another_by_now(stage: GatewayStage, fake: FakeEngine) -> None:
    """A ticket is for one container, not for whatever has its name later."""
    identifier = await ticket(stage)
    (container,) = fake.containers.values()
    del fake.containers[container.id]
    fake.add_container(container.name, labels=container.labels)
    assert (await post(stage, f"/exec/{identifier}/start", START)).status == 404
    assert fake.commands == []


async def test_while_something_else_is_done_for_the_user(stage: GatewayStage, fake: FakeEngine) -> None:
    """The user's lock is held while a command runs, and so it does not run while another holds it."""
    identifier = await ticket(stage)
    with stage.locks.hold(Username("alice")):
        assert (await post(stage, f"/exec/{identifier}/start", START)).status == 409
    assert fake.commands == []


async def test_the_listed_command_runs_and_is_on_the_record(stage: GatewayStage, fake: FakeEngine) -> None:
    """docker-py's offer to upgrade is not taken: a whole answer without output, and the connection ends."""
    identifier = await ticket(stage)
    reply = await post(stage, f"/exec/{identifier}/start", START, Connection="Upgrade", Upgrade="tcp")
    assert (reply.status, reply.text) == (200, "")
    assert reply.headers["content-type"] == RAW_STREAM
    assert reply.headers["connection"] == "close"
    assert fake.commands == [tuple(COMMAND)]
    lines = [(line.phase, line.entry.operation, line.entry.username, line.reason) for line in stage.audit.lines]
    assert lines == [("intent", "exec", "alice", None), ("outcome", "exec", "alice", None)]


async def test_the_record_says_which_command(fake: FakeEngine, tmp_path: Path) -> None:
    """By its place in `spawn.exec`, from the intent on; nothing else that is done has one."""
    fake.add_image(IMAGE)
    async with gateway(fake, tmp_path, spawn=replace(POLICY, exec=(("true",), tuple(COMMAND)))) as stage:
        created = await stage.create(spawner_body())
        await stage.request("POST", f"/v1.44/containers/{created.json['Id']}/start")
        await post(stage, f"/exec/{await ticket(stage)}/start", START)
    said = [(line.entry.operation, line.entry.command) for line in stage.audit.lines]
    assert said == [("create", 0)] * 2 + [("start", 0)] * 2 + [("exec", 2)] * 2


@pytest.mark.parametrize("headers", [{"Upgrade": "websocket"}, {"Upgrade": "tcp, h2c"}, {"Upgrade": "TCP"}])
async def test_any_other_upgrade(stage: GatewayStage, fake: FakeEngine, headers: dict[str, str]) -> None:
    """When an exec start asks for another protocol upgrade, it is refused."""
    identifier = await ticket(stage)
    reply = await post(stage, f"/exec/{identifier}/start", START, **headers)
    assert (reply.status, "Upgrade" in reply.message) == (400, True)
    assert fake.commands == []


@pytest.mark.parametrize("status", [1, None])
async def test_a_command_that_fails_or_goes_on(
    stage: GatewayStage, fake: FakeEngine, caplog: pytest.LogCaptureFixture, status: int | None
) -> None:
    """DockerSpawner goes on in either case, as with Docker itself; the agent's log says so."""
    fake.exit_status = status
    caplog.set_level(logging.WARNING)
    assert (await post(stage, f"/exec/{await ticket(stage)}/start", START)).status == 200
    assert ("still runs" if status is None else "exit status 1") in caplog.text


async def test_commands_that_fail_are_logged_at_a_bounded_rate(
    stage: GatewayStage, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """When the gateway's refusals have used up the limit, a command that fails is counted in the next line."""
    fake.exit_status = 1
    caplog.set_level(logging.WARNING)
    for _ in range(60):
        await stage.request("GET", "/v1.44/networks")
    assert (await post(stage, f"/exec/{await ticket(stage)}/start", START)).status == 200
    assert "exit status 1" not in caplog.text
    stage.clock.advance(60)
    assert (await post(stage, f"/exec/{await ticket(stage)}/start", START)).status == 200
    (line,) = [record for record in caplog.records if "exit status 1" in record.message]
    assert vars(line)["suppressed"] == 1


async def test_a_command_that_cannot_be_started(stage: GatewayStage, fake: FakeEngine) -> None:
    """A failure on the record, and nothing of what the engine says in the answer."""
    fake.fail_next["run_in_container"] = EngineError("no such file SECRET-FROM-DOCKER")
    reply = await post(stage, f"/exec/{await ticket(stage)}/start", START)
    assert (reply.status, "SECRET" in reply.text) == (500, False)
    assert stage.audit.phases()[-1] == ("outcome", Reason.DOCKER_ERROR)
