"""What serves is all that is loaded while it serves."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import hubwarden_agent


def _loaded(modules: str, watched: set[str]) -> str:
    script = f"import sys, {modules}; print(sorted({watched!r} & set(sys.modules)))"
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.strip()


def test_no_tool_is_imported_by_what_serves() -> None:
    """When everything that serves is loaded, no tool is."""
    served = "hubwarden_agent.cli, hubwarden_agent.app, hubwarden_agent.gateway.app, hubwarden_agent.metrics_server"
    script = f"import sys, {served}; print([name for name in sys.modules if '_agent.tools' in name])"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert result.stdout == "[]\n"


def test_what_is_turned_off_is_not_loaded() -> None:
    """When gateway, metrics and backups are off, what reads HTTP and what packs backups is not loaded."""
    unused = {"hubwarden_agent.gateway", "hubwarden_agent.metrics_server", "h11", "zstandard"}
    never = {"aiohttp", "multidict", "yarl", "limits", "cryptography"}
    assert _loaded("hubwarden_agent.cli, hubwarden_agent.app", unused | never) == "[]"
    assert _loaded("hubwarden_agent.cli, hubwarden_agent.app, hubwarden_agent.gateway.app", never) == "[]"


def test_a_healthcheck_imports_nothing_else_of_the_agent() -> None:
    """When a health check runs, which is every few seconds, only its own module and the command line are loaded."""
    watched = {"hubwarden_agent.config", "hubwarden_agent.listeners", "docker", "prometheus_client"}
    assert _loaded("hubwarden_agent.cli, hubwarden_agent.healthcheck", watched) == "[]"


def test_the_agent_has_no_event_loop() -> None:
    """When a module of the agent defines a coroutine or uses asyncio or grpc.aio, this fails: it is threads only."""
    sources = Path(hubwarden_agent.__file__).parent.rglob("*.py")
    found = {str(path) for path in sources if re.search(r"\b(async def|await|asyncio|grpc\.aio)\b", path.read_text())}
    assert found == set()
