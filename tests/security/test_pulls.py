"""A taken-over Hub and a hostile registry: what a pull may fetch, replace, and bring into a container."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hubwarden_agent.engine.docker_engine import DockerEngine
from hubwarden_agent.spawn_policy import SpawnPolicy
from support.agent.gateway import POLICY, GatewayStage, Reply, allow, gateway, spawner_body
from support.docker import registry as registries
from support.docker.private_engine import Workbench
from support.docker.registry import Registry

LABELS = {"maintainer": "somebody", "org.opencontainers.image.version": "7", "team": "physics"}
"""What the policy accepts of an image: two that only describe it, and one that it lists."""


@pytest.fixture
def registry(bench: Workbench) -> Iterator[Registry]:
    """A registry that the engine may ask."""
    with registries.serving(bench.client) as registry:
        yield registry


Policy = Callable[..., AbstractAsyncContextManager[GatewayStage]]


@pytest.fixture
def policy(engine: DockerEngine, bench: Workbench, tmp_path: Path) -> Iterator[Policy]:
    """Serves a gateway under a policy with these images; afterwards the engine forgets them."""
    used: set[str] = set()

    @asynccontextmanager
    async def serve(image: str, **changes: Any) -> AsyncIterator[GatewayStage]:
        used.add(image)
        spawn: SpawnPolicy = replace(POLICY, images=(image,), **changes)
        async with gateway(engine, tmp_path, spawn=spawn) as stage:
            yield stage

    yield serve
    for image in used & {tag for found in bench.client.images.list() for tag in found.tags}:
        bench.client.images.remove(image, force=True)


async def pull(stage: GatewayStage, image: str) -> Reply:
    """Ask for a pull as docker-py does."""
    name, _, tag = image.rpartition(":")
    return await stage.request("POST", f"/v1.44/images/create?tag={tag}&fromImage={name.replace('/', '%2F')}")


async def test_a_local_image_is_not_replaced(bench: Workbench, registry: Registry, policy: Policy) -> None:
    """When the engine has an image of this name, a pull answers that it is up to date, and the image stays."""
    image = registry.push(bench.image, "lab", User="0")
    local = bench.client.images.get(bench.image)
    local.tag(*image.rsplit(":", 1))
    async with policy(image, pull=(image,)) as stage:
        reply = await pull(stage, image)
    assert bench.client.images.get(image).id == local.id
    assert (reply.status, "Image is up to date" in reply.text) == (200, True)


async def test_what_is_not_listed_is_not_pulled(bench: Workbench, registry: Registry, policy: Policy) -> None:
    """When `spawn.pull` does not list an image, a pull is 403, though the registry has it and `images` lists it."""
    image = registry.push(bench.image, "lab")
    async with policy(image) as stage:
        reply = await pull(stage, image)
    assert image not in {tag for found in bench.client.images.list() for tag in found.tags}
    assert (reply.status, reply.message.startswith("pull access denied")) == (403, True)


@pytest.mark.parametrize(("private", "status"), [(False, 404), (True, 403)])
async def test_why_nothing_was_pulled(bench: Workbench, policy: Policy, status: int, *, private: bool) -> None:
    """When a registry does not have an image it is 404; when it wants a password, 403, with no word of Docker's."""
    with registries.serving(bench.client, private=private) as registry:
        image = f"{registry.host}/nothing:1"
        async with policy(image, pull=(image,)) as stage:
            reply = await pull(stage, image)
    expected = "hubwarden: The registry denies access to the image." if private else f"No such image: {image}"
    assert (reply.status, reply.message) == (status, expected)


async def test_a_listed_image_is_pulled_and_used(bench: Workbench, registry: Registry, policy: Policy) -> None:
    """When user, labels and volumes of a pulled image are within the policy, a container of it starts."""
    image = registry.push(bench.image, "lab", User="1000:100", Labels=LABELS, Volumes={"/home/jovyan": {}})
    user = bench.username()
    bench.forget_volume(f"jupyterlab-{user}_home")
    bench.forget_container(f"jupyterlab-{user}")
    async with policy(image, pull=(image,), allow=allow(("User", "1000:100"))) as stage:
        assert "Downloaded newer image" in (await pull(stage, image)).text
        body = spawner_body(user, Image=image, Cmd=["true"])
        assert (await stage.create(body, f"jupyterlab-{user}")).status == 201
        assert (await stage.request("POST", f"/v1.44/containers/jupyterlab-{user}/start")).status == 204


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"User": ""}, "allow"),
        ({"User": "1000"}, "allow"),
        ({"User": "0:1000"}, "allow"),
        ({"Labels": {"traefik.enable": "true"}}, "labels"),
        ({"Labels": {"team": "chemistry"}}, "labels"),
        ({"Labels": {"hubwarden.helper": "jupyterlab-{username}"}}, "labels"),
        ({"Volumes": {"/dev": {}}}, "volumes"),
        ({"Volumes": {"/home/jovyan": {}, "/data": {}}}, "volumes"),
        ({"Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000}}, "pull"),
    ],
)
async def test_a_hostile_image_is_not_used(
    bench: Workbench, registry: Registry, policy: Policy, config: dict[str, Any], key: str
) -> None:
    """When a pulled image brings what the policy does not allow or a health check, no container is created."""
    image = registry.push(bench.image, "lab", **{"User": "1000:100", **config})
    user = bench.username()
    bench.forget_volume(f"jupyterlab-{user}_home")
    bench.forget_container(f"jupyterlab-{user}")
    async with policy(image, pull=(image,), allow=allow(("User", "1000:100"))) as stage:
        assert (await pull(stage, image)).status == 200
        reply = await stage.create(spawner_body(user, Image=image), f"jupyterlab-{user}")
    assert bench.client.containers.list(all=True, filters={"name": f"jupyterlab-{user}"}) == []
    assert reply.status == 400
    assert f"(spawn.{key})" in reply.message
