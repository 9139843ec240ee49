"""The order of a restart, with a server and an agent that write down what is asked of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from hubwarden_hub import restart
from hubwarden_hub.commands import Home, RequestId, ResetCommand, RestartCommand, Restarted
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.operations import Phase
from hubwarden_hub.restart import Address, RestartOutcome, ServerGone, Unanswered

COMMAND = RestartCommand("alice", "", "user:alice", RequestId.new(), "jupyterlab-alice", 10)
BEFORE = Restarted("jupyterlab-alice", "id", datetime(2026, 1, 1, tzinfo=UTC))
RESTARTED = replace(BEFORE, started_at=datetime(2026, 1, 2, tzinfo=UTC))
NEW = Address("10.0.0.9", 8888)


@dataclass
class World:
    """One server and its agent; `script` holds what goes wrong, by the name of the call."""

    script: dict[str, list[Exception | bool]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    answer_timeout: float = 0.05

    def _called(self, name: str, *, default: bool = True) -> bool:
        self.calls.append(name)
        planned = self.script.get(name)
        answer = planned.pop(0) if planned else default
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def remember(self, command: RestartCommand, started_at: datetime) -> None:
        """See `restart.Server`."""
        assert (command, started_at) == (COMMAND, BEFORE.started_at)
        self._called("remember")

    async def conclude(self, address: Address | None, started_at: datetime | None) -> None:
        """See `restart.Server`."""
        self._called(f"conclude {address.port if address else None} {started_at and started_at.day}")

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        """The user's."""
        self.calls.append("lock")
        try:
            yield
        finally:
            self.calls.append("unlock")

    async def unroute(self) -> None:
        """See `restart.Server`."""
        self._called("unroute")

    async def route(self) -> None:
        """See `restart.Server`."""
        self._called("route")

    async def is_running(self) -> bool:
        """See `restart.Server`."""
        return self._called("is_running")

    async def address(self) -> Address:
        """See `restart.Server`."""
        self._called("address")
        return NEW

    async def answers_within(self, seconds: float) -> bool:
        """See `restart.Server`."""
        assert seconds == self.answer_timeout
        return self._called("answers")

    async def check_restart(self, command: RestartCommand) -> Restarted:
        """See `agent.Agent`."""
        assert command == COMMAND
        self._called("check")
        return BEFORE

    async def restart(self, command: RestartCommand) -> Restarted:
        """See `agent.Agent`."""
        assert command == COMMAND
        self._called("restart")
        return RESTARTED

    async def check_reset(self, command: ResetCommand) -> Home:
        """Not part of a restart."""
        raise NotImplementedError

    async def reset(self, command: ResetCommand) -> Home:
        """Not part of a restart."""
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the clock is moved."""
    monkeypatch.setattr(restart, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(restart, "_LONGEST_PAUSE", 0.002)
    monkeypatch.setattr(restart, "_LOOK_AGAIN", 0.01)


async def carry_out(world: World, enter: Callable[[Phase], None] = lambda _: None) -> RestartOutcome:
    """A restart in that world."""
    return await restart.carry_out(world, world, COMMAND, enter, world.lock())


async def test_everything_in_its_order() -> None:
    """When a server restarts, the lock is held from the check to the new address, and not until the server answers."""
    world, phases = World(), list[Phase]()
    assert await carry_out(world, phases.append) == RestartOutcome(RESTARTED, ready=True)
    assert world.calls == [
        "lock",
        "check",
        "remember",
        "unroute",
        "restart",
        "is_running",
        "address",
        "conclude 8888 2",
        "unlock",
        "answers",
        "route",
    ]
    assert phases == sorted(phases, key=list(Phase).index)


async def test_a_refused_check_touches_nothing() -> None:
    """When the check is refused, the route stays and nothing is noted."""
    world = World({"check": [AgentError(Reason.RATE_LIMITED)]})
    with pytest.raises(AgentError):
        await carry_out(world)
    assert world.calls == ["lock", "check", "unlock"]


@pytest.mark.parametrize("reason", [Reason.OPERATION_IN_PROGRESS, Reason.AGENT_UNREACHABLE, Reason.INTERRUPTED])
async def test_a_refused_or_unknown_restart_gives_the_route_back(reason: Reason) -> None:
    """When a restart fails, the route leads to an address that was asked for afterwards, and the note stays."""
    world = World({"restart": [AgentError(reason)]})
    with pytest.raises(AgentError) as caught:
        await carry_out(world)
    assert caught.value.reason is reason
    assert world.calls[-6:] == ["is_running", "address", "conclude 8888 None", "unlock", "answers", "route"]


async def test_a_proxy_that_is_away_prevents_the_restart() -> None:
    """A server whose old address is still routed is not restarted."""
    world = World({"unroute": [AgentError(Reason.PROXY_UNAVAILABLE)]})
    with pytest.raises(AgentError):
        await carry_out(world)
    assert "restart" not in world.calls
    assert world.calls[-1] == "route"


async def test_a_server_that_did_not_come_back_gets_no_route() -> None:
    """The note is forgotten, and the caller has to stop what is left."""
    world = World({"restart": [AgentError(Reason.RESTART_FAILED)], "is_running": [False]})
    with pytest.raises(ServerGone):
        await carry_out(world)
    assert world.calls[-2:] == ["conclude None None", "unlock"]
    assert "route" not in world.calls


async def test_unknown_is_not_dead() -> None:
    """Whether it runs, and where, is asked until there is an answer."""
    world = World({"is_running": [Unanswered(), Unanswered(), True, Unanswered(), True], "address": [Unanswered()]})
    assert (await carry_out(world)).ready
    assert world.calls.count("is_running") == 5
    assert world.calls.count("address") == 2


async def test_a_server_that_nobody_can_locate_is_given_up() -> None:
    """It runs, and its address is not to be had: better stopped than at a guessed address."""
    world = World({"address": [Unanswered() for _ in range(100)]})
    with pytest.raises(ServerGone):
        await carry_out(world)
    assert world.calls.count("address") == 20


async def test_a_silent_server_gets_its_route_without_being_ready() -> None:
    """It runs, and may answer later, as at any other time."""
    world = World({"answers": [False]})
    assert await carry_out(world) == RestartOutcome(RESTARTED, ready=False)
    assert world.calls[-2:] == ["is_running", "route"]


async def test_a_server_that_dies_while_it_is_waited_for() -> None:
    """It is found out before the wait is over, and gets no route."""
    world = World({"answers": [False], "is_running": [True, False]})
    with pytest.raises(ServerGone):
        await carry_out(world)
    assert "route" not in world.calls


async def test_whether_a_restart_happened_is_settled_without_asking_for_it() -> None:
    """When an outcome is not known, the present start and address are looked at, and the route follows."""
    world = World()
    await restart.settle(world, world, COMMAND, world.lock())
    assert world.calls == ["lock", "check", "is_running", "address", "conclude 8888 1", "route", "unlock"]
