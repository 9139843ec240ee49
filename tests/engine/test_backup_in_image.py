"""Backups by the agent as it ships: in a container of its own image, which it finds out by itself."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from support.agent.client import PATIENCE, client, reset_request
from support.docker.images import Image
from support.docker.private_engine import Workbench
from support.waiting.conditions import wait_for

USER = 65532
POLICY = '[listen]\ngrpc = ["unix:///run/hubwarden/agent.sock"]\n[reset]\nbackup = "required"\n'


@pytest.fixture
def agent(agent_image: Image, bench: Workbench, tmp_path: Path) -> Any:
    """The agent in a container, with what compose.yml gives it; its socket is in `tmp_path/run`."""
    run = tmp_path / "run"
    run.mkdir()
    os.chown(run, USER, USER)
    (tmp_path / "agent.toml").write_text(POLICY, encoding="utf-8")
    name = f"hubwarden-agent-{time.monotonic_ns()}"
    mounts = {
        agent_image.socket: {"bind": "/var/run/docker.sock"},
        str(run): {"bind": "/run/hubwarden"},
        str(tmp_path / "agent.toml"): {"bind": "/etc/hubwarden/agent.toml", "mode": "ro"},
        bench.volume(f"{name}-state").name: {"bind": "/var/lib/hubwarden"},
        bench.volume(f"{name}-backups").name: {"bind": "/var/lib/hubwarden-backups"},
    }
    bench.forget_container(name)
    container = bench.client.containers.run(
        agent_image.tag,
        name=name,
        detach=True,
        network_mode="none",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        group_add=[Path(agent_image.socket).stat().st_gid],
        environment={"HUBWARDEN_CONFIG": "/etc/hubwarden/agent.toml"},
        volumes=mounts,
    )
    wait_for(lambda: (run / "agent.sock").exists() or _ended(container), "the agent serves")
    assert not _ended(container), container.logs().decode()
    return container


def _ended(container: Any) -> bool:
    container.reload()
    return str(container.status) == "exited"


async def test_a_reset_with_the_image_that_ships(agent: Any, bench: Workbench, tmp_path: Path) -> None:
    """Nothing but `backup = "required"`: its own image has what the helper needs, and its volume is its own to write.

    The home is of somebody else's, and not readable for the agent itself.
    """
    username = bench.username()
    home = Path(bench.volume(f"jupyterlab-{username}_home").attrs["Mountpoint"])
    (home / "thesis").write_bytes(b"thesis")
    (home / "thesis").chmod(0o600)
    os.chown(home / "thesis", 1000, 100)
    async with client(tmp_path / "run" / "agent.sock") as stub:
        answer = await stub.ResetHomeVolume(reset_request(username), timeout=PATIENCE)
    assert not home.exists()
    verify = agent.exec_run(["hubwarden-agent", "backups", "verify"])
    assert (verify.exit_code, answer.backup_id in verify.output.decode()) == (0, True), verify.output
