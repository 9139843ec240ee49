"""What the state of a user's servers and home tells, and to whom."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from hubwarden_hub import scopes
from hubwarden_hub.commands import RequestId, ResetCommand
from hubwarden_hub.errors import Reason
from hubwarden_hub.operation_queue import OperationQueue
from hubwarden_hub.operations import Turns
from hubwarden_hub.records import Records
from hubwarden_hub.reset import Resets
from hubwarden_hub.state_api import visible_reset
from jupyterhub.scopes import Scope


@pytest.mark.parametrize(
    ("parsed_scopes", "told"),
    [
        ({"read:servers": Scope.ALL}, False),
        ({"read:servers": Scope.ALL, scopes.RESET: {"user": {"bob"}}}, False),
        ({"read:servers": Scope.ALL, scopes.RESET: {"group": {"other"}}}, False),
        ({scopes.RESET: {"user": {"alice"}}}, True),
        ({scopes.RESET: {"group": {"course"}}}, True),
        ({scopes.RESET: Scope.ALL}, True),
    ],
)
async def test_how_a_reset_stands_is_for_who_may_reset(parsed_scopes: dict[str, Any], *, told: bool) -> None:
    """As its progress and the list: who may only read servers is not told of it, nor of its id."""
    log, agent = logging.getLogger("test"), Any
    queue = OperationQueue(1, Records([], log), log)
    resets = Resets(agent, Turns(), 1, log, queue)  # type: ignore[arg-type]  # nobody asks it
    queue.end(1, ResetCommand("alice", "user:alice", RequestId.new(), "volume"), Reason.INTERRUPTED)
    handler = SimpleNamespace(parsed_scopes=parsed_scopes, plugin=SimpleNamespace(resets=resets))
    user = SimpleNamespace(id=1, name="alice", groups=[SimpleNamespace(name="course")])
    assert (visible_reset(handler, user) is not None) is told
