"""Routes a request to its handler, and turns a failure into a refusal. HTTP is above this, the engine below.

Invariants: every `Operation` has its entry in a table of `Gateway`, and nothing else is ever done. A request is
answered in the thread that read it, which waits for the audit and for the engine; what threads share has its own locks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from hubwarden_agent.audit import Audit
from hubwarden_agent.audit_scope import map_engine_errors
from hubwarden_agent.budgets import SlidingWindow
from hubwarden_agent.clock import Clock
from hubwarden_agent.denials import DenialLimiter
from hubwarden_agent.engine.spawn_port import SpawnEngine
from hubwarden_agent.errors import RequestRefused
from hubwarden_agent.gateway import mounts, responses
from hubwarden_agent.gateway.adoption import ContainerOwners
from hubwarden_agent.gateway.containers import CHANGES_PER_USER, Containers
from hubwarden_agent.gateway.create import CreateHandler
from hubwarden_agent.gateway.exec import ExecHandler
from hubwarden_agent.gateway.images import Images
from hubwarden_agent.gateway.request_context import ChangeRecorder, RequestContext, Response, json_response
from hubwarden_agent.gateway.routes import ApiRequest, Operation
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.names import Names
from hubwarden_agent.rates import parse_rate
from hubwarden_agent.spawn_policy import SpawnPolicy

Simple = Callable[[ApiRequest, RequestContext], Response]
WithBody = Callable[[ApiRequest, RequestContext, bytes], Response]


class Gateway:
    """Answers calls.

    Args:
        engine: the container engine.
        names: shared with the RPCs.
        spawn: the operator's policy.
        locks: the users' locks, shared with the RPCs.
        audit: the same file as the RPCs'.
        clock: for budgets and durations.
        logged: limits how many refusals and failed commands are logged; the listener's.
    """

    def __init__(
        self,
        *,
        engine: SpawnEngine,
        names: Names,
        spawn: SpawnPolicy,
        locks: UserLocks,
        audit: Audit,
        clock: Clock,
        logged: DenialLimiter,
    ) -> None:
        self._engine = engine
        self._recorder = ChangeRecorder(audit, clock)
        rate = SlidingWindow(spawn.max_creates, clock)
        changes = SlidingWindow(parse_rate(CHANGES_PER_USER), clock)
        owners = ContainerOwners(engine, names, spawn)
        offered = partial(mounts.offered, spawn, names)
        containers = Containers(engine, owners, locks, self._recorder, changes, offered)
        images = Images(engine, spawn, self._recorder, rate)
        commands = ExecHandler(engine, containers, spawn.exec, logged)
        self._with_body: Mapping[Operation, WithBody] = {
            Operation.CREATE: CreateHandler(engine, owners, names, spawn, locks, self._recorder, rate).create,
            Operation.PREPARE_EXEC: commands.prepare,
            Operation.EXEC: commands.run,
        }
        self._simple: Mapping[Operation, Simple] = {
            Operation.PING: self._ping,
            Operation.VERSION: self._version,
            Operation.IMAGE: images.inspect,
            Operation.PULL: images.pull,
            Operation.INSPECT: containers.inspect,
            Operation.START: containers.start,
            Operation.STOP: containers.stop,
            Operation.REMOVE: containers.remove,
        }

    def answer(self, call: ApiRequest, context: RequestContext, body: bytes) -> Response:
        """Do what was asked.

        Args:
            call: what was asked.
            context: is filled in on the way, so that a refusal is recorded with what is known by then.
            body: where the call takes one; empty otherwise.

        Raises:
            RequestRefused: the answer is no, or what the engine's failure became.
        """
        with map_engine_errors():
            if call.takes_body:
                return self._with_body[call.operation](call, context, body)
            return self._simple[call.operation](call, context)

    def denied(self, context: RequestContext, refusal: RequestRefused, *, reading: bool) -> None:
        """See `ChangeRecorder.denied`."""
        self._recorder.denied(context, refusal, reading=reading)

    def _ping(self, _call: ApiRequest, _context: RequestContext) -> Response:
        self._engine.ping()
        return Response(200, "OK", "text/plain")

    def _version(self, _call: ApiRequest, _context: RequestContext) -> Response:
        self._engine.ping()
        return json_response(200, responses.version())
