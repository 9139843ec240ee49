"""A token that holds the scopes for one group acts on that group's members and on nobody else."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from support.jupyterhub.people import Person
from support.jupyterhub.stack import TOKEN, Hub

pytestmark = pytest.mark.every_hub


def test_one_groups_token_acts_on_its_members_only(hub: Hub, make_person: Callable[..., Person]) -> None:
    """A stranger's server is neither restarted nor reset nor looked up in the history; a member's server restarts."""
    member, stranger = make_person(hub), make_person(hub)
    assert hub.client().post("groups/course").status_code in {httpx.codes.CREATED, httpx.codes.CONFLICT}
    assert hub.client().post("groups/course/users", json={"users": [member.name]}).is_success
    assistant = hub.client(f"{TOKEN}-assistant")
    stranger.start()
    before = stranger.started_at()
    assert stranger.restart(assistant).status_code == 404
    assert stranger.reset(assistant).status_code == 404
    assert assistant.get(f"{stranger.path}/hubwarden-history").status_code == 404
    assert assistant.get("hubwarden/history").status_code == 403
    assert stranger.started_at() == before
    member.start()
    assert member.restart(assistant).status_code == 200
    (entry,) = assistant.get(f"{member.path}/hubwarden-history").json()["entries"]
    assert (entry["actor"], entry["result"]) == ("service:assistant", "done")
