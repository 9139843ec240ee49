"""docs/rest-api.yml says what a real Hub does: the same paths and methods, and every answer is as described.

Bounded and with a fixed seed: a few hundred requests. Only where schemathesis is installed, with the newest JupyterHub.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from hubwarden_hub.configuration import HANDLERS
from hubwarden_hub.errors import Reason
from support.docker.private_engine import ROOT
from support.jupyterhub.people import Person
from support.jupyterhub.stack import TOKEN, Hub

schemathesis = pytest.importorskip("schemathesis", reason="with the newest JupyterHub only")
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402 - comes with schemathesis
from schemathesis import Case, GenerationMode, Response, checks  # noqa: E402 - comes with schemathesis

DESCRIPTION = ROOT / "docs" / "rest-api.yml"
DESCRIBED = yaml.safe_load(DESCRIPTION.read_text())
METHODS = ("get", "post", "put", "patch", "delete")
OPERATIONS = {
    f"{operation.method.upper()} {operation.path}": operation
    for operation in (result.ok() for result in schemathesis.openapi.from_path(str(DESCRIPTION)).get_all_operations())
}
NOBODYS = "3f2b6d3e-9a55-4a3c-8a57-2f0f6c6e1d10"
"""The id of a waiting operation, or of a batch, that is not there."""
ALWAYS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
]
# A GET of these with valid parameters about somebody who is there has no reason to be refused.
READS = ["/users/{name}/home-volume", "/users/{name}/hubwarden-state", "/users/{name}/hubwarden-history"]
READS += ["/hubwarden/history", "/hubwarden/users"]
BOUNDED = settings(
    max_examples=12,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_handlers_and_description_list_the_same_paths_and_methods() -> None:
    """Neither an endpoint that nobody described nor a described one that is not there."""
    described = {
        (re.sub(r"\{\w+\}", "{}", path), method)
        for path, item in DESCRIBED["paths"].items()
        for method in item
        if method in METHODS
    }
    served = {
        (path.removeprefix("/api").replace("([^/]+)", "{}"), method)
        for path, handler, *_ in HANDLERS
        if path.startswith("/api/")
        for method in METHODS
        if method in vars(handler)
    }
    assert described == served


def test_every_reason_is_described() -> None:
    """In the table's order, so that a new one is noticed."""
    assert DESCRIBED["components"]["schemas"]["Reason"]["enum"] == [str(reason) for reason in Reason]


def ask(hub: Hub, case: Case[Any]) -> Response:
    """Send a request to the real Hub as the operator, and compare the answer with the description."""
    names = [*ALWAYS, "positive_data_acceptance"] if case.operation.path in READS else ALWAYS
    headers = {"Authorization": f"token {TOKEN}"}
    wanted: Any = checks.CHECKS.get_by_names(names)
    return case.call_and_validate(base_url=f"{hub.address}hub/api", headers=headers, checks=wanted)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("label", OPERATIONS)
def test_whatever_is_asked_is_answered_as_described(hub: Hub, person: Person, label: str, mode: GenerationMode) -> None:
    """Valid parameters and others, for somebody whose server is stopped: as described, and never a 500."""
    operation = OPERATIONS[label]
    names = {"name": quote(person.name), "server": "nope", "id": NOBODYS}
    there = {key: value for key, value in names.items() if f"{{{key}}}" in operation.path}

    @BOUNDED
    @given(operation.as_strategy(generation_mode=mode, path_parameters=there or None))
    def every(case: Case[Any]) -> None:
        ask(hub, case)

    every()


@pytest.mark.parametrize("label", [label for label in OPERATIONS if "{name}" in label])
def test_names_of_every_kind_are_answered_as_described(hub: Hub, label: str) -> None:
    """Users whom nobody knows, however they are spelled."""

    @BOUNDED
    @given(OPERATIONS[label].as_strategy())
    def every(case: Case[Any]) -> None:
        assert ask(hub, case).status_code in {400, 404}

    every()


def test_what_succeeds_is_answered_as_described(hub: Hub, person: Person) -> None:
    """Each operation's success, and how it is told meanwhile and afterwards."""

    def succeeds(label: str, **query: str) -> None:
        operation = OPERATIONS[label]
        parameters = {"name": person.name} if "{name}" in operation.path else {}
        answer = ask(hub, operation.Case(path_parameters=parameters, query=query))
        assert answer.status_code == 200, (label, answer.text)

    person.start()
    succeeds("POST /users/{name}/restart-server")
    succeeds("GET /users/{name}/restart-server/progress")
    succeeds("GET /users/{name}/hubwarden-state")
    succeeds("GET /hubwarden/users", search=person.name)
    person.stop()
    succeeds("GET /users/{name}/home-volume")
    succeeds("DELETE /users/{name}/reset-home-volume")
    succeeds("GET /users/{name}/reset-home-volume/progress")
    succeeds("GET /users/{name}/hubwarden-state")
    succeeds("GET /users/{name}/hubwarden-history")
    succeeds("GET /hubwarden/history", username=person.name)
    succeeds("GET /hubwarden/users", search=person.name)


def test_nobody_without_credentials_is_refused_as_described(hub: Hub) -> None:
    """Every endpoint, in JSON and with a request id."""
    for operation in OPERATIONS.values():
        given = {"name": "ann", "server": "ann", "id": NOBODYS}
        names = {key: value for key, value in given.items() if f"{{{key}}}" in operation.path}
        case = operation.Case(path_parameters=names)
        wanted: Any = checks.CHECKS.get_by_names(ALWAYS)
        answer = case.call_and_validate(base_url=f"{hub.address}hub/api", checks=wanted)
        assert answer.status_code == 403
