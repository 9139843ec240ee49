"""`POST /hub/api/hubwarden/batches`, and `GET` and `DELETE` of one, and its progress as server-sent events.

Invariants: a batch is accepted only if the asker may restart each of its servers; it is for its author, and for those
who may restart everybody's. To anybody else there is none.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from http import HTTPStatus
from typing import Any

from jupyterhub import orm
from jupyterhub.utils import url_path_join
from sqlalchemy.exc import SQLAlchemyError
from tornado import web

from hubwarden_hub import scopes
from hubwarden_hub.api import OperationHandler
from hubwarden_hub.batches import Batch, Item, Restart
from hubwarden_hub.commands import RequestId
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.operations import Operation
from hubwarden_hub.progress_api import ProgressHandler
from hubwarden_hub.reach import Asker, Reach, needs_scope_somewhere

_MOST_SERVERS = 500
_MOST_MINUTES = 24 * 60


class BatchesHandler(OperationHandler):
    """All batches."""

    feature = "restart_server"

    @needs_scope_somewhere(scopes.RESTART)  # type: ignore[untyped-decorator]  # JupyterHub is not typed
    async def post(self) -> None:
        """Begin a batch, or find the one that has this request id; the answer does not wait for its end."""
        batch_id = str(self.request_id)
        described = await stored(self, batch_id)
        if described is None:
            items, minutes = parsed(self.request.body)
            restart = self._restart_of(items)
            described = (await self.plugin.batches.begin(batch_id, self.actor, items, minutes, restart)).described()
        if described["author"] != self.actor:
            raise AgentError(Reason.INVALID_REQUEST)
        self.set_status(HTTPStatus.ACCEPTED)
        self.set_header("Location", url_path_join(self.hub.base_url, "api/hubwarden/batches", batch_id))
        self.finish(described | {"request_id": batch_id})

    def _restart_of(self, items: list[Item]) -> Restart:
        """A function that restarts a server of the batch later, if the batch's author still may then."""
        actor, db, users = self.actor, self.db, self.users
        reach, names = Reach.of(self.parsed_scopes, scopes.RESTART), {item.username for item in items}
        groups = {
            user.name: set() if reach.everybody else {group.name for group in user.groups}
            for user in db.query(orm.User).filter(orm.User.name.in_(names))
        }
        for item in items:
            name, server_name = item.username, item.server_name
            if name not in groups or not reach.includes_server(name, groups[name], server_name):
                raise web.HTTPError(HTTPStatus.NOT_FOUND, f"No such server, or no access: {name}/{server_name}")
        asker = Asker.of(self)

        def restart(item: Item, request_id: RequestId) -> Operation[Any]:
            is_allowed = partial(asker.may, scopes.RESTART, item.username, item.server_name)
            if not is_allowed():
                raise AgentError(Reason.NOT_ALLOWED)
            orm_user = orm.User.find(db, item.username)
            if item.server_name not in orm_user.orm_spawners:
                raise AgentError(Reason.SERVER_NOT_RUNNING)
            operation: Operation[Any] = (
                users[orm_user].spawners[item.server_name].request_restart(actor, request_id, is_allowed)
            )
            return operation

        return restart


class BatchHandler(OperationHandler):
    """One batch."""

    @needs_scope_somewhere(scopes.RESTART)  # type: ignore[untyped-decorator]  # JupyterHub is not typed
    async def get(self, batch_id: str) -> None:
        """Answer how it stands."""
        described = await stored(self, batch_id)
        if described is None or not may_see(self, described["author"]):
            raise web.HTTPError(HTTPStatus.NOT_FOUND, "No such batch")
        self.finish(described | {"request_id": str(self.request_id)})

    @needs_scope_somewhere(scopes.RESTART)  # type: ignore[untyped-decorator]  # JupyterHub is not typed
    async def delete(self, batch_id: str) -> None:
        """Begin no further restart of it."""
        batch = visible(self, batch_id)
        self.plugin.batches.stop(batch, self.actor)
        self.finish(batch.described() | {"request_id": str(self.request_id)})


class BatchProgressHandler(ProgressHandler):
    """One batch as it goes on."""

    @needs_scope_somewhere(scopes.RESTART)  # type: ignore[untyped-decorator]  # JupyterHub is not typed
    async def get(self, batch_id: str) -> None:
        """Follow it: an event for each change, up to the end."""
        async for described in self.with_pauses(visible(self, batch_id).changes()):
            await self.send(described | {"request_id": str(self.request_id)})


def visible(handler: OperationHandler, batch_id: str) -> Batch:
    """A batch of this Hub that the asker may see. Raises `HTTPError` (404)."""
    batch = handler.plugin.batches.get(batch_id)
    if batch is None or not may_see(handler, batch.author):
        raise web.HTTPError(HTTPStatus.NOT_FOUND, "No such batch, or it belongs to an earlier Hub")
    return batch


async def stored(handler: OperationHandler, batch_id: str) -> dict[str, Any] | None:
    """A batch of this Hub or an earlier one, whosever it is. Raises `HTTPError` (503)."""
    try:
        return await handler.plugin.batches.described(batch_id)
    except (SQLAlchemyError, asyncio.TimeoutError) as error:
        raise web.HTTPError(HTTPStatus.SERVICE_UNAVAILABLE, "The batches cannot be read now") from error


def may_see(handler: OperationHandler, author: str) -> bool:
    """Whether the asker may see and stop a batch."""
    return handler.actor == author or Reach.of(handler.parsed_scopes, scopes.RESTART).everybody


def parsed(body: bytes) -> tuple[list[Item], float]:
    """The servers and the minutes of `{"servers": [{"user", "server"}], "operation": "restart", "announce_minutes"}`.

    Raises:
        AgentError: `INVALID_REQUEST`.
    """
    try:
        wanted = json.loads(body)
        minutes = wanted.pop("announce_minutes", 0)
        servers, operation = wanted.pop("servers"), wanted.pop("operation")
        items = [Item(server.pop("user"), server.pop("server", "")) for server in servers]
        names = {(item.username, item.server_name) for item in items}
        is_valid = (
            operation == "restart"
            and not wanted
            and not any(servers)
            and 0 < len(items) == len(names) <= _MOST_SERVERS
            and all(isinstance(name, str) for pair in names for name in pair)
            and type(minutes) in {int, float}
            and 0 <= minutes <= _MOST_MINUTES
        )
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise AgentError(Reason.INVALID_REQUEST) from error
    if not is_valid:
        raise AgentError(Reason.INVALID_REQUEST)
    return items, minutes
