"""Whom a scope reaches, as JupyterHub has parsed it."""

from __future__ import annotations

from typing import Any

import pytest
from hubwarden_hub import scopes
from hubwarden_hub.reach import Reach, reaches_others
from jupyterhub.scopes import parse_scopes


def reach_of(*held: str) -> Reach:
    """Of somebody who holds these scopes."""
    return Reach.of(parse_scopes(set(held)), scopes.RESTART)


@pytest.mark.parametrize("held", [(), ("servers!user=ann",), ("servers!server=ann/lab",), ("read:servers",)])
def test_for_oneself_is_not_beyond_oneself(held: tuple[str, ...]) -> None:
    """What every user holds, and less, reaches nobody else."""
    assert not reaches_others(parse_scopes(set(held)), "ann")


@pytest.mark.parametrize(
    "held",
    ["servers", "servers!user=bob", "servers!group=course", "servers!server=bob/", f"{scopes.RESET}!group=course"],
)
def test_anybody_else_is_beyond_oneself(held: str) -> None:
    """Everybody, one other user, a group, one server of another's; by either scope."""
    assert reaches_others(parse_scopes({held, "servers!user=ann"}), "ann")


def test_a_service_has_nothing_of_its_own() -> None:
    """A service that is called like a user is not that user."""
    assert reaches_others(parse_scopes({"servers!user=ann"}), None)


@pytest.mark.parametrize(
    ("held", "included"),
    [
        ("servers!user=ann", {"user": False, "server": False}),
        ("servers!group=other", {"user": False, "server": False}),
        ("servers!server=bob/", {"user": False, "server": False}),
        ("servers!server=bob/lab", {"user": False, "server": True}),
        ("servers!user=bob", {"user": True, "server": True}),
        ("servers!group=course", {"user": True, "server": True}),
        ("servers", {"user": True, "server": True}),
    ],
)
def test_filters_include_what_they_name(held: str, included: dict[str, Any]) -> None:
    """For bob, who is in the group `course`, and his server `lab`."""
    reach = reach_of(held)
    assert reach.includes_user("bob", {"course"}) is included["user"]
    assert reach.includes_server("bob", {"course"}, "lab") is included["server"]
