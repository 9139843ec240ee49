"""Restores that did not end: noted for good, found at the next start, and in nobody's way but their user's."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from hubwarden_agent import cli, config
from hubwarden_agent.app import build
from hubwarden_agent.audit import AuditEntry
from hubwarden_agent.engine.port import ContainerState
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.home_content import pending_restores
from hubwarden_agent.home_content.pending_restores import Unfinished
from hubwarden_agent.metrics import Metrics
from hubwarden_agent.names import BackupId, Names, RequestId, Templates, Username, VolumeName
from hubwarden_agent.operations.recovery import inspect
from support.fakes.edges import FakeClock
from support.fakes.engine import FakeEngine

NAMES = Names(Templates())
HOME = NAMES.home_volume(Username("älice"))


@pytest.fixture
def restore() -> Unfinished:
    """One of her home."""
    backup_id = BackupId("20261124T080000Z-01234567-0123456789abcdef")
    return Unfinished(RequestId(str(uuid.uuid4())), Username("älice"), HOME, backup_id)


def test_what_is_noted_is_found(tmp_path: Path, restore: Unfinished) -> None:
    """By volume, the newest note only, until it is forgotten, which may be said twice."""
    assert pending_restores.of(tmp_path, HOME) is None
    pending_restores.note(tmp_path, restore)
    filled = replace(restore, created="2026-11-24T08:00:00Z")
    pending_restores.note(tmp_path, filled)
    assert pending_restores.of(tmp_path, HOME) == filled
    assert pending_restores.of(tmp_path, VolumeName("another")) is None
    assert list(pending_restores.users(tmp_path, NAMES)) == [Username("älice")]
    pending_restores.forget(tmp_path, HOME)
    pending_restores.forget(tmp_path, HOME)
    assert list(tmp_path.iterdir()) == []


def test_the_agent_does_nothing_for_that_user(tmp_path: Path, restore: Unfinished) -> None:
    """Restart, reset, create and start all take the user's lock, and it is held; everybody else's is free.

    So is that of a user whose home is untouched, because what was restored went into another volume.
    """
    pending_restores.note(tmp_path, restore)
    pending_restores.note(tmp_path, replace(restore, username=Username("bob"), volume=VolumeName("bob-rescue")))
    settings, clock = config.parse(f'[state]\ndirectory = "{tmp_path}"'), FakeClock()
    agent = build(settings, FakeEngine(), clock, Metrics(clock), None, None)
    with pytest.raises(RequestRefused) as refused:
        agent.recovery.locks.check(Username("älice"))
    assert refused.value.reason is Reason.OPERATION_IN_PROGRESS
    agent.recovery.locks.check(Username("bob"))
    agent.audit.close()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"request_id": "x"}', "\xff"])
def test_a_note_that_cannot_be_read_stops_the_agent(tmp_path: Path, text: str) -> None:
    """Whose home is half filled is then not known, so nobody is served."""
    (tmp_path / "restoring-0123456789abcdef.json").write_text(text, encoding="latin-1")
    (tmp_path / "agent.toml").write_text(
        f'[state]\ndirectory = "{tmp_path}"\n[listen]\ngrpc = ["unix://{tmp_path}/a.sock"]\n', encoding="utf-8"
    )
    assert cli.main(["serve", "--config", str(tmp_path / "agent.toml")]) == 1


@pytest.mark.parametrize(("operation", "found"), [("restore", {HOME.value: "gone", "server": "exited"}), ("prune", {})])
def test_a_killed_tool_is_closed_with_what_is_there(operation: str, found: dict[str, str]) -> None:
    """A restore's objects are a volume and containers, a backup's removal has none on the engine."""
    engine = FakeEngine()
    server = engine.add_container("server", ContainerState.EXITED)
    names, ids = (HOME.value, "") if operation == "prune" else (f"{HOME} server", f"then {server.id}")
    entry = AuditEntry(operation, "alice", "", "tool", "operator:me", str(uuid.uuid4()), names, ids)
    assert inspect(entry, engine) == found
