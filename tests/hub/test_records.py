"""What a real Hub's log, metrics and events say about operations, and the agent's audit under the same ids."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.jupyterhub.people import Person
from support.jupyterhub.stack import Agent, Hub
from support.waiting.conditions import wait_for

pytestmark = pytest.mark.every_hub


def count(hub: Hub, name: str, **labels: str) -> float:
    """One sample of /hub/metrics, 0 before there is one."""
    answer = hub.client().get("../metrics")
    answer.raise_for_status()
    families = text_string_to_metric_families(answer.text)
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_operations_show_in_the_hubs_metrics_and_log(hub: Hub, person: Person) -> None:
    """A restart and a refused reset count by kind, result and reason, and have their request ids in the Hub's log."""
    ids = [str(uuid.uuid4()), str(uuid.uuid4())]
    refused = {"kind": "reset", "result": "failed", "reason": "VOLUME_NOT_FOUND"}
    done = {"kind": "restart", "result": "done", "reason": ""}
    before = [count(hub, "hubwarden_hub_operations_total", **labels) for labels in (refused, done)]
    assert person.reset(headers={"X-Request-ID": ids[0]}).status_code == 404
    person.start()
    assert person.restart(headers={"X-Request-ID": ids[1]}).status_code == 200
    after = [count(hub, "hubwarden_hub_operations_total", **labels) for labels in (refused, done)]
    assert after == [value + 1 for value in before]
    assert count(hub, "hubwarden_hub_operations_in_flight", kind="restart") == 0
    assert count(hub, "hubwarden_hub_operation_seconds_count", kind="restart", result="done") >= 1
    log = wait_for(lambda: text if ids[1] in (text := hub.process.log.read_text()) else "", "the log")
    assert f"reset of {person.name!r} for 'service:operator' failed: VOLUME_NOT_FOUND ({ids[0]})" in log
    assert f"restart of {person.name!r} for 'service:operator' done" in log


def lines(path: Path, request_id: str) -> list[dict[str, Any]]:
    """The lines of a file of JSON lines that name an operation."""
    return [json.loads(line) for line in path.read_text().splitlines() if request_id in line]


def test_an_operation_is_one_event_under_the_id_of_the_agents_audit(agent: Agent, hub: Hub, person: Person) -> None:
    """In JupyterHub's event log, with schema and version; the agent's audit has the same id, actor and user."""
    request_id = str(uuid.uuid4())
    person.start()
    assert person.restart(person.client(), headers={"X-Request-ID": request_id}).status_code == 200
    (event,) = lines(Path(hub.options["directory"]) / "events.jsonl", request_id)
    assert (event["__schema__"], event["__schema_version__"]) == ("urn:hubwarden:hub:operation", "1")
    assert (event["action"], event["username"], event["servername"]) == ("restart", person.name, "")
    assert (event["actor"], event["result"], event["reason"]) == (f"user:{person.name}", "done", "")
    audited = lines(agent.directory / "state" / "audit.jsonl", request_id)
    assert {(line["actor"], line["username"]) for line in audited} == {(f"user:{person.name}", person.name)}
