"""Which modules a configuration loads: an agent is built, started and stopped by it in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SERVE_ONCE = """
import sys, threading
from pathlib import Path
from hubwarden_agent import cli, config
settings = config.load(Path(sys.argv[1]))
from hubwarden_agent import app
clock = app.SystemClock()
agent = app.build(settings, app.DockerEngine(settings.docker.host, 1, 1), clock, app.Metrics(clock), None, None)
stopping = threading.Event()
stopping.set()
agent.serve(stopping)
print(*sys.modules)
"""


def loaded_modules(directory: Path, policy: str = "") -> frozenset[str]:
    """Every module that serving loads, the agent's and others.

    Args:
        directory: an empty one, for sockets and state.
        policy: what `agent.toml` has beyond the paths.
    """
    state = directory / "state"
    state.mkdir(exist_ok=True)
    file = directory / "agent.toml"
    docker, socket = directory / "no-docker.sock", directory / "agent.sock"
    file.write_text(
        f'docker.host = "unix://{docker}"\nlisten.grpc = ["unix://{socket}"]\nstate.directory = "{state}"\n{policy}'
    )
    command = [sys.executable, "-c", SERVE_ONCE, str(file)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return frozenset(shown.stdout.split())
