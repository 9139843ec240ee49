"""`hubwarden-agent restore` as it is run: what it says to the operator when it does not end well."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hubwarden_agent import cli
from hubwarden_agent.engine.port import EngineError
from hubwarden_agent.home_content.backup_manifest import BackupSource
from hubwarden_agent.home_content.backup_store import Store
from hubwarden_agent.names import RequestId, Username, VolumeName
from hubwarden_agent.state_lock import locked
from hubwarden_agent.tools import restore
from support.fakes.edges import FakeClock
from support.fakes.engine import FakeEngine
from support.scenarios.zstd_tar import compressed

HOME = VolumeName("jupyterlab-alice_home")
LEFT = f"{HOME} may be half filled: restore again"


class ClosedEngine(FakeEngine):
    """The fake as the tool uses it, which opens and closes its own."""

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> ClosedEngine:
    """What the tool finds where Docker is."""
    engine = ClosedEngine()
    monkeypatch.setattr(restore, "DockerEngine", lambda *_, **__: engine)
    return engine


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], engine: ClosedEngine) -> Callable[[], tuple[int, str]]:
    """Restores alice's only backup: the exit status, and what is said on stderr."""
    del engine  # only has to be there first
    (tmp_path / "backups").mkdir(mode=0o700)
    subject = BackupSource(Username("alice"), HOME, "local", {}, {}, RequestId(str(uuid.uuid4())))
    writer = Store(tmp_path / "backups").begin(subject, FakeClock())
    writer.write(compressed(b"thesis"))
    backup_id = writer.commit(len(b"thesis")).backup_id.value
    (tmp_path / "agent.toml").write_text(
        f'[state]\ndirectory = "{tmp_path}"\n[reset]\nbackup_dir = "{tmp_path}/backups"\n'
        f'helper_image = "sha256:{7:064x}"\n',
        encoding="utf-8",
    )

    def run() -> tuple[int, str]:
        capsys.readouterr()
        status = cli.main(["restore", backup_id, "--user", "alice", "--config", str(tmp_path / "agent.toml")])
        return status, capsys.readouterr().err

    return run


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_interrupted_and_undone(engine: ClosedEngine, run: Callable[[], tuple[int, str]]) -> None:
    """When a restore is interrupted and undone, the message names nothing that was left."""
    engine.before["create_volume"] = _interrupt
    status, said = run()
    assert (status, "interrupted" in said, LEFT in said) == (1, True, False)


@pytest.mark.parametrize("interrupted", [True, False])
def test_what_could_not_be_undone(
    engine: ClosedEngine, run: Callable[[], tuple[int, str]], *, interrupted: bool
) -> None:
    """Whatever ended it: said, until it is restored again."""

    def away() -> None:
        engine.available = False
        if interrupted:
            raise KeyboardInterrupt
        raise EngineError("gone")

    engine.before["create_volume"] = away
    status, said = run()
    assert (status, "and undone" in said, LEFT in said) == (1, False, True)
    assert LEFT in run()[1]
    engine.available = True
    engine.before.clear()
    assert run()[0] == 0
    assert b"".join(engine.contents[HOME]) == b"thesis"


def test_beside_another_one(tmp_path: Path, run: Callable[[], tuple[int, str]], engine: ClosedEngine) -> None:
    """When the state directory is locked, nothing is reported as half done."""
    engine.before["create_volume"] = lambda: setattr(engine, "available", False)
    run()
    with locked(tmp_path):
        status, said = run()
    assert (status, "stop the agent first" in said, LEFT in said) == (1, True, False)
