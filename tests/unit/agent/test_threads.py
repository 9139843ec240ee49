"""The agent's threads: all of them at once, with gRPC's and a healthcheck's, fit what the deployments allow."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hubwarden_agent import scrape, serving
from hubwarden_agent.engine import docker_engine
from hubwarden_agent.engine.port import HELPERS
from hubwarden_agent.gateway import app
from hubwarden_agent.operations import backup

ROOT = Path(__file__).parents[3]
ONE_EACH = 6
"""The main thread, tini, the audit's, who counts sizes, who reads certificates, and who stops the gateway."""
GRPC = 20
"""The most that was counted, on a machine of 32 processors; once in the agent, and once in a healthcheck."""


@pytest.mark.parametrize("file", ["compose.yml", "compose.remote.yml"])
def test_all_threads_at_once_are_allowed(file: str) -> None:
    """Or one that cannot be started would fail an operation that Docker is asked for all the same."""
    ours = (
        app.THREADS,
        scrape.THREADS,
        docker_engine.QUICK_THREADS,
        serving.MAX_SLOW_THREADS,
        HELPERS,
        backup.THREADS,
    )
    allowed = re.search(r"pids_limit: ([0-9]+)", (ROOT / file).read_text(encoding="utf-8"))
    assert allowed is not None
    assert sum(ours) + ONE_EACH + 2 * GRPC <= int(allowed[1])
