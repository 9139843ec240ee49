"""Budgets are charged for what an earlier process of the agent did: a real agent is killed and started again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from support.agent import client as agent_client
from support.agent.client import PATIENCE, refused, reset_request
from support.agent.killable_agent import AgentProcess
from support.docker.private_engine import Workbench

LIMITS = '[limits]\nresets_per_user = "3/hour"\n'
DAY = 24 * 60 * 60


@pytest.fixture
def agent(tmp_path: Path, engine_socket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[AgentProcess]:
    """An agent that allows a user three resets an hour; `moved` in its directory holds what its clock is off by."""
    moved = tmp_path / "moved"
    moved.write_text("0")
    monkeypatch.setenv("MOVED_CLOCK", str(moved))
    program = (sys.executable, str(Path(agent_client.__file__).with_name("moved_clock.py")))
    agent = AgentProcess(tmp_path, Path(engine_socket), program=program, extra=LIMITS)
    yield agent
    agent.close()


async def _reset(agent: AgentProcess, bench: Workbench, user: str, *, validate_only: bool = False) -> str:
    """Reset a home that was just made. Returns the reason of a refusal, empty when there was none."""
    bench.volume(f"jupyterlab-{user}_home")
    async with agent.client() as stub:
        try:
            await stub.ResetHomeVolume(reset_request(user, validate_only=validate_only), timeout=PATIENCE)
        except grpc.aio.AioRpcError as error:
            return refused(error).reason
    return ""


@pytest.mark.parametrize("set_back", [0, 2 * DAY], ids=["same-clock", "clock-set-back"])
async def test_killed_after_the_last_reset(agent: AgentProcess, bench: Workbench, set_back: int) -> None:
    """When an agent is killed after three resets, the next process refuses a fourth; also if the clock was set back."""
    user, other = bench.username(), bench.username()
    await agent.start()
    assert [await _reset(agent, bench, user) for _ in range(3)] == ["", "", ""]
    agent.kill()
    (agent.directory / "moved").write_text(str(-set_back))
    await agent.start()
    after = [await _reset(agent, bench, user) for _ in range(3)]
    assert after == ["RATE_LIMITED"] * 3
    assert await _reset(agent, bench, user, validate_only=True) == "RATE_LIMITED"
    assert await _reset(agent, bench, other) == ""


async def test_starts_and_orderly_ends_are_recorded(agent: AgentProcess) -> None:
    """When an agent ends after SIGTERM the audit has a start and an end; after SIGKILL only the start."""
    await agent.start()
    assert agent.terminate() == 0
    await agent.start()
    agent.kill()
    recorded = [(line["operation"], line["phase"]) for line in agent.lines()]
    assert recorded == [("agent-start", "event"), ("agent-stop", "event"), ("agent-start", "event")]
