"""How the gateway says no: worded and numbered as Docker does, so that docker-py raises what its users expect.

Invariants: a message is our own sentence, or Docker's own with nothing in it but a name that was parsed; what the
engine said is never in it. `STATUS` is the only table from reasons to HTTP, so the audited reason decides the status.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from hubwarden_agent.errors import Reason, RequestRefused

STATUS: Mapping[Reason, HTTPStatus] = MappingProxyType(
    {
        Reason.INVALID_REQUEST: HTTPStatus.BAD_REQUEST,
        Reason.NAME_MISMATCH: HTTPStatus.BAD_REQUEST,
        Reason.VOLUME_NOT_LOCAL: HTTPStatus.BAD_REQUEST,
        Reason.CLIENT_NOT_ALLOWED: HTTPStatus.FORBIDDEN,
        Reason.PULL_DENIED: HTTPStatus.FORBIDDEN,
        Reason.CONTAINER_NOT_FOUND: HTTPStatus.NOT_FOUND,
        Reason.NOT_FOUND: HTTPStatus.NOT_FOUND,
        Reason.DEADLINE_EXCEEDED: HTTPStatus.REQUEST_TIMEOUT,
        Reason.OPERATION_IN_PROGRESS: HTTPStatus.CONFLICT,
        Reason.SERVER_RUNNING: HTTPStatus.CONFLICT,
        Reason.SERVER_NOT_RUNNING: HTTPStatus.CONFLICT,
        Reason.CONFLICT: HTTPStatus.CONFLICT,
        Reason.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
        Reason.LIMIT_REACHED: HTTPStatus.TOO_MANY_REQUESTS,
        Reason.TOO_BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
        Reason.DOCKER_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
        Reason.AUDIT_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
        Reason.DISK_FULL: HTTPStatus.INTERNAL_SERVER_ERROR,
        Reason.DOCKER_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
    }
)
"""The HTTP status of each reason that can arise behind the gateway."""

LOCKED_MESSAGE = "hubwarden: another operation for this user is under way"
"""Part of the contract: the Hub's mixin tells this 409 from Docker's own by it."""


class GatewayRefusal(RequestRefused):
    """A refusal in the gateway's own words, or Docker's.

    Args:
        message: the answer's `message`.
        reason: what the audit says, and what decides the status.
        retry_after: as `RequestRefused`.
        value: what was refused, for the agent's log and for nobody else.
    """

    def __init__(
        self,
        message: str,
        reason: Reason = Reason.INVALID_REQUEST,
        *,
        retry_after: float | None = None,
        value: object = None,
    ) -> None:
        super().__init__(reason, message, retry_after=retry_after)
        self.value = value


def field_refused(field: str, why: str) -> GatewayRefusal:
    """A field of the body that is malformed or against the policy; `why` completes the sentence."""
    return GatewayRefusal(f"hubwarden: {field} {why}")


def not_listed(field: str, value: object, key: str, what: str = "") -> GatewayRefusal:
    """A value that a key of `[spawn]` would allow. The answer says what sort it is; the value itself is for the log.

    Args:
        field: in Docker's words.
        value: no secret.
        key: under `[spawn]`.
        what: what the field does with the value, where its sort alone would not say so.
    """
    means = f"{what} that the policy does not list" if what else f"({kind(value)}) is not one that the policy lists"
    return GatewayRefusal(f"hubwarden: {field} {means} (spawn.{key})", value=value)


def kind(value: object) -> str:
    """What sort of value it is, in JSON's words."""
    names = {str: "text", int: "a number", bool: "true or false", list: "an array", tuple: "an array"}
    return names.get(type(value), "an object" if value is not None else "null")


def no_such_container(reference: str) -> GatewayRefusal:
    """As Docker words it, for what does not exist and for what is none of the caller's business alike."""
    return GatewayRefusal(f"No such container: {reference}", Reason.CONTAINER_NOT_FOUND)


def no_such_image(reference: str) -> GatewayRefusal:
    """As Docker words it; docker-py turns it into `ImageNotFound`."""
    return GatewayRefusal(f"No such image: {reference}", Reason.NOT_FOUND)


def image_not_listed() -> GatewayRefusal:
    """An image that the policy does not list, whether it exists or not."""
    message = "hubwarden: the image is not one that the policy lists (spawn.images)"
    return GatewayRefusal(message, Reason.CLIENT_NOT_ALLOWED)


def pull_denied() -> GatewayRefusal:
    """As Docker words it, and why."""
    message = "pull access denied: the policy does not list this image (spawn.pull)"
    return GatewayRefusal(message, Reason.CLIENT_NOT_ALLOWED)


def name_in_use(name: str) -> GatewayRefusal:
    """As Docker words it, without the id of the container that has the name: it may be another's."""
    message = (
        f'Conflict. The container name "/{name}" is already in use. You have to remove (or rename) that container.'
    )
    return GatewayRefusal(message, Reason.CONFLICT)


def endpoint_refused(key: str = "") -> GatewayRefusal:
    """A method or path that is not in the gateway's table, or that is there only with a key of the policy."""
    message = "hubwarden: this endpoint is not available through the spawn gateway"
    return GatewayRefusal(message + (f" ({key})" if key else ""), Reason.CLIENT_NOT_ALLOWED)


def status_and_message(refusal: RequestRefused, request_id: str, *, reading: bool) -> tuple[HTTPStatus, str]:
    """What the client gets.

    Args:
        refusal: any refusal.
        request_id: is named where only the agent's log says more.
        reading: the request changes nothing. DockerSpawner takes a 500 there for "the container is gone" and the Hub
            drops the server, so there is none: 503 instead.
    """
    status = STATUS.get(refusal.reason, HTTPStatus.INTERNAL_SERVER_ERROR)
    if isinstance(refusal, GatewayRefusal):
        return status, refusal.message
    if refusal.reason is Reason.OPERATION_IN_PROGRESS:
        return status, LOCKED_MESSAGE
    message = f"hubwarden: {refusal.message}"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        message += f" (request id {request_id})"
    failed = status is HTTPStatus.INTERNAL_SERVER_ERROR
    return (HTTPStatus.SERVICE_UNAVAILABLE if reading and failed else status), message
