"""What the log, the metrics and JupyterHub's event log learn of an operation."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
from hubwarden_hub.commands import RequestId, ResetCommand, RestartCommand
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.operations import Operation
from hubwarden_hub.records import Deed, End, Kind, Records
from hubwarden_hub.witnesses import EVENT, EventWitness, LogWitness, MetricsWitness
from jupyter_events.logger import EventLogger
from prometheus_client import REGISTRY

LOG = logging.getLogger("test-records")


class Memory:
    """A witness that remembers."""

    def __init__(self) -> None:
        self.begins: list[Deed] = []
        self.ends: list[tuple[Deed, End]] = []

    def begun(self, deed: Deed) -> None:
        self.begins.append(deed)

    def ended(self, deed: Deed, end: End) -> None:
        self.ends.append((deed, end))


class Broken:
    """A witness that cannot."""

    def begun(self, deed: Deed) -> None:
        raise OSError(deed)

    def ended(self, deed: Deed, end: End) -> None:
        raise OSError(deed, end)


def restart() -> RestartCommand:
    """A restart of bob's server by alice."""
    return RestartCommand("bob", "lab", "user:alice", RequestId.new(), "container", 10)


def sample(name: str, **labels: str) -> float:
    """A metric's value, 0 before there is one."""
    return REGISTRY.get_sample_value(name, labels) or 0


async def ended(records: Records, command: RestartCommand | ResetCommand, error: Exception | None) -> None:
    """One operation from its begin to its end."""
    operation: Operation[str] = Operation(command.request_id)
    records.follow(operation, command)
    if error is None:
        operation.succeed("done")
    else:
        operation.fail(error)
    await operation.wait(1)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AgentError(Reason.RATE_LIMITED), Reason.RATE_LIMITED),
        (RuntimeError("boom"), Reason.DOCKER_ERROR),
        (None, None),
    ],
)
async def test_each_witness_is_told_of_begin_and_end(error: Exception | None, reason: Reason | None) -> None:
    """With who, what and under which id; a failure with its reason, an unforeseen one as DOCKER_ERROR."""
    memory, command = Memory(), restart()
    times = iter([100.0, 102.5])
    await ended(Records([memory], LOG, lambda: next(times)), command, error)
    deed = Deed(Kind.RESTART, "bob", "lab", "user:alice", command.request_id)
    assert memory.begins == [deed]
    assert memory.ends == [(deed, End(reason, 2.5))]


async def test_a_broken_witness_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """The operation ends as it does, the next witness is told, and the log says what failed."""
    memory, command = Memory(), ResetCommand("bob", "service:x", RequestId.new(), "volume")
    await ended(Records([Broken(), memory], LOG), command, None)
    assert len(memory.begins) == len(memory.ends) == 1
    assert caplog.text.count(f"Broken could not note reset {command.request_id}") == 2


async def test_metrics_count_without_naming_anybody() -> None:
    """By kind, result and reason; what is in flight goes back to what it was; no label holds a name."""
    labels = {"kind": "restart", "result": "failed", "reason": "TOO_BUSY"}
    before = sample("hubwarden_hub_operations_total", **labels)
    in_flight = sample("hubwarden_hub_operations_in_flight", kind="restart")
    records, command = Records([MetricsWitness()], LOG), restart()
    operation: Operation[str] = Operation(command.request_id)
    records.follow(operation, command)
    assert sample("hubwarden_hub_operations_in_flight", kind="restart") == in_flight + 1
    operation.fail(AgentError(Reason.TOO_BUSY))
    await operation.wait(1)
    assert sample("hubwarden_hub_operations_in_flight", kind="restart") == in_flight
    assert sample("hubwarden_hub_operations_total", **labels) == before + 1
    ours = [metric for metric in REGISTRY.collect() if metric.name.startswith("hubwarden_hub_")]
    values = {value for metric in ours for entry in metric.samples for value in entry.labels.values()}
    assert not {value for value in values if "bob" in value or "alice" in value or str(command.request_id) in value}


async def test_the_log_has_the_agents_request_id(caplog: pytest.LogCaptureFixture) -> None:
    """At the begin and at the end, beside who did what to whom."""
    command = restart()
    with caplog.at_level(logging.INFO):
        await ended(Records([LogWitness(LOG)], LOG), command, AgentError(Reason.NOT_OWNED))
    assert f"restart of 'bob' server 'lab' for 'user:alice' begins ({command.request_id})" in caplog.text
    assert f"failed: NOT_OWNED ({command.request_id})" in caplog.text


@pytest.mark.parametrize("error", [None, AgentError(Reason.RESTART_FAILED)])
async def test_an_event_fits_its_schema_and_reaches_the_operators_handler(error: Exception | None) -> None:
    """As JupyterHub's own do, through jupyter_events, which checks it against the schema."""
    stream = io.StringIO()
    eventlog = EventLogger(handlers=[logging.StreamHandler(stream)])
    witness, command = EventWitness(eventlog), restart()
    await ended(Records([witness], LOG), command, error)
    event = json.loads(stream.getvalue())
    assert event["__schema__"] == EVENT
    assert (event["action"], event["username"], event["actor"]) == ("restart", "bob", "user:alice")
    assert event["request_id"] == str(command.request_id)
    assert (event["result"], event["reason"]) == (("failed", "RESTART_FAILED") if error else ("done", ""))


async def test_an_older_jupyterhub_gets_the_event_too() -> None:
    """JupyterHub 4's event log knows `register_schema_file` and `record_event`."""

    class Telemetry:
        def __init__(self) -> None:
            self.calls: list[Any] = []

        def register_schema_file(self, filename: str) -> None:
            self.calls.append(filename)

        def record_event(self, schema_name: str, version: str, event: dict[str, Any]) -> None:
            self.calls.append((schema_name, version, event["request_id"]))

    telemetry, command = Telemetry(), restart()
    await ended(Records([EventWitness(telemetry)], LOG), command, None)
    assert telemetry.calls[1:] == [(EVENT, "1", str(command.request_id))]
