"""Commands inside running containers: the policy's, word for word, and no others (DockerSpawner's `post_start_cmd`).

Invariants: asking for a command gets a ticket, which is good for one run of that command in that container; the
engine is asked for nothing until then, so no exec of anybody's can be started here. What the command prints comes from
the user's side and goes nowhere. The user's lock is held, and the run is on the record.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Mapping
from types import MappingProxyType

from hubwarden_agent.denials import DenialLimiter
from hubwarden_agent.engine.port import Conflict, Engine
from hubwarden_agent.gateway import refusals, strict_json
from hubwarden_agent.gateway.containers import Containers
from hubwarden_agent.gateway.decoders import Field, empty, fields_of, flag, items, text
from hubwarden_agent.gateway.request_context import RequestContext, Response, json_response
from hubwarden_agent.gateway.routes import Call
from hubwarden_agent.names import ContainerId

SECONDS = 45.0
"""How long a command is waited for: docker-py gives up after 60."""

MAX_TICKETS = 256
"""The oldest are forgotten first; DockerSpawner uses its ticket at once."""

RAW_STREAM = "application/vnd.docker.raw-stream"

CREATE: Mapping[str, Field] = MappingProxyType(
    {
        "Container": Field(text),
        "Cmd": Field(items(text, 64), "command"),
        "AttachStdout": Field(flag),
        "AttachStderr": Field(flag),
    }
    | dict.fromkeys(("User", "Privileged", "Tty", "AttachStdin", "Env"), Field(empty))
)
"""The body of `POST /containers/{reference}/exec`."""

START: Mapping[str, Field] = MappingProxyType(dict.fromkeys(("Detach", "Tty"), Field(empty)))
"""The body of `POST /exec/{ticket}/start`."""

_log = logging.getLogger(__name__)


class Commands:
    """Answers calls about commands.

    Args:
        engine: the container engine.
        containers: finds the Hub's own containers.
        allowed: `spawn.exec`.
        logged: limits how many failures are logged, together with the gateway's refusals.
    """

    def __init__(
        self, engine: Engine, containers: Containers, allowed: tuple[tuple[str, ...], ...], logged: DenialLimiter
    ) -> None:
        self._engine = engine
        self._containers = containers
        self._allowed = allowed
        self._logged = logged
        self._tickets: dict[str, tuple[ContainerId, tuple[str, ...]]] = {}
        self._issuing = threading.Lock()

    def prepare(self, call: Call, context: RequestContext, body: bytes) -> Response:
        """`POST /containers/{reference}/exec`: a ticket."""
        self._check_offered()
        command = fields_of(CREATE, strict_json.loads(body), "").get("command", ())
        container = self._containers.found(call.reference, context)
        if command not in self._allowed:
            raise refusals.not_listed("Cmd", command, "exec")
        ticket = secrets.token_hex(32)
        with self._issuing:
            while len(self._tickets) >= MAX_TICKETS:
                del self._tickets[next(iter(self._tickets))]
            self._tickets[ticket] = (container.id, command)
        return json_response(201, {"Id": ticket})

    def run(self, call: Call, context: RequestContext, body: bytes) -> Response:
        """`POST /exec/{ticket}/start`: run what the ticket is for, and answer when it has ended, with no output."""
        self._check_offered()
        fields_of(START, strict_json.loads(body), "")
        with self._issuing:
            bought = self._tickets.pop(call.reference, None)
        if bought is None:
            raise refusals.GatewayRefusal(f"No such exec instance: {call.reference}", status=refusals.NOT_FOUND)
        container_id, command = bought
        context.command = self._allowed.index(command) + 1
        with self._containers.changing(container_id.value, context) as container:
            try:
                status = self._engine.run_in_container(container.id, command, SECONDS)
            except Conflict as error:
                message = f"Container {container.id} is not running"
                raise refusals.GatewayRefusal(message, status=refusals.CONFLICT) from error
        if status != 0:
            outcome = "still runs" if status is None else f"ended with exit status {status}"
            if (suppressed := self._logged.admit()) is not None:
                extra = {"container": container.name, "suppressed": suppressed}
                _log.warning("a command in a container %s", outcome, extra=extra)
        return Response(200, content_type=RAW_STREAM)

    def _check_offered(self) -> None:
        if not self._allowed:
            raise refusals.endpoint_refused("spawn.exec")
