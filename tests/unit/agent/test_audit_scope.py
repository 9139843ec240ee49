"""On the record: no intent, no deed; whatever ends the deed, an outcome; and what the engine said stays inside."""

from __future__ import annotations

import threading

import pytest
from hubwarden_agent.audit import AuditEntry
from hubwarden_agent.audit_scope import audited
from hubwarden_agent.engine.port import Conflict, EngineError, EngineUnavailable, NotFound
from hubwarden_agent.errors import Reason, RequestRefused
from support.agent.core import SECRET
from support.fakes.edges import FakeClock, MemoryAudit
from support.waiting.conditions import wait_for
from support.waiting.threads import in_background

ENTRY = AuditEntry("restart", "alice", "", "unix", "user:alice", "an-id", "jupyterlab-alice", "f" * 64)


def _run(audit: MemoryAudit, end: BaseException | None, done: list[str] | None = None) -> None:
    with audited(audit, ENTRY, FakeClock()):
        if done is not None:
            done.append("deed")
        if end:
            raise end


def test_no_intent_no_deed() -> None:
    """When the intent cannot be written the body does not run and nothing follows."""
    audit, done = MemoryAudit(), list[str]()
    audit.broken = True
    with pytest.raises(RequestRefused) as refused:
        _run(audit, None, done)
    assert (refused.value.reason, done, audit.lines) == (Reason.AUDIT_UNAVAILABLE, [], [])


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (RequestRefused(Reason.VOLUME_IN_USE), Reason.VOLUME_IN_USE),
        (EngineUnavailable(SECRET), Reason.DOCKER_UNAVAILABLE),
        (EngineError(SECRET), Reason.DOCKER_ERROR),
        (NotFound(SECRET), Reason.DOCKER_ERROR),
        (Conflict(SECRET), Reason.DOCKER_ERROR),
    ],
)
def test_every_failure_has_an_outcome_with_its_reason(end: Exception, reason: Reason) -> None:
    """The caller gets a refusal without the engine's text, which is its cause; the audit gets the reason."""
    audit = MemoryAudit()
    with pytest.raises(RequestRefused) as refused:
        _run(audit, end)
    assert refused.value.reason is reason
    assert SECRET not in str(refused.value) + refused.value.message
    assert audit.phases() == [("intent", None), ("outcome", reason)]


@pytest.mark.parametrize("end", [RuntimeError("bug"), KeyboardInterrupt()])
def test_even_an_unforeseen_end_has_an_outcome(end: BaseException) -> None:
    """When a bug or an interrupt ends the body, the intent still gets an outcome, and the exception is raised."""
    audit = MemoryAudit()
    with pytest.raises(type(end)):
        _run(audit, end)
    assert audit.phases() == [("intent", None), ("outcome", Reason.DOCKER_ERROR)]


def test_success_is_an_outcome_without_a_reason() -> None:
    """When an operation succeeds, the audit has its intent, then an outcome without a reason."""
    audit, done = MemoryAudit(), list[str]()
    _run(audit, None, done)
    assert (done, audit.phases()) == (["deed"], [("intent", None), ("outcome", None)])


def test_an_answer_waits_for_its_outcome() -> None:
    """When the disk stalls, the scope does not end before its outcome is written: nobody has an answer before that."""
    audit = MemoryAudit()
    with audited(audit, ENTRY, FakeClock()) as outcome:
        audit.hold = threading.Event()
        outcome.answer = {"container": "x"}
        ending = in_background(lambda: audit.outcome(ENTRY, None, 0))
        wait_for(lambda: len(audit.lines) == 2, "the outcome")
        assert not ending.done()
        audit.hold.set()
        ending.result(30)
