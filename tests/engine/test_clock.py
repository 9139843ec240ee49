"""The clock is set back under a real agent: budgets, memory and the audit's chain do not depend on the time of day."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

import grpc
import pytest
from hubwarden_agent.tools.audit import verify
from support.agent import client as agent_client
from support.agent.client import PATIENCE, refused, restart_request
from support.agent.killable_agent import AgentProcess
from support.docker.private_engine import Workbench

DAY = 24 * 60 * 60
LIMITS = '[limits]\nrestarts_per_user = "1/hour"\n'


async def reason(agent: AgentProcess, username: str, identifier: str = "") -> agent_client.Refused | None:
    """What a restart is refused with; None when it is not."""
    request = restart_request(username, request_id=identifier or str(uuid.uuid4()))
    async with agent.client() as stub:
        try:
            await stub.RestartContainer(request, timeout=PATIENCE)
        except grpc.aio.AioRpcError as error:
            return refused(error)
    return None


async def test_set_back_by_two_days(
    tmp_path: Path, engine_socket: str, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spent budget stays spent for as long as it said; ids are remembered, over a start too; the chain is whole."""
    moved = tmp_path / "moved"
    moved.write_text("0")
    monkeypatch.setenv("MOVED_CLOCK", str(moved))
    program = (sys.executable, str(Path(agent_client.__file__).with_name("moved_clock.py")))
    agent = AgentProcess(tmp_path, Path(engine_socket), program=program, extra=LIMITS)
    alice, bob = bench.username(), bench.username()
    container = bench.container(f"jupyterlab-{alice}")
    bench.container(f"jupyterlab-{bob}")
    first = str(uuid.uuid4())
    try:
        await agent.start()
        assert await reason(agent, alice, first) is None
        container.reload()
        started = container.attrs["State"]["StartedAt"]

        moved.write_text(str(-2 * DAY))
        spent = await reason(agent, alice)
        assert spent is not None
        assert (spent.reason, 0 < (spent.retry_after or 0) <= 3600) == ("RATE_LIMITED", True)
        assert await reason(agent, bob) is None
        assert await reason(agent, alice, first) is None
        agent.kill()
        await agent.start()
        assert await reason(agent, alice, first) is None
        container.reload()
        assert container.attrs["State"]["StartedAt"] == started
    finally:
        agent.close()
    times = [line["time"] for line in agent.lines()]
    assert times != sorted(times), "the clock was to go back"
    assert list(verify(agent.audit, []))[-1].startswith("whole from 1 ")
