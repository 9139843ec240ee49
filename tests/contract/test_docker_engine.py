"""Real Docker keeps the port's promises: the same suite as for the fake, on the private engine."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from contract.engine_contract import EngineContract
from hubwarden_agent.clock import SystemClock
from hubwarden_agent.engine.docker_spawn import DockerSpawnEngine
from hubwarden_agent.engine.port import EngineError, EngineUnavailable
from hubwarden_agent.names import ContainerId, ImageId
from support.docker.private_engine import Workbench


class DockerStage:
    """Makes things on the private engine."""

    network = "bridge"

    def __init__(self, bench: Workbench, helper_image: ImageId, folder: Path) -> None:
        self.folder = str(folder)
        self._bench = bench
        self.helper_image = helper_image
        self.number = uuid.uuid4().int >> 64
        self._run = f"{self.number:x}"[:10]
        self.image = bench.image
        bench.forget_volume(self.name("home"))
        bench.forget_volume(self.name())
        bench.forget_container(self.name("made"))

    def name(self, suffix: str = "") -> str:
        return f"contract-{self._run}-{suffix}"

    def container(
        self,
        suffix: str = "",
        *,
        volume: str = "",
        start: bool = True,
        auto_remove: bool = False,
        labels: dict[str, str] | None = None,
        name: str = "",
    ) -> str:
        mounts = {volume: "/data"} if volume else {}
        made = self._bench.container(
            name or self.name(suffix), start=start, mounts=mounts, auto_remove=auto_remove, labels=labels or {}
        )
        return str(made.id)

    def volume(self, suffix: str = "", *, labels: dict[str, str] | None = None) -> str:
        return str(self._bench.volume(self.name(suffix), labels=labels or {}).name)

    def filled_volume(self) -> str:
        volume = self._bench.volume(self.name("filled"))
        Path(volume.attrs["Mountpoint"], "thesis").write_bytes(b"thesis")
        return str(volume.name)


class TestDockerEngine(EngineContract):
    @pytest.fixture
    def stage(self, bench: Workbench, helper_image: ImageId, tmp_path: Path) -> DockerStage:
        return DockerStage(bench, helper_image, tmp_path)

    @pytest.mark.parametrize(("script", "seconds", "status"), [("exit 3", 30, 3), ("sleep 600", 0, None)])
    def test_a_command_that_fails_or_goes_on(
        self, engine: DockerSpawnEngine, stage: DockerStage, script: str, seconds: float, status: int | None
    ) -> None:
        """Its status; and nothing once it was waited for long enough, while it runs on."""
        container = ContainerId(stage.container())
        assert engine.run_in_container(container, ("/bin/sh", "-c", script), seconds) == status

    def test_a_command_that_is_not_there(self, engine: DockerSpawnEngine, stage: DockerStage) -> None:
        """When the command does not exist in the container, EngineError names it."""
        with pytest.raises(EngineError, match="no-such-command"):
            engine.run_in_container(ContainerId(stage.container()), ("no-such-command",), 30)


def test_an_engine_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    """A missing socket is EngineUnavailable, and nothing is asked before the first question."""
    engine = DockerSpawnEngine(f"unix://{tmp_path}/docker.sock", timeout=1, change_timeout=1, clock=SystemClock())
    with pytest.raises(EngineUnavailable):
        engine.ping()
    engine.close()
