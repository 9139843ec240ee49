"""A Hub with live servers moves from the raw socket to the gateway and back: docs/moving-over.md, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.docker.private_engine import Workbench
from support.jupyterhub.people import Person
from support.jupyterhub.stack import Agent, Hub, running
from support.waiting.conditions import wait_for

CLASS = """
class RemovesSome(dockerspawner.DockerSpawner):
    @traitlets.default("remove")
    def _removes(self):
        return self.user.name.startswith("passing")
"""
REMOVES_SOME = (
    "import dockerspawner, traitlets",
    "c.DockerSpawner.pop('remove')",
    CLASS,
    "c.JupyterHub.spawner_class = RemovesSome",
)


@pytest.fixture
def adopting(session_bench: Workbench, engine: str, tmp_path: Path) -> Iterator[Agent]:
    """An agent beside a Hub that still holds the raw socket."""
    (tmp_path / "agent").mkdir()
    with running(Agent(tmp_path / "agent", engine, session_bench.image, 'adopt = "by-name"\n')) as agent:
        yield agent


def _move(hub: Hub, socket: str | Path) -> None:
    hub.process.end()
    hub.docker_socket = Path(socket)
    hub.start()


def _as_before(person: Person, before: Any) -> None:
    """Still the same container that never stopped, and it answers."""
    wait_for(person.is_ready, f"{person.name}'s server")
    assert (person.container().id, person.started_at()) == (before.id, before.attrs["State"]["StartedAt"])
    assert person.visit().json() == {"user": person.name, "host": before.short_id}


def _is_labelled(person: Person) -> bool:
    return bool(person.container().labels.get("hubwarden.owner") == person.name)


@pytest.mark.slow("a Hub is started three times, and servers stop and start in between")
def test_no_server_is_lost(
    adopting: Agent, engine: str, make_hub: Callable[..., Hub], make_person: Callable[..., Person]
) -> None:
    """Same containers, which run on, stop and start; what is spawned anew is labelled; and back again."""
    hub = make_hub(adopting, use_internal_ip=False, lines_before=list(REMOVES_SOME))
    hub.docker_socket = Path(engine)
    hub.start()
    keeping, passing, stopped = (make_person(hub, prefix) for prefix in ("keeping", "passing", "stopped"))
    people = (keeping, passing, stopped)
    for person in people:
        person.start()
    keeping.run("echo mine > /home/jovyan/file")
    stopped.stop()
    before = {person.name: person.container() for person in (keeping, passing)}
    kept = stopped.container().id
    assert [container.attrs["HostConfig"]["AutoRemove"] for container in before.values()] == [False, True]
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(adopting.gateway)), base_url="http://gateway") as asked:
        answers = [asked.get(f"/v1.44/containers/{person.container_name}/json").status_code for person in people]
    assert answers == [200, 200, 200]

    _move(hub, adopting.gateway)
    for person in (keeping, passing):
        _as_before(person, before[person.name])
    assert keeping.restart().status_code == 200
    assert stopped.server() is None
    stopped.start()
    assert (stopped.container().id, _is_labelled(stopped)) == (kept, False)
    keeping.stop()
    keeping.start()
    assert (keeping.container().id, _is_labelled(keeping)) == (before[keeping.name].id, False)
    passing.stop()
    passing.start()
    assert passing.container().id != before[passing.name].id
    assert _is_labelled(passing)
    keeping.stop()
    keeping.container().remove()
    keeping.start()
    assert _is_labelled(keeping)
    assert keeping.run("cat /home/jovyan/file") == "mine\n"

    before = {person.name: person.container() for person in people}
    _move(hub, engine)
    for person in people:
        _as_before(person, before[person.name])
    for person in people:
        person.stop()
