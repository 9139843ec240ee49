"""Every operation has somebody who answers it, and every reason its status."""

from __future__ import annotations

import os

import pytest
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.gateway.refusals import STATUS, status_and_message
from hubwarden_agent.gateway.request_context import RequestContext
from hubwarden_agent.gateway.routes import ROUTES, ApiRequest, Operation
from support.agent.gateway import GatewayStage, spawner_body
from support.fakes.engine import FakeEngine


def test_every_operation_is_answered(stage: GatewayStage) -> None:
    """Each operation is in one of the two tables of who answers: those that take a body, and the others."""
    gateway = stage.gateway()
    assert {*gateway._simple, *gateway._with_body} == set(Operation)  # noqa: SLF001 - the tables that the route table is held to
    assert {operation for operation in Operation if ApiRequest(operation).takes_body} == set(gateway._with_body)  # noqa: SLF001 - the tables that the route table is held to
    assert not set(gateway._simple) & set(gateway._with_body)  # noqa: SLF001 - the tables that the route table is held to
    assert {route.operation for route in ROUTES} == set(Operation)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("reading", [True, False])
def test_every_reason_has_a_status(reason: Reason, *, reading: bool) -> None:
    """One that the table does not list is a 500, and no reason is one for somebody who only looks."""
    status, message = status_and_message(RequestRefused(reason), "the-id", reading=reading)
    assert message.startswith("hubwarden: ")
    if reading:
        assert status != 500
    else:
        assert status == STATUS.get(reason, 500)
    assert ("the-id" in message) == (status >= 500)


def test_a_deed_says_what_is_known() -> None:
    """An entry of the audit trail holds what was found out by then, and that it came through the gateway."""
    entry = RequestContext("the-id").entry()
    assert (entry.operation, entry.client, entry.actor, entry.request_id) == ("unknown", "gateway", "", "the-id")


async def test_the_audit_names_the_peer(stage: GatewayStage, fake: FakeEngine) -> None:
    """When a request comes over a unix socket, its intent, outcome and refusal name the uid and gid that connected."""
    fake.add_volume("jupyterlab-alice_home")
    assert (await stage.create(spawner_body())).status == 201
    assert (await stage.request("POST", "/v1.44/build")).status == 403
    peers = [(line.phase, line.entry.peer) for line in stage.audit.lines]
    assert peers == [(phase, f"uid={os.getuid()} gid={os.getgid()}") for phase in ("intent", "outcome", "denied")]


async def test_a_whole_cycle(stage: GatewayStage, fake: FakeEngine) -> None:
    """The harmless twin of every refusal: create, start, inspect, stop, remove."""
    identifier = (await stage.create(spawner_body())).json["Id"]
    path = f"/v1.44/containers/{identifier}"
    assert (await stage.request("POST", f"{path}/start")).status == 204
    assert (await stage.request("GET", f"{path}/json")).json["State"]["Running"] is True
    assert (await stage.request("POST", f"{path}/stop")).status == 204
    assert (await stage.request("DELETE", f"{path}?v=True&link=False&force=False")).status == 204
    assert fake.containers == {}
    assert "jupyterlab-alice_home" in {volume.value for volume in fake.volumes}
