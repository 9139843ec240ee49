"""Fixtures of the agent's unit tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.agent.core import AgentStage
from support.agent.in_process import Served, serving


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """The service on a socket, over a fake engine without containers."""
    async with serving(AgentStage(), tmp_path) as served:
        yield served
