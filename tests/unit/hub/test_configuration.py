"""What `configure` does to an operator's configuration, and which role gets what."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from dockerspawner import DockerSpawner
from hubwarden_hub import configuration, scopes, startcheck
from hubwarden_hub.gateway_errors import BUSY_MESSAGE, is_busy
from hubwarden_hub.spawner import RestartableSpawnerMixin
from jupyterhub import roles
from jupyterhub.app import JupyterHub
from jupyterhub.spawner import SimpleLocalProcessSpawner
from tornado import web
from traitlets.config import Config


@pytest.fixture
def c(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty configuration with a Spawner; JupyterHub as it was, afterwards."""
    monkeypatch.setattr(roles, "get_default_roles", roles.get_default_roles)
    c = Config()
    c.JupyterHub.spawner_class = "docker"
    yield c
    JupyterHub.clear_instance()


@pytest.mark.parametrize("configured", ["docker", "DockerSpawner", "dockerspawner.DockerSpawner", DockerSpawner])
def test_the_spawner_is_extended(configured: Any) -> None:
    """A class, its path and its entry point's name, in any case, all end up as a subclass with the mixin first."""
    spawner = configuration.restartable("docker" if configured == "DockerSpawner" else configured)
    assert issubclass(spawner, DockerSpawner)
    assert spawner.__mro__[1] is RestartableSpawnerMixin
    assert configuration.restartable(spawner) is spawner


@pytest.mark.parametrize("configured", [None, "", "no.such.Spawner"])
def test_no_spawner_is_a_mistake(configured: Any) -> None:
    """JupyterHub's default Spawner starts processes in the Hub's own container: nobody means that here."""
    with pytest.raises(ValueError, match="spawner_class"):
        configuration.restartable(configured)


def test_what_the_operator_configured_is_kept(c: Any) -> None:
    """Handlers, template folders and scopes are added to, in lists and in deferred `append`s alike."""
    c.JupyterHub.extra_handlers = [("/mine", object)]
    c.JupyterHub.template_paths.append("/mine")
    c.JupyterHub.custom_scopes = {"custom:mine": {"description": "mine"}}
    c.JupyterHub.load_roles.append({"name": "mine"})
    configuration.configure(c)
    assert c.JupyterHub.extra_handlers[0] == ("/mine", object)
    assert c.JupyterHub.template_paths == ["/mine", str(configuration.TEMPLATES)]
    assert set(c.JupyterHub.custom_scopes) == {"custom:mine", scopes.RESET}


def test_a_role_that_is_there_is_added_to() -> None:
    """A second entry would stop the Hub; the operator's list is left alone; twice is once."""
    mine = [{"name": "user", "scopes": ["self", "shares"], "description": "mine"}]
    merged = scopes.with_scope(mine, "user", scopes.RESET_OWN, ["self"])
    assert merged == [{"name": "user", "scopes": ["self", "shares", scopes.RESET_OWN], "description": "mine"}]
    assert mine[0]["scopes"] == ["self", "shares"]
    assert scopes.with_scope(merged, "user", scopes.RESET_OWN, ["self"]) == merged


def test_a_role_that_is_not_there_keeps_its_defaults() -> None:
    """Redefining `user` must not take from users what JupyterHub gives them."""
    assert scopes.with_scope([], "user", scopes.RESET_OWN, ["self"])[0]["scopes"] == ["self", scopes.RESET_OWN]
    group = scopes.with_scope([{"name": "user", "groups": ["g"]}], "user", scopes.RESET_OWN, ["self"])
    assert group == [{"name": "user", "groups": ["g"], "scopes": ["self", scopes.RESET_OWN]}]


def test_admins_keep_what_jupyterhub_gives_them(c: Any) -> None:
    """The admin role is JupyterHub's own, with one scope more."""
    assert c
    before = {role["name"]: role["scopes"] for role in roles.get_default_roles()}
    scopes.grant_to_admins()
    after = {role["name"]: role["scopes"] for role in roles.get_default_roles()}
    assert after.pop("admin") == [*before.pop("admin"), scopes.RESET]
    assert after == before


@pytest.mark.parametrize(
    ("user", "admin", "own", "mistakes"),
    [
        (["self", scopes.RESET_OWN], [scopes.RESET], True, 0),
        (["self"], [scopes.RESET], False, 0),
        (["self"], [scopes.RESET], True, 1),
        (["self", scopes.RESET], [], True, 3),
    ],
)
def test_who_holds_what_is_checked(user: list[str], admin: list[str], own: bool, mistakes: int) -> None:  # noqa: FBT001 - a parameter of the table
    """When roles lack a scope, or grant one too many, each mistake is reported."""
    held = {"user": user, "admin": admin}
    assert len(scopes.mistakes_in(held, users_reset_own_home=own, reset_home=True)) == mistakes


def test_a_scope_for_everybody_is_a_mistake_although_resets_are_off() -> None:
    """When `reset_home` is off, missing scopes are fine, but users who could read everybody's history are not."""
    assert scopes.mistakes_in({"user": [], "admin": []}, users_reset_own_home=True, reset_home=False) == []
    assert scopes.mistakes_in({"user": [scopes.RESET], "admin": []}, users_reset_own_home=False, reset_home=False)


@pytest.mark.parametrize("switch", ["reset_home", "users_reset_own_home"])
def test_users_get_no_scope_for_what_is_off(c: Any, switch: str) -> None:
    """When resets are off, or users' own, the role `user` is left alone."""
    c.Hubwarden[switch] = False
    configuration.configure(c)
    assert "extra_user_scopes" not in c.JupyterHub
    assert "load_roles" not in c.JupyterHub


def test_what_the_spawner_lacks_is_said() -> None:
    """The mixin on a Spawner of another kind is not enough, nor is DockerSpawner without it."""
    mixed = configuration.restartable(SimpleLocalProcessSpawner)
    assert "get_ip_and_port" in startcheck.spawner_mistakes(mixed)[0]
    assert "lacks Hubwarden's mixin" in startcheck.spawner_mistakes(DockerSpawner)[0]
    assert startcheck.spawner_mistakes(configuration.restartable(DockerSpawner)) == []


class DockerError(Exception):
    """What docker-py raises, as far as we look at it."""

    def __init__(self, status_code: int, message: str) -> None:
        super().__init__(message)
        self.status_code = status_code


def test_only_the_gateways_not_now_is_waited_for() -> None:
    """Docker's own conflicts, and other answers with the same words, are errors."""
    assert is_busy(DockerError(409, f'409 Client Error: Conflict ("{BUSY_MESSAGE}")'))
    assert not is_busy(DockerError(409, "Conflict. The container name is already in use"))
    assert not is_busy(DockerError(400, BUSY_MESSAGE))
    assert not is_busy(ValueError(BUSY_MESSAGE))


def test_the_gateways_words_are_the_agents() -> None:
    """When the user's lock is held, the gateway's message is the one that the plugin recognises."""
    gateway = pytest.importorskip("hubwarden_agent.gateway.refusals")
    assert gateway.LOCKED_MESSAGE == BUSY_MESSAGE


def test_each_endpoint_gives_the_urls_user_and_server_the_names_that_scopes_look_for() -> None:
    """JupyterHub checks `!user` and `!server` filters on arguments of just these names.

    With another one JupyterHub 4 checks no filter: a holder of a scope for oneself then holds it for everybody.
    """
    for path, handler, *_ in configuration.HANDLERS:
        if not path.startswith("/api/"):
            continue
        for method in ("get", "post", "delete", "put", "patch"):
            if (function := getattr(handler, method)) is web.RequestHandler._unimplemented_method:  # noqa: SLF001 - Tornado marks a method without an implementation by it
                continue
            names = list(inspect.signature(function).parameters)[1:]
            if "/batches/" in path:  # filtered by the handler itself
                continue
            second = "request_id" if "waiting-operations" in path else "server_name"
            assert names[: path.count("(")] == ["user_name", second][: path.count("(")], (path, method)
            assert hasattr(function, "__wrapped__"), f"{method} {path} has no needs_scope"
