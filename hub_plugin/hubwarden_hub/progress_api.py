"""How a restart or a reset stands: server-sent events, in the shape of JupyterHub's spawn progress.

Invariants: an event is sent when a phase begins and never before, so a percentage tells a phase and not a guess of
time; the last event, whose phase is `done`, says `failed`, or whether what was done is `ready`; whoever stops listening
changes nothing. Between stopping and starting the agent says nothing, so the container is looked at while somebody
listens. Nothing here may act.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from jupyterhub.scopes import needs_scope
from tornado import web
from tornado.iostream import StreamClosedError

from hubwarden_hub import scopes
from hubwarden_hub.api import OperationHandler
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.operations import PROGRESS, Operation, Phase

_LOOK_EVERY = 0.5
"""Seconds between two looks at a container that is being stopped, however many listen."""
Step = TypeVar("Step")
_KEEP_ALIVE = 8.0
"""Seconds of silence after which proxies might cut the stream."""
_lookouts: WeakKeyDictionary[Operation[Any], asyncio.Task[None]] = WeakKeyDictionary()


def standing(operation: Operation[Any], *, for_admin: bool) -> dict[str, Any]:
    """How an operation stands: progress, phase, message and request id; at its end also `ready` or `failed`.

    `ready` is false where the restarted server was not seen to answer.
    """
    percent, message = PROGRESS[operation.phase]
    told = {"progress": percent, "phase": str(operation.phase), "message": message}
    told |= {"request_id": str(operation.request_id)}
    if operation.phase is not Phase.DONE:
        return told
    failure = operation.failure
    if failure is None:
        return told | {"ready": getattr(operation.outcome.result(), "ready", True)}
    return told | {"failed": True, "message": failure.sentence(for_admin=for_admin), "reason": str(failure.reason)}


class ProgressHandler(OperationHandler):
    """A stream of events about one operation."""

    async def tell(self, operation: Operation[Any], at_end: dict[str, Any]) -> None:
        """Send every phase from the present one to the end, each once; `at_end` is added to the event of a success."""
        told: Phase | None = None
        async for _phase in self.with_pauses(operation.phases()):
            if operation.phase is told:  # it had moved on before it was told, and so was told then
                continue
            told = operation.phase
            event = standing(operation, for_admin=self.acts_for_everybody)
            await self.send(event | at_end if "ready" in event else event)

    async def send(self, event: dict[str, Any]) -> None:
        """Send one event. A listener that has gone ends the request."""
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-cache")
        await self._write(f"data: {json.dumps(event)}\n\n")

    async def with_pauses(self, steps: AsyncIterator[Step]) -> AsyncIterator[Step]:
        """The steps, with a sign of life on the stream between two that are far apart."""
        coming = asyncio.ensure_future(anext(steps))
        try:
            while True:
                await asyncio.wait({coming}, timeout=_KEEP_ALIVE)
                if not coming.done():
                    await self._write("\n\n")
                    continue
                yield coming.result()
                coming = asyncio.ensure_future(anext(steps))
        except StopAsyncIteration:
            return
        finally:
            coming.cancel()

    async def _write(self, text: str) -> None:
        try:
            self.write(text)
            await self.flush()
        except StreamClosedError as error:
            raise web.Finish from error


class RestartProgressHandler(ProgressHandler):
    """How the restart of one server stands."""

    feature = "restart_server"

    @needs_scope("read:servers")  # type: ignore[untyped-decorator]  # JupyterHub is not typed
    async def get(self, user_name: str, server_name: str = "") -> None:
        """Follow the restart under way; without one, say at once how things stand."""
        spawner = self.spawner_of(user_name, server_name)
        operation = spawner.latest_restart
        url = {"url": spawner.user.server_url(spawner.name)}
        waits_or_runs = operation is not None and operation.phase is not Phase.DONE
        if operation is not None and (waits_or_runs or operation.failure or spawner.ready):
            look_while_followed(spawner, operation)
            await self.tell(operation, url)
        elif spawner.ready:
            percent, message = PROGRESS[Phase.DONE]
            await self.send({"progress": percent, "phase": str(Phase.DONE), "message": message, "ready": True} | url)
        else:
            raise AgentError(Reason.SERVER_NOT_RUNNING)


class ResetProgressHandler(ProgressHandler):
    """How the reset of one home stands."""

    feature = "reset_home"

    @needs_scope(scopes.RESET)  # type: ignore[untyped-decorator]  # JupyterHub is not typed
    async def get(self, user_name: str) -> None:
        """Follow the reset under way; without one, say at once how the last one ended."""
        user = self.user_named(user_name)
        operation = self.plugin.resets.latest(user.id, user.name)
        if operation is None:
            raise web.HTTPError(HTTPStatus.NOT_FOUND, "No reset of this home is known")
        await self.tell(operation, {})


def look_while_followed(spawner: Any, operation: Operation[Any]) -> None:
    """Have the moment noticed in which the container is down: one lookout an operation, none that nobody follows."""
    if operation.phase is not Phase.DONE and operation not in _lookouts:
        _lookouts[operation] = asyncio.create_task(_look(spawner, operation))


async def _look(spawner: Any, operation: Operation[Any]) -> None:
    """Enter `STARTING` when the container is seen down. A quick one may be missed, and the phase with it."""
    async for phase in operation.phases():
        if phase is Phase.STOPPING:
            break
    while operation.phase is Phase.STOPPING:
        if await _is_down(spawner) and operation.phase is Phase.STOPPING:
            operation.enter(Phase.STARTING)
        await asyncio.sleep(_LOOK_EVERY)


async def _is_down(spawner: Any) -> bool:
    try:
        return await spawner.unguarded_poll() is not None
    except Exception as error:  # noqa: BLE001 - whatever kind of Spawner and of answer: not known is not down
        spawner.log.debug("No answer about %s: %r", spawner._log_name, error)  # noqa: SLF001 - JupyterHub's log name
        return False
