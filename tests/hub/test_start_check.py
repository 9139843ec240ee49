"""The Hub does not start when the plugin did not take effect, and says what to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from jupyterhub import roles, scopes
from support.jupyterhub.stack import Agent, Hub
from support.waiting.conditions import wait_for
from traitlets import TraitError

pytestmark = pytest.mark.every_hub

of_jupyterhub = pytest.mark.filterwarnings("ignore")  # deprecations of its own
UNDONE = {
    "another Spawner class on the command line": (
        ["--JupyterHub.spawner_class=docker"],
        [],
        "lacks Hubwarden's mixin",
    ),
    "a Spawner that is not DockerSpawner": ([], ["c.JupyterHub.spawner_class = 'simple'"], "is not a DockerSpawner"),
    "a Spawner of Swarm services": (
        [],
        ["c.JupyterHub.spawner_class = hubwarden_hub.configuration.restartable('dockerspawner.SwarmSpawner')"],
        "SwarmSpawner makes services, not containers",
    ),
    "a Spawner that mounts homes of the host": (
        [],
        ["c.JupyterHub.spawner_class = hubwarden_hub.configuration.restartable('dockerspawner.SystemUserSpawner')"],
        "SystemUserSpawner mounts a home of the host",
    ),
    "a home volume that the Spawner does not mount": (
        [],
        ["c.DockerSpawner.volumes = {'other-{username}': '/home/jovyan'}"],
        "'jupyterlab-{username}_home' is not among the Spawner's volumes (other-{username})",
    ),
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


@pytest.fixture
def initialize(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Hub], Awaitable[None]]]:
    """Initializes a Hub in this process, up to and without starting its proxy and its server."""
    from jupyterhub.app import JupyterHub  # noqa: PLC0415 - JupyterHub 4.1 warns when it is imported

    monkeypatch.setattr(roles, "get_default_roles", roles.get_default_roles)
    monkeypatch.setattr(scopes, "scope_definitions", dict(scopes.scope_definitions))

    async def initialize(hub: Hub) -> None:
        for name, value in hub.environment.items():
            monkeypatch.setenv(name, value)
        await JupyterHub.instance().initialize(hub.command_line)

    yield initialize
    JupyterHub.clear_instance()


@of_jupyterhub
@pytest.mark.parametrize(("arguments", "lines", "problem"), UNDONE.values(), ids=UNDONE)
async def test_an_undone_plugin_stops_the_hub(
    agent: Agent,
    make_hub: Callable[..., Hub],
    initialize: Callable[[Hub], Awaitable[None]],
    arguments: list[str],
    lines: list[str],
    problem: str,
) -> None:
    """When a part of the plugin is undone, the Hub ends during its initialization, and the message names the part."""
    with pytest.raises(SystemExit) as stopped:
        await initialize(make_hub(agent, arguments, lines_after=lines))
    assert "The Hub does not start, because Hubwarden did not take effect" in str(stopped.value)
    assert problem in str(stopped.value)


@of_jupyterhub
async def test_a_plugin_that_took_effect_is_initialized(
    agent: Agent, make_hub: Callable[..., Hub], initialize: Callable[[Hub], Awaitable[None]]
) -> None:
    """When nothing is undone, the same initialization reaches its end."""
    await initialize(make_hub(agent))


WITHOUT_RESET = {
    "admins without the scope": UNDONE["admins without the scope"][1],
    "users without the scope": UNDONE["users without the scope"][1],
    "homes of the host": UNDONE["a Spawner that mounts homes of the host"][1],
    "another home volume": UNDONE["a home volume that the Spawner does not mount"][1],
}


@of_jupyterhub
@pytest.mark.parametrize("lines", WITHOUT_RESET.values(), ids=WITHOUT_RESET)
async def test_a_hub_without_resets_needs_nothing_for_them(
    agent: Agent, make_hub: Callable[..., Hub], initialize: Callable[[Hub], Awaitable[None]], lines: list[str]
) -> None:
    """When `reset_home` is off, the Hub starts without the scope and with homes that no reset could delete."""
    await initialize(make_hub(agent, lines_before=["c.Hubwarden.reset_home = False"], lines_after=lines))


OWN_HOME = {
    "without our part": ("", True),
    "with our part": ('{% include "hubwarden_home.html" %}', False),
    "with a page of theirs that has it": ('{% include ["nothing.html", "part.html"] ignore missing %}', False),
}


@of_jupyterhub
@pytest.mark.parametrize(("part", "warned"), OWN_HOME.values(), ids=OWN_HOME)
async def test_a_home_page_that_hides_the_buttons_is_warned_about(
    agent: Agent,
    make_hub: Callable[..., Hub],
    initialize: Callable[[Hub], Awaitable[None]],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    part: str,
    warned: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    """When the Hub's own `home.html` lacks our part, directly and indirectly, the Hub starts and a warning names it."""
    (tmp_path / "home.html").write_text('{% extends "templates/home.html" %}{% block main %}' + part + "{% endblock %}")
    (tmp_path / "part.html").write_text('{% include "hubwarden_home.html" %}')
    from jupyterhub.app import JupyterHub  # noqa: PLC0415 - JupyterHub 4.1 warns when it is imported

    with caplog.at_level("WARNING"):
        JupyterHub.instance().log.addHandler(caplog.handler)
        await initialize(make_hub(agent, lines_before=[f"c.JupyterHub.template_paths = [{str(tmp_path)!r}]"]))
    assert (f"{tmp_path / 'home.html'} hides Hubwarden's buttons" in caplog.text) == warned


@of_jupyterhub
async def test_volumes_that_a_hook_may_set_are_warned_about(
    agent: Agent,
    make_hub: Callable[..., Hub],
    initialize: Callable[[Hub], Awaitable[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """When a `pre_spawn_hook` may still add the home volume, the Hub starts with a warning."""
    lines = ["c.DockerSpawner.volumes = {}", "c.DockerSpawner.pre_spawn_hook = lambda spawner: None"]
    from jupyterhub.app import JupyterHub  # noqa: PLC0415 - JupyterHub 4.1 warns when it is imported

    with caplog.at_level("WARNING"):
        JupyterHub.instance().log.addHandler(caplog.handler)
        await initialize(make_hub(agent, lines_after=lines))
    assert "is not among the Spawner's volumes (none)" in caplog.text


@of_jupyterhub
async def test_a_home_volume_among_the_mounts_is_enough(
    agent: Agent, make_hub: Callable[..., Hub], initialize: Callable[[Hub], Awaitable[None]]
) -> None:
    """When the home volume is one of `mounts`, the Hub starts."""
    mount = {"type": "volume", "source": "jupyterlab-{username}_home", "target": "/home/jovyan"}
    lines = ["c.DockerSpawner.volumes = {}", f"c.DockerSpawner.mounts = [{mount}]"]
    await initialize(make_hub(agent, lines_after=lines))


@of_jupyterhub
async def test_an_impossible_setting_stops_the_hub(
    agent: Agent, make_hub: Callable[..., Hub], initialize: Callable[[Hub], Awaitable[None]]
) -> None:
    """When the agent's address is not a socket's, the initialization fails."""
    with pytest.raises(TraitError, match="agent_address must be unix:///absolute/path"):
        await initialize(make_hub(agent, lines_after=["c.Hubwarden.agent_address = 'agent:7443'"]))


def test_a_real_hub_exits(agent: Agent, make_hub: Callable[..., Hub]) -> None:
    """When the start check fails, the process exits with 1, with the reason and no traceback in its log."""
    hub = make_hub(agent, ["--JupyterHub.spawner_class=docker"])
    hub.launch()
    process = hub.process.process
    assert process is not None
    wait_for(lambda: process.poll() is not None, "the Hub's end")
    assert process.returncode == 1
    log = hub.process.log.read_text()
    assert "The Hub does not start, because Hubwarden did not take effect" in log
    assert "Traceback" not in log
