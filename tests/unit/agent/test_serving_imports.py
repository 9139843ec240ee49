"""What serves is all that is loaded while it serves, and imports point downwards."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import hubwarden_agent
import pytest
from support.agent.loaded_modules import loaded_modules

PACKAGE = "hubwarden_agent"


def _loaded(modules: str, watched: set[str]) -> str:
    script = f"import sys, {modules}; print(sorted({watched!r} & set(sys.modules)))"
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.strip()


def _below(modules: Collection[str], package: str) -> set[str]:
    """The modules of one of the agent's packages."""
    return {name for name in modules if f"{name}.".startswith(f"{PACKAGE}.{package}.")}


def test_no_tool_is_imported_by_what_serves() -> None:
    """When everything that serves is loaded, no tool is."""
    served = "hubwarden_agent.cli, hubwarden_agent.app, hubwarden_agent.gateway.app, hubwarden_agent.metrics_server"
    homes = "hubwarden_agent.home_content.home_content, hubwarden_agent.home_content.pending_restores"
    script = f"import sys, {served}, {homes}; print([name for name in sys.modules if '_agent.tools' in name])"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert result.stdout == "[]\n"


def test_what_is_turned_off_is_not_loaded(tmp_path: Path) -> None:
    """When an agent serves by the default configuration, no module for gateway, TLS, metrics or homes is loaded."""
    loaded = loaded_modules(tmp_path)
    assert f"{PACKAGE}.operations.reset" in loaded
    modules = "metrics_server", "tls", "tls_listener", "engine.docker_homes", "engine.docker_spawn"
    assert loaded.keys() & {"h11", "zstandard", *(f"{PACKAGE}.{name}" for name in modules)} == set()
    assert [_below(loaded, package) for package in ("gateway", "home_content", "tools")] == [set()] * 3


@pytest.mark.parametrize(
    "policy", ['[reset]\nbackup = "required"\nbackup_dir = "{directory}"\n', "[reset]\nsizes_interval = 3600\n"]
)
def test_what_reads_homes_is_loaded_where_it_is_on(tmp_path: Path, policy: str) -> None:
    """When backups or sizes are configured, `home_content` is loaded."""
    backups = tmp_path / "backups"
    backups.mkdir(mode=0o700)
    loaded = loaded_modules(tmp_path, policy.format(directory=backups))
    assert f"{PACKAGE}.home_content.home_content" in loaded
    assert _below(loaded, "gateway") == set()


def test_what_notices_an_interrupted_restore_is_loaded_only_for_one(tmp_path: Path) -> None:
    """When the state directory names a restore that did not end, its reader is loaded although backups are off."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "restoring-0123456789abcdef.json").write_text(
        '{"request_id": "11111111-1111-4111-8111-111111111111", "username": "alice", "created": "",'
        ' "volume": "jupyterlab-alice_home", "backup_id": "20261130T000000Z-01234567-0123456789abcdef"}'
    )
    assert _below(loaded_modules(tmp_path), "home_content") == {
        f"{PACKAGE}.home_content",
        f"{PACKAGE}.home_content.pending_restores",
    }


def test_libraries_that_the_agent_does_not_use_are_not_loaded() -> None:
    """When everything that serves is loaded, no library is that a dependency could bring along."""
    never = {"aiohttp", "multidict", "yarl", "limits", "cryptography"}
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
