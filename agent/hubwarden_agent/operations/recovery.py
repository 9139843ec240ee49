"""Crash recovery: rebuilds the idempotency table from the audit and closes operations that a crash interrupted.

Invariants:
- Before anything is served, each request id of the last 24 hours has its answer again, from the audit alone.
- An intent without an outcome is closed as `INTERRUPTED`, with what the engine shows by then, and answers that.
- Until then its user's lock is held. Docker completes a restart whose caller was killed, and between stop and start
  that server must not be taken for a stopped one. Other changes need no wait: Docker itself serializes the removal of a
  volume or container with everything else that concerns it.

Must not: continue an operation, undo it or repeat it.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from hubwarden_agent import logging_setup
from hubwarden_agent.audit import Audit, AuditEntry, AuditRecord
from hubwarden_agent.clock import Clock
from hubwarden_agent.engine.port import Engine, EngineError, EngineUnavailable
from hubwarden_agent.errors import ERROR_TABLE, ErrorDetails, Reason, RequestRefused
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.names import ContainerId, ContainerName, Names, RequestId, Username, VolumeName
from hubwarden_agent.operations import requests
from hubwarden_agent.operations.operation_registry import REMEMBERED_SECONDS, OperationRegistry

DOCKER_INTERVAL = 0.5
"""Seconds between two looks, while Docker does not answer or may still be at it."""
START_SECONDS = 20.0
"""How long Docker may take, beyond the stop timeout, to start a container that it was asked to."""

ON_VOLUMES = ("reset", "restore", "prune")
"""Operations whose first object is a volume."""

_SENTENCES = {
    ("reset", "present"): "The home volume is still there.",
    ("reset", "gone"): "The home volume is gone.",
    ("reset", "replaced"): "The home volume is gone, and there is a new one.",
    ("restart", "running"): "The server runs.",
}
_OTHERWISE = {"reset": "What became of the home volume is not known.", "restart": "The server does not run."}
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Interrupted:
    """An operation without an outcome, with its user's lock held, and the outcome that repetitions wait for."""

    record: AuditRecord
    held: ExitStack
    give_up_at: float
    outcome: Future[Any] = field(default_factory=Future)


@dataclass(slots=True)
class Recovery:
    """Restores what the last agent knew, and closes what it left open."""

    engine: Engine
    names: Names
    audit: Audit
    registry: OperationRegistry
    locks: UserLocks
    clock: Clock
    _interrupted: list[_Interrupted] = field(default_factory=list)

    def remove_helpers(self) -> None:
        """Remove helper containers. If Docker does not answer, the next one of a volume removes those that hold it."""
        try:
            self.engine.remove_helpers(self.names.scheme)
        except EngineError as error:
            _log.warning("recovery: helpers may have been left behind: %s", error)

    def begin(self, history: Iterable[AuditRecord]) -> None:
        """Restore outcomes of finished operations, and hold the locks of interrupted ones, before anything is served.

        Args:
            history: the newest first. What is older than a day, as of its newest record, is not looked at.
        """
        day, horizon, finished = dt.timedelta(seconds=REMEMBERED_SECONDS), None, set[str]()
        recalled = list[tuple[AuditRecord, Any]]()
        for record in history:
            if record.phase == "event":  # may have the time of a machine whose clock was not set yet
                continue
            # From the newest record on, not from now: an agent that was down for a week left its open intents there.
            horizon = horizon or min(record.time, self.clock.now()) - day
            if record.time < horizon:
                break
            if record.phase == "denied" or record.entry.request_id in finished:
                continue
            finished.add(record.entry.request_id)
            if record.phase == "intent":
                self._interrupted.append(self._hold(record))
                recalled.append((record, self._interrupted[-1].outcome))
            elif record.entry.fingerprint:
                recalled.append((record, _finished(record)))
        for record, outcome in reversed(recalled):
            self._recall(record, outcome)

    def run(self, stopping: threading.Event) -> None:
        """Close the interrupted operations, each once Docker answers and is done. The next start closes the rest."""
        while not self.close_done() and not stopping.wait(DOCKER_INTERVAL):
            pass

    def close_done(self) -> bool:
        """Close each interrupted operation that Docker is done with by now. Whether none is left."""
        self._interrupted = [one for one in self._interrupted if not self._close(one)]
        return not self._interrupted

    def _recall(self, record: AuditRecord, outcome: Any) -> None:
        if record.entry.fingerprint:
            age = max(0.0, (self.clock.now() - record.time).total_seconds())
            self.registry.recall(RequestId(record.entry.request_id), record.entry.fingerprint, outcome, age)

    def _hold(self, record: AuditRecord) -> _Interrupted:
        held = ExitStack()
        with suppress(
            RequestRefused
        ):  # nobody has that name (an image was pulled), or another operation of theirs is open
            held.enter_context(self.locks.hold(Username(record.entry.username)))
        age = max(0.0, (self.clock.now() - record.time).total_seconds())
        return _Interrupted(record, held, self.clock.monotonic() + record.entry.stop_timeout + START_SECONDS - age)

    def _close(self, interrupted: _Interrupted) -> bool:
        """Record what became of one, if that can be said by now, and release its user's lock."""
        entry = interrupted.record.entry
        with logging_setup.request(entry.request_id):
            found = self._found(interrupted)
            if found is None:
                return False
            refusal = interrupted_refusal(entry, found)
            _log.warning("an operation was interrupted", extra={"operation": entry.operation, "found": found})
            self.audit.outcome(entry, refusal, 0, found)
            interrupted.held.close()
            interrupted.outcome.set_result(refusal)
        return True

    def _found(self, interrupted: _Interrupted) -> Mapping[str, str] | None:
        """What Docker shows; None while it does not answer or may still be at it; empty when it cannot be said."""
        record = interrupted.record
        over = self.clock.monotonic() >= interrupted.give_up_at
        try:
            return inspect(record.entry, self.engine) if over or is_done(record, self.engine) else None
        except (EngineError, RequestRefused, ValueError) as error:
            if not over or isinstance(error, EngineUnavailable):
                return None
            _log.warning("recovery: what became of it cannot be said: %s", error)
            return {}


def is_done(record: AuditRecord, engine: Engine) -> bool:
    """Whether Docker can no longer start the container: it already has, was not asked to, or the container is gone.

    Raises:
        EngineError: the engine does not say.
    """
    if record.entry.operation not in {"restart", "start"}:
        return True
    container = engine.container(ContainerId(record.entry.object_id))
    return container is None or (container.started is not None and container.started > record.time)


def inspect(entry: AuditEntry, engine: Engine) -> Mapping[str, str]:
    """What became of an operation's objects: a container's state, `present` or `replaced` for a volume, or `gone`.

    Raises:
        EngineError: the engine does not say.
    """
    if not entry.username or entry.operation == "prune":
        return {}  # an image that was being fetched, or a backup that was being removed
    names, ids = entry.object.split(" "), entry.object_id.split(" ")
    found: dict[str, str] = {}
    if entry.operation in ON_VOLUMES:
        name, created = names.pop(0), ids.pop(0)
        volume = engine.volume(VolumeName(name))
        found[name] = "gone" if volume is None else "present" if volume.created == created else "replaced"
    for name, identifier in zip(names, ids, strict=True):
        container = engine.container(ContainerId(identifier) if identifier else ContainerName(name))
        found[name] = container.state.value if container else "gone"
    return found


def interrupted_refusal(entry: AuditEntry, found: Mapping[str, str]) -> RequestRefused:
    """What an interrupted operation answers."""
    state = found.get(entry.object.split(" ")[0], "")
    sentence = _SENTENCES.get((entry.operation, state)) or _OTHERWISE.get(entry.operation, "")
    message = f"{ERROR_TABLE[Reason.INTERRUPTED][1]} {sentence}".strip()
    return RequestRefused(Reason.INTERRUPTED, message, detail=_detail(entry))


def _finished(record: AuditRecord) -> Any:
    """What a finished operation answered: its result, or its refusal."""
    if record.reason == Reason.INTERRUPTED:
        return interrupted_refusal(record.entry, record.answer)
    try:
        if record.reason:
            return RequestRefused(Reason(record.reason), detail=_detail(record.entry))
        return requests.from_answer(record.entry.operation, record.answer)
    except (ValueError, TypeError, KeyError):
        # Another version's line. Its id must not act again, and its answer is not known.
        return interrupted_refusal(record.entry, {})


def _detail(entry: AuditEntry) -> ErrorDetails:
    name = entry.object.split(" ")[0]
    return ErrorDetails(volume=name) if entry.operation in ON_VOLUMES else ErrorDetails(container=name)
