"""Each way in which the gateway refuses: the answered status is the one that the table has for the audited reason."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hubwarden_agent.engine.port import Conflict, ContainerState, EngineError, NotFound
from hubwarden_agent.engine.spawn_port import DiskFull, PullDenied
from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway import request_reader
from hubwarden_agent.gateway.refusals import STATUS
from hubwarden_agent.names import Username
from support.agent.gateway import IMAGE, POLICY, GatewayStage, Reply, allow, gateway, spawner_body
from support.fakes.engine import FakeEngine
from support.waiting.conditions import until

PAGE = Path(__file__).resolve().parents[3] / "docs" / "spawn-policy.md"
COMMAND = ("true",)
PULL = "/v1.44/images/create?tag=1&fromImage=example.org%2Flab"
ALICE = "/v1.44/containers/jupyterlab-alice"
Refused = Callable[[GatewayStage, FakeEngine], Coroutine[None, None, Reply]]


@pytest.fixture(name="stage")
async def _stage(fake: FakeEngine, tmp_path: Path) -> AsyncIterator[GatewayStage]:
    """A gateway with a pull, a command and room for one container, which is there and runs."""
    spawn = replace(POLICY, images=(IMAGE, "other:1"), pull=(IMAGE,), exec=(COMMAND,), max_containers=2)
    spawn = replace(spawn, allow=allow(("User", "0:0")))
    async with gateway(fake, tmp_path, spawn=spawn) as stage:
        fake.images[IMAGE] = replace(fake.images[IMAGE], user="0:0")
        await stage.create(spawner_body())
        await stage.request("POST", f"{ALICE}/start")
        stage.audit.lines.clear()
        yield stage


async def posted(stage: GatewayStage, target: str, document: object) -> Reply:
    """What a POST of JSON gets."""
    return await stage.request("POST", target, json.dumps(document).encode(), {"Content-Type": "application/json"})


async def bob(stage: GatewayStage, **changes: Any) -> Reply:
    """What a create for Bob gets."""
    return await stage.create(spawner_body("bob", **changes), "jupyterlab-bob")


async def _pull(stage: GatewayStage, fake: FakeEngine, error: EngineError) -> Reply:
    fake.images.clear()
    fake.fail_next["pull_image"] = error
    return await stage.request("POST", PULL)


async def _second_pull(stage: GatewayStage, fake: FakeEngine) -> Reply:
    fake.images.clear()
    release = fake.hold["pull_image"] = threading.Event()
    first = asyncio.create_task(stage.request("POST", PULL))
    await until(lambda: ("pull_image", IMAGE) in fake.calls)
    second = await stage.request("POST", PULL)
    refused = next(line for line in stage.audit.lines if line.phase == "denied")
    release.set()
    await first
    stage.audit.lines.append(refused)
    return second


async def _with(stage: GatewayStage, fake: FakeEngine, method: str, error: EngineError, call: str, path: str) -> Reply:
    fake.fail_next[method] = error
    return await stage.request(call, path)


async def _exec_of_a_stopped_one(stage: GatewayStage, fake: FakeEngine) -> Reply:
    identifier = (await posted(stage, f"{ALICE}/exec", {"Cmd": COMMAND})).json["Id"]
    fake.fail_next["run_in_container"] = Conflict("not running")
    return await posted(stage, f"/v1.44/exec/{identifier}/start", {})


async def _locked(stage: GatewayStage, _: FakeEngine) -> Reply:
    with stage.locks.hold(Username("alice")):
        return await stage.request("POST", f"{ALICE}/stop")


async def _too_many(stage: GatewayStage, _: FakeEngine) -> Reply:
    for _count in range(30):
        reply = await stage.request("POST", f"{ALICE}/start")
    return reply


async def _full(stage: GatewayStage, _: FakeEngine) -> Reply:
    assert (await bob(stage)).status == 201
    return await stage.create(spawner_body("carol"), "jupyterlab-carol")


async def _bound(stage: GatewayStage, fake: FakeEngine) -> Reply:
    fake.add_volume("jupyterlab-bob_home", options={"type": "none", "o": "bind", "device": "/"})
    return await bob(stage)


async def _no_audit(stage: GatewayStage, _: FakeEngine) -> Reply:
    stage.audit.broken = True
    return await stage.request("POST", f"{ALICE}/stop")


async def _no_docker(stage: GatewayStage, fake: FakeEngine) -> Reply:
    fake.available = False
    return await stage.request("POST", f"{ALICE}/stop")


async def _half_a_body(stage: GatewayStage, _: FakeEngine) -> Reply:
    head = f"POST {ALICE}/exec HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
    return await stage.raw(head.encode())


def _being_removed(stage: GatewayStage, fake: FakeEngine) -> Coroutine[None, None, Reply]:
    fake.update(next(iter(fake.containers.values())), state=ContainerState.EXITED)
    return _with(stage, fake, "remove_container", Conflict("x"), "DELETE", f"{ALICE}?v=True")


CASES: dict[str, tuple[Reason, Refused]] = {
    "no JSON": (Reason.INVALID_REQUEST, lambda stage, _: stage.request("POST", f"{ALICE}/exec", b"{}")),
    "too large": (Reason.INVALID_REQUEST, lambda stage, _: posted(stage, f"{ALICE}/exec", "x" * 300_000)),
    "no HTTP": (Reason.INVALID_REQUEST, lambda stage, _: stage.raw(b"\x16\x03\x01\r\n\r\n")),
    "against the policy": (Reason.INVALID_REQUEST, lambda stage, _: bob(stage, Image="third:1")),
    "another's name": (Reason.NAME_MISMATCH, lambda stage, _: stage.create(spawner_body("carol"))),
    "a volume elsewhere": (Reason.VOLUME_NOT_LOCAL, _bound),
    "no such endpoint": (Reason.CLIENT_NOT_ALLOWED, lambda stage, _: stage.request("POST", "/v1.44/build")),
    "an image not listed": (
        Reason.CLIENT_NOT_ALLOWED,
        lambda stage, _: stage.request("GET", "/v1.44/images/third:1/json"),
    ),
    "a pull not listed": (
        Reason.CLIENT_NOT_ALLOWED,
        lambda stage, _: stage.request("POST", "/v1.44/images/create?tag=1&fromImage=third"),
    ),
    "a registry that denies": (Reason.PULL_DENIED, lambda stage, fake: _pull(stage, fake, PullDenied("x"))),
    "a full disk": (Reason.DISK_FULL, lambda stage, fake: _pull(stage, fake, DiskFull("x"))),
    "an image that no registry has": (Reason.NOT_FOUND, lambda stage, fake: _pull(stage, fake, NotFound("x"))),
    "an image that is not there": (Reason.NOT_FOUND, lambda stage, _: bob(stage, Image="other:1")),
    "no such exec": (Reason.NOT_FOUND, lambda stage, _: posted(stage, f"/v1.44/exec/{'0' * 64}/start", {})),
    "no such container": (
        Reason.CONTAINER_NOT_FOUND,
        lambda stage, _: stage.request("POST", "/v1.44/containers/nobody/stop"),
    ),
    "half a body": (Reason.DEADLINE_EXCEEDED, _half_a_body),
    "another operation": (Reason.OPERATION_IN_PROGRESS, _locked),
    "removing one that goes": (Reason.OPERATION_IN_PROGRESS, _being_removed),
    "removing one that runs": (Reason.SERVER_RUNNING, lambda stage, _: stage.request("DELETE", f"{ALICE}?v=True")),
    "a command in a stopped one": (Reason.SERVER_NOT_RUNNING, _exec_of_a_stopped_one),
    "a start in a wrong state": (
        Reason.CONFLICT,
        lambda stage, fake: _with(stage, fake, "start_container", Conflict("x"), "POST", f"{ALICE}/start"),
    ),
    "a name in use": (Reason.CONFLICT, lambda stage, _: stage.create(spawner_body())),
    "too often": (Reason.RATE_LIMITED, _too_many),
    "no room": (Reason.LIMIT_REACHED, _full),
    "a second pull": (Reason.TOO_BUSY, _second_pull),
    "no audit": (Reason.AUDIT_UNAVAILABLE, _no_audit),
    "no Docker": (Reason.DOCKER_UNAVAILABLE, _no_docker),
    "Docker fails": (
        Reason.DOCKER_ERROR,
        lambda stage, fake: _with(stage, fake, "stop_container", EngineError("x"), "POST", f"{ALICE}/stop"),
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_status_and_reason_agree(
    stage: GatewayStage, fake: FakeEngine, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a request is refused, the audit has this reason, and the status is the table's for it."""
    monkeypatch.setattr(request_reader, "BODY_SECONDS", 0.05)
    reason, refused = CASES[case]
    reply = await refused(stage, fake)
    assert (reply.status, stage.audit.lines[-1].reason if not stage.audit.broken else reason) == (
        STATUS[reason],
        reason,
    )


def test_every_reason_of_the_table_has_a_case() -> None:
    """When the table gets a reason that no case has, or the reverse, this fails."""
    assert {reason for reason, _ in CASES.values()} == set(STATUS)


def test_the_policy_page_has_the_table() -> None:
    """When the documented statuses and reasons are not the table's, this fails."""
    rows = re.findall(r"^\| (\d{3}) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    documented = {reason: int(status) for status, cell in rows for reason in re.findall(r"`([A-Z_]+)`", cell)}
    assert documented == {reason.value: status.value for reason, status in STATUS.items()}
