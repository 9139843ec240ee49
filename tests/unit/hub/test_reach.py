"""Whom a scope reaches, as JupyterHub has parsed it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from hubwarden_hub import scopes
from hubwarden_hub.reach import Asker, Offers, Reach, reaches_others
from hubwarden_hub.settings import Hubwarden
from jupyterhub import orm, roles
from jupyterhub.scopes import parse_scopes
from support.jupyterhub.in_process import new_database


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


ANN = SimpleNamespace(name="ann", groups=[SimpleNamespace(name="staff")])


@pytest.mark.parametrize(
    ("held", "restart", "reset"),
    [
        ((), False, False),
        (("servers!group=course", f"{scopes.RESET}!group=course"), False, False),
        (("servers!user=bob", f"{scopes.RESET}!server=ann/"), False, False),
        (("servers!user=ann", f"{scopes.RESET}!group=staff"), True, True),
        (("servers", scopes.RESET), True, True),
    ],
)
def test_a_page_offers_what_reaches_its_own_user(held: tuple[str, ...], restart: bool, reset: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """When an assistant's scopes reach others only, their own page has no button, which would answer 404."""
    offers, parsed = Offers(Hubwarden()), parse_scopes(set(held))
    assert (offers.restart(parsed, ANN), offers.reset(parsed, ANN)) == (restart, reset)


def test_a_page_offers_nothing_that_is_turned_off() -> None:
    """When both features are off, a holder of every scope sees no button."""
    offers, parsed = Offers(Hubwarden(restart_server=False, reset_home=False)), parse_scopes({"servers", scopes.RESET})
    assert (offers.restart(parsed, ANN), offers.reset(parsed, ANN)) == (False, False)


@pytest.mark.filterwarnings("ignore:TypeDecorator JSONDict")  # JupyterHub's own type
@pytest.mark.parametrize("by", ["cookie", "token"])
@pytest.mark.parametrize("end", ["role", "asker", "token expired", "other's", "nothing"])
def test_permission_can_be_asked_for_again(by: str, end: str) -> None:
    """When role, asker or token is gone later, it is refused, and so is another's server; otherwise it is granted."""
    db = new_database()
    for name in ("ann", "bob"):
        db.add(user := orm.User(name=name))
        db.commit()
        roles.assign_default_roles(db, user)
    ann = orm.User.find(db, "ann")
    token = orm.APIToken.find(db, ann.new_api_token()) if by == "token" else None
    handler = SimpleNamespace(db=db, get_token=lambda: token, current_user=ann)
    is_allowed = partial(Asker.of(handler).may, scopes.RESTART, "bob" if end == "other's" else "ann", "lab")
    assert is_allowed() is (end != "other's")
    if end == "role":
        roles.strip_role(db, ann, "user")
    elif end == "asker":
        db.delete(ann)
    elif end == "token expired" and token is not None:
        token.expires_at = orm.APIToken.now() - timedelta(seconds=1)
    db.commit()
    assert is_allowed() is (end == "nothing" or (end, by) == ("token expired", "cookie"))
