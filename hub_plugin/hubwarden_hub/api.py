"""What the REST endpoints have in common: who asks, under which request id, and what an error looks like.

Invariants: every answer, an error too, carries its request id in the header `X-Request-ID`; an error is
`{"status", "message", "reason", "request_id"}`; who may do what is decided by JupyterHub's `needs_scope` on each
method, before any code of ours runs. Nothing here may act.
"""

from __future__ import annotations

import hmac
import math
from http import HTTPStatus
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.scopes import Scope
from jupyterhub.utils import url_path_join
from tornado import web

from hubwarden_hub import scopes
from hubwarden_hub.commands import RequestId
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.plugin import Plugin

HEADER = "X-Request-ID"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})

# Before any handler: `needs_scope` refuses a scope that nobody has defined.
scopes.define()


class OperationHandler(APIHandler):  # type: ignore[misc]  # JupyterHub is not typed
    """An endpoint about one user's server or home."""

    feature: str | None = None
    """The setting that turns this endpoint off."""
    is_activity = True
    """Whether a request counts as the user's activity. Not if a page repeats it by itself."""

    def initialize(self) -> None:
        """Have a request id from the first moment: even an unsupported method is answered with one."""
        self.request_id = RequestId.new()

    async def prepare(self) -> None:
        """Settle the request id first, so that a refusal by JupyterHub carries it too."""
        given = self.request.headers.get(HEADER)
        malformed = False
        if given is not None:
            try:
                self.request_id = RequestId(given)
            except ValueError:
                malformed = True
        self.set_header(HEADER, str(self.request_id))
        await super().prepare()
        if malformed:
            raise AgentError(Reason.INVALID_REQUEST)
        if self.feature is not None and not getattr(self.plugin.settings, self.feature):
            raise web.HTTPError(HTTPStatus.NOT_FOUND, "This Hub does not offer that.")

    def _record_activity(self, obj: Any, timestamp: Any = None) -> bool:
        """As in JupyterHub, unless pages repeat this request: idle-cullers would never see an idle user."""
        return self.is_activity and bool(super()._record_activity(obj, timestamp))

    def check_xsrf_cookie(self) -> None:
        """As in JupyterHub; and whatever acts for a cookie carries the XSRF token, in every mode of fetching.

        JupyterHub 4 asks for none when `Sec-Fetch-Mode` is `no-cors`, as any page's form or script can have it.

        Raises:
            tornado.web.HTTPError: 403.
        """
        super().check_xsrf_cookie()
        by_cookie = getattr(self, "_jupyterhub_user", None) and not getattr(self, "_token_authenticated", False)
        if not by_cookie or self.request.method in _READING:  # tornado also asks once before anybody is known
            return
        given = self.get_argument("_xsrf", None) or self.request.headers.get("X-XSRFToken", "")
        if not hmac.compare_digest(given.encode(), self.xsrf_token):
            raise web.HTTPError(HTTPStatus.FORBIDDEN, f"'_xsrf' argument missing from {self.request.method}")

    @property
    def plugin(self) -> Plugin:
        """The plugin's parts."""
        plugin: Plugin = self.settings["hubwarden"]
        return plugin

    @property
    def actor(self) -> str:
        """Who asks, for the record: `user:NAME` or `service:NAME`, whether by cookie or by token."""
        kind = "service" if isinstance(self.current_user, orm.Service) else "user"  # JupyterHub 4's have no `kind`
        return f"{kind}:{self.current_user.name}"

    @property
    def acts_for_everybody(self) -> bool:
        """Whether whoever asks is told about others' containers: they could reset everybody's home anyway."""
        return bool(self.parsed_scopes.get(scopes.RESET) is Scope.ALL)

    def user_named(self, user_name: str) -> Any:
        """The user of the URL.

        Raises:
            tornado.web.HTTPError: 404. Only reached by those who hold the scope for everybody.
        """
        user = self.find_user(user_name)
        if user is None:
            raise web.HTTPError(HTTPStatus.NOT_FOUND, "No such user")
        return user

    def spawner_of(self, user_name: str, server_name: str) -> Any:
        """The Spawner of the URL's server.

        Raises:
            tornado.web.HTTPError: 404, no such user or named server.
        """
        user = self.user_named(user_name)
        if server_name and (not self.allow_named_servers or server_name not in user.orm_spawners):
            raise web.HTTPError(HTTPStatus.NOT_FOUND, "No such server")
        return user.spawners[server_name] if server_name else user.spawner

    def accept(self, user: Any) -> None:
        """Answer 202: the operation goes on, and the user's state tells its end."""
        self.set_status(HTTPStatus.ACCEPTED)
        self.set_header("Location", url_path_join(self.hub.base_url, "api/users", user.escaped_name, "hubwarden-state"))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer an error as JSON. `send_error` has cleared the headers."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        body: dict[str, Any] = {"status": status_code, "message": "", "reason": None}
        if isinstance(error, AgentError):
            body |= self._explained(error)
        elif isinstance(error, web.HTTPError):
            body["message"] = error.log_message % error.args if error.log_message else error.reason
        self.set_status(body["status"])
        body["message"] = body["message"] or HTTPStatus(body["status"]).phrase
        self.set_header("Content-Type", "application/json")
        self.set_header(HEADER, str(self.request_id))
        self.finish({**body, "request_id": str(self.request_id)})

    def _explained(self, error: AgentError) -> dict[str, Any]:
        if error.retry_after is not None:
            self.set_header("Retry-After", str(math.ceil(error.retry_after)))
        message = error.sentence(for_admin=self.acts_for_everybody)
        return {"status": int(error.status), "message": message, "reason": str(error.reason)}

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """An `AgentError` is an answer: one line instead of a traceback."""
        if isinstance(value, AgentError):
            self.log.warning("%s %s (%s): %s", self.request.method, self.request.path, self.request_id, value)
        else:
            super().log_exception(typ, value, tb)
