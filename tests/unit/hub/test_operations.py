"""Operations, whose turn it is, resets, and the note that survives a killed Hub."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from json import dumps, loads

import pytest
from hubwarden_hub import marker
from hubwarden_hub.commands import Home, RequestId, ResetCommand, RestartCommand, Restarted
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.operation_queue import OperationQueue
from hubwarden_hub.operations import Operation, Phase, Turns
from hubwarden_hub.records import Records
from hubwarden_hub.reset import Resets
from hypothesis import given
from hypothesis import strategies as st
from tornado import web

HOME = Home("volume", (), datetime(2026, 1, 1, tzinfo=UTC), None, None)


def command(request_id: RequestId | None = None) -> ResetCommand:
    """A reset of alice's home."""
    return ResetCommand("alice", "user:alice", request_id or RequestId.new(), "volume")


class Page:
    """Where a reset is noted."""

    def __init__(self) -> None:
        self.noted: ResetCommand | None = None

    def remember(self, command: ResetCommand, *, is_waiting: bool = False) -> None:
        """See `reset.Note`."""
        assert not is_waiting
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


def resets_of(agent: SlowAgent, turns: Turns | None = None) -> Resets:
    """Resets with a queue of their own."""
    log = logging.getLogger()
    return Resets(agent, turns or Turns(), 1, log, OperationQueue(10, Records([], log), log))


async def test_cancelling_an_operation_is_refused_with_409() -> None:
    """As JupyterHub's DELETE of a server does with a pending Spawner's future; the operation goes on."""
    operation: Operation[Home] = Operation(RequestId.new())
    with pytest.raises(web.HTTPError) as caught:
        operation.outcome.cancel()
    assert caught.value.status_code == 409
    operation.succeed(HOME)
    assert await operation.result() == HOME


async def test_a_caller_that_stops_waiting_changes_nothing() -> None:
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


async def test_a_reset_without_an_agent_fails_before_it_begins() -> None:
    """When the agent is unreachable at the check, the reset fails and is never sent."""
    agent = SlowAgent()
    agent.unreachable = True
    with pytest.raises(AgentError) as caught:
        await resets_of(agent).request(1, command(), Page()).result()
    assert caught.value.reason is Reason.AGENT_UNREACHABLE
    assert agent.resets == []


@pytest.mark.parametrize(
    ("refusal", "kept"), [(None, False), (Reason.VOLUME_IN_USE, False), (Reason.DEADLINE_EXCEEDED, True)]
)
async def test_a_reset_is_noted_until_its_outcome_is_known(refusal: Reason | None, *, kept: bool) -> None:
    """From before the agent is asked; what nobody knows the end of stays, for the next Hub to ask about."""
    agent, page, sent = SlowAgent(), Page(), command()
    agent.refusal = AgentError(refusal) if refusal else None
    operation = resets_of(agent).request(1, sent, page)
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
    resets = resets_of(agent)
    operation = resets.request(1, sent, page, left_behind=True)
    await agent.reached.wait()
    assert page.noted is None  # not once more: the note would have a new time
    agent.may_end.set()
    assert await operation.result() == HOME
    assert agent.resets == [sent]


async def test_a_reset_waits_for_a_start() -> None:
    """When the user's lock is held, a reset does not reach the agent."""
    agent, turns = SlowAgent(), Turns()
    agent.may_end.set()
    async with turns.take(1, 1):
        operation = resets_of(agent, turns).request(1, command(), Page())
        await asyncio.sleep(0.01)
        assert agent.resets == []
    assert await operation.result() == HOME


def test_a_note_is_read_as_it_was_written() -> None:
    """Through JSON, as the Hub's database keeps it."""
    restart = RestartCommand("木村", "lab", "service:ops", RequestId.new(), "container", 2.5)
    started_at = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
    for noted in (
        marker.Note(restart, 1234.5),
        marker.Note(restart, 1234.5, started_at, look_only=True),
        marker.Note(command(), 1.0, is_waiting=True),
    ):
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
