"""Whole requests, thought up by hypothesis: whatever is asked, no call names an object that is not that user's."""

from __future__ import annotations

from hubwarden_agent import ownership
from hubwarden_agent.engine.port import Container, ContainerState, Mount
from hubwarden_agent.errors import RequestRefused
from hubwarden_agent.names import ServerName, Username
from hypothesis import given, settings
from hypothesis import strategies as st
from support.agent.core import AgentStage, reset_command, restart_command

# Names that look like each other, like escapes, like separators and like volumes.
USERS = st.sampled_from(
    ["alice", "alice_home", "a", "a-b", "a--b", "a-2db", "A", "b", "jupyterlab-a", "木", "-2d", "a_"]
)
SERVERS = st.sampled_from(["", "b", "-b", "Lab", "lab", "2db", "_home", "-"])
LABELS = st.sampled_from(["none", "right", "wrong owner", "wrong agent"])
# Without "removing": a reset waits for it, by a clock that stands still here (see test_reset).
STATES = st.sampled_from(sorted(set(ContainerState) - {ContainerState.REMOVING}))
CONTAINERS = st.lists(st.tuples(USERS, SERVERS, LABELS, STATES, USERS), max_size=6)
REQUESTS = st.lists(st.tuples(st.sampled_from(["restart", "reset"]), USERS, SERVERS, st.booleans()), max_size=6)
Row = tuple[str, str, str, ContainerState, str]


def _add(stage: AgentStage, row: Row) -> None:
    """A container with a user's name that mounts some user's home, with labels that may be somebody else's."""
    user, server, labelled, state, home = row
    username, server_name = Username(user), ServerName(server)
    labels = ownership.labels(username, server_name, stage.names) if labelled != "none" else {}
    labels |= {"wrong owner": {"hubwarden.owner": "mallory"}, "wrong agent": {"hubwarden.agent": "x"}}.get(labelled, {})
    name = stage.names.container(username, server_name).value
    if any(container.name == name for container in stage.engine.containers.values()):
        return
    volume = stage.names.home_volume(Username(home)).value
    environment = (f"JUPYTERHUB_SERVER_NAME={server}",)
    mounts = (Mount("volume", "/home", volume=volume),)
    stage.engine.add_container(name, state, labels=labels, mounts=mounts, environment=environment)


def _may_touch(username: Username, container: Container, stage: AgentStage) -> bool:
    """Whose it is, written once more: by whole labels, or without any by the name of one of the servers in play."""
    if any(label.startswith("hubwarden.") for label in container.labels):
        owner = container.labels.get("hubwarden.owner")
        return (owner, container.labels.get("hubwarden.agent")) == (username.value, stage.names.scheme)
    servers = ("", "b", "-b", "Lab", "lab", "2db", "_home", "-")
    return container.name in {stage.names.container(username, ServerName(server)).value for server in servers}


def _ask(stage: AgentStage, kind: str, user: str, server: str, *, validate_only: bool) -> None:
    try:
        if kind == "restart":
            stage.restarter.restart(restart_command(user, server, validate_only=validate_only))
        else:
            stage.resetter.reset(reset_command(user, validate_only=validate_only))
    except RequestRefused:
        pass


def _check(stage: AgentStage, kind: str, user: str, server: str, *, validate_only: bool) -> None:
    before = {container.id.value: container for container in stage.engine.containers.values()}
    stage.engine.calls.clear()
    _ask(stage, kind, user, server, validate_only=validate_only)
    username = Username(user)
    if validate_only:
        assert stage.touched == []
    for method, name in stage.touched:
        if method == "remove_volume":
            assert (kind, name) == ("reset", stage.names.home_volume(username).value)
            continue
        assert (method, kind) in {("restart_container", "restart"), ("remove_container", "reset")}
        assert _may_touch(username, before[name], stage)


@settings(max_examples=300, deadline=None)
@given(CONTAINERS, st.sets(USERS), REQUESTS)
def test_no_call_names_what_is_not_that_users(
    rows: list[Row], homes: set[str], requests: list[tuple[str, str, str, bool]]
) -> None:
    """Restarts and resets in any order over any containers, labelled rightly or wrongly, mounting anybody's home."""
    stage = AgentStage(restarts="1000/hour", resets="1000/hour", resets_total="1000/hour")
    for user in homes:
        stage.engine.add_volume(stage.names.home_volume(Username(user)).value)
    for row in rows:
        _add(stage, row)
    stage.clock.advance(3600)
    for kind, user, server, validate_only in requests:
        _check(stage, kind, user, server, validate_only=validate_only)
