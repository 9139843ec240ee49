"""The budget for all resets: at its end the agent says so, once, and refuses until there is room again."""

from __future__ import annotations

import logging

import pytest
from hubwarden_agent.errors import Reason, RequestRefused
from support.agent.core import AgentStage, reset_command


def _say(caplog: pytest.LogCaptureFixture) -> int:
    return sum("resets_total is spent" in record.message for record in caplog.records)


def _announced(stage: AgentStage) -> int:
    return sum(line.phase == "denied" and not line.entry.username for line in stage.audit.lines)


def test_its_end_is_said_once_each_time(caplog: pytest.LogCaptureFixture) -> None:
    """The last of the total is said in log and audit, without the user's name in the latter; refusals say no more."""
    stage = AgentStage(resets_total="2/hour")
    caplog.set_level(logging.WARNING)
    for name in ("alice", "bob", "carol", "dave"):
        stage.engine.add_volume(f"jupyterlab-{name}_home")
    stage.resetter.reset(reset_command("alice"))
    assert (_say(caplog), _announced(stage)) == (0, 0)
    stage.resetter.reset(reset_command("bob"))
    for _ in range(3):
        with pytest.raises(RequestRefused) as refused:
            stage.resetter.reset(reset_command("carol"))
        assert (refused.value.reason, refused.value.retry_after) == (Reason.RESET_BUDGET_SPENT, 3600)
    assert (_say(caplog), _announced(stage)) == (1, 1)
    stage.clock.advance(3600)
    stage.resetter.reset(reset_command("carol"))
    stage.resetter.reset(reset_command("dave"))
    assert (_say(caplog), _announced(stage)) == (2, 2)


def test_what_costs_nothing_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    """Validating, being refused and repeating a request id spend nothing."""
    stage = AgentStage(resets_total="2/hour")
    stage.engine.add_volume("jupyterlab-alice_home")
    command = reset_command("alice")
    stage.resetter.reset(reset_command("alice", validate_only=True))
    with pytest.raises(RequestRefused):
        stage.resetter.reset(reset_command("nobody"))
    stage.resetter.reset(command)
    stage.resetter.reset(command)
    assert stage.total_budget.remaining("") == 1
    assert _say(caplog) == 0
