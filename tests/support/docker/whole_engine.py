"""Both ways to ask an engine as one to await, for tests that ask for everything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Protocol, TypeVar

from hubwarden_agent.clock import SystemClock
from hubwarden_agent.engine.docker_calls import DockerCalls
from hubwarden_agent.engine.docker_engine import DockerEngine
from hubwarden_agent.engine.port import BlockingEngine, Container, ContainerSpec, Engine, Image, Volume
from hubwarden_agent.names import ContainerId, ContainerName, VolumeName
from support.fakes.blocking_engine import FakeBlockingEngine
from support.fakes.engine import FakeEngine

Result = TypeVar("Result")

_threads = ThreadPoolExecutor(128, "whole-engine")


async def _awaited(question: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(_threads, question)


class WholeEngine(Engine, Protocol):
    """What the RPCs ask, and what only the gateway asks."""

    blocking: BlockingEngine

    async def runtime_version(self) -> str | None:
        return await _awaited(self.blocking.runtime_version)

    async def containers_labelled(self, labels: Mapping[str, str]) -> tuple[Container, ...]:
        return await _awaited(partial(self.blocking.containers_labelled, labels))

    async def start_container(self, container: ContainerId) -> None:
        await _awaited(partial(self.blocking.start_container, container))

    async def stop_container(self, container: ContainerId, stop_timeout: int) -> None:
        await _awaited(partial(self.blocking.stop_container, container, stop_timeout))

    async def create_container(self, spec: ContainerSpec) -> ContainerId:
        return await _awaited(partial(self.blocking.create_container, spec))

    async def run_in_container(self, container: ContainerId, command: tuple[str, ...], seconds: float) -> int | None:
        return await _awaited(partial(self.blocking.run_in_container, container, command, seconds))

    async def volume_names(self) -> tuple[str, ...]:
        return await _awaited(self.blocking.volume_names)

    async def image(self, reference: str) -> Image | None:
        return await _awaited(partial(self.blocking.image, reference))

    async def pull_image(self, reference: str) -> None:
        await _awaited(partial(self.blocking.pull_image, reference))


class WholeFakeEngine(FakeEngine, WholeEngine):
    """The fake."""

    def __init__(self) -> None:
        super().__init__()
        self.blocking = FakeBlockingEngine(self)


class WholeDockerEngine(DockerEngine, WholeEngine):
    """Docker."""

    def __init__(
        self,
        host: str,
        timeout: int,
        slow_timeout: int,
        slow_threads: int,
        timed: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.blocking = calls = DockerCalls(host, timeout, slow_timeout, SystemClock(), timed)
        super().__init__(calls, slow_threads)


class AskedInThreads(WholeEngine, Protocol):
    """What both ways offer is asked in the gateway's."""

    async def ping(self) -> None:
        await _awaited(self.blocking.ping)

    async def container(self, reference: ContainerName | ContainerId) -> Container | None:
        return await _awaited(partial(self.blocking.container, reference))

    async def remove_container(self, container: ContainerId, *, anonymous_volumes: bool) -> None:
        await _awaited(partial(self.blocking.remove_container, container, anonymous_volumes=anonymous_volumes))

    async def volume(self, name: VolumeName) -> Volume | None:
        return await _awaited(partial(self.blocking.volume, name))


class FakeAskedInThreads(AskedInThreads, WholeFakeEngine):
    """The fake, asked so."""


class DockerAskedInThreads(AskedInThreads, WholeDockerEngine):
    """Docker, asked so."""
