"""What a new start knows of the last one: answers that were given, and operations that a crash cut off.

What holds here: before anything is served, every request id of the last 24 hours has its answer again, made of the
audit alone; one whose intent has no outcome is closed as `INTERRUPTED`, with what the engine shows by then, and answers
just that. Until then its user's lock is held: Docker goes on with a restart whose caller was killed, and in the moment
between stop and start nobody may take that server for a stopped one. Other changes need no wait: Docker itself keeps
a volume's or a container's removal apart from everything else that is asked about it.
This file only looks: it must never carry an operation on, undo it or do it again.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

from hubwarden_agent import log_context
from hubwarden_agent.audit import Entry, Past
from hubwarden_agent.audit_trails import AuditTrail
from hubwarden_agent.clock import Clock
from hubwarden_agent.engine.port import Engine, EngineError, EngineUnavailable
from hubwarden_agent.errors import TABLE, Detail, Reason, Refusal
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.names import ContainerId, ContainerName, RequestId, Username, VolumeName
from hubwarden_agent.operations import commands
from hubwarden_agent.operations.runner import REMEMBERED_SECONDS, Runner

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
class Recovery:
    """Takes up where the last agent was killed."""

    engine: Engine
    audit: AuditTrail
    runner: Runner
    locks: UserLocks
    clock: Clock
    _closing: list[asyncio.Task[Any]] = field(default_factory=list)

    def begin(self, history: Iterable[Past]) -> None:
        """Remember what is finished, and begin to close what is not; that ends once Docker answers and is done.

        What is begun here comes first on the loop: the locks are held before anybody who is served can ask for one.

        Args:
            history: the newest first. What is older than a day, as of its newest line, is not looked at.
        """
        day, horizon, finished = dt.timedelta(seconds=REMEMBERED_SECONDS), None, set[str]()
        for past in history:
            if past.phase == "event":  # may bear the time of a machine whose clock was not set yet
                continue
            # From the newest line on, not from now: an agent that was down for a week left its open intents there.
            horizon = horizon or min(past.time, self.clock.now()) - day
            if past.time < horizon:
                break
            if past.phase == "denied" or past.entry.request_id in finished:
                continue
            finished.add(past.entry.request_id)
            if past.phase == "intent":
                task = asyncio.create_task(self._close(past))
                task.add_done_callback(lambda task: task.cancelled() or task.exception())
                self._closing.append(task)
                self._recall(past, task)
            elif past.entry.fingerprint:
                self._recall(past, _answered(past))

    async def stop(self) -> None:
        """Give up looking; what is not closed the next start closes."""
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _recall(self, past: Past, answer: asyncio.Future[Any]) -> None:
        if past.entry.fingerprint:
            age = max(0.0, (self.clock.now() - past.time).total_seconds())
            self.runner.recall(RequestId(past.entry.request_id), past.entry.fingerprint, answer, age)

    async def _close(self, past: Past) -> NoReturn:
        entry = past.entry
        log_context.request_id.set(entry.request_id)
        with ExitStack() as held:
            with suppress(Refusal):  # nobody has that name (an image was fetched), or another of theirs is closed
                held.enter_context(self.locks.hold(Username(entry.username)))
            found = await self._look_when_done(past)
            refusal = interrupted(entry, found)
            _log.warning("an operation was interrupted", extra={"operation": entry.operation, "found": found})
            await self.audit.outcome(entry, refusal, 0, found)
        raise refusal

    async def _look_when_done(self, past: Past) -> Mapping[str, str]:
        age = max(0.0, (self.clock.now() - past.time).total_seconds())
        give_up = self.clock.monotonic() + past.entry.stop_timeout + START_SECONDS - age
        while True:
            over = self.clock.monotonic() >= give_up
            try:
                if over or await is_done(past, self.engine):
                    return await look(past.entry, self.engine)
            except (EngineError, Refusal, ValueError) as error:
                if over and not isinstance(error, EngineUnavailable):
                    _log.warning("recovery: what became of it cannot be said: %s", error)
                    return {}
            await asyncio.sleep(DOCKER_INTERVAL)


async def is_done(past: Past, engine: Engine) -> bool:
    """Whether Docker cannot be about to start the container any more: it has, or was not asked to, or it is gone.

    Raises:
        EngineError: the engine does not say.
    """
    if past.entry.operation not in {"restart", "start"}:
        return True
    container = await engine.container(ContainerId(past.entry.object_id))
    return container is None or (container.started is not None and container.started > past.time)


async def look(entry: Entry, engine: Engine) -> Mapping[str, str]:
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
        volume = await engine.volume(VolumeName(name))
        found[name] = "gone" if volume is None else "present" if volume.created == created else "replaced"
    for name, identifier in zip(names, ids, strict=True):
        container = await engine.container(ContainerId(identifier) if identifier else ContainerName(name))
        found[name] = container.state.value if container else "gone"
    return found


def interrupted(entry: Entry, found: Mapping[str, str]) -> Refusal:
    """What an interrupted operation answers."""
    state = found.get(entry.object.split(" ")[0], "")
    sentence = _SENTENCES.get((entry.operation, state)) or _OTHERWISE.get(entry.operation, "")
    message = f"{TABLE[Reason.INTERRUPTED][1]} {sentence}".strip()
    return Refusal(Reason.INTERRUPTED, message, detail=_detail(entry))


def _answered(past: Past) -> asyncio.Future[Any]:
    future = asyncio.get_running_loop().create_future()
    try:
        future.set_result(_result(past))
    except Refusal as refusal:
        future.set_exception(refusal)
        future.exception()  # or asyncio reports it as lost when nobody asks again
    return future


def _result(past: Past) -> Any:
    """What a finished operation answered, or raises it."""
    if past.reason == Reason.INTERRUPTED:
        raise interrupted(past.entry, past.answer)
    try:
        if past.reason:
            raise Refusal(Reason(past.reason), detail=_detail(past.entry))
        return commands.from_answer(past.entry.operation, past.answer)
    except (ValueError, TypeError, KeyError) as error:
        # Another version's line. Its id must not act again, and its answer is not known.
        raise interrupted(past.entry, {}) from error


def _detail(entry: Entry) -> Detail:
    name = entry.object.split(" ")[0]
    return Detail(volume=name) if entry.operation in ON_VOLUMES else Detail(container=name)
