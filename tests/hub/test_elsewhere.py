"""A Hub below a base URL, the plugin's own files, and answers that come before the server does."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from support.docker.private_engine import Workbench
from support.jupyterhub.people import Person, escaped
from support.jupyterhub.stack import Agent, Hub
from support.waiting.conditions import wait_for

STATIC = "hub/hubwarden/static"


def test_a_hub_below_a_base_url(agent: Agent, make_hub: Callable[..., Hub], bench: Workbench) -> None:
    """Endpoints, files and the answer's addresses are below it, for a name that has to be encoded."""
    hub = make_hub(agent, base_url="/some/where/")
    hub.start()
    person = Person(hub, bench, "Ana@Example.org")
    person.start()
    answer = person.restart()
    assert answer.status_code == 200
    assert answer.json()["url"] == "/some/where/user/Ana@Example.org/"
    assert person.visit().json()["user"] == person.name
    person.stop()
    assert person.reset().status_code == 200
    assert httpx.get(f"{hub.address}{STATIC}/hubwarden.js").status_code == 200
    assert httpx.get(f"http://127.0.0.1:{hub.options['port']}/{STATIC}/hubwarden.js").status_code != 200


def test_the_plugins_own_files_and_no_others(hub: Hub) -> None:
    """Script and style are served to everybody; nothing outside their folder is."""
    for name in ("hubwarden.js", "hubwarden.css"):
        assert httpx.get(f"{hub.address}{STATIC}/{name}").status_code == 200
    for path in ("../home.html", "%2e%2e/home.html", "..%2f..%2ferrors.py", "%2fetc%2fpasswd", ""):
        assert httpx.get(f"{hub.address}{STATIC}/{path}").status_code in {403, 404}


def test_a_slow_server_is_answered_for_with_202(
    agent: Agent, make_hub: Callable[..., Hub], make_person: Callable[..., Person]
) -> None:
    """When a restart takes longer than `restart_wait`, the answer names the state, and the restart goes on."""
    hub = make_hub(agent, lines_before=["c.Hubwarden.restart_wait = 1"])
    hub.start()
    person = make_person(hub, "slow")
    person.start()
    answer = person.restart()
    assert (answer.status_code, answer.json()["ready"]) == (202, False)
    assert answer.headers["Location"] == f"/hub/api/{person.path}/hubwarden-state"
    wait_for(person.is_ready, "the server")
    assert person.visit().json()["user"] == person.name


@pytest.mark.every_hub
def test_a_named_server_is_restarted_by_its_name(hub: Hub, person: Person) -> None:
    """Only the named server restarts, and the route below its name leads to it."""
    named = f"{person.path}/servers/lab"
    person.start()
    person.bench.forget_container(f"{person.container_name}--{escaped('lab')}")
    assert person.operator.post(named).is_success
    wait_for(lambda: (person.server("lab") or {}).get("ready"), "the named server")
    started_at = person.started_at()
    answer = person.client().post(f"{named}/restart-server")
    assert answer.status_code == 200, answer.text
    assert answer.json()["container"] == f"{person.container_name}--lab"
    assert answer.json()["url"] == f"/user/{person.name}/lab/"
    assert person.started_at() == started_at
    assert httpx.get(f"{hub.address}user/{person.name}/lab/who").json()["user"] == person.name


def test_a_home_is_kept_while_a_named_server_runs(hub: Hub, person: Person) -> None:
    """The default server being stopped is not enough: all of a user's servers share the home."""
    assert hub.process.alive()
    person.bench.forget_container(f"{person.container_name}--lab")
    assert person.operator.post(f"{person.path}/servers/lab").is_success
    wait_for(lambda: (person.server("lab") or {}).get("ready"), "the named server")
    assert person.reset().json()["reason"] == "SERVER_RUNNING"
    assert person.operator.delete(f"{person.path}/servers/lab").is_success
    wait_for(lambda: not (person.server("lab") or {}).get("ready"), "the named server's stop")
    assert person.reset().status_code == 200


@pytest.mark.every_hub
def test_an_operators_own_roles_and_settings_are_kept(
    agent: Agent, make_hub: Callable[..., Hub], make_person: Callable[..., Person]
) -> None:
    """Where users are not to reset their own homes, one group may; what the role `user` had before, it keeps."""
    hub = make_hub(
        agent,
        lines_before=[
            "c.Hubwarden.users_reset_own_home = False",
            "resetters = {'name': 'resetters', 'scopes': ['custom:hubwarden:reset!group=lab'], 'groups': ['staff']}",
            "c.JupyterHub.load_roles.append(resetters)",
            "c.JupyterHub.load_groups = {'staff': {'users': ['staff-member']}, 'lab': {'users': ['lab-member']}}",
        ],
    )
    hub.start()
    user = make_person(hub)
    assert user.home(user.client()).status_code == 403
    assert user.restart(user.client()).json()["reason"] == "SERVER_NOT_RUNNING"
    staff, member = Person(hub, user.bench, "staff-member"), Person(hub, user.bench, "lab-member")
    assert member.home(staff.client()).json()["reason"] == "VOLUME_NOT_FOUND"
    assert "holders" not in member.home(staff.client()).json()
    assert user.home(staff.client()).status_code == 404
