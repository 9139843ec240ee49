"""The agent as it is shipped: its image, in a container bounded as compose.yml bounds it, with a bench's own policy.

Invariants: what people run is measured, with the Python that they run. Its bounds are compose.yml's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployment import Workbench, built_agent_image, wait_for

USER = 65532
SOCKETS, STATE, CONFIGURATION = "/run/hubwarden", "/var/lib/hubwarden", "/etc/hubwarden/agent.toml"
DOCKER_SOCKET = "/var/run/docker.sock"
BOUNDS: dict[str, Any] = {
    "network_mode": "none",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "mem_limit": "512m",
    "memswap_limit": "512m",
    "pids_limit": 384,
    "tmpfs": {"/tmp": "mode=1777,size=16m,noexec,nosuid,nodev"},  # noqa: S108 - the container's own
}


@dataclass(frozen=True)
class ShippedAgent:
    """One that runs. `gateway` is where the Hub would connect."""

    container: Any
    gateway: str

    def resident(self) -> float:
        """MiB."""
        status = Path(f"/proc/{self.container.attrs['State']['Pid']}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


def configuration(policy: str) -> str:
    """What `agent.toml` says, with `[spawn]` as given."""
    return (
        f'[listen]\ngrpc = ["unix://{SOCKETS}/agent.sock"]\ngateway = "unix://{SOCKETS}/docker.sock"\n'
        f'[docker]\nhost = "unix://{DOCKER_SOCKET}"\n[state]\ndirectory = "{STATE}"\n{policy}'
    )


@contextmanager
def shipped_agent(bench: Workbench, directory: Path, policy: str) -> Iterator[ShippedAgent]:
    """An agent that serves, for the body."""
    file, sockets, state = (directory / name for name in ("agent.toml", "run", "state"))
    file.write_text(configuration(policy))
    directory.chmod(0o755)
    for made in (sockets, state):
        made.mkdir()
        os.chown(made, USER, USER)
    binds = {str(file): CONFIGURATION, str(sockets): SOCKETS, str(state): STATE, bench.socket: DOCKER_SOCKET}
    with built_agent_image(bench.socket) as image:
        container = image.client.containers.run(
            image.tag,
            detach=True,
            group_add=[Path(bench.socket).stat().st_gid],
            environment={"HUBWARDEN_CONFIG": CONFIGURATION},
            volumes=[f"{source}:{target}" for source, target in binds.items()],
            **BOUNDS,
        )
        try:
            wait_for(lambda: not container.exec_run(["hubwarden-agent", "healthcheck"]).exit_code, "the agent")
            container.reload()
            yield ShippedAgent(container, f"unix://{sockets}/docker.sock")
        finally:
            container.remove(force=True, v=True)
