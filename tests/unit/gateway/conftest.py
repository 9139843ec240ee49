"""A gateway over the fake engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.agent.gateway import IMAGE, GatewayStage, gateway
from support.fakes.engine import FakeEngine


@pytest.fixture
def fake() -> FakeEngine:
    """An engine that has the policy's image."""
    engine = FakeEngine()
    engine.add_image(IMAGE)
    return engine


@pytest.fixture
async def stage(fake: FakeEngine, tmp_path: Path) -> AsyncIterator[GatewayStage]:
    """A gateway over that engine."""
    async with gateway(fake, tmp_path) as stage:
        yield stage
