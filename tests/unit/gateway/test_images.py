"""Images that the policy does not list do not exist, and what is pulled is the policy's own text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from docker.api.client import APIClient  # noqa: TID251 - its quoting is what the gateway has to know
from hubwarden_agent.engine.port import NotFound
from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway.images import as_pulled
from support.agent.gateway import IMAGE, POLICY, GatewayStage, gateway
from support.fakes.engine import FakeEngine

DIGEST = "example.org/lab@sha256:" + "a" * 64
PULL = "/v1.44/images/create?tag=1&fromImage=example.org%2Flab"


@pytest.fixture
async def stage(fake: FakeEngine, tmp_path: Path) -> AsyncIterator[GatewayStage]:
    """A gateway whose policy lists an image by tag and one by digest."""
    fake.add_image(DIGEST)
    async with gateway(fake, tmp_path, spawn=replace(POLICY, images=(IMAGE, DIGEST))) as stage:
        yield stage


@pytest.mark.parametrize(
    "reference",
    ["other:1", "example.org/lab", "example.org/lab:2", "EXAMPLE.org/lab:1", "other.example/lab:1", "a" * 64],
)
async def test_an_image_that_is_not_listed_does_not_exist(
    stage: GatewayStage, fake: FakeEngine, reference: str
) -> None:
    """404, though the engine has it; the engine is not even asked."""
    fake.add_image(reference)
    reply = await stage.request("GET", f"/v1.44/images/{reference}/json")
    assert reply.status == 404
    assert reply.message.lower().startswith("no such image")


async def test_an_image_that_the_engine_has_not(stage: GatewayStage, fake: FakeEngine) -> None:
    """404 as Docker words it, on which DockerSpawner pulls."""
    fake.images.clear()
    reply = await stage.request("GET", f"/v1.44/images/{IMAGE}/json")
    assert (reply.status, reply.message) == (404, f"No such image: {IMAGE}")
    assert stage.audit.lines == []


@pytest.mark.parametrize("reference", [IMAGE, DIGEST])
async def test_an_image_that_is_listed(stage: GatewayStage, fake: FakeEngine, reference: str) -> None:
    """Spelt as docker-py spells it: the answer holds the command, and no other tags."""
    client = APIClient(version="1.44")
    url: str = client._url("/images/{0}/json", reference)  # type: ignore[attr-defined]  # noqa: SLF001 - docker-py has no public way to build that URL; the stubs leave it out
    target = url.removeprefix(client.base_url)
    client.close()
    reply = await stage.request("GET", target)
    assert reply.json == {
        "Id": fake.images[reference].id,
        "RepoTags": [reference],
        "Config": {"Cmd": ["jupyterhub-singleuser"]},
    }


@pytest.mark.parametrize(
    "query", ["tag=2&fromImage=example.org%2Flab", "tag=latest&fromImage=other", "tag=1&fromImage=example.org/lab:1"]
)
async def test_a_pull_of_what_is_not_listed(stage: GatewayStage, fake: FakeEngine, query: str) -> None:
    """404, naming the key, on the record; nothing is pulled."""
    reply = await stage.request("POST", f"/v1.44/images/create?{query}")
    assert reply.status == 404
    assert "spawn.images" in reply.message
    assert fake.calls == []
    assert stage.audit.phases() == [("denied", Reason.CLIENT_NOT_ALLOWED)]


async def test_a_pull_that_fails(stage: GatewayStage, fake: FakeEngine) -> None:
    """404 with a status, since nothing was sent before; on the record."""
    fake.fail_next["pull_image"] = NotFound("SECRET")
    reply = await stage.request("POST", PULL)
    assert reply.status == 404
    assert "SECRET" not in reply.text
    assert stage.audit.phases() == [("intent", None), ("outcome", Reason.INVALID_REQUEST)]


async def test_a_pull(stage: GatewayStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes to the engine is the policy's own text; the answer is a line of JSON a step; it is on the record."""
    pulled: list[str] = []

    monkeypatch.setattr(stage.engine, "pull_image", pulled.append)
    reply = await stage.request("POST", PULL)
    assert reply.status == 200
    assert IMAGE in reply.text.splitlines()[-1]
    await stage.request("POST", f"/v1.44/images/create?fromImage=example.org%2Flab&tag={'a' * 64}")
    assert pulled == [IMAGE, DIGEST]
    assert [(line.entry.operation, line.entry.object) for line in stage.audit.lines[:2]] == [("pull", IMAGE)] * 2


async def test_pulls_are_bounded(stage: GatewayStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the rate of creates, but apart from it."""
    monkeypatch.setattr(stage.engine, "pull_image", lambda _: None)
    assert [(await stage.request("POST", PULL)).status for _ in range(11)] == [200] * 10 + [429]


@pytest.mark.parametrize(
    ("image", "asked"),
    [
        ("a", ("a", "latest")),
        ("a:1", ("a", "1")),
        ("host:5000/a", ("host:5000/a", "latest")),
        ("host:5000/a:1", ("host:5000/a", "1")),
        ("a/b@sha256:12", ("a/b", "12")),
    ],
)
def test_what_dockerspawner_makes_of_a_reference(image: str, asked: tuple[str, str]) -> None:
    """The splitting of DockerSpawner.pull_image and docker-py's pull, which the table of pulls is made with."""
    assert as_pulled(image) == asked
