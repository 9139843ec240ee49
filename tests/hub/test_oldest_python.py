"""The Hub's side on the oldest Python that it supports: JupyterHub 4.1 on Python 3.10, as in its official image."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from support.docker.private_engine import ROOT
from support.jupyterhub.people import Person
from support.jupyterhub.stack import Agent, Hub

PYTHON = ROOT / ".venv-python310" / "bin" / "python"
IMPORT_ALL = """
import importlib, pkgutil, hubwarden_hub
from hubwarden.v1 import agent_pb2_grpc
for module in pkgutil.walk_packages(hubwarden_hub.__path__, "hubwarden_hub."):
    importlib.import_module(module.name)
"""

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="`make test-hub` makes it where Python 3.10 can be had")


def test_every_module_is_imported() -> None:
    """When Python 3.10 imports all modules of plugin and contract, none needs a newer Python."""
    version = subprocess.run([PYTHON, "--version"], check=True, capture_output=True, text=True)
    assert version.stdout.startswith("Python 3.10.")
    subprocess.run([PYTHON, "-c", IMPORT_ALL], check=True)


def test_restart_reset_and_their_records(
    agent: Agent, make_hub: Callable[..., Hub], make_person: Callable[..., Person]
) -> None:
    """When the Hub runs on Python 3.10, restart, reset, state, history and the list of users answer as they should."""
    hub = make_hub(agent)
    hub.python = str(PYTHON)
    hub.start()
    person = make_person(hub)
    person.start()
    assert person.restart().status_code == 200
    assert person.operator.get(f"{person.path}/hubwarden-state").json()["servers"][""]["ready"]
    person.stop()
    assert person.reset().status_code == 200
    query = {"since": "2001-01-01T00:00:00Z"}
    entries = person.operator.get(f"{person.path}/hubwarden-history", params=query).json()["entries"]
    assert [(entry["kind"], entry["result"]) for entry in entries] == [("reset", "done"), ("restart", "done")]
    (row,) = person.operator.get(f"hubwarden/users?search={person.name}").json()["users"]
    assert row["last_operation"]["kind"] == "reset"
    refused = person.restart()
    assert (refused.status_code, refused.json()["reason"]) == (400, "SERVER_NOT_RUNNING")
    assert "SERVER_NOT_RUNNING" in hub.process.log.read_text()
