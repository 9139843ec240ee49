"""`POST /hub/api/users/{name}/restart-server` and `…/forget-server`, and the same for a named server.

Invariants: thin. The mechanics are the Spawner's, so that only this file changes the day JupyterHub has another
place for endpoints. The restart goes on when the client goes away.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from jupyterhub.scopes import needs_scope
from jupyterhub.utils import isoformat

from hubwarden_hub import scopes
from hubwarden_hub.api import OperationHandler
from hubwarden_hub.reach import Asker
from hubwarden_hub.restart import RestartOutcome


class RestartServerHandler(OperationHandler):
    """Restart one server."""

    feature = "restart_server"

    @needs_scope(scopes.RESTART)  # type: ignore[untyped-decorator]  # JupyterHub is not typed
    async def post(self, user_name: str, server_name: str = "") -> None:
        """Restart, and answer when the server answers; or before that with 202, when it takes long."""
        spawner = self.spawner_of(user_name, server_name)
        is_allowed = partial(Asker.of(self).may, scopes.RESTART, spawner.user.name, server_name)
        operation = spawner.request_restart(self.actor, self.request_id, is_allowed)
        if await operation.wait(self.plugin.settings.restart_wait):
            self._answer(spawner, operation.outcome.result())
        else:
            self._answer(spawner, None)

    def _answer(self, spawner: Any, outcome: RestartOutcome | None) -> None:
        ready = outcome is not None and outcome.ready
        body = {
            "message": "The server was restarted." if ready else "The server is being restarted.",
            "container": spawner.object_name,
            "container_id": spawner.object_id,
            "started_at": None,
            "ready": ready,
            "url": spawner.user.server_url(spawner.name),
            "request_id": str(self.request_id),
        }
        if outcome is not None:
            restarted = outcome.restarted
            body["container"], body["container_id"] = restarted.container, restarted.container_id
            body["started_at"] = isoformat(restarted.started_at)
        if not ready:
            self.accept(spawner.user)
        self.finish(body)


class ForgetServerHandler(OperationHandler):
    """Give up on one server that cannot be stopped now."""

    @needs_scope(scopes.FORGET)  # type: ignore[untyped-decorator]  # JupyterHub is not typed
    async def post(self, user_name: str, server_name: str = "") -> None:
        """Have the Hub forget the server; its container may still run."""
        spawner = self.spawner_of(user_name, server_name)
        spawner.pending_stop.forget(self.actor, self.request_id)
        self.finish(
            {
                "message": "The Hub has forgotten this server. Its container may still be running.",
                "container": spawner.object_name,
                "request_id": str(self.request_id),
            }
        )
