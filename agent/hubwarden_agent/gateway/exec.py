"""Commands inside running containers: the policy's, word for word, and no others (DockerSpawner's `post_start_cmd`).

Invariants: an exec id is valid for one run of one command in one container. The engine makes no exec until that run, so
no exec that somebody else made can be started here. What the command prints comes from
the user's side and goes nowhere. The user's lock is held, and the run is on the record.
"""

from __future__ import annotations

import logging
import secrets
import threading
from typing import Annotated

from hubwarden_agent.denials import DenialLimiter
from hubwarden_agent.engine.port import Conflict
from hubwarden_agent.engine.spawn_port import SpawnEngine
from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway import refusals, strict_json
from hubwarden_agent.gateway.containers import Containers
from hubwarden_agent.gateway.request_context import RequestContext, Response, json_response
from hubwarden_agent.gateway.routes import ApiRequest
from hubwarden_agent.gateway.schema import Items, Nothing, Object, Text, at_most, read
from hubwarden_agent.names import ContainerId

SECONDS = 45.0
"""How long a command is waited for: docker-py gives up after 60."""

MAX_EXECS = 256
"""The oldest are forgotten first; DockerSpawner uses its exec id at once."""

RAW_STREAM = "application/vnd.docker.raw-stream"

_log = logging.getLogger(__name__)


class ExecBody(Object):
    """The body of `POST /containers/{reference}/exec`."""

    Container: Text = ""
    Cmd: Annotated[Items[Text], at_most(64)] = ()
    AttachStdout: bool = False
    AttachStderr: bool = False
    User: Nothing = ""
    Privileged: Nothing = False
    Tty: Nothing = False
    AttachStdin: Nothing = False
    Env: Nothing = ""


class StartBody(Object):
    """The body of `POST /exec/{exec_id}/start`."""

    Detach: Nothing = False
    Tty: Nothing = False


class ExecHandler:
    """Answers calls about commands.

    Args:
        engine: the container engine.
        containers: finds the Hub's own containers.
        allowed: `spawn.exec`.
        logged: limits how many failures are logged, together with the gateway's refusals.
    """

    def __init__(
        self, engine: SpawnEngine, containers: Containers, allowed: tuple[tuple[str, ...], ...], logged: DenialLimiter
    ) -> None:
        self._engine = engine
        self._containers = containers
        self._allowed = allowed
        self._logged = logged
        self._execs: dict[str, tuple[ContainerId, tuple[str, ...]]] = {}
        self._issuing = threading.Lock()

    def prepare(self, call: ApiRequest, context: RequestContext, body: bytes) -> Response:
        """`POST /containers/{reference}/exec`: an exec id."""
        self._check_offered()
        command = read(ExecBody, strict_json.loads(body)).Cmd
        container = self._containers.found(call.reference, context)
        if command not in self._allowed:
            raise refusals.not_listed("Cmd", command, "exec")
        exec_id = secrets.token_hex(32)
        with self._issuing:
            while len(self._execs) >= MAX_EXECS:
                del self._execs[next(iter(self._execs))]
            self._execs[exec_id] = (container.id, command)
        return json_response(201, {"Id": exec_id})

    def run(self, call: ApiRequest, context: RequestContext, body: bytes) -> Response:
        """`POST /exec/{exec_id}/start`: run what this exec id is for, and answer when it has ended, with no output."""
        self._check_offered()
        read(StartBody, strict_json.loads(body))
        with self._issuing:
            prepared = self._execs.pop(call.reference, None)
        if prepared is None:
            raise refusals.GatewayRefusal(f"No such exec instance: {call.reference}", Reason.NOT_FOUND)
        container_id, command = prepared
        context.command = self._allowed.index(command) + 1
        with self._containers.changing(container_id.value, context) as container:
            try:
                status = self._engine.run_in_container(container.id, command, SECONDS)
            except Conflict as error:
                message = f"Container {container.id} is not running"
                raise refusals.GatewayRefusal(message, Reason.SERVER_NOT_RUNNING) from error
        if status != 0:
            outcome = "still runs" if status is None else f"ended with exit status {status}"
            if (suppressed := self._logged.admit()) is not None:
                extra = {"container": container.name, "suppressed": suppressed}
                _log.warning("a command in a container %s", outcome, extra=extra)
        return Response(200, content_type=RAW_STREAM)

    def _check_offered(self) -> None:
        if not self._allowed:
            raise refusals.endpoint_refused("spawn.exec")
