"""Threads that do the work of calls; a listener has a pool of its own.

Invariants: nothing is queued. Work whose caller has given up still holds its thread, and a queue behind it would grow
with every further call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from hubwarden_agent.errors import Reason, RequestRefused

RETRY_SECONDS = 1.0
Result = TypeVar("Result")


class WorkPool:
    """Runs work in threads, in the caller's context.

    Args:
        threads: how much work there may be at once.
        name: of the threads.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, name)
        self._free = threading.Semaphore(threads)

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Begin the work.

        Raises:
            RequestRefused: `TOO_BUSY`; every thread works.
        """
        if not self._free.acquire(blocking=False):
            raise RequestRefused(Reason.TOO_BUSY, retry_after=RETRY_SECONDS)
        future = self._threads.submit(copy_context().run, work)
        future.add_done_callback(lambda _: self._free.release())
        return future
