"""What a restart and a reset answer for a container in every state, of its user or not, removing itself or not.

One table, walked over the fake engine in full and over Docker wherever Docker can hold the state.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from hubwarden_agent.engine.port import ContainerState
from hubwarden_agent.errors import Reason, RequestRefused
from support.agent.core import AgentStage, reset_command, restart_command

DONE = None
S = ContainerState

ANSWERS: dict[tuple[str, bool, ContainerState], Reason | None] = {
    ("restart", True, S.CREATED): Reason.SERVER_NOT_RUNNING,
    ("restart", True, S.RUNNING): DONE,
    ("restart", True, S.PAUSED): DONE,
    ("restart", True, S.RESTARTING): DONE,
    ("restart", True, S.REMOVING): Reason.SERVER_NOT_RUNNING,
    ("restart", True, S.EXITED): Reason.SERVER_NOT_RUNNING,
    ("restart", True, S.DEAD): Reason.SERVER_NOT_RUNNING,
    **{("restart", False, state): Reason.NOT_OWNED for state in S},
    ("reset", True, S.CREATED): Reason.OPERATION_IN_PROGRESS,  # a spawn is under way
    ("reset", True, S.RUNNING): Reason.SERVER_RUNNING,
    ("reset", True, S.PAUSED): Reason.SERVER_RUNNING,
    ("reset", True, S.RESTARTING): Reason.SERVER_RUNNING,
    ("reset", True, S.REMOVING): Reason.OPERATION_IN_PROGRESS,  # after waiting for it
    ("reset", True, S.EXITED): DONE,
    ("reset", True, S.DEAD): DONE,
    **{("reset", False, state): Reason.VOLUME_IN_USE for state in S},
}
"""(operation, own, state) -> reason. AutoRemove makes no difference to any of them."""


@dataclass(frozen=True)
class Case:
    """One row of the walk."""

    operation: str
    own: bool
    state: ContainerState
    auto_remove: bool

    def __str__(self) -> str:
        owner, removal = "own" if self.own else "foreign", "-autoremove" if self.auto_remove else ""
        return f"{self.operation}-{owner}-{self.state}{removal}"

    @property
    def answer(self) -> Reason | None:
        """What is expected."""
        return ANSWERS[self.operation, self.own, self.state]

    def container_name(self, username: str) -> str:
        """A restart finds its container by name; a reset finds every container that holds the volume."""
        return f"jupyterlab-{username}" if self.own or self.operation == "restart" else f"other-{username}"

    def labels(self, username: str) -> dict[str, str]:
        """Another user's labels make the container of our name somebody else's."""
        return {} if self.own or self.operation == "reset" else {"hubwarden.owner": f"not-{username}"}


CASES = [Case(*row) for row in itertools.product(("restart", "reset"), (True, False), S, (False, True))]


def ask(stage: AgentStage, case: Case, username: str) -> Reason | None:
    """Do it. Returns the reason of a refusal."""
    try:
        if case.operation == "restart":
            stage.restarter.restart(restart_command(username, stop_timeout=1))
        else:
            stage.resetter.reset(reset_command(username))
    except RequestRefused as refusal:
        return refusal.reason
    return DONE
