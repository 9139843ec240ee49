"""What a user is told when the gateway refuses a start: a sentence of our own, with the id that the agent's log has."""

from __future__ import annotations

from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import pytest
from hubwarden_agent.gateway import app, refusals
from hubwarden_hub.gateway_errors import OTHERWISE, REQUEST_ID, SENTENCES, explain


class AnswerError(Exception):
    """An error of docker-py's, as far as the mixin looks at it."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__("hubwarden: HostConfig.Privileged is not supported SECRET")
        self.status_code = status
        self.response = SimpleNamespace(headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize("error", [ValueError("hubwarden: x"), AnswerError(400), AnswerError(400, X_Other="1")])
def test_an_error_of_anybody_elses_is_left_alone(error: Any) -> None:
    """Docker's own, and errors that are no answers: what JupyterHub shows for them stays."""
    explain(error)
    assert not hasattr(error, "jupyterhub_message")


@pytest.mark.parametrize("status", [400, 403, 404, 409, 429, 500, 503])
def test_a_refusal_gets_a_sentence_and_its_id(status: int) -> None:
    """When the gateway refuses, the message is the plugin's own sentence with the id."""
    error: Any = AnswerError(status, X_Request_ID="the-id")
    explain(error)
    assert error.jupyterhub_message == f"{SENTENCES.get(status, OTHERWISE)} (Request the-id)"
    assert "SECRET" not in error.jupyterhub_message


def test_both_sides_know_the_header() -> None:
    """The contract, and that the gateway has no status that nobody thought of."""
    assert app.REQUEST_ID == REQUEST_ID
    odd = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.INTERNAL_SERVER_ERROR}
    assert set(refusals.STATUS.values()) - odd <= set(SENTENCES)
