"""`GET /hub/api/users/{name}/hubwarden-history` and `GET /hub/api/hubwarden/history`.

Invariants: who acted on a user is shown to whoever may reset that user's home; everybody's history only to who may
reset everybody's. A query is understood completely, or refused. Nothing here may act.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from http import HTTPStatus
from typing import Any

from jupyterhub.scopes import needs_scope
from jupyterhub.utils import isoformat
from sqlalchemy.exc import SQLAlchemyError
from tornado import web

from hubwarden_hub import scopes
from hubwarden_hub.api import OperationHandler
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.history import Filter
from hubwarden_hub.query import values_of
from hubwarden_hub.records import Kind

_LIMIT, _MOST = 50, 200
_USERNAME = re.compile(r"[^\x00-\x1f\x7f]{1,255}")
_MOMENT = re.compile(r"2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_ALLOWED = {
    "kind": re.compile("|".join(Kind)),
    "result": re.compile("done|failed"),
    "actor": re.compile(r"(user|service):[^\x00-\x1f\x7f]{1,255}"),
    "before": re.compile("[0-9]{1,15}"),
    "limit": re.compile("[1-9][0-9]{0,2}"),
    "since": _MOMENT,
    "until": _MOMENT,
}


class HistoryHandler(OperationHandler):
    """What the two endpoints share."""

    async def answer(self, query: dict[str, Any]) -> None:
        """Answer the newest entries that fit."""
        limit = int(query.pop("limit", _LIMIT))
        if "before" in query:
            query["before"] = int(query["before"])
        for name in ("since", "until"):
            if name in query:
                query[name] = _seconds(query[name])
        wanted = Filter(**query)
        try:
            entries = await self.plugin.history.entries(wanted, min(limit, _MOST))
        except SQLAlchemyError as error:
            self.log.exception("Hubwarden: the history cannot be read")
            raise web.HTTPError(HTTPStatus.SERVICE_UNAVAILABLE, "The history cannot be read now.") from error
        self.finish({"entries": [shown(entry) for entry in entries]})


def _seconds(moment: str) -> float:
    """Since the epoch. Raises `AgentError` (`INVALID_REQUEST`) for a day or an hour that there is not."""
    try:
        return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()
    except ValueError as error:
        raise AgentError(Reason.INVALID_REQUEST) from error


def shown(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry as the API tells it."""
    return entry | {"began_at": isoformat(datetime.fromtimestamp(entry["began_at"], timezone.utc))}


class UserHistoryHandler(HistoryHandler):
    """One user's."""

    @needs_scope(scopes.RESET)  # type: ignore[untyped-decorator]  # JupyterHub is not typed
    async def get(self, user_name: str) -> None:
        """Answer `{"entries": […]}`, newest first."""
        user = self.user_named(user_name)
        await self.answer(values_of(self, _ALLOWED) | {"username": user.name})


class EverybodysHistoryHandler(HistoryHandler):
    """Everybody's."""

    @needs_scope(scopes.RESET)  # type: ignore[untyped-decorator]  # JupyterHub is not typed
    async def get(self) -> None:
        """Answer `{"entries": […]}`, newest first."""
        if not self.acts_for_everybody:
            raise web.HTTPError(HTTPStatus.FORBIDDEN, "Only for those who may reset everybody's home.")
        await self.answer(values_of(self, _ALLOWED | {"username": _USERNAME}))
