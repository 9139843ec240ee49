"""docs/holders.md says what happens: each row of its tables against the agent and what the Hub tells people."""

from __future__ import annotations

import datetime as dt
import re
from itertools import product
from pathlib import Path

import pytest
from hubwarden_agent.config import ResetPolicy
from hubwarden_agent.engine.port import ContainerState
from hubwarden_agent.errors import RequestRefused
from hubwarden_agent.names import VolumeName
from hubwarden_agent.operations import reset
from hubwarden_hub.errors import TABLE, Reason
from support.agent.core import CONTAINER, HOME, AgentStage, reset_command
from support.fakes.edges import TickingClock
from support.fakes.engine import home_of

PAGE = (Path(__file__).parents[2] / "docs" / "holders.md").read_text(encoding="utf-8")
CELLS = [[cell.strip().replace("`", "") for cell in line.strip("| ").split(" | ")] for line in PAGE.splitlines()]
ANSWERS = [row for row in CELLS if row[0] in {"own", "anybody else's"}]
SENTENCES = [row for row in CELLS if row[0] in list(Reason)]


def _rows() -> list[tuple[bool, ContainerState, bool, str, str]]:
    """Own, state, young, and what happens by either policy."""
    return [
        (whose == "own", ContainerState(state), "less" in states, removed, refused)
        for whose, states, removed, refused in ANSWERS
        for state in re.findall("|".join(ContainerState), states)
    ]


def test_no_state_is_left_out() -> None:
    """Every state, of own and of others' containers; own created ones by their age."""
    assert {row[:2] for row in _rows()} == set(product([True, False], ContainerState))
    assert sorted(row[2] for row in _rows() if row[:2] == (True, ContainerState.CREATED)) == [False, True]


@pytest.mark.parametrize("auto_remove", [False, True])
@pytest.mark.parametrize("policy", ["remove", "refuse"])
@pytest.mark.parametrize("row", _rows(), ids=str)
def test_what_a_reset_answers(
    row: tuple[bool, ContainerState, bool, str, str],
    policy: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    auto_remove: bool,
) -> None:
    """The page's word for it; and what is refused stays, container and home."""
    own, state, young, removed, refused = row
    monkeypatch.setattr(reset, "REMOVING_INTERVAL", 0)
    keep = ResetPolicy(stopped_container="refuse" if policy == "refuse" else "remove")
    stage = AgentStage(policy=keep, clock=TickingClock())
    stage.engine.add_volume(HOME)
    age = dt.timedelta(seconds=1 if young else keep.start_timeout + 1)
    name, created = CONTAINER if own else "somebody", stage.clock.now() - age
    stage.engine.add_container(name, state, mounts=(home_of("alice"),), auto_remove=auto_remove, created=created)
    try:
        stage.resetter.reset(reset_command())
        answer = "removed"
    except RequestRefused as refusal:
        answer = str(refusal.reason)
    assert answer == (refused if policy == "refuse" else removed)
    assert (VolumeName(HOME) in stage.engine.volumes) == bool(stage.engine.containers) == (answer != "removed")


def test_what_people_read() -> None:
    """Word for word, for every reason of the first table."""
    assert {row[0] for row in SENTENCES} == {cell for row in ANSWERS for cell in row[2:]} - {"removed"}
    for reason, user, admin in SENTENCES:
        meaning = TABLE[Reason(reason)]
        assert (user, admin) == (meaning.user, meaning.admin or "the same")
