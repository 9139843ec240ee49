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
metrics = app.Metrics(clock)
spawner = app._spawner(settings, clock, metrics) if settings.listen.gateway else None
agent = app.build(settings, spawner or app._docker(settings, metrics), clock, metrics, None, spawner)
stopping = threading.Event()
stopping.set()
agent.serve(stopping)
for name, module in list(sys.modules.items()):
    print(name, getattr(module, "__file__", None))
"""


def loaded_modules(directory: Path, policy: str = "") -> dict[str, Path]:
    """Every module that serving loads, the agent's and others, with its file.

    Args:
        directory: for sockets and state.
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
    return {name: Path(path) for name, path in (line.split(" ", 1) for line in shown.stdout.splitlines())}


def loaded_files(directory: Path, policy: str = "") -> set[Path]:
    """The files of the agent's modules among these."""
    loaded = loaded_modules(directory, policy)
    return {path for name, path in loaded.items() if name.partition(".")[0] == "hubwarden_agent"}
