"""HTTP: aiohttp requests in, calls out, answers and refusals back.

What holds here: one handler for every request, so that aiohttp decides nothing about paths, methods or expectations;
`routes` sees the request target as the client wrote it. A body is read only where the table says so, whole, of a
declared and bounded length and within a deadline. An exception never reaches a client as text, and a request that
changes nothing never gets a 500. A client that goes away cancels nothing: what has begun is finished and recorded.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import uuid

from aiohttp import HttpVersion11, web

from hubwarden_agent import log_context
from hubwarden_agent.audit import AuditTrail
from hubwarden_agent.clock import Clock
from hubwarden_agent.engine.port import Engine
from hubwarden_agent.errors import Reason, Refusal
from hubwarden_agent.gateway import refusals, routes
from hubwarden_agent.gateway.deeds import Answer, Deed
from hubwarden_agent.gateway.gateway import Gateway
from hubwarden_agent.gateway.listener import Handler, header_arrived
from hubwarden_agent.gateway.refusals import GatewayRefusal
from hubwarden_agent.gateway.routes import Call, Operation
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.measuring import Measuring
from hubwarden_agent.names import Names
from hubwarden_agent.spawn_policy import SpawnPolicy

MAX_BODY_BYTES = 256 * 1024
"""DockerSpawner's create is about 4 KiB; the environment is what could make it large."""

BODY_SECONDS = 10.0
"""From the header's end to the body's; then 408."""

REQUEST_ID = "X-Request-ID"
"""Part of the contract: the Hub's mixin knows a refusal of the gateway's by it."""

_SUSPICIOUS_HEADERS = ("Content-Encoding", "Transfer-Encoding", "Upgrade", "Trailer", "Expect")
_LENGTH = re.compile(r"0|[1-9][0-9]{0,17}")
_JSON = re.compile(r"application/json(?:; ?charset=utf-8)?", re.IGNORECASE)
_SERVER = {"Server": "hubwarden"}
_SHOWN = 200
_SHOWN_VALUE = 1000

_log = logging.getLogger(__name__)


def build_handler(
    *,
    engine: Engine,
    names: Names,
    spawn: SpawnPolicy,
    locks: UserLocks,
    audit: AuditTrail,
    clock: Clock,
    metrics: Measuring,
) -> Handler:
    """The gateway as what answers a request, to be served by `listener.Listener`.

    Args:
        engine: the container engine.
        names: shared with the RPCs.
        spawn: the operator's policy.
        locks: the users' locks, shared with the RPCs.
        audit: shared with the RPCs.
        clock: for budgets and durations.
        metrics: measures every request.
    """
    gateway = Gateway(engine=engine, names=names, spawn=spawn, locks=locks, audit=audit, clock=clock)
    return _Front(gateway, metrics).handle


class _Front:
    """What stands between HTTP and the gateway."""

    def __init__(self, gateway: Gateway, metrics: Measuring) -> None:
        self._gateway = gateway
        self._metrics = metrics

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        deed = Deed(str(uuid.uuid4()))
        log_context.request_id.set(deed.request_id)
        reading = request.method in ("GET", "HEAD")
        try:
            with header_arrived(request):
                return _response(await self._answer(request, deed))
        except Refusal as refusal:
            _log_refusal(request, deed, refusal)
            await self._gateway.denied(deed, refusal, reading=reading)
            status, message = refusals.status_and_message(refusal, deed.request_id, reading=reading)
            return _refused(status, message, deed.request_id, refusal.retry_after)
        except Exception:  # noqa: BLE001 - whatever it is, it goes to the log and not to the client
            _log.exception("a request failed unforeseen", extra={"request": _shown(request)})
            status, message = refusals.status_and_message(
                Refusal(Reason.DOCKER_ERROR), deed.request_id, reading=reading
            )
            return _refused(status, message, deed.request_id)

    async def _answer(self, request: web.BaseRequest, deed: Deed) -> Answer:
        with self._metrics.operation(deed.operation) as measured:
            if request.version != HttpVersion11:
                raise GatewayRefusal("hubwarden: only HTTP/1.1 is supported")
            call = routes.resolve(request.method, request.raw_path)
            deed.operation = measured.operation = call.operation.value
            return await self._gateway.answer(call, deed, await _body(request, call))


async def _body(request: web.BaseRequest, call: Call) -> bytes:
    """The whole body of a call that takes one; nothing, and nothing may be there, for anything else."""
    # docker-py offers to take a command's output as a raw stream. It gets HTTP to the end, which it reads as well.
    offers = call.operation is Operation.EXEC and request.headers.getall("Upgrade", []) == ["tcp"]
    for header in _SUSPICIOUS_HEADERS:
        if header in request.headers and not (offers and header == "Upgrade"):
            raise GatewayRefusal(f"hubwarden: the header {header} is not supported")
    length = _single(request, "Content-Length", "0")
    if not _LENGTH.fullmatch(length):
        raise GatewayRefusal("hubwarden: the length of the body is malformed")
    if length != "0" and not call.takes_body:
        raise GatewayRefusal("hubwarden: this request takes no body")
    if length == "0":
        return b""
    if int(length) > MAX_BODY_BYTES:
        raise GatewayRefusal(f"hubwarden: the body is over {MAX_BODY_BYTES} bytes", status=refusals.TOO_LARGE)
    if not _JSON.fullmatch(_single(request, "Content-Type", "")):
        raise GatewayRefusal("hubwarden: the body must be application/json", status=refusals.UNSUPPORTED_TYPE)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.content.readexactly(int(length))
    except (TimeoutError, asyncio.IncompleteReadError) as error:
        raise GatewayRefusal("hubwarden: the body did not arrive", status=refusals.TIMED_OUT) from error


def _single(request: web.BaseRequest, header: str, default: str) -> str:
    values = request.headers.getall(header, [default])
    if len(values) != 1:
        raise GatewayRefusal(f"hubwarden: the header {header} is there twice")
    return values[0]


def _response(answer: Answer) -> web.Response:
    response = web.Response(status=answer.status, headers=_SERVER)
    if answer.text:
        response.text = answer.text
    if answer.text or answer.last:
        response.content_type = answer.content_type
    if answer.last:
        response.force_close()
    return response


def _refused(status: int, message: str, request_id: str, retry_after: float | None = None) -> web.Response:
    """A refusal as Docker words it. Its id is in the agent's log, and the Hub's plugin tells it to the user."""
    headers = (
        _SERVER
        | {REQUEST_ID: request_id}
        | ({"Retry-After": str(max(1, math.ceil(retry_after)))} if retry_after is not None else {})
    )
    text = json.dumps({"message": message}) + "\n"
    return web.Response(status=status, text=text, content_type="application/json", headers=headers)


def _log_refusal(request: web.BaseRequest, deed: Deed, refusal: Refusal) -> None:
    """The answer says little; here is what was asked, what was said, and what lies behind it."""
    _log.info(
        "refused: %s",
        refusal.message,
        extra={
            "request": _shown(request),
            "reason": refusal.reason.value,
            "username": deed.username,
            "value": ascii(getattr(refusal, "value", None) or "")[:_SHOWN_VALUE],
            "cause": str(refusal.__cause__ or ""),
        },
    )


def _shown(request: web.BaseRequest) -> str:
    """The client's own text, in ASCII and cut, so that it can neither forge nor fill a log."""
    return ascii(f"{request.method} {request.raw_path}")[:_SHOWN]
