"""Metrics: what happened is counted once, Docker's time is kept apart, and nothing of a request becomes a label."""

from __future__ import annotations

import datetime as dt
import re
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import get_args

import pytest
from hubwarden_agent.engine.port import EngineError, EngineUnavailable
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.gateway.routes import Operation
from hubwarden_agent.metrics import Metrics, Warned
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from support.agent.core import AgentStage, reset_command, restart_command
from support.fakes.edges import FakeClock
from support.waiting.threads import in_background

ROOT = Path(__file__).resolve().parents[3]
OPERATIONS = {"restart", "reset", "validate_restart", "validate_reset", "unknown", *(one.value for one in Operation)}
LABELS = {
    "operation": OPERATIONS,
    "result": {"ok", "refused"},
    "reason": {"", *(reason.value for reason in Reason)},
    "certificate": {"certificate"},
    "warning": {*get_args(Warned)},
}


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample by its name and its labels' values, in the order of the labels' names."""
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {
        (s.name, *(value for _, value in sorted(s.labels.items()))): s.value
        for family in families
        for s in family.samples
    }


@pytest.fixture(name="clock")
def _clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(name="metrics")
def _metrics(clock: FakeClock) -> Metrics:
    return Metrics(clock)


def test_dockers_time_is_apart_from_the_agents_own(metrics: Metrics, clock: FakeClock) -> None:
    """Of a call of 3 s in which Docker takes 2, the agent's own are 1."""
    with metrics.operation("restart"):
        clock.advance(1)
        with metrics.docker():
            clock.advance(2)
    seen = samples(metrics)
    assert seen["hubwarden_operation_own_seconds_sum", "restart"] == 1
    assert seen["hubwarden_operation_docker_seconds_sum", "restart"] == 2
    assert seen["hubwarden_operations_total", "restart", "", "ok"] == 1


@pytest.mark.parametrize(
    ("error", "result", "reason"),
    [
        *((RequestRefused(reason), "refused", reason.value) for reason in Reason),
        (RuntimeError("a bug"), "refused", "DOCKER_ERROR"),
    ],
)
def test_every_end_is_counted_as_it_is_answered(
    metrics: Metrics, error: BaseException, result: str, reason: str
) -> None:
    """Every reason has its own count, and whatever ends a call goes on its way."""
    with pytest.raises(type(error)), metrics.operation("reset"):
        raise error
    assert samples(metrics)["hubwarden_operations_total", "reset", reason, result] == 1
    assert samples(metrics)["hubwarden_operations_in_flight",] == 0


def test_refusals_are_counted_from_nought(metrics: Metrics) -> None:
    """Prometheus sees an increase, and alerts, only where there was a sample before."""
    assert samples(metrics)["hubwarden_operations_total", "reset", "AUDIT_UNAVAILABLE", "refused"] == 0


def test_calls_under_way_are_in_flight(metrics: Metrics) -> None:
    """When one call is running, the gauge of calls in flight is one."""
    with metrics.operation("reset"):
        assert samples(metrics)["hubwarden_operations_in_flight",] == 1


@pytest.mark.parametrize(("error", "up"), [(EngineUnavailable("away"), 0), (EngineError("odd"), 1)])
def test_docker_is_up_while_it_answers(metrics: Metrics, error: EngineError, up: int) -> None:
    """Only an engine that does not answer is down; one that says no is up."""
    with metrics.docker():
        pass
    assert samples(metrics)["hubwarden_docker_up",] == 1
    with pytest.raises(EngineError), metrics.docker():
        raise error
    assert samples(metrics)["hubwarden_docker_up",] == up


def test_a_request_to_docker_in_the_works_own_thread_counts(metrics: Metrics, clock: FakeClock) -> None:
    """When a call's work runs in another thread, Docker's time there is the call's."""

    def work() -> None:
        with metrics.docker():
            clock.advance(5)

    with metrics.operation("restart"):
        in_background(partial(copy_context().run, work)).result(30)
    assert samples(metrics)["hubwarden_operation_docker_seconds_sum", "restart"] == 5


def test_a_certificates_expiry_is_there_once_it_is_known(metrics: Metrics) -> None:
    """Without TLS there is no sample, so that an alert on it stays silent."""
    key = ("hubwarden_certificate_expiry_timestamp_seconds", "certificate")
    assert key not in samples(metrics)
    moment = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    metrics.certificates(lambda: moment, lambda: True)
    assert samples(metrics)[key] == moment.timestamp()
    assert samples(metrics)["hubwarden_certificates_stale",] == 1


def test_labels_are_closed(metrics: Metrics) -> None:
    """There is no label beside these, so no name of a user, volume or container can be one."""
    with metrics.operation("reset"):
        pass
    metrics.certificates(lambda: dt.datetime(2027, 1, 1, tzinfo=dt.UTC), lambda: False)
    for warned in get_args(Warned):
        metrics.warning(warned, standing=True)
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        for sample in family.samples:
            for label, value in sample.labels.items():
                assert label == "le" or value in LABELS[label]


def test_no_user_shows(metrics: Metrics) -> None:
    """After operations of a user, done and refused, the name is nowhere."""
    stage = AgentStage()
    with metrics.operation("restart"), pytest.raises(RequestRefused):
        stage.restarter.restart(restart_command("some-user"))
    with metrics.operation("reset"), pytest.raises(RequestRefused):
        stage.resetter.reset(reset_command("some-user"))
    assert b"some-user" not in generate_latest(metrics.registry)


def test_alert_rules_name_metrics_that_exist(metrics: Metrics) -> None:
    """Every metric in an alert's expression, and every reason, is one that the agent has."""
    with metrics.operation("reset"):
        pass
    metrics.certificates(lambda: dt.datetime(2027, 1, 1, tzinfo=dt.UTC), lambda: False)
    metrics.warning("mount_target", standing=True)
    rules = (ROOT / "deploy" / "monitoring" / "alerts.yml").read_text()
    named = set(re.findall(r"hubwarden_[a-z_]+", rules))
    assert named
    assert named <= {key[0] for key in samples(metrics)}
    for reasons in re.findall(r'reason=~?"([A-Z_|]+)"', rules):
        assert set(reasons.split("|")) <= {reason.value for reason in Reason}
