"""What becomes known of an operation: one place that tells log, metrics and events of its begin and its end.

Invariants: every restart and every reset passes through `Records.follow` once; a witness that fails is logged and
harms neither the operation nor the other witnesses; the request id is the one in the agent's audit. A witness must
never wait: it is called on the Hub's event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from logging import Logger
from typing import Any, Protocol

from hubwarden_hub.commands import ForgetCommand, RequestId, ResetCommand, RestartCommand
from hubwarden_hub.compat import StrEnum
from hubwarden_hub.errors import Reason
from hubwarden_hub.operations import Operation


class Kind(StrEnum):
    """What is done."""

    RESTART = "restart"
    RESET = "reset"
    FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Deed:
    """Who does what to whom.

    Attributes:
        username: whose server or home it is.
        server_name: empty for the default server, and for a home.
        actor: `user:NAME` or `service:NAME`.
        request_id: as in the agent's audit.
    """

    kind: Kind
    username: str
    server_name: str
    actor: str
    request_id: RequestId

    @classmethod
    def of(cls, command: RestartCommand | ResetCommand | ForgetCommand) -> Deed:
        """What a command asks for."""
        if isinstance(command, ResetCommand):
            return cls(Kind.RESET, command.username, "", command.actor, command.request_id)
        kind = Kind.RESTART if isinstance(command, RestartCommand) else Kind.FORGET
        return cls(kind, command.username, command.server_name, command.actor, command.request_id)


@dataclass(frozen=True, slots=True)
class End:
    """How a deed ended.

    Attributes:
        reason: why not with success; unset after a success.
        seconds: from its acceptance by the Hub to its outcome.
    """

    reason: Reason | None
    seconds: float

    @property
    def result(self) -> str:
        """`done` or `failed`."""
        return "done" if self.reason is None else "failed"


class Witness(Protocol):
    """Somebody who is told of every operation. What it raises is logged, and goes no further."""

    def begun(self, deed: Deed) -> None:
        """An operation was accepted."""

    def ended(self, deed: Deed, end: End) -> None:
        """It has its outcome."""


class Records:
    """Tells the witnesses.

    Args:
        witnesses: in the order in which they are told.
        log: told about a witness that fails.
        monotonic: seconds that never go back.
    """

    def __init__(
        self, witnesses: Sequence[Witness], log: Logger, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._witnesses = tuple(witnesses)
        self._log = log
        self._monotonic = monotonic

    def follow(self, operation: Operation[Any], command: RestartCommand | ResetCommand | ForgetCommand) -> None:
        """Tell of an operation that begins now, and of its end when that comes."""
        deed, begin = Deed.of(command), self._monotonic()
        self._tell("begun", deed)

        def ended(_: object) -> None:
            failure = operation.failure
            self._tell("ended", deed, End(failure.reason if failure else None, self._monotonic() - begin))

        operation.outcome.add_done_callback(ended)

    def _tell(self, what: str, deed: Deed, *end: End) -> None:
        for witness in self._witnesses:
            try:
                getattr(witness, what)(deed, *end)
            except Exception:  # noqa: BLE001 - logged; no witness may harm an operation
                self._log.exception("%s could not note %s %s", type(witness).__name__, deed.kind, deed.request_id)
