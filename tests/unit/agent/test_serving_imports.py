"""What serves is all that is loaded while it serves."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hubwarden_agent import serving
from hubwarden_agent.measuring import Measuring
from hubwarden_agent.metrics import Metrics
from support.fakes.edges import FakeClock


def test_no_tool_is_imported_by_what_serves() -> None:
    """A tool is loaded when its command is asked for, and never before."""
    served = "hubwarden_agent.cli, hubwarden_agent.serving, hubwarden_agent.gateway.app, hubwarden_agent.metrics_server"
    script = f"import sys, {served}; print([name for name in sys.modules if '_agent.tools' in name])"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert result.stdout == "[]\n"


def test_what_is_turned_off_is_not_loaded() -> None:
    """When gateway, metrics and backups are off, their code is not loaded; what only tests use never is."""
    unused = {
        "hubwarden_agent.gateway",
        "hubwarden_agent.metrics_server",
        "prometheus_client",
        "wsgiref",
        "http.server",
        "zstandard",
    }
    never = {"aiohttp", "multidict", "yarl", "limits", "cryptography"}
    for served, absent in (("", unused | never), (", hubwarden_agent.gateway.app, hubwarden_agent.metrics", never)):
        script = (
            f"import sys, hubwarden_agent.cli, hubwarden_agent.serving{served}; print({absent!r} & set(sys.modules))"
        )
        result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
        assert result.stdout == "set()\n"


@pytest.mark.parametrize(("address", "kind"), [("", Measuring), ("127.0.0.1:9464", Metrics)])
def test_nothing_is_measured_that_nobody_can_look_at(address: str, kind: type[Measuring]) -> None:
    """Without `listen.metrics` there are no metrics, and a call goes its way all the same."""
    metrics = serving._measuring(address, FakeClock())  # noqa: SLF001 - the one place that decides it
    assert type(metrics) is kind
    metrics.state(resets_left=lambda: 1, audit_sequence=lambda: 2)
    with metrics.operation("restart") as measured, metrics.docker():
        measured.operation = "reset"
    assert bool(metrics.text()) == (kind is Metrics)
