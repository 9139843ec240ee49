"""From a request to an answer: what HTTP has to say about it first, and refusals and failures at the end.

Invariants: one handler for every request; `routes` sees the request target as the client wrote it. A body is read
only where the route takes one, whole, of a declared and bounded length. An exception never reaches a client as text,
and a request that changes nothing never gets a 500.
"""

from __future__ import annotations

import json
import logging
import math
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from hubwarden_agent import logging_setup
from hubwarden_agent.clock import Clock
from hubwarden_agent.denials import DenialLimiter, log_refusal, shown
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.gateway import refusals, routes
from hubwarden_agent.gateway.gateway import Gateway
from hubwarden_agent.gateway.listener import Listener
from hubwarden_agent.gateway.refusals import GatewayRefusal
from hubwarden_agent.gateway.request_context import RequestContext, Response
from hubwarden_agent.gateway.request_reader import ClientDisconnected, Head, RequestReader
from hubwarden_agent.gateway.routes import ApiRequest, Operation
from hubwarden_agent.gateway.transports import Peer, Transport
from hubwarden_agent.metrics import Metrics

WORKERS = 32
"""Requests at once. DockerSpawner has one thread for the whole Hub."""
CHANGES = 24
"""How many of these may change something. A stop can take long, and a request that only reads must find a worker."""
BUSY_RETRY_SECONDS = 1.0

MAX_BODY_BYTES = 256 * 1024
"""DockerSpawner's create is about 4 KiB; the environment is what could make it large."""

REQUEST_ID = "X-Request-ID"
"""Part of the contract: the Hub's mixin knows a refusal of the gateway's by it."""

_SUSPICIOUS_HEADERS = ("Content-Encoding", "Transfer-Encoding", "Upgrade", "Trailer", "Expect")
_JSON = re.compile(r"application/json(?:; ?charset=utf-8)?", re.IGNORECASE)
_SHOWN = 200

_log = logging.getLogger(__name__)


def build_listener(
    gateway: Gateway, clock: Clock, metrics: Metrics, logged: DenialLimiter, transport: Transport
) -> Listener:
    """What serves a gateway.

    Args:
        gateway: answers calls.
        clock: for deadlines.
        metrics: measures every request.
        logged: limits how many refusals are logged.
        transport: what its connections are.
    """
    return Listener(_Front(gateway, metrics, logged).handle, clock, WORKERS, transport)


class _Front:
    """What stands between HTTP and the gateway."""

    def __init__(self, gateway: Gateway, metrics: Metrics, logged: DenialLimiter) -> None:
        self._gateway = gateway
        self._metrics = metrics
        self._logged = logged
        self._changes = threading.BoundedSemaphore(CHANGES)

    def handle(self, reader: RequestReader) -> Response:
        """Answer one request.

        Raises:
            ClientDisconnected: there is nobody to answer.
        """
        context = RequestContext(str(uuid.uuid4()), reader.peer.name)
        with logging_setup.request(context.request_id):
            return self._handle(reader, context)

    def _handle(self, reader: RequestReader, context: RequestContext) -> Response:
        asked = "something that was not read, or is no HTTP"
        try:
            self._authorize(reader.peer)
            head = reader.head()
            asked = f"{head.method} {head.target}"
            return self._answer(head, reader, context)
        except ClientDisconnected:
            raise
        except RequestRefused as refusal:
            response = _refused(refusal, context.request_id, reading=_reads(reader))
            self._log_refusal(asked, context, refusal, response.status, reading=_reads(reader))
            self._gateway.denied(context, refusal, reading=_reads(reader))
            return response
        except Exception:  # noqa: BLE001 - whatever it is, it goes to the log and not to the client
            _log.exception("a request failed unforeseen", extra={"request": _shown(asked)})
            return _refused(RequestRefused(Reason.DOCKER_ERROR), context.request_id, reading=_reads(reader))

    def _authorize(self, peer: Peer) -> None:
        """Refuse a client that is not let in, before anything of its request is read.

        Raises:
            RequestRefused: `CLIENT_NOT_ALLOWED`.
        """
        if not peer.allowed:
            with self._metrics.operation("unknown"):
                raise RequestRefused(Reason.CLIENT_NOT_ALLOWED)

    def _answer(self, head: Head, reader: RequestReader, context: RequestContext) -> Response:
        with self._metrics.operation(context.operation) as measured:
            call = routes.resolve(head.method, head.target)
            context.operation = measured.operation = call.operation.value
            with self._slot(call):
                return self._gateway.answer(call, context, _body(head, reader, call))

    @contextmanager
    def _slot(self, call: ApiRequest) -> Iterator[None]:
        """Hold one of the slots for changes, if the call is one.

        Raises:
            RequestRefused: `TOO_BUSY`; nothing was read of the body, asked of Docker or charged.
        """
        if not call.changes:
            yield
            return
        if not self._changes.acquire(blocking=False):
            raise RequestRefused(Reason.TOO_BUSY, retry_after=BUSY_RETRY_SECONDS)
        try:
            yield
        finally:
            self._changes.release()

    def _log_refusal(
        self, asked: str, context: RequestContext, refusal: RequestRefused, status: int, *, reading: bool
    ) -> None:
        """The answer says little; here is what was asked, what was said, and what lies behind it."""
        extra = {
            "request": _shown(asked),
            "username": context.username,
            "value": shown(getattr(refusal, "value", None)),
        }
        failed = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        log_refusal(_log, self._logged, refusal, failed=failed, reading=reading, extra=extra)


def _reads(reader: RequestReader) -> bool:
    return reader.method in ("GET", "HEAD")


def _body(head: Head, reader: RequestReader, call: ApiRequest) -> bytes:
    """The whole body of a call that takes one; nothing, and nothing may be there, for anything else."""
    # docker-py offers to take a command's output as a raw stream. It gets HTTP to the end, which it reads as well.
    offers = call.operation is Operation.EXEC and head.headers.get("upgrade") == ("tcp",)
    for header in _SUSPICIOUS_HEADERS:
        if header.lower() in head.headers and not (offers and header == "Upgrade"):
            raise GatewayRefusal(f"hubwarden: the header {header} is not supported")
    length = head.length()
    if length and not call.takes_body:
        raise GatewayRefusal("hubwarden: this request takes no body")
    if not length:
        return b""
    if length > MAX_BODY_BYTES:
        raise GatewayRefusal(f"hubwarden: the body is over {MAX_BODY_BYTES} bytes")
    if not _JSON.fullmatch(head.single("Content-Type", "")):
        raise GatewayRefusal("hubwarden: the body must be application/json")
    return reader.body(length)


def _refused(refusal: RequestRefused, request_id: str, *, reading: bool) -> Response:
    """A refusal as Docker words it. Its id is in the agent's log, and the Hub's plugin tells it to the user."""
    status, message = refusals.status_and_message(refusal, request_id, reading=reading)
    headers = {REQUEST_ID: request_id}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(refusal.retry_after)))
    return Response(status, json.dumps({"message": message}) + "\n", headers=headers)


def _shown(asked: str) -> str:
    """The client's own text, in ASCII and cut, so that it can neither forge nor fill a log."""
    return ascii(asked)[:_SHOWN]
