"""`GET /hub/api/hubwarden/users`: the rows of the page "Servers and homes", and `GET /hub/servers-and-homes`, the page.

Invariants: a row is listed, a server shown, and a last operation told exactly where the asker's scopes reach; who
reaches nobody but themselves gets neither rows nor page. Neither the agent nor Docker is asked, and no database is
read beyond the page's size. Nothing here may act.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from jupyterhub import orm
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.utils import isoformat
from sqlalchemy.exc import SQLAlchemyError
from tornado import web

from hubwarden_hub import scopes
from hubwarden_hub.api import OperationHandler
from hubwarden_hub.history_api import shown
from hubwarden_hub.listing import SORTS, STATES, Wanted, page_of
from hubwarden_hub.progress_api import standing
from hubwarden_hub.query import values_of
from hubwarden_hub.reach import Reach, needs_scope_somewhere, reaches_others
from hubwarden_hub.state_api import server_state, stopped_state

_MOST = 200
_ALLOWED = {
    "search": re.compile(r"[^\x00-\x1f\x7f]{1,255}"),
    "state": re.compile("|".join(STATES)),
    "sort": re.compile("|".join(SORTS)),
    "offset": re.compile("[0-9]{1,9}"),
    "limit": re.compile("[1-9][0-9]{0,2}"),
}


class UsersHandler(OperationHandler):
    """Users, with their servers and the last operation."""

    is_activity = False

    @needs_scope_somewhere(scopes.RESTART, scopes.RESET)  # type: ignore[untyped-decorator]  # JupyterHub is not typed
    async def get(self) -> None:
        """Answer `{"total", "offset", "limit", "history_readable", "users": […]}`."""
        if not may_see(self):
            raise web.HTTPError(HTTPStatus.FORBIDDEN, "Only for those who may act on others.")
        query: dict[str, Any] = values_of(self, _ALLOWED)
        numbers = {name: int(query.pop(name)) for name in ("offset", "limit") if name in query}
        wanted = Wanted(**query, offset=numbers.get("offset", 0), limit=min(numbers.get("limit", 50), _MOST))
        self._restart, self._reset, self._forget, self._read = (
            Reach.of(self.parsed_scopes, scope)
            for scope in (scopes.RESTART, scopes.RESET, scopes.FORGET, "read:servers")
        )
        total, users = page_of(self.db, (self._restart, self._reset), wanted)
        rows = [self._row(user) for user in users]
        latest = await self._latest([row["name"] for row in rows if row["may_reset"]])
        for row in rows:
            row["last_operation"] = (latest or {}).get(row["name"])
        page = {"total": total, "offset": wanted.offset, "limit": wanted.limit, "history_readable": latest is not None}
        self.finish({**page, "users": rows})

    def _row(self, user: Any) -> dict[str, Any]:
        groups = {group.name for group in user.groups}
        names = ["", *sorted(name for name in user.orm_spawners if name)]
        seen = [name for name in names if self._read.includes_server(user.name, groups, name)]
        settings = self.plugin.settings
        may_reset = settings.reset_home and self._reset.includes_user(user.name, groups)
        reset = self.plugin.resets.latest(user.id, user.name) if may_reset else None
        return {
            "name": user.name,
            "last_activity": user.last_activity and isoformat(user.last_activity),
            "may_reset": may_reset,
            "reset": reset and standing(reset, for_admin=self.acts_for_everybody),
            "servers": {
                name: self._server(user, name)
                | {
                    "may_restart": settings.restart_server and self._restart.includes_server(user.name, groups, name),
                    "may_forget": self._forget.includes_server(user.name, groups, name),
                }
                for name in seen
            },
        }

    def _server(self, user: Any, name: str) -> dict[str, Any]:
        """Users whom JupyterHub has not loaded have no server; to load 200 of them for that would take long."""
        if user.id in self.users:
            return server_state(self.users[user].spawners[name], for_admin=self.acts_for_everybody)
        return stopped_state(user.orm_spawners.get(name))

    async def _latest(self, usernames: list[str]) -> dict[str, dict[str, Any]] | None:
        try:
            entries = await self.plugin.history.latest(usernames)
        except SQLAlchemyError:
            self.log.exception("Hubwarden: the history cannot be read")
            return None
        return {entry["username"]: shown(entry) for entry in entries}


class ServersAndHomesPage(BaseHandler):  # type: ignore[misc]  # JupyterHub is not typed
    """The page. Without the right to act on others there is none."""

    @web.authenticated
    async def get(self) -> None:
        """Answer the page, which asks for its rows."""
        if not may_see(self):
            raise web.HTTPError(HTTPStatus.NOT_FOUND)
        everybodys_history = Reach.of(self.parsed_scopes, scopes.RESET).everybody
        self.finish(await self.render_template("servers_and_homes.html", everybodys_history=everybodys_history))


def may_see(handler: Any) -> bool:
    """Whether whoever asks may act on others."""
    asker = handler.current_user
    return reaches_others(handler.parsed_scopes, None if isinstance(asker, orm.Service) else asker.name)
