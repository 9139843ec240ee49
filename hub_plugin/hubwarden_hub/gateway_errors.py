"""What docker-py raises when the agent's spawn gateway says no: told apart, and put into words for a person.

Invariants: an answer of the gateway's is known by its `X-Request-ID`, which Docker does not send; a sentence for
users is always one of these and never what stands in the answer, which is for the Hub's log. This file must never
import Docker's client.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

BUSY_MESSAGE = "hubwarden: another operation for this user is under way"
"""What the gateway's 409 says while the agent's own lock on the user is held: part of the contract."""

REQUEST_ID = "X-Request-ID"
_UNSUITABLE = "This server cannot be started with these settings. Ask an administrator for help."
_BUSY = "Another operation is in progress for this user. Try again in a minute."
_AWAY = "The system that runs the servers does not answer. Try again in a minute."

SENTENCES: Mapping[int, str] = MappingProxyType(
    {
        HTTPStatus.BAD_REQUEST: _UNSUITABLE,
        HTTPStatus.FORBIDDEN: _UNSUITABLE,
        HTTPStatus.NOT_FOUND: _UNSUITABLE,
        HTTPStatus.CONFLICT: _BUSY,
        HTTPStatus.TOO_MANY_REQUESTS: "There are too many servers, or too many starts, at the moment. Try again later.",
        HTTPStatus.SERVICE_UNAVAILABLE: _AWAY,
    }
)
"""Status -> what a user is told. Any other: that it did not work."""

OTHERWISE = "The server could not be started. Ask an administrator for help."


def is_busy(error: Exception) -> bool:
    """Whether it is the gateway's "not now", and not one of Docker's own conflicts."""
    return getattr(error, "status_code", None) == HTTPStatus.CONFLICT and BUSY_MESSAGE in str(error)


def explain(error: Exception) -> None:
    """Give an answer of the gateway's the sentence that JupyterHub's pages and REST API show (`jupyterhub_message`)."""
    request_id = getattr(getattr(error, "response", None), "headers", {}).get(REQUEST_ID)
    if request_id:
        sentence = SENTENCES.get(getattr(error, "status_code", 0), OTHERWISE)
        error.jupyterhub_message = f"{sentence} (Request {request_id})"  # type: ignore[attr-defined] # JupyterHub's hook
