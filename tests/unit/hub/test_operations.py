"""Operations, whose turn it is, resets, and the note that survives a killed Hub."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from json import dumps, loads

import pytest
from hubwarden_hub import marker, reset
from hubwarden_hub.commands import Home, RequestId, ResetCommand, RestartCommand, Restarted
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.operations import Operation, Phase, Turns
from hubwarden_hub.records import Records
from hubwarden_hub.reset import Resets
from hypothesis import given
from hypothesis import strategies as st
from tornado import web

HOME = Home("volume", (), datetime(2026, 1, 1, tzinfo=UTC), None, None)
UNWATCHED = Records([], logging.getLogger())


def command(request_id: RequestId | None = None) -> ResetCommand:
    """A reset of alice's home."""
    return ResetCommand("alice", "user:alice", request_id or RequestId.new(), "volume")


class Page:
    """Where a reset is noted."""

    def __init__(self) -> None:
        self.noted: ResetCommand | None = None

    def remember(self, command: ResetCommand) -> None:
        """See `reset.Note`."""
        self.noted = command

    def forget(self) -> None:
        """See `reset.Note`."""
        self.noted = None


class SlowAgent:
    """An agent whose resets end when the test says so."""

    def __init__(self) -> None:
        self.refusal: AgentError | None = None
        self.reached = asyncio.Event()
        self.may_end = asyncio.Event()
        self.resets: list[ResetCommand] = []
        self.unreachable = False

    async def check_reset(self, command: ResetCommand) -> Home:
        """See `agent.Agent`."""
        assert command
        raise AgentError(Reason.AGENT_UNREACHABLE if self.unreachable else Reason.VOLUME_NOT_FOUND)

    async def reset(self, command: ResetCommand) -> Home:
        """See `agent.Agent`."""
        self.resets.append(command)
        self.reached.set()
        await self.may_end.wait()
        if self.refusal:
            raise self.refusal
        return HOME

    async def check_restart(self, command: RestartCommand) -> Restarted:
        """Not part of a reset."""
        raise NotImplementedError

    async def restart(self, command: RestartCommand) -> Restarted:
        """Not part of a reset."""
        raise NotImplementedError


async def test_cancelling_an_operation_is_refused_with_409() -> None:
    """As JupyterHub's DELETE of a server does with a pending Spawner's future; the operation goes on."""
    operation: Operation[Home] = Operation(RequestId.new())
    with pytest.raises(web.HTTPError) as caught:
        operation.outcome.cancel()
    assert caught.value.status_code == 409
    operation.succeed(HOME)
    assert await operation.result() == HOME


async def test_whoever_stops_waiting_changes_nothing() -> None:
    """A waiter that is cancelled, or has waited long enough, leaves the outcome to come."""
    operation: Operation[Home] = Operation(RequestId.new())
    waiter = asyncio.create_task(operation.result())
    await asyncio.sleep(0)
    waiter.cancel()
    assert not await operation.wait(0.01)
    operation.fail(AgentError(Reason.BACKUP_FAILED))
    with pytest.raises(AgentError):
        await operation.result()


async def test_phases_are_followed_to_the_end() -> None:
    """From the present one on, whenever somebody begins to look."""
    operation: Operation[Home] = Operation(RequestId.new())

    async def follow() -> list[Phase]:
        return [phase async for phase in operation.phases()]

    early = asyncio.create_task(follow())
    await asyncio.sleep(0)
    operation.enter(Phase.STOPPING)
    await asyncio.sleep(0)
    operation.succeed(HOME)
    assert await early == [Phase.QUEUED, Phase.STOPPING, Phase.DONE]
    assert await follow() == [Phase.DONE]


async def test_turns_are_a_users_own() -> None:
    """The second waits for the first, within bounds; another user's is free."""
    turns = Turns()
    async with turns.take(1, 1):
        async with turns.take(2, 0.01):
            pass
        with pytest.raises(AgentError) as caught:
            async with turns.take(1, 0.01):
                pass
        assert caught.value.reason is Reason.OPERATION_IN_PROGRESS
    async with turns.take(1, 0.01):
        pass


async def test_one_reset_a_user() -> None:
    """The same id is the same reset, also when it is over; another is refused until then."""
    agent = SlowAgent()
    resets = Resets(agent, Turns(), 1, logging.getLogger(), UNWATCHED)
    first = resets.request(1, command(), Page())
    assert resets.request(1, command(first.request_id), Page()) is first
    with pytest.raises(AgentError) as caught:
        resets.request(1, command(), Page())
    assert caught.value.reason is Reason.OPERATION_IN_PROGRESS
    agent.may_end.set()
    assert await first.result() == HOME
    assert resets.request(1, command(first.request_id), Page()) is first
    assert await resets.request(1, command(), Page()).result() == HOME
    assert len(agent.resets) == 2


async def test_a_reset_without_an_agent_fails_before_it_begins() -> None:
    """When the agent is unreachable at the check, the reset fails and is never sent."""
    agent = SlowAgent()
    agent.unreachable = True
    with pytest.raises(AgentError) as caught:
        await Resets(agent, Turns(), 1, logging.getLogger(), UNWATCHED).request(1, command(), Page()).result()
    assert caught.value.reason is Reason.AGENT_UNREACHABLE
    assert agent.resets == []


@pytest.mark.parametrize(
    ("refusal", "kept"), [(None, False), (Reason.VOLUME_IN_USE, False), (Reason.DEADLINE_EXCEEDED, True)]
)
async def test_a_reset_is_noted_until_its_outcome_is_known(refusal: Reason | None, *, kept: bool) -> None:
    """From before the agent is asked; what nobody knows the end of stays, for the next Hub to ask about."""
    agent, page, sent = SlowAgent(), Page(), command()
    agent.refusal = AgentError(refusal) if refusal else None
    operation = Resets(agent, Turns(), 1, logging.getLogger(), UNWATCHED).request(1, sent, page)
    before = page.noted
    await agent.reached.wait()
    assert (before, page.noted) == (None, sent)
    agent.may_end.set()
    await operation.wait(5)
    assert page.noted == (sent if kept else None)


async def test_a_reset_left_behind_is_asked_about_though_the_agent_is_away() -> None:
    """Under the id it had; whether the agent answers a check says nothing about what it did before."""
    agent, sent, page = SlowAgent(), command(), Page()
    agent.unreachable = True
    resets = Resets(agent, Turns(), 1, logging.getLogger(), UNWATCHED)
    operation = resets.request(1, sent, page, left_behind=True)
    await agent.reached.wait()
    assert page.noted is None  # not once more: the note would have a new time
    agent.may_end.set()
    assert await operation.result() == HOME
    assert agent.resets == [sent]


async def test_a_reset_left_behind_too_long_ago_is_known_as_interrupted() -> None:
    """When a pending reset is too old, it is interrupted without a call to the agent."""
    agent, sent = SlowAgent(), command()
    resets = Resets(agent, Turns(), 1, logging.getLogger(), UNWATCHED)
    resets.interrupted(1, sent)
    known = resets.known(1, "alice", sent.request_id)
    assert known is not None
    assert known.failure is not None
    assert known.failure.reason is Reason.INTERRUPTED
    assert agent.resets == []


async def test_a_user_with_a_deleted_users_id_has_nothing_of_theirs() -> None:
    """SQLite gives the highest id to the next user: neither how a reset stands nor its answer is theirs."""
    agent = SlowAgent()
    agent.may_end.set()
    resets = Resets(agent, Turns(), 1, logging.getLogger(), UNWATCHED)
    first = resets.request(1, command(), Page())
    await first.result()
    assert resets.latest(1, "alice") is first
    assert resets.latest(1, "bob") is None
    assert resets.known(1, "bob", first.request_id) is None
    again = ResetCommand("bob", "user:bob", first.request_id, "volume-of-bob")
    assert resets.request(1, again, Page()) is not first


async def test_only_so_many_resets_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest that have ended go; one that runs stays."""
    monkeypatch.setattr(reset, "_REMEMBERED", 2)
    agent = SlowAgent()
    resets = Resets(agent, Turns(), 1, logging.getLogger(), UNWATCHED)
    running = resets.request(0, command(), Page())
    for user_id in range(1, 6):
        resets.interrupted(user_id, command())
    assert [user_id for user_id in range(6) if resets.latest(user_id, "alice")] == [0, 4, 5]
    agent.may_end.set()
    await running.result()


async def test_a_reset_waits_for_a_start() -> None:
    """Whoever has the user's turn keeps the reset away from the agent."""
    agent, turns = SlowAgent(), Turns()
    agent.may_end.set()
    async with turns.take(1, 1):
        operation = Resets(agent, turns, 1, logging.getLogger(), UNWATCHED).request(1, command(), Page())
        await asyncio.sleep(0.01)
        assert agent.resets == []
    assert await operation.result() == HOME


def test_a_note_is_read_as_it_was_written() -> None:
    """Through JSON, as the Hub's database keeps it."""
    for sent in (RestartCommand("木村", "lab", "service:ops", RequestId.new(), "container", 2.5), command()):
        noted = marker.Note(sent, 1234.5)
        assert marker.read(loads(dumps({marker.KEY: marker.written(noted)}))) == noted


@pytest.mark.parametrize(
    ("field", "value"),
    [("request_id", "7"), ("stop_timeout", "soon"), ("stop_timeout", None), ("asked_at", "noon"), ("asked_at", None)],
)
def test_a_note_that_was_changed_is_none(field: str, value: object) -> None:
    """A command that cannot be sent as it was is not sent at all."""
    sent = RestartCommand("alice", "", "user:alice", RequestId.new(), "container", 2.5)
    noted = marker.written(marker.Note(sent, 1.0))
    assert marker.read({marker.KEY: {**noted, field: value}}) is None


json = st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner))
fields = st.sampled_from(["operation", "username", "request_id", "stop_timeout", "actor"])


@given(st.dictionaries(st.text(), json), json | st.dictionaries(fields, st.text() | st.just("restart")))
def test_any_other_note_is_none(state: dict[str, object], note: object) -> None:
    """Nothing that stands in the database keeps a Hub from starting."""
    assert marker.read({**state, marker.KEY: note}) is None
