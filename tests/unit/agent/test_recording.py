"""On the record: no intent, no deed; whatever ends the deed, an outcome; and what the engine said stays inside."""

from __future__ import annotations

import asyncio

import pytest
from hubwarden_agent.audit import Entry
from hubwarden_agent.engine.port import Conflict, EngineError, EngineUnavailable, NotFound
from hubwarden_agent.errors import Reason, Refusal
from hubwarden_agent.recording import recorded
from support.agent.core import SECRET
from support.fakes.edges import FakeClock, MemoryAudit
from support.waiting.conditions import until

ENTRY = Entry("restart", "alice", "", "unix", "user:alice", "an-id", "jupyterlab-alice", "f" * 64)


async def _run(audit: MemoryAudit, end: BaseException | None, done: list[str] | None = None) -> None:
    async with recorded(audit, ENTRY, FakeClock()):
        if done is not None:
            done.append("deed")
        if end:
            raise end


async def test_no_intent_no_deed() -> None:
    """When the intent cannot be written the body does not run and nothing follows."""
    audit, done = MemoryAudit(), list[str]()
    audit.broken = True
    with pytest.raises(Refusal) as refused:
        await _run(audit, None, done)
    assert (refused.value.reason, done, audit.lines) == (Reason.AUDIT_UNAVAILABLE, [], [])


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (Refusal(Reason.VOLUME_IN_USE), Reason.VOLUME_IN_USE),
        (EngineUnavailable(SECRET), Reason.DOCKER_UNAVAILABLE),
        (EngineError(SECRET), Reason.DOCKER_ERROR),
        (NotFound(SECRET), Reason.DOCKER_ERROR),
        (Conflict(SECRET), Reason.DOCKER_ERROR),
    ],
)
async def test_every_failure_has_an_outcome_with_its_reason(end: Exception, reason: Reason) -> None:
    """The caller gets a refusal without the engine's text, which is its cause; the audit gets the reason."""
    audit = MemoryAudit()
    with pytest.raises(Refusal) as refused:
        await _run(audit, end)
    assert refused.value.reason is reason
    assert SECRET not in str(refused.value) + refused.value.message
    assert audit.phases() == [("intent", None), ("outcome", reason)]


@pytest.mark.parametrize("end", [RuntimeError("bug"), asyncio.CancelledError()])
async def test_even_an_unforeseen_end_has_an_outcome(end: BaseException) -> None:
    """A bug or a cancellation leaves no intent without an outcome, and goes on its way."""
    audit = MemoryAudit()
    with pytest.raises(type(end)):
        await _run(audit, end)
    assert audit.phases() == [("intent", None), ("outcome", Reason.DOCKER_ERROR)]


async def test_success_is_an_outcome_without_a_reason() -> None:
    """When an operation succeeds, the audit has its intent, then an outcome without a reason."""
    audit, done = MemoryAudit(), list[str]()
    await _run(audit, None, done)
    assert (done, audit.phases()) == (["deed"], [("intent", None), ("outcome", None)])


async def test_an_answer_waits_for_its_outcome() -> None:
    """What a repeated request would be answered with is on disk before anybody has it."""
    audit = MemoryAudit()
    audit.flushing = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(_run(audit, None))
    await until(lambda: len(audit.lines) == 2)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not running.done()
    audit.flushing.set_result(None)
    await running


async def test_a_cancelled_caller_still_leaves_an_outcome() -> None:
    """It is on its way before the cancellation goes on."""
    audit = MemoryAudit()
    audit.flushing = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(_run(audit, None))
    await until(lambda: len(audit.lines) == 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert audit.phases() == [("intent", None), ("outcome", None)]
