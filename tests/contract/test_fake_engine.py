"""The fake engine keeps the port's promises, so that what other tests see through it is what Docker would show."""

from __future__ import annotations

import pytest
from contract.engine_contract import EngineContract
from hubwarden_agent.engine.port import ContainerState, Mount
from hubwarden_agent.names import ImageId
from support.fakes.engine import FakeEngine


class FakeStage:
    """Makes things in the fake engine."""

    image = "hubwarden-standin/busybox:test"
    network = "bridge"
    folder = "/srv/shared"
    helper_image = ImageId(f"sha256:{1:064x}")
    number = 1

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        engine.add_image(self.image)

    def name(self, suffix: str = "") -> str:
        return f"contract-{suffix}"

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
        state = ContainerState.RUNNING if start else ContainerState.CREATED
        mounts = (Mount("volume", "/data", volume=volume),) if volume else ()
        made = self._engine.add_container(
            name or self.name(suffix), state, mounts=mounts, auto_remove=auto_remove, labels=labels or {}
        )
        return made.id.value

    def volume(self, suffix: str = "", *, labels: dict[str, str] | None = None) -> str:
        return self._engine.add_volume(self.name(suffix), labels=labels or {}).name.value

    def filled_volume(self) -> str:
        volume = self._engine.add_volume(self.name("filled"))
        self._engine.contents[volume.name] = (b"the", b"thesis")
        return volume.name.value


class TestFakeEngine(EngineContract):
    @pytest.fixture
    def engine(self) -> FakeEngine:
        return FakeEngine()

    @pytest.fixture
    def stage(self, engine: FakeEngine) -> FakeStage:
        return FakeStage(engine)
