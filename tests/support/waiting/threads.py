"""Many threads at the same thing at once, switched so often that whatever can meet does."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar

from hubwarden_agent.errors import Reason, RequestRefused

Value = TypeVar("Value")
PATIENCE = 60
"""Seconds for what takes one at most."""


@contextmanager
def _hurried() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def at_once(number: int, attempt: Callable[[], object]) -> list[Reason | None]:
    """Let so many threads attempt it together. What each was refused for; anything else that is raised is raised."""
    meeting = threading.Barrier(number)

    def one() -> Reason | None:
        meeting.wait(PATIENCE)
        try:
            attempt()
        except RequestRefused as refusal:
            return refusal.reason
        return None

    with _hurried(), ThreadPoolExecutor(number) as threads:
        ends = [threads.submit(one) for _ in range(number)]
        return [end.result(PATIENCE) for end in ends]


class Meeting:
    """A place within an operation where two threads meet if nothing keeps them apart; else one waits a while, once."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)

    def wait(self) -> None:
        """Be there."""
        with suppress(threading.BrokenBarrierError):
            self._barrier.wait(0.2)


def in_background(call: Callable[[], Value]) -> Future[Value]:
    """Make a call in a daemon thread of its own: one that never ends fails its test and not the run."""
    outcome: Future[Value] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome
