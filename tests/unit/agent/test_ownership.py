"""Whose a container is: our labels decide when there are any, a derived name when there are none, a prefix never."""

from __future__ import annotations

import datetime as dt

import pytest
from hubwarden_agent import ownership
from hubwarden_agent.engine.port import Container, ContainerState
from hubwarden_agent.names import ContainerId, Names, ServerName, Templates, Username

NAMES = Names(Templates())
ALICE = Username("alice")
OWN = ownership.labels(ALICE, ServerName("Lab"), NAMES)
LAB = "jupyterlab-alice--lab"
SWARM = {"com.docker.swarm.task.id": "q9v1mb5k2h0c"}


def _container(name: str, labels: dict[str, str] | None = None, environment: tuple[str, ...] = ()) -> Container:
    return Container(
        ContainerId("a" * 64),
        name,
        ContainerState.EXITED,
        dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        labels=labels or {},
        environment=environment,
    )


@pytest.mark.parametrize(
    ("why", "container"),
    [
        ("another user's label", _container(LAB, {**OWN, "hubwarden.owner": "bob"})),
        ("a name that the labels do not give", _container("jupyterlab-alice", OWN)),
        ("another agent's label", _container(LAB, {**OWN, "hubwarden.agent": "hub2-{username}"})),
        ("no agent's label", _container(LAB, {k: v for k, v in OWN.items() if k != "hubwarden.agent"})),
        ("no server's label", _container(LAB, {k: v for k, v in OWN.items() if k != "hubwarden.server"})),
        ("an owner that is no user name", _container(LAB, {**OWN, "hubwarden.owner": "a/b"})),
        ("any label of ours at all", _container("jupyterlab-alice", {"hubwarden.x": ""})),
        ("a prefix of the name", _container("jupyterlab-alice2")),
        ("a suffix after the name", _container("jupyterlab-alice--lab")),
        ("a server that the spawner did not name", _container(LAB, environment=("JUPYTERHUB_SERVER_NAME=x",))),
        ("a server's name that cannot be", _container(LAB, environment=("JUPYTERHUB_SERVER_NAME=a/b",))),
        ("a volume's name", _container("jupyterlab-alice_home")),
        ("a Swarm task of that name", _container("jupyterlab-alice", SWARM)),
        ("a Swarm task with whole labels", _container(LAB, OWN | SWARM)),
    ],
)
def test_not_alices(why: str, container: Container) -> None:
    """Each of these makes a container somebody else's."""
    assert not ownership.owns(ALICE, container, NAMES), why


@pytest.mark.parametrize(
    "container",
    [
        _container(LAB, OWN),
        _container("jupyterlab-alice"),
        _container(LAB, environment=("PATH=/bin", "JUPYTERHUB_SERVER_NAME=Lab")),
    ],
)
def test_alices(container: Container) -> None:
    """By whole labels, by the derived name of the default server, or of the server that the spawner named."""
    assert ownership.owns(ALICE, container, NAMES)


def test_whole_labels_say_who_and_which() -> None:
    """When `claimed` reads what `labels` wrote, user and server are the same."""
    assert ownership.owner_from_labels(_container(LAB, OWN), NAMES) == (ALICE, ServerName("Lab"))
