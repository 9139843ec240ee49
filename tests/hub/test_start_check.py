"""The Hub does not start when the plugin did not take effect, and says what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.jupyterhub.stack import Agent, Hub, wait_for

pytestmark = pytest.mark.every_hub

UNDONE = {
    "another Spawner class on the command line": (
        ["--JupyterHub.spawner_class=docker"],
        [],
        "lacks Hubwarden's mixin",
    ),
    "a Spawner that is not DockerSpawner": ([], ["c.JupyterHub.spawner_class = 'simple'"], "is not a DockerSpawner"),
    "handlers overridden": ([], ["c.JupyterHub.extra_handlers = []"], "restart-server is not served"),
    "users without the scope": (
        [],
        ["c.JupyterHub.extra_user_scopes = []", "c.JupyterHub.load_roles = [{'name': 'user', 'scopes': ['self']}]"],
        "the role 'user' does not hold custom:hubwarden:reset!user",
    ),
    "users with the scope for everybody": (
        [],
        ["c.JupyterHub.load_roles = [{'name': 'user', 'scopes': ['self', 'custom:hubwarden:reset']}]"],
        "the role 'user' holds custom:hubwarden:reset for everybody",
    ),
    "admins without the scope": (
        [],
        ["from jupyterhub import roles", "roles.get_default_roles = roles.get_default_roles.__wrapped__"],
        "the role 'admin' does not hold custom:hubwarden:reset",
    ),
}


@pytest.mark.parametrize(("arguments", "lines", "said"), UNDONE.values(), ids=UNDONE)
def test_an_undone_plugin_stops_the_hub(
    agent: Agent, make_hub: Callable[..., Hub], arguments: list[str], lines: list[str], said: str
) -> None:
    """Whatever undoes a part of it is named, and the Hub exits with 1 before it serves anything."""
    hub = make_hub(agent, arguments, lines_after=lines)
    hub.launch()
    process = hub.process.process
    assert process is not None
    wait_for(lambda: process.poll() is not None, "the Hub's end")
    assert process.returncode == 1
    log = hub.process.log.read_text()
    assert "The Hub does not start, because Hubwarden did not take effect" in log
    assert said in log
    assert "Traceback" not in log


def test_an_impossible_setting_stops_the_hub(agent: Agent, make_hub: Callable[..., Hub]) -> None:
    """An agent address that is not a socket is refused at the start."""
    hub = make_hub(agent, lines_after=["c.Hubwarden.agent_address = 'agent:7443'"])
    hub.launch()
    process = hub.process.process
    assert process is not None
    wait_for(lambda: process.poll() is not None, "the Hub's end")
    assert "agent_address must be unix:///absolute/path" in hub.process.log.read_text()
