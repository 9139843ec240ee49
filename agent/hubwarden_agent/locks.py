"""One lock a user, shared by everything that changes something for that user.

Invariants: both RPCs and the gateway's create, start, stop, delete and exec take the same lock, so a reset never sees
a container in the middle of a restart. Non-blocking: a held lock raises `OPERATION_IN_PROGRESS`, and waiting is the
Hub's business. Threads share the locks, so checking and taking are one step.
Inspecting must never take a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.names import Username


class UserLocks:
    """The locks of all users.

    Args:
        held: whose are held from the start and for good.
    """

    def __init__(self, held: Iterable[Username] = ()) -> None:
        self._held = set(held)
        self._taking = threading.Lock()

    def check(self, username: Username) -> None:
        """Refuse as `hold` would now, without taking anything.

        Raises:
            RequestRefused: `OPERATION_IN_PROGRESS`.
        """
        if username in self._held:
            raise RequestRefused(Reason.OPERATION_IN_PROGRESS)

    @contextmanager
    def hold(self, username: Username) -> Iterator[None]:
        """Hold the user's lock for the body.

        Raises:
            RequestRefused: `OPERATION_IN_PROGRESS`, at once, when it is held.
        """
        with self._taking:
            self.check(username)
            self._held.add(username)
        try:
            yield
        finally:
            with self._taking:
                self._held.remove(username)
