"""The table of reasons is the contract's, complete, and nothing but our own sentences comes out of it."""

from __future__ import annotations

import grpc
import pytest
from hubwarden_agent.errors import ERROR_TABLE, GATEWAY_REASONS, ErrorDetails, Reason, RequestRefused, StatusCode

# DESIGN's table, kept here by hand: reason -> gRPC code.
CONTRACT = {
    "INVALID_REQUEST": "INVALID_ARGUMENT",
    "SERVER_RUNNING": "FAILED_PRECONDITION",
    "SERVER_NOT_RUNNING": "FAILED_PRECONDITION",
    "VOLUME_NOT_FOUND": "NOT_FOUND",
    "CONTAINER_NOT_FOUND": "NOT_FOUND",
    "VOLUME_IN_USE": "FAILED_PRECONDITION",
    "CONTAINER_KEPT": "FAILED_PRECONDITION",
    "MANAGED_ELSEWHERE": "FAILED_PRECONDITION",
    "OPERATION_IN_PROGRESS": "ABORTED",
    "INTERRUPTED": "ABORTED",
    "RATE_LIMITED": "RESOURCE_EXHAUSTED",
    "RESET_BUDGET_SPENT": "RESOURCE_EXHAUSTED",
    "TOO_BUSY": "RESOURCE_EXHAUSTED",
    "NAME_MISMATCH": "FAILED_PRECONDITION",
    "NOT_OWNED": "FAILED_PRECONDITION",
    "VOLUME_NOT_LOCAL": "FAILED_PRECONDITION",
    "CLIENT_NOT_ALLOWED": "PERMISSION_DENIED",
    "RESTART_FAILED": "INTERNAL",
    "BACKUP_FAILED": "INTERNAL",
    "DOCKER_UNAVAILABLE": "UNAVAILABLE",
    "AUDIT_UNAVAILABLE": "UNAVAILABLE",
    "DEADLINE_EXCEEDED": "DEADLINE_EXCEEDED",
    "DOCKER_ERROR": "INTERNAL",
}


def test_the_table_is_the_contracts() -> None:
    """Every reason of the contract is in the table with its code, and no other but the gateway's."""
    listed = {reason.value: code.name for reason, (code, _) in ERROR_TABLE.items() if reason not in GATEWAY_REASONS}
    assert listed == CONTRACT


def test_every_reason_is_in_the_table() -> None:
    """A reason that exists but has no code cannot come to be."""
    assert set(ERROR_TABLE) == set(Reason)


@pytest.mark.parametrize("code", StatusCode)
def test_codes_have_grpcs_names_and_numbers(code: StatusCode) -> None:
    """Our copy of the canonical codes agrees with gRPC's."""
    assert grpc.StatusCode[code.name].value[0] == code.value


@pytest.mark.parametrize("reason", Reason)
def test_every_sentence_is_for_people(reason: Reason) -> None:
    """A message is a sentence, and never the name of a reason."""
    message = RequestRefused(reason).message
    assert message[0].isupper()
    assert message.endswith(".")
    assert reason.value not in message


def test_a_cause_is_not_in_the_text() -> None:
    """What Docker said travels as the cause; the refusal's own text does not repeat it."""
    with pytest.raises(RequestRefused) as refused:
        raise RequestRefused(Reason.DOCKER_ERROR) from RuntimeError("what docker said")
    assert "docker said" not in str(refused.value) + refused.value.message
    assert "docker said" in str(refused.value.__cause__)


def test_only_known_fields_are_sent() -> None:
    """When a field is unset, it is left out."""
    assert ErrorDetails().metadata() == {}
    assert ErrorDetails(volume="v", container="c", holders=("a", "b")).metadata() == {
        "volume": "v",
        "container": "c",
        "holders": "a,b",
    }


def test_many_holders_are_cut() -> None:
    """A status travels in a header of 8 KiB or so: a volume that 500 containers hold must not make it overflow."""
    holders = tuple(f"{'x' * 200}{number:03}" for number in range(500))
    sent = ErrorDetails(holders=holders).metadata()["holders"]
    assert len(sent) < 4096
    assert set(sent.split(",")) < set(holders)
