"""`GET /hub/api/users/{name}/hubwarden-state`: everything that a page has to know to be true, in one cheap request.

Invariants: the answer comes from the Hub's memory; an unchanged one is 304 (tornado's ETag). The agent is not
asked. Reading it is no user activity. A server that died by itself is noticed by JupyterHub's own poll only now and
then, so this brings that poll forward (see `looks`). `Retry-After` says when a page should ask again, if many are open.
Must not: act beyond that poll.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from jupyterhub.scopes import needs_scope
from jupyterhub.utils import isoformat
from tornado import web

from hubwarden_hub import scopes
from hubwarden_hub.api import OperationHandler
from hubwarden_hub.commands import Home, ResetCommand, RestartCommand
from hubwarden_hub.operations import Operation
from hubwarden_hub.progress_api import standing
from hubwarden_hub.reach import Reach
from hubwarden_hub.records import Deed, Kind


class StateHandler(OperationHandler):
    """How one user's servers and home stand."""

    is_activity = False

    @needs_scope("read:servers")  # type: ignore[untyped-decorator]  # JupyterHub is not typed
    async def get(self, user_name: str) -> None:
        """Answer `{"servers": {name: …}, "reset": …, "waiting": …}`; the reset for those who may reset."""
        user = self.user_named(user_name)
        spawners = [user.spawners[name] for name in ("", *(name for name in user.orm_spawners if name))]
        await asyncio.gather(*(self.plugin.looks.look(spawner) for spawner in spawners))
        reset, waiting = visible_reset(self, user), self.plugin.queue.waiting(user.id)
        if waiting is not None and waiting.target.kind is Kind.RESET and reset is None:
            waiting = None  # who asks may not reset
        follows = waiting is not None or (reset is not None and not reset.outcome.done())
        follows = follows or any(spawner.pending for spawner in spawners)
        if not follows and (seconds := self.plugin.looks.seconds_to_next()) is not None:
            self.set_header("Retry-After", str(seconds))
        self.finish(
            {
                "servers": {
                    spawner.name: server_state(spawner, for_admin=self.acts_for_everybody) for spawner in spawners
                },
                "reset": reset and standing(reset, for_admin=self.acts_for_everybody),
                "waiting": waiting and described(waiting.command),
                "restart_announced": self.plugin.batches.announced_to(user.name),
            }
        )


class WaitingOperationHandler(OperationHandler):
    """An operation that waits for its turn."""

    @needs_scope("read:servers")  # type: ignore[untyped-decorator]  # JupyterHub is not typed
    async def delete(self, user_name: str, request_id: str) -> None:
        """Cancel it. Needs the scope that the operation itself needs."""
        user = self.user_named(user_name)
        waiting = self.plugin.queue.waiting(user.id)
        if waiting is None or str(waiting.command.request_id) != request_id:
            raise web.HTTPError(HTTPStatus.NOT_FOUND, "No such operation is waiting")
        scope = scopes.RESET if waiting.target.kind is Kind.RESET else scopes.RESTART
        groups = {group.name for group in user.groups}
        if not Reach.of(self.parsed_scopes, scope).includes_server(user.name, groups, waiting.target.server_name):
            raise web.HTTPError(HTTPStatus.FORBIDDEN, f"Action is not authorized with current scopes; requires {scope}")
        self.plugin.queue.cancel(user.id)
        self.finish({"message": "The operation was cancelled.", "request_id": str(self.request_id)})


def described(command: RestartCommand | ResetCommand) -> dict[str, str]:
    """What waits."""
    deed = Deed.of(command)
    return {"kind": str(deed.kind), "server_name": deed.server_name, "request_id": str(deed.request_id)}


def visible_reset(handler: Any, user: Any) -> Operation[Home] | None:
    """The latest reset of a user's home, for whoever asks and may reset it."""
    groups = {group.name for group in user.groups}
    if not Reach.of(handler.parsed_scopes, scopes.RESET).includes_user(user.name, groups):
        return None
    latest: Operation[Home] | None = handler.plugin.resets.latest(user.id, user.name)
    return latest


def server_state(spawner: Any, *, for_admin: bool) -> dict[str, Any]:
    """How one server stands, from the Hub's memory."""
    restart, orm_spawner = spawner.latest_restart, spawner.orm_spawner
    last_activity = orm_spawner and orm_spawner.last_activity
    return {
        "pending": spawner.pending,
        "waiting_for": spawner.pending_stop.waiting_for,
        "ready": bool(spawner.ready),
        "stopped": not spawner.active,
        "url": spawner.user.server_url(spawner.name),
        "last_activity": last_activity and isoformat(last_activity),
        "restart": restart and standing(restart, for_admin=for_admin),
    }


def stopped_state(orm_spawner: Any) -> dict[str, Any]:
    """How a server stands whose Spawner JupyterHub has not loaded; None stands for one that was never started."""
    last_activity = orm_spawner and orm_spawner.last_activity
    state = {"pending": None, "waiting_for": None, "ready": False, "stopped": True, "url": None, "restart": None}
    return state | {"last_activity": last_activity and isoformat(last_activity)}
