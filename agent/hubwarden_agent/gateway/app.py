"""From a request to an answer: what HTTP has to say about it first, and refusals and failures at the end.

What holds here: one handler for every request; `routes` sees the request target as the client wrote it. A body is read
only where the table says so, whole, of a declared and bounded length. An exception never reaches a client as text, and
a request that changes nothing never gets a 500.
"""

from __future__ import annotations

import json
import logging
import math
import re
import uuid

from hubwarden_agent import log_context
from hubwarden_agent.audit_trails import BlockingAuditTrail
from hubwarden_agent.clock import Clock
from hubwarden_agent.denials import DenialLimiter, log_refusal, shown
from hubwarden_agent.errors import Reason, Refusal
from hubwarden_agent.gateway import refusals, routes
from hubwarden_agent.gateway.deeds import Answer, Deed
from hubwarden_agent.gateway.gateway import Gateway
from hubwarden_agent.gateway.http_request import Gone, Head, Incoming
from hubwarden_agent.gateway.listener import Listener
from hubwarden_agent.gateway.refusals import GatewayRefusal
from hubwarden_agent.gateway.routes import Call, Operation
from hubwarden_agent.measuring import Measuring

THREADS = 128
"""Requests at once; `deeds.CHANGES_AT_ONCE` of them may change something. DockerSpawner has one worker thread."""

MAX_BODY_BYTES = 256 * 1024
"""DockerSpawner's create is about 4 KiB; the environment is what could make it large."""

REQUEST_ID = "X-Request-ID"
"""Part of the contract: the Hub's mixin knows a refusal of the gateway's by it."""

_SUSPICIOUS_HEADERS = ("Content-Encoding", "Transfer-Encoding", "Upgrade", "Trailer", "Expect")
_JSON = re.compile(r"application/json(?:; ?charset=utf-8)?", re.IGNORECASE)
_SHOWN = 200

_log = logging.getLogger(__name__)


def build_listener(
    gateway: Gateway,
    audit: BlockingAuditTrail,
    clock: Clock,
    metrics: Measuring,
    logged: DenialLimiter,
    drain_seconds: float,
) -> Listener:
    """What serves a gateway.

    Args:
        gateway: answers calls.
        audit: the gateway's.
        clock: for deadlines.
        metrics: measures every request.
        logged: limits how many refusals are logged.
        drain_seconds: how long running requests may take once it is stopped.
    """
    # An outcome is written once its answer is on its way: it is the audit's already, and the client need not wait.
    return Listener(_Front(gateway, metrics, logged).handle, clock, THREADS, drain_seconds, answered=audit.flush)


class _Front:
    """What stands between HTTP and the gateway."""

    def __init__(self, gateway: Gateway, metrics: Measuring, logged: DenialLimiter) -> None:
        self._gateway = gateway
        self._metrics = metrics
        self._logged = logged

    def handle(self, incoming: Incoming) -> Answer:
        """Answer one request.

        Raises:
            Gone: there is nobody to answer.
        """
        deed = Deed(str(uuid.uuid4()))
        with log_context.request(deed.request_id):
            return self._handle(incoming, deed)

    def _handle(self, incoming: Incoming, deed: Deed) -> Answer:
        asked = "something that is no HTTP"
        try:
            head = incoming.head()
            asked = f"{head.method} {head.target}"
            return self._answer(head, incoming, deed)
        except Gone:
            raise
        except Refusal as refusal:
            answer = _refused(refusal, deed.request_id, reading=_reads(incoming))
            self._log_refusal(asked, deed, refusal, answer.status, reading=_reads(incoming))
            self._gateway.denied(deed, refusal, reading=_reads(incoming))
            return answer
        except Exception:  # noqa: BLE001 - whatever it is, it goes to the log and not to the client
            _log.exception("a request failed unforeseen", extra={"request": _shown(asked)})
            return _refused(Refusal(Reason.DOCKER_ERROR), deed.request_id, reading=_reads(incoming))

    def _answer(self, head: Head, incoming: Incoming, deed: Deed) -> Answer:
        with self._metrics.operation(deed.operation) as measured:
            call = routes.resolve(head.method, head.target)
            deed.operation = measured.operation = call.operation.value
            return self._gateway.answer(call, deed, _body(head, incoming, call))

    def _log_refusal(self, asked: str, deed: Deed, refusal: Refusal, status: int, *, reading: bool) -> None:
        """The answer says little; here is what was asked, what was said, and what lies behind it."""
        extra = {
            "request": _shown(asked),
            "username": deed.username,
            "value": shown(getattr(refusal, "value", None)),
        }
        failed = status >= refusals.INTERNAL_ERROR
        log_refusal(_log, self._logged, refusal, failed=failed, reading=reading, extra=extra)


def _reads(incoming: Incoming) -> bool:
    return incoming.method in ("GET", "HEAD")


def _body(head: Head, incoming: Incoming, call: Call) -> bytes:
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
        raise GatewayRefusal(f"hubwarden: the body is over {MAX_BODY_BYTES} bytes", status=refusals.TOO_LARGE)
    if not _JSON.fullmatch(head.single("Content-Type", "")):
        raise GatewayRefusal("hubwarden: the body must be application/json", status=refusals.UNSUPPORTED_TYPE)
    return incoming.body(length)


def _refused(refusal: Refusal, request_id: str, *, reading: bool) -> Answer:
    """A refusal as Docker words it. Its id is in the agent's log, and the Hub's plugin tells it to the user."""
    status, message = refusals.status_and_message(refusal, request_id, reading=reading)
    headers = {REQUEST_ID: request_id}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(refusal.retry_after)))
    return Answer(status, json.dumps({"message": message}) + "\n", headers=headers)


def _shown(asked: str) -> str:
    """The client's own text, in ASCII and cut, so that it can neither forge nor fill a log."""
    return ascii(asked)[:_SHOWN]
