"""docs/backups.md as an operator follows it: its policy and its commands, word for word, on the compose stack.

Invariants: commands come from the page's own blocks. Only what the page makes up is replaced: a user, an id of a
backup, an image and the program to run in it.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.agent.client import PATIENCE, client, reset_request
from support.docker.images import Image
from support.docker.private_engine import ENGINE, NAME, ROOT, Workbench

PAGE = (ROOT / "docs" / "backups.md").read_text(encoding="utf-8")
(POLICY,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
LOOK, RESTORE, RESTORE_OTHERWISE, PRUNE = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
THESIS = b"all of it"


@dataclass
class Operator:
    """Somebody in the folder of the compose file, with a user who lost a home."""

    bench: Workbench
    environment: dict[str, str]
    username: str
    backup_id: str = ""

    @property
    def home(self) -> Path:
        """The user's home, as it is now."""
        return Path(self.bench.client.volumes.get(f"jupyterlab-{self.username}_home").attrs["Mountpoint"])

    def types(self, commands: str) -> str:
        """What the commands print; all of them have to succeed."""
        commands = commands.replace("alice", self.username)
        commands = re.sub(r"\b\d{8}T\d{6}Z-[0-9a-f]{8}-[0-9a-f]{16}\b", self.backup_id, commands)
        script = f'eval "$({ENGINE} env {NAME})"\n{commands}'
        result = subprocess.run(
            ["bash", "-ec", script], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=self.environment
        )
        return result.stdout


@pytest.fixture
def operator(agent_image: Image, bench: Workbench, tmp_path: Path) -> Iterator[Operator]:
    """The agent of compose.yml, up, with the page's policy; a home with a thesis in it."""
    policy = tmp_path / "agent.toml"
    policy.write_text((ROOT / "deploy" / "demo" / "agent.toml").read_text(encoding="utf-8") + POLICY, encoding="utf-8")
    project = f"hwpage{uuid.uuid4().hex[:8]}"
    environment = {
        "COMPOSE_PROJECT_NAME": project,
        "HUBWARDEN_NETWORK": project,
        "HUBWARDEN_AGENT_IMAGE": agent_image.tag,
        "HUBWARDEN_AGENT_TOML": str(policy),
        "HUBWARDEN_HUB_IMAGE": "of a Hub that is not started",
        "DOCKER_SOCKET": agent_image.socket,
        "DOCKER_GID": str(Path(agent_image.socket).stat().st_gid),
        "USER": "me",
    }
    operator = Operator(bench, os.environ | environment, bench.username())
    bench.volume(f"jupyterlab-{operator.username}_home", labels={"kept": "yes"})
    bench.forget_volume(f"{operator.username}-rescue")
    (operator.home / "thesis").write_bytes(THESIS)
    try:
        operator.types("docker compose up --detach --no-build --wait --wait-timeout 120 agent")
        yield operator
    finally:
        operator.types("docker compose down --volumes --timeout 20")


async def reset(operator: Operator) -> str:
    """As the Hub would ask, through the socket in the stack's volume. Returns the id of the backup."""
    volume = operator.bench.client.volumes.get(f"{operator.environment['COMPOSE_PROJECT_NAME']}_run")
    with tempfile.TemporaryDirectory(prefix="hwtest") as short:  # a socket's path has room for about 100 characters
        run = Path(short) / "run"
        run.symlink_to(volume.attrs["Mountpoint"])
        async with client(run / "agent.sock") as stub:
            answer = await stub.ResetHomeVolume(reset_request(operator.username), timeout=PATIENCE)
    return str(answer.backup_id)


async def test_every_command_of_the_page(operator: Operator, bench: Workbench) -> None:
    """A home that was reset is looked up, brought back, replaced, brought back beside itself, and its backup pruned."""
    operator.backup_id = await reset(operator)
    assert list(operator.home.iterdir()) == []

    looked = operator.types(LOOK)
    assert looked.count(operator.backup_id) >= 3  # list, show, verify

    restored = operator.types(RESTORE)
    assert f"restored {operator.backup_id}" in restored
    assert (operator.home / "thesis").read_bytes() == THESIS

    (operator.home / "thesis").write_bytes(b"begun anew")
    compare = f"{bench.image} cmp /old/thesis /home/jovyan/thesis"
    otherwise = RESTORE_OTHERWISE.replace("YOUR_USER_IMAGE bash", compare).replace(" -it ", " ")
    assert compare in otherwise
    operator.types(f"docker compose stop agent\n{otherwise}\ndocker compose start agent")
    assert (operator.home / "thesis").read_bytes() == THESIS
    listing = next(line for line in LOOK.splitlines() if "backups list" in line)
    assert operator.types(listing).count(operator.username) >= 2, "what was set aside is a backup as well"

    assert operator.backup_id in operator.types(PRUNE)
    left = operator.types(listing)
    assert operator.backup_id not in left
    assert operator.username in left
