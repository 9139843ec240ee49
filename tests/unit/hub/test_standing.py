"""How an operation stands, as pages and streams are told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hubwarden_hub.commands import Home, RequestId, Restarted
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.operations import Operation, Phase
from hubwarden_hub.progress_api import standing
from hubwarden_hub.restart import RestartOutcome

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
RESTARTED = Restarted("jupyterlab-alice", "id", MOMENT)


async def test_under_way_it_is_neither_ready_nor_failed() -> None:
    """Progress and phase, and no word about an end."""
    operation: Operation[Any] = Operation(RequestId.new())
    operation.enter(Phase.STOPPING)
    told = standing(operation, for_admin=False)
    assert (told["phase"], told["progress"]) == ("stopping", 20)
    assert not {"ready", "failed"} & set(told)


async def test_a_failure_is_never_ready() -> None:
    """It says why, and nothing of a server that is ready."""
    operation: Operation[Any] = Operation(RequestId.new())
    operation.fail(AgentError(Reason.RESTART_FAILED))
    told = standing(operation, for_admin=False)
    assert (told["phase"], told["failed"], told["reason"]) == ("done", True, "RESTART_FAILED")
    assert "ready" not in told


@pytest.mark.parametrize(
    ("outcome", "ready"),
    [
        (RestartOutcome(RESTARTED, ready=False), False),
        (RestartOutcome(RESTARTED, ready=True), True),
        (Home("volume", (), MOMENT, None, None), True),
    ],
    ids=["a silent server", "a server that answers", "a home"],
)
async def test_what_was_done_is_ready_if_the_server_answers(outcome: RestartOutcome | Home, *, ready: bool) -> None:
    """A restarted server that does not answer is not called ready; a home that was reset is."""
    operation: Operation[Any] = Operation(RequestId.new())
    operation.succeed(outcome)
    told = standing(operation, for_admin=False)
    assert (told["phase"], told["ready"]) == ("done", ready)
    assert "failed" not in told
