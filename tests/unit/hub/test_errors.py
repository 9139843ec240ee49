"""The Hub's table of reasons against the agent's, and what is said to whom."""

from __future__ import annotations

from pathlib import Path

import pytest
from hubwarden_agent import errors as agent_errors
from hubwarden_hub.errors import TABLE, AgentError, Reason

HUBS_OWN = {Reason.AGENT_UNREACHABLE, Reason.PROXY_UNAVAILABLE, Reason.STOP_NOT_WAITING}
HUBS_OWN |= {Reason.CANCELLED, Reason.NOT_ALLOWED, Reason.LOST}
DESIGN = {
    400: {"INVALID_REQUEST", "SERVER_RUNNING", "SERVER_NOT_RUNNING"},
    403: {"NOT_ALLOWED"},
    404: {"VOLUME_NOT_FOUND", "CONTAINER_NOT_FOUND"},
    409: {
        "VOLUME_IN_USE",
        "CONTAINER_KEPT",
        "MANAGED_ELSEWHERE",
        "OPERATION_IN_PROGRESS",
        "INTERRUPTED",
        "STOP_NOT_WAITING",
        "CANCELLED",
        "LOST",
    },
    429: {"RATE_LIMITED", "RESET_BUDGET_SPENT", "TOO_BUSY"},
    500: {
        "NAME_MISMATCH",
        "NOT_OWNED",
        "VOLUME_NOT_LOCAL",
        "CLIENT_NOT_ALLOWED",
        "RESTART_FAILED",
        "BACKUP_FAILED",
        "DOCKER_ERROR",
    },
    503: {"DOCKER_UNAVAILABLE", "AUDIT_UNAVAILABLE", "AGENT_UNREACHABLE", "PROXY_UNAVAILABLE"},
    504: {"DEADLINE_EXCEEDED"},
}


def test_the_table_mirrors_the_agents() -> None:
    """Every reason of the agent's, and those that only the Hub can see; none is missing from the table."""
    assert {str(reason) for reason in Reason} - {str(reason) for reason in HUBS_OWN} == (
        set(agent_errors.Reason) - agent_errors.GATEWAY_REASONS
    )
    assert set(TABLE) == set(Reason)


def test_the_statuses_are_the_designs() -> None:
    """The mapping to HTTP is the one that was written down."""
    for status, names in DESIGN.items():
        assert {str(reason) for reason, meaning in TABLE.items() if meaning.status == status} == names


@pytest.mark.parametrize("reason", list(Reason))
def test_users_read_no_names(reason: Reason) -> None:
    """Whatever the agent sends along, a user's sentence is the table's; an admin's has no gaps."""
    metadata = {"holders": "foreign-one,foreign-two", "container": "some-container", "volume": "some-volume"}
    error = AgentError(reason, metadata)
    assert not {"foreign-one", "some-container", "some-volume"} & set(error.sentence(for_admin=False).split())
    for sentence in (error.sentence(for_admin=True), AgentError(reason).sentence(for_admin=True)):
        assert "{" not in sentence
        assert sentence.endswith(".")


@pytest.mark.parametrize(
    "name", ["DOCKER_UNAVAILABLE", "VOLUME_IN_USE", "DEADLINE_EXCEEDED", "INTERRUPTED", "DOCKER_ERROR"]
)
def test_nothing_is_said_to_be_unchanged_where_nobody_can_know(name: str) -> None:
    """The agent gives these after it has begun, too."""
    meaning = TABLE[Reason(name)]
    assert "Nothing was changed" not in meaning.user + meaning.admin + meaning.nobody


def test_admins_read_who_holds_a_volume() -> None:
    """When a volume is in use, an admin's message names all holders and what to do."""
    error = AgentError(Reason.VOLUME_IN_USE, {"holders": "one,two", "volume": "the-home"})
    assert error.holders == ("one", "two")
    assert "one, two" in error.sentence(for_admin=True)
    assert "docker rm" in error.sentence(for_admin=True)


def test_the_plugin_imports_neither_agent_nor_docker() -> None:
    """The Hub's side does not depend on the privileged side, and cannot talk to Docker."""
    package = Path(__file__).parents[3] / "hub_plugin" / "hubwarden_hub"
    for file in package.glob("*.py"):
        for line in file.read_text().splitlines():
            assert not line.strip().startswith(("import docker", "from docker", "import hubwarden_agent"))
            assert not line.strip().startswith("from hubwarden_agent")
