"""The port over a real Docker engine, to be awaited: `docker_calls` in threads of our own.

What holds here: whatever changes something has other threads than what only looks, so that a burst of restarts of
servers that ignore SIGTERM does not keep a look waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from hubwarden_agent.engine.docker_archive import ARCHIVED, EXTRACTED, Helpers
from hubwarden_agent.engine.docker_calls import DockerCalls
from hubwarden_agent.engine.helper_body import reading_body, writing_body
from hubwarden_agent.engine.port import Container, Helper, Volume, VolumeSize
from hubwarden_agent.names import ContainerId, ContainerName, VolumeName

QUICK_THREADS = 16

Result = TypeVar("Result")


class DockerEngine:
    """A Docker engine, as the RPCs and the tools ask it.

    Args:
        calls: the questions.
        slow_threads: how many changes can be under way at once; the rest wait.
    """

    def __init__(self, calls: DockerCalls, slow_threads: int) -> None:
        self._calls = calls
        self._quick = ThreadPoolExecutor(QUICK_THREADS, "docker")
        self._slow = ThreadPoolExecutor(slow_threads, "docker-slow")
        self._counting = ThreadPoolExecutor(1, "docker-sizes")
        self._helpers = Helpers(calls.clients)

    def close(self) -> None:
        """Ask nothing more. What Docker was asked for, Docker goes on with."""
        self._calls.close()
        for threads in (self._quick, self._slow, self._counting):
            threads.shutdown(wait=False, cancel_futures=True)
        self._helpers.close()

    async def ping(self) -> None:
        """See `Engine.ping`."""
        await _asked(self._quick, self._calls.ping)

    async def container(self, reference: ContainerName | ContainerId) -> Container | None:
        """See `Engine.container`."""
        return await _asked(self._quick, partial(self._calls.container, reference))

    async def containers_holding(self, volume: VolumeName) -> tuple[Container, ...]:
        """See `Engine.containers_holding`."""
        return await _asked(self._quick, partial(self._calls.containers_holding, volume))

    async def restart_container(self, container: ContainerId, stop_timeout: int) -> None:
        """See `Engine.restart_container`."""
        await _asked(self._slow, partial(self._calls.restart_container, container, stop_timeout))

    async def remove_container(self, container: ContainerId, *, anonymous_volumes: bool) -> None:
        """See `Engine.remove_container`."""
        await _asked(self._slow, partial(self._calls.remove_container, container, anonymous_volumes=anonymous_volumes))

    async def volume(self, name: VolumeName) -> Volume | None:
        """See `Engine.volume`."""
        return await _asked(self._quick, partial(self._calls.volume, name))

    async def create_volume(
        self, name: VolumeName, driver: str, options: Mapping[str, str], labels: Mapping[str, str]
    ) -> Volume:
        """See `Engine.create_volume`."""
        return await _asked(self._slow, partial(self._calls.create_volume, name, driver, options, labels))

    async def remove_volume(self, name: VolumeName) -> None:
        """See `Engine.remove_volume`."""
        await _asked(self._slow, partial(self._calls.remove_volume, name))

    async def archive_volume(
        self, volume: VolumeName, helper: Helper, max_bytes: int, take: Callable[[bytes], object]
    ) -> int:
        """See `Engine.archive_volume`."""
        body = reading_body(volume, helper, max_bytes)
        return await self._helpers.run(body, volume, lambda streams: streams.archive(take), ARCHIVED)

    async def extract_volume(self, volume: VolumeName, helper: Helper, pieces: Iterable[bytes]) -> None:
        """See `Engine.extract_volume`."""
        body = writing_body(volume, helper)
        await self._helpers.run(body, volume, lambda streams: streams.extract(pieces), EXTRACTED)

    async def remove_helpers(self, scheme: str) -> None:
        """See `Engine.remove_helpers`."""
        await _asked(self._quick, partial(self._calls.remove_helpers, scheme))

    async def volume_sizes(self) -> tuple[VolumeSize, ...]:
        """See `Engine.volume_sizes`."""
        return await _asked(self._counting, self._calls.volume_sizes)


async def _asked(threads: ThreadPoolExecutor, question: Callable[[], Result]) -> Result:
    """What a question comes to in one of those threads, which measures and logs as part of the operation that asks."""
    return await asyncio.get_running_loop().run_in_executor(threads, copy_context().run, question)
