"""What the serving code has measured, and what measures nothing of it.

What holds here: an agent without `listen.metrics` has a `Measuring` alone, and does not even load Prometheus' library,
which takes memory. `metrics` is the other one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

Warned = Literal["mount_target", "runtime_unknown", "runtime_outdated"]
"""What the agent warns of at its start."""


@dataclass(slots=True)
class Measured:
    """One call under way: what it is, as far as that is known, and the seconds that Docker has taken of it."""

    operation: str
    docker: float = 0.0


class Measuring:
    """Takes everything, and keeps nothing."""

    @contextmanager
    def operation(self, kind: str) -> Iterator[Measured]:
        """Measure one call. The body may say more precisely what it is."""
        yield Measured(kind)

    def docker(self) -> AbstractContextManager[None]:
        """Measure one question to Docker, as part of the call that it belongs to."""
        return nullcontext()

    def state(self, *, resets_left: Callable[[], float], audit_sequence: Callable[[], float]) -> None:
        """Show these from now on."""

    def warning(self, warned: Warned, *, standing: bool) -> None:
        """Show from now on whether this warning stands."""

    def certificates(self, expires: Callable[[], dt.datetime], stale: Callable[[], bool]) -> None:
        """Show the certificate in use from now on: when it expires, and whether newer files cannot be used."""

    def text(self) -> bytes:
        """Everything in Prometheus' text format, version 0.0.4."""
        return b""
