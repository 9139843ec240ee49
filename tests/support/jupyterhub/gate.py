"""A gate between the agent and the engine, at which a test holds one request: the middle of whatever it asks for.

Invariants: what is held waits for the test and not for a time; everything else passes. The engine is real.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.docker.relay import Relay, RelayThread
from support.jupyterhub.stack import Agent, Hub, running
from support.waiting.conditions import wait_for

REQUESTS = {
    "spawn": r"^POST /v[^/]+/containers/[^/]+/start",
    "stop": r"^POST /v[^/]+/containers/[^/]+/stop",
    "restart": r"^POST /v[^/]+/containers/[^/]+/restart",
    "reset": r"^DELETE /v[^/]+/volumes/",
}
"""What an operation asks of Docker when it is in its middle."""
_LONGEST = 55
"""Seconds after which a held request passes whatever the test does: DockerSpawner gives up on Docker after 60."""
_PATIENCE = (
    "c.ConfigurableHTTPProxy.check_running_interval = 1",
    "c.Hubwarden.turn_wait = 90",
    "c.Hubwarden.reset_wait = 2",
    "c.Spawner.start_timeout = 120",
)
"""Nobody who waits gives up while something is held; a proxy that ends is soon noticed; a held reset is answered."""


@dataclass
class Hold:
    """One request that is held, for `longest` seconds at most."""

    longest: float = _LONGEST
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> None:
        """Wait for the release."""
        self.reached.set()
        self.released.wait(self.longest)


class Gate(Relay):
    """Passes requests on, after whatever the test has set for them."""

    def __init__(self, docker: str) -> None:
        super().__init__(docker, lambda: True)
        self._actions: dict[str, Callable[[], object]] = {}

    async def before(self, request: str) -> None:
        """See `Relay`."""
        for pattern, action in list(self._actions.items()):
            if re.search(pattern, request):
                await asyncio.to_thread(action)

    @contextmanager
    def doing(self, operation: str, action: Callable[[], object]) -> Iterator[None]:
        """Do something each time before Docker gets to see an operation."""
        self._actions[REQUESTS[operation]] = action
        try:
            yield
        finally:
            del self._actions[REQUESTS[operation]]

    @contextmanager
    def holding(self, operation: str, begin: Callable[[], object], longest: float = _LONGEST) -> Iterator[Hold]:
        """Begin an operation in a thread, and hold it in its middle for as long as the body runs."""
        hold = Hold(longest)
        thread = threading.Thread(target=begin)
        with self.doing(operation, hold):
            thread.start()
            try:
                wait_for(hold.reached.is_set, f"the middle of the {operation}")
                yield hold
            finally:
                hold.released.set()
        thread.join()


@contextmanager
def opened(path: Path, docker: str) -> Iterator[Gate]:
    """A gate at a socket of its own, served by a thread of its own."""
    gate = Gate(docker)
    thread = RelayThread(path, lambda: gate)
    thread.start()
    try:
        yield gate
    finally:
        thread.stop()


@dataclass(frozen=True)
class Gated:
    """An agent behind a gate, and its Hub."""

    gate: Gate
    agent: Agent
    hub: Hub


@contextmanager
def gated_stack(directory: Path, engine: str, image: str, **options: Any) -> Iterator[Gated]:
    """A stack whose operations a test can hold in their middle."""
    for name in ("agent", "hub"):
        (directory / name).mkdir()
    options["lines_before"] = list(_PATIENCE)
    with (
        opened(directory / "gate.sock", engine) as gate,
        running(Agent(directory / "agent", str(directory / "gate.sock"), image)) as agent,
        running(Hub(directory / "hub", agent.socket, agent.gateway, image, options)) as hub,
    ):
        yield Gated(gate, agent, hub)
