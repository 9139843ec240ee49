"""The whole table of states over the fake engine: also the two that Docker does not have together with AutoRemove."""

from __future__ import annotations

import datetime as dt

import pytest
from hubwarden_agent.names import VolumeName
from hubwarden_agent.operations import reset
from support.agent.core import AgentStage
from support.fakes.edges import TickingClock
from support.fakes.engine import home_of
from support.scenarios.container_states import CASES, Case, ask


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_state(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table's answer; and what was refused is as it was."""
    monkeypatch.setattr(reset, "REMOVING_INTERVAL", 0)
    stage = AgentStage(clock=TickingClock())
    stage.engine.add_volume("jupyterlab-alice_home")
    container = stage.engine.add_container(
        case.container_name("alice"),
        case.state,
        labels=case.labels("alice"),
        auto_remove=case.auto_remove,
        mounts=(home_of("alice"),),
        created=stage.clock.now() - dt.timedelta(seconds=1),
    )
    assert ask(stage, case, "alice") is case.answer
    if case.answer:
        assert stage.touched == []
        assert stage.engine.containers == {container.id: container}
    elif case.operation == "reset":
        assert stage.engine.containers == {}
        assert VolumeName("jupyterlab-alice_home") not in stage.engine.volumes
