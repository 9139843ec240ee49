"""Images that the policy does not list do not exist; a pull fetches what is listed for it and is not there yet."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from docker.api.client import APIClient  # noqa: TID251 - its quoting is what the gateway has to know
from hubwarden_agent.engine.port import EngineError, EngineUnavailable, NotFound
from hubwarden_agent.engine.spawn_port import DiskFull, PullDenied
from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway.images import as_pulled
from support.agent.gateway import IMAGE, POLICY, GatewayStage, allow, gateway, spawner_body
from support.fakes.engine import FakeEngine
from support.waiting.conditions import until

DIGEST = "example.org/lab@sha256:" + "a" * 64
LOCAL = "lab:1"
PULL = "/v1.44/images/create?tag=1&fromImage=example.org%2Flab"


@pytest.fixture
async def stage(fake: FakeEngine, tmp_path: Path) -> AsyncIterator[GatewayStage]:
    """A gateway whose policy lists two images by tag and one by digest, and may pull one of each."""
    fake.add_image(DIGEST)
    spawn = replace(POLICY, images=(IMAGE, LOCAL, DIGEST), pull=(IMAGE, DIGEST), allow=allow(("User", "1000:100")))
    async with gateway(fake, tmp_path, spawn=spawn) as stage:
        yield stage


@pytest.mark.parametrize(
    "reference",
    ["other:1", "example.org/lab", "example.org/lab:2", "EXAMPLE.org/lab:1", "other.example/lab:1", "a" * 64],
)
async def test_an_image_that_is_not_listed_does_not_exist(
    stage: GatewayStage, fake: FakeEngine, reference: str
) -> None:
    """When an image is not listed it is 403, on the record, though the engine has it; the engine is not asked."""
    fake.add_image(reference)
    reply = await stage.request("GET", f"/v1.44/images/{reference}/json")
    assert (reply.status, "spawn.images" in reply.message) == (403, True)
    assert stage.audit.phases() == [("denied", Reason.CLIENT_NOT_ALLOWED)]


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
    "query",
    [
        "tag=2&fromImage=example.org%2Flab",
        "tag=latest&fromImage=other",
        "tag=1&fromImage=example.org/lab:1",
        "tag=1&fromImage=lab",  # in `images`, not there, and not in `pull`
    ],
)
async def test_a_pull_of_what_is_not_listed(stage: GatewayStage, fake: FakeEngine, query: str) -> None:
    """When `spawn.pull` does not list an image, its pull is a 403 as Docker words it, on the record."""
    fake.images.clear()
    reply = await stage.request("POST", f"/v1.44/images/create?{query}")
    assert reply.status == 403
    assert reply.message == "pull access denied: the policy does not list this image (spawn.pull)"
    assert fake.calls == []
    assert stage.audit.phases() == [("denied", Reason.CLIENT_NOT_ALLOWED)]


@pytest.mark.parametrize(
    ("error", "status", "reason", "said"),
    [
        (NotFound, 404, Reason.NOT_FOUND, f"No such image: {IMAGE}"),
        (PullDenied, 403, Reason.PULL_DENIED, "registry"),
        (DiskFull, 500, Reason.DISK_FULL, "disk"),
        (EngineError, 500, Reason.DOCKER_ERROR, "hubwarden: "),
        (EngineUnavailable, 503, Reason.DOCKER_UNAVAILABLE, "hubwarden: "),
    ],
)
async def test_a_pull_that_fails(
    stage: GatewayStage, fake: FakeEngine, error: type[EngineError], status: int, reason: Reason, said: str
) -> None:
    """When a pull fails, status and audit tell why, and nothing of Docker's text is in the answer."""
    fake.images.clear()
    fake.fail_next["pull_image"] = error("SECRET")
    reply = await stage.request("POST", PULL)
    assert (reply.status, said in reply.message) == (status, True)
    assert "SECRET" not in reply.text
    assert stage.audit.phases() == [("intent", None), ("outcome", reason)]


@pytest.mark.parametrize("image", [IMAGE, LOCAL, DIGEST])
async def test_a_pull_of_what_is_there(stage: GatewayStage, fake: FakeEngine, image: str) -> None:
    """When the engine has a listed image, a pull fetches nothing, whether `spawn.pull` lists it or not."""
    fake.add_image(image)
    name, tag = as_pulled(image)
    reply = await stage.request("POST", f"/v1.44/images/create?tag={tag}&fromImage={quote(name, safe='')}")
    assert (reply.status, "Image is up to date" in reply.text) == (200, True)
    assert (fake.calls, stage.audit.lines) == ([], [])


async def test_two_pulls_at_once(stage: GatewayStage, fake: FakeEngine) -> None:
    """When a pull runs, another is a 503 with Retry-After, and may be asked for again afterwards."""
    fake.images.clear()
    stage.engine.hold["pull_image"] = release = threading.Event()
    first = asyncio.create_task(stage.request("POST", PULL))
    await until(lambda: stage.audit.phases() == [("intent", None)])
    second = await stage.request("POST", PULL)
    assert (second.status, second.headers["retry-after"]) == (503, "5")
    release.set()
    assert (await first).status == 404  # the fake has no registry
    assert (await stage.request("POST", PULL)).status == 404
    assert fake.calls == [("pull_image", IMAGE)] * 2


async def test_a_pull(stage: GatewayStage, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes to the engine is the policy's own text; the answer is a line of JSON a step; it is on the record."""
    pulled: list[str] = []
    fake.images.clear()

    monkeypatch.setattr(stage.engine, "pull_image", pulled.append)
    reply = await stage.request("POST", PULL)
    assert reply.status == 200
    assert IMAGE in reply.text.splitlines()[-1]
    await stage.request("POST", f"/v1.44/images/create?fromImage=example.org%2Flab&tag={'a' * 64}")
    assert pulled == [IMAGE, DIGEST]
    assert [(line.entry.operation, line.entry.object) for line in stage.audit.lines[:2]] == [("pull", IMAGE)] * 2


async def test_pulls_are_bounded(stage: GatewayStage, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """When pulls exceed the policy's rate, they are 429."""
    fake.images.clear()
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


@pytest.mark.parametrize(
    ("brought", "asked", "status"),
    [
        ({"user": "1000:100"}, {}, 201),
        ({"user": ""}, {"User": "1000:100"}, 201),
        ({"user": "1000:100", "labels": {"maintainer": "a", "org.opencontainers.image.title": "b"}}, {}, 201),
        ({"user": "1000:100", "labels": {"team": "physics"}}, {}, 201),
        ({"user": "1000:100", "volumes": ("/home/jovyan",)}, {}, 201),
        ({"user": ""}, {}, 400),
        ({"user": "1000:0"}, {}, 400),
        ({"user": "1000"}, {}, 400),  # the image decides which group that is
        ({"user": "1000"}, {"User": "1000:100"}, 201),
        ({"user": "jovyan"}, {}, 400),
        ({"user": "1000:100", "labels": {"team": "chemistry"}}, {}, 400),
        ({"user": "1000:100", "labels": {"maintainer.x": "a"}}, {}, 400),
        ({"user": "1000:100", "volumes": ("/home/jovyan/",)}, {}, 400),
        ({"user": "1000:100", "healthcheck": True}, {}, 400),
        ({"user": "1000:100", "working_dir": "/home/jovyan"}, {}, 201),
        ({"user": "1000:100", "working_dir": "/proc/self/fd/8"}, {}, 400),
        ({"user": "1000:100", "working_dir": "/sys"}, {}, 400),
        ({"user": "1000:100", "working_dir": "//dev/../proc/./self"}, {}, 400),
        ({"user": "1000:100", "working_dir": "proc/self"}, {}, 400),  # runc reads it from the root
        ({"user": "1000:100", "volumes": ("/workspace",)}, {}, 400),  # listed, but this create does not mount it
    ],
)
async def test_what_an_image_brings(
    stage: GatewayStage, fake: FakeEngine, brought: dict[str, Any], asked: dict[str, Any], status: int
) -> None:
    """When `spawn.pull` lists an image, each create checks all that it brings."""
    fake.images[IMAGE] = replace(fake.images[IMAGE], **brought)
    reply = await stage.create(spawner_body(**asked))
    assert reply.status == status
    if status != 201:
        assert reply.message.startswith("hubwarden: Image ")


async def test_an_image_of_the_operators(stage: GatewayStage, fake: FakeEngine) -> None:
    """When `spawn.pull` does not list an image, it is the operator's own, and may bring what it likes."""
    fake.images[LOCAL] = replace(fake.add_image(LOCAL), user="", labels={"x": "y"}, volumes=("/x",))
    assert (await stage.create(spawner_body(Image=LOCAL))).status == 201


async def test_an_image_that_may_be_pulled_and_was_not(stage: GatewayStage, fake: FakeEngine) -> None:
    """When a create names an image that is not there yet, it is Docker's 404."""
    fake.images.clear()
    reply = await stage.create(spawner_body())
    assert (reply.status, reply.message) == (404, f"No such image: {IMAGE}")
