"""The compose stack that the browser tests drive, brought up by the same script as the demo.

Invariants: a project, a network, a password and a port of its own, on the private engine of the tests unless
HUBWARDEN_ENGINE names another; what is looked up behind the Hub's back is looked up with the docker client, never
through the code under test. Must never touch a container or volume of a user that no test made.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shlex
import subprocess
from functools import cached_property
from pathlib import Path
from typing import Any

from support.waiting.conditions import wait_for

ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / "deploy" / "demo" / "demo.sh"
ENGINE = ROOT / "deploy" / "offline" / "engine.sh"
DEMO_POLICY = ROOT / "deploy" / "demo" / "agent.toml"
DEMO_NETWORK = "hubwarden-demo"
DEMO_IMAGE = "hubwarden-demo/user:latest"
USER_IMAGE = ROOT / "tests" / "support" / "browser" / "user_image" / "Dockerfile"
STUB_SERVER = ROOT / "tests" / "support" / "jupyterhub" / "user_server"
# Of this clone alone: what another clone's killed run left behind is that clone's to remove.
PROJECT = f"hubwarden-browser-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}"
DEADLINE_SECONDS = 120


class Stack:
    """Agent, Hub, and the engine they run on."""

    def __init__(self, directory: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.password = secrets.token_hex(12)
        self.user_image = f"{PROJECT}/user:latest"
        policy, text = directory / "agent.toml", DEMO_POLICY.read_text()
        text = text.replace(f'"{DEMO_NETWORK}"', f'"{PROJECT}"').replace(f'"{DEMO_IMAGE}"', f'"{self.user_image}"')
        policy.write_text(text)
        engine = os.environ.get("HUBWARDEN_ENGINE") or os.environ.get("HUBWARDEN_TEST_ENGINE", "test")
        self._environment = {
            **os.environ,
            "HUBWARDEN_ENGINE": engine,
            "COMPOSE_PROJECT_NAME": PROJECT,
            "HUBWARDEN_NETWORK": PROJECT,
            "HUBWARDEN_AGENT_TOML": str(policy),
            "HUBWARDEN_USER_IMAGE": self.user_image,
            "HUBWARDEN_DEMO_PASSWORD": self.password,
            "HUB_PORT": str(port),
        }
        self._prelude = "" if engine == "machine" else f'eval "$({shlex.quote(str(ENGINE))} env {engine})";'

    def up(self) -> None:
        """Build what is missing, start, and wait until the Hub answers; the users' image gets a quick server on top."""
        subprocess.run([DEMO, "up"], check=True, env=self._environment)
        image = ("--build-arg", f"BASE={self.user_image}", "--tag", self.user_image)
        self.docker("build", "--quiet", *image, "--file", str(USER_IMAGE), str(STUB_SERVER))

    def down(self) -> None:
        """Remove the stack, and what its users have."""
        subprocess.run([DEMO, "down"], check=True, env=self._environment)

    @cached_property
    def _docker_environment(self) -> dict[str, str]:
        command = ["bash", "-c", f"{self._prelude} env -0"]
        printed = subprocess.run(command, check=True, env=self._environment, stdout=subprocess.PIPE, text=True).stdout
        return dict(variable.split("=", 1) for variable in printed.split("\0") if variable)

    def docker(self, *arguments: str) -> str:
        """What `docker` prints.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        command = ["env", "docker", *arguments]  # `env` looks for it in the given environment's PATH
        result = subprocess.run(command, check=True, env=self._docker_environment, stdout=subprocess.PIPE, text=True)
        return result.stdout.strip()

    def inspect_container(self, name: str) -> dict[str, Any]:
        """Docker's own view of a container."""
        (container,) = json.loads(self.docker("container", "inspect", name))
        return dict(container)

    def volume_exists(self, name: str) -> bool:
        """Whether the engine has a volume of exactly this name."""
        return name in self.docker("volume", "ls", "--quiet").splitlines()

    def make_volume(self, name: str) -> None:
        """Make a volume, as a start of a server would."""
        self.docker("volume", "create", name)

    def remove_container(self, name: str) -> None:
        """Take a container away, if it is there: a finished test's server would only slow the others down."""
        container_id = self.docker("ps", "--all", "--quiet", "--filter", f"name=^/{name}$")
        if container_id:
            self.docker("rm", "--force", container_id)

    def stop_agent(self) -> None:
        """Take the agent away, as a crash or an upgrade would."""
        self.docker("stop", self._agent())

    def start_agent(self) -> None:
        """Bring the agent back, and wait until it is healthy."""
        self._start(self._agent())

    def _start(self, container: str) -> None:
        self.docker("start", container)
        wait_for(lambda: self._healthy(container), f"{container} becomes healthy again", DEADLINE_SECONDS)

    def _healthy(self, container: str) -> bool:
        return bool(self.inspect_container(container)["State"]["Health"]["Status"] == "healthy")

    def _agent(self) -> str:
        return self.container_of("agent")

    def container_of(self, service: str) -> str:
        """The id of a service's container."""
        label = "label=com.docker.compose"
        filters = ["--filter", f"{label}.project={PROJECT}", "--filter", f"{label}.service={service}"]
        return self.docker("ps", "--all", "--quiet", *filters)
