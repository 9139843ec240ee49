"""The agent's threads: all of them at once, with gRPC's and a health check's, fit what the deployments allow."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hubwarden_agent import grpc_limits, metrics_server
from hubwarden_agent.gateway import app

ROOT = Path(__file__).parents[3]
ONE_EACH = 9
"""The main thread, tini, the metrics server, the five that run in the background, and the one that closes drains."""
METRICS = 2 * metrics_server.SCRAPES
"""Each scrape has two."""
GRPC = 20
"""The most that was counted, on a machine of 32 processors; once for each server, and once in a health check."""


@pytest.mark.parametrize("file", ["compose.yml", "compose.remote.yml"])
def test_all_threads_at_once_are_allowed(file: str) -> None:
    """When every thread that the agent may have runs at once, the container's limit lets it start."""
    listeners = (grpc_limits.UNIX, grpc_limits.TCP)
    calls = sum(listener.calls for listener in listeners)
    most = calls + calls + grpc_limits.HEALTH.calls + app.WORKERS + METRICS + ONE_EACH + 4 * GRPC
    allowed = re.search(r"pids_limit: ([0-9]+)", (ROOT / file).read_text(encoding="utf-8"))
    assert allowed is not None
    assert most <= int(allowed[1])
