"""What the measurements run on, for one run: the Hub tests' stack, or the browser tests'.

The first is a real engine, agent with gateway, Hub and proxy as processes; the other (`Stack`) is compose.yml's.

Invariants: both sides of a ratio come from one run, interleaved; medians say what they are medians of.
Nothing here asserts: a measurement is looked at, not passed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path.insert(0, str(TESTS))

from support.agent.live_agent import LiveAgent, reset_request, restart_request  # noqa: E402 - found through the line above
from support.agent.live_agent import running as running_agent  # noqa: E402
from support.browser.stack import Stack  # noqa: E402
from support.docker.images import built as built_agent_image  # noqa: E402 - found through the line above
from support.docker.images import built_user_image  # noqa: E402 - found through the line above
from support.docker.private_engine import Workbench, base_image, start, workbench  # noqa: E402
from support.jupyterhub.people import Person  # noqa: E402
from support.jupyterhub.stack import IMAGE, Agent, Hub, running, server_workbench  # noqa: E402
from support.waiting.conditions import wait_for  # noqa: E402
from support.waiting.ports import free_port  # noqa: E402

__all__ = [
    "STOP_TIMEOUT",
    "Deployment",
    "LiveAgent",
    "Person",
    "Stack",
    "Workbench",
    "base_image",
    "built_agent_image",
    "built_user_image",
    "deployment",
    "free_port",
    "reset_request",
    "restart_request",
    "running_agent",
    "start",
    "wait_for",
    "workbench",
]

STOP_TIMEOUT = 10
"""Seconds that a server may take to stop: the default of DockerSpawner, Docker and the plugin."""


@dataclass(frozen=True)
class Deployment:
    """A running Hub and what is behind it."""

    hub: Hub
    bench: Workbench

    def person(self, name: str) -> Person:
        """A user whose server runs."""
        person = Person(self.hub, self.bench, name)
        person.start()
        return person


@contextmanager
def deployment() -> Iterator[Deployment]:
    """Agent and Hub on the private engine, from their start to their end."""
    engine = start()
    with server_workbench(engine) as bench, tempfile.TemporaryDirectory() as directory:
        for name in ("agent", "hub"):
            (Path(directory) / name).mkdir()
        with running(Agent(Path(directory) / "agent", engine, IMAGE)) as agent:
            # What restarts a container behind the Hub's back must not be seen by its poll, which would stop the server.
            # The tests' Hub looks for activity every two seconds; JupyterHub's own interval is this one.
            lines = ["c.Spawner.poll_interval = 86400", "c.JupyterHub.last_activity_interval = 300"]
            # The tests' Hub does not wait long for a server to stop; this is what people have.
            options = {"lines_before": lines, "lines_after": [f"c.Hubwarden.stop_timeout = {STOP_TIMEOUT}"]}
            hub = Hub(Path(directory) / "hub", agent.socket, agent.gateway, IMAGE, options)
            with running(hub):
                yield Deployment(hub, bench)
