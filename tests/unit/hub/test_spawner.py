"""The mixin on DockerSpawner, spawned by JupyterHub in this process: how operations look to JupyterHub."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from hubwarden_hub import marker, restarting
from hubwarden_hub.commands import RequestId, ResetCommand, RestartCommand
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.gateway_errors import BUSY_MESSAGE
from hubwarden_hub.marker import Note
from hubwarden_hub.operations import Phase
from hubwarden_hub.pending_stop import StopAbandoned
from hubwarden_hub.spawned import SpawnedServer
from jupyterhub import orm
from support.jupyterhub.in_process import InProcessHub, ScriptedAgent, ScriptedDocker, server_addresses
from support.waiting.conditions import until
from tornado import web

pytestmark = pytest.mark.filterwarnings("ignore:TypeDecorator JSONDict")  # JupyterHub's own type
ROUTE = "/user/alice/"
NOWHERE = "http://127.0.0.1:1/"
RESTART = RestartCommand("alice", "", "user:alice", RequestId.new(), "jupyterlab-alice", 10)
RESET = ResetCommand("alice", "user:alice", RequestId.new(), "volume")


class BusyError(Exception):
    """The gateway's 409, as docker-py raises it."""

    status_code = 409

    def __init__(self) -> None:
        super().__init__(BUSY_MESSAGE)


@pytest.fixture(name="hub")
async def _hub() -> AsyncIterator[InProcessHub]:
    async with server_addresses() as (before, after):
        yield InProcessHub(ScriptedAgent(ScriptedDocker(before), after))


@pytest.fixture(name="spawner")
async def _spawner(hub: InProcessHub) -> Any:
    """The Spawner of alice's server, which runs."""
    spawner = await hub.spawn()
    hub.docker.called.clear()
    return spawner


def target(address: tuple[str, int]) -> str:
    """A route's target."""
    ip, port = address
    return f"http://{ip}:{port}"


def killed_during(hub: InProcessHub, command: marker.Command, seconds_ago: float = 1) -> tuple[InProcessHub, Any]:
    """The Hub after one that was killed during an operation on alice's running server, and her Spawner there."""
    row = hub.user().orm_spawners[""]
    note = Note(command, time.time() - seconds_ago, hub.agent.present.started_at)
    row.state = {**row.state, marker.KEY: marker.written(note)}
    hub.db.commit()
    successor = hub.next_hub()
    return successor, successor.user().spawner


@contextmanager
def locked_database(hub: InProcessHub) -> Iterator[None]:
    """Every write fails as it does while somebody else has SQLite's database locked."""

    def refuse(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(("INSERT", "UPDATE", "DELETE")):
            raise sqlite3.OperationalError("database is locked")

    sa.event.listen(hub.db.get_bind(), "before_cursor_execute", refuse)
    try:
        yield
    finally:
        sa.event.remove(hub.db.get_bind(), "before_cursor_execute", refuse)


async def begun_restart(hub: InProcessHub, spawner: Any) -> Any:
    """A restart that has got as far as the agent."""
    operation = spawner.request_restart("user:alice", RequestId.new())
    await hub.agent.reached.wait()
    return operation


async def test_a_restart_is_pending_without_a_route_and_noted(hub: InProcessHub, spawner: Any) -> None:
    """While the agent restarts, the server is neither ready nor dead; then it is ready at its new address."""
    operation = await begun_restart(hub, spawner)
    hub.docker.running = False
    assert (spawner.pending, spawner.ready, await spawner.poll()) == ("restart", False, None)
    assert hub.proxy.targets == {}
    noted = hub.note()
    assert noted is not None
    assert noted.command == hub.agent.commands[0]
    hub.docker.running = True
    hub.agent.may_restart.set()
    assert (await operation.result()).ready
    assert (spawner.pending, spawner.ready) == (None, True)
    assert hub.proxy.targets == {ROUTE: target(hub.agent.moves_to)}
    assert hub.note() is None
    assert spawner.server.host == target(hub.agent.moves_to)


async def test_jupyterhub_deletes_no_user_during_a_restart(hub: InProcessHub, spawner: Any) -> None:
    """During a restart the flag that its DELETE of a user looks at is set; and during a stop, as JupyterHub sets it."""
    operation = await begun_restart(hub, spawner)
    assert spawner._stop_pending  # noqa: SLF001 - JupyterHub's DELETE of a user looks at this flag
    hub.agent.may_restart.set()
    await operation.result()
    assert (spawner.pending, spawner.ready) == (None, True)
    hub.docker.answering.clear()
    stop = asyncio.create_task(hub.user().stop())
    await until(lambda: hub.docker.called[-1] == "inspect_container")
    assert spawner.pending == "stop"
    hub.docker.answering.set()
    await stop
    assert (spawner.pending, spawner.server) == (None, None)


async def test_a_poll_that_began_before_the_restart_counts_for_nothing(hub: InProcessHub, spawner: Any) -> None:
    """When Docker's answer from before a restart comes after its end, the server is not taken for dead."""
    hub.docker.running = False
    hub.docker.answering.clear()
    poll = asyncio.create_task(spawner.poll())
    await until(lambda: hub.docker.called)
    operation = await begun_restart(hub, spawner)
    hub.docker.running = True
    hub.agent.may_restart.set()
    hub.docker.answering.set()
    await operation.result()
    assert await poll is None


async def test_unknown_is_not_dead(hub: InProcessHub, spawner: Any) -> None:
    """When Docker does not answer, a server on record counts as running, and one that is not on record as unknown."""
    hub.docker.faults["inspect_container"] = [ConnectionError()]
    assert await spawner.poll() is None
    hub.docker.running = False
    assert await spawner.poll() is not None
    await hub.user().stop()
    hub.docker.faults["inspect_container"] = [ConnectionError()]
    with pytest.raises(ConnectionError):
        await hub.user().spawner.poll()


async def test_the_address_is_asked_for(hub: InProcessHub, spawner: Any) -> None:
    """When a Hub asks for the URL, it gets Docker's answer and not the database's; of a stopped server, no address."""
    hub.docker.address = hub.agent.moves_to
    assert await spawner.get_url() == f"{target(hub.agent.moves_to)}{ROUTE}"
    hub.docker.running = False
    assert await spawner.get_url() == NOWHERE


@pytest.mark.usefixtures("spawner")
async def test_what_a_killed_hub_left_is_resolved_before_anything_is_trusted(hub: InProcessHub) -> None:
    """When the next Hub looks at the server, the agent is asked first, once, under the same id; then the note goes."""
    successor, spawner = killed_during(hub, RESTART)
    polls = [asyncio.create_task(spawner.poll()), asyncio.create_task(spawner.get_url())]
    await hub.agent.reached.wait()
    assert hub.docker.called == []
    hub.agent.may_restart.set()
    assert await asyncio.gather(*polls) == [None, f"{target(hub.agent.moves_to)}{ROUTE}"]
    assert hub.agent.commands == [RESTART]
    assert successor.note() is None
    assert spawner.request_restart("user:alice", RESTART.request_id) is spawner.latest_restart
    assert hub.agent.told == [("begun", RESTART.request_id), ("ended", RESTART.request_id)]


@pytest.mark.usefixtures("spawner")
@pytest.mark.parametrize(("command", "kept"), [(RESTART, False), (RESET, True)], ids=["restart", "reset"])
async def test_a_stop_ends_the_note_about_a_restart(hub: InProcessHub, command: marker.Command, *, kept: bool) -> None:
    """When a server stops, a restart's note goes and a reset's stays; nobody asks the agent about either."""
    successor, _ = killed_during(hub, command)
    await successor.user().stop()
    assert (successor.note() is not None) is kept
    assert await successor.user().spawner.poll() is not None
    assert hub.agent.commands == []


@pytest.mark.usefixtures("spawner")
async def test_a_restart_left_behind_long_ago_is_not_asked_about(hub: InProcessHub) -> None:
    """When the note is too old, the agent, which would restart a server that is worked in, is not asked."""
    successor, spawner = killed_during(hub, RESTART, hub.plugin.settings.note_lifetime + 1)
    assert await spawner.poll() is None
    assert spawner.latest_restart.failure.reason is Reason.INTERRUPTED
    assert hub.agent.commands == []
    await until(lambda: successor.note() is None)


@pytest.mark.usefixtures("spawner")
@pytest.mark.parametrize("where", ["agent", "database"])
async def test_a_left_over_that_cannot_be_resolved_now_is_tried_again(hub: InProcessHub, where: str) -> None:
    """When agent or database fail, the poll takes the server for running, and the next poll asks again."""
    successor, spawner = killed_during(hub, RESTART)
    hub.agent.may_restart.set()
    if where == "agent":
        hub.agent.fault = RuntimeError("unforeseen")
        assert await spawner.poll() is None
        hub.agent.fault = None
    else:
        with locked_database(successor):
            assert await spawner.poll() is None
    assert spawner.latest_restart.outcome.done()
    assert successor.note() is not None
    assert await spawner.poll() is None
    assert hub.agent.commands == [RESTART, RESTART]
    assert successor.note() is None
    assert spawner.latest_restart.failure is None


async def test_a_start_ends_the_meaning_of_a_resets_note(hub: InProcessHub) -> None:
    """When a server starts, no reset's note is left, not even in a row that once was the default server's."""
    user, state = hub.user(), {marker.KEY: marker.written(Note(RESET, time.time()))}
    hub.db.add(orm.Spawner(name="was-default", user=user.orm_user, state=state))
    user.orm_spawners[""].state = state
    hub.db.commit()
    successor = hub.next_hub()
    spawner = await successor.spawn()
    hub.db.rollback()
    assert [marker.KEY in row.state for row in successor.user().orm_spawners.values()] == [False, False]
    assert marker.KEY not in spawner.get_state()


async def test_a_restart_that_cannot_be_noted_does_nothing(hub: InProcessHub, spawner: Any) -> None:
    """When the database is locked, the agent is not asked, the server keeps its route, and no note is written later."""
    before = dict(hub.proxy.targets)
    with locked_database(hub):
        operation = spawner.request_restart("user:alice", RequestId.new())
        with pytest.raises(AgentError) as caught:
            await operation.result()
    assert caught.value.reason is Reason.DOCKER_ERROR
    assert (hub.docker.called, hub.agent.commands, hub.proxy.targets) == ([], [], before)
    assert spawner.ready
    hub.db.commit()
    assert hub.note() is None
    assert marker.KEY not in spawner.get_state()


async def spawning(hub: InProcessHub) -> tuple[asyncio.Task[Any], Any]:
    """A spawn that waits for Docker, and alice's Spawner."""
    hub.docker.answering.clear()
    task = asyncio.create_task(hub.spawn())
    await until(lambda: hub.docker.called)
    spawner = hub.user().spawner
    assert spawner.pending == "spawn"
    return task, spawner


async def test_a_restart_during_a_spawn_waits_for_it(hub: InProcessHub) -> None:
    """When a server starts, its restart waits, also one that is asked for twice; another id is refused meanwhile."""
    spawn, spawner = await spawning(hub)
    operation = spawner.request_restart("user:alice", RequestId.new())
    assert spawner.request_restart("user:alice", operation.request_id) is operation
    assert (operation.phase, spawner.pending, spawner.latest_restart) == (Phase.QUEUED, "spawn", operation)
    noted = hub.note()
    assert noted is not None
    assert noted.is_waiting
    with pytest.raises(AgentError) as caught:
        spawner.request_restart("user:alice", RequestId.new())
    assert caught.value.reason is Reason.OPERATION_IN_PROGRESS
    hub.docker.answering.set()
    hub.agent.may_restart.set()
    assert (await operation.result()).ready
    assert await spawn is spawner
    assert hub.note() is None


async def test_a_restart_that_waits_for_a_spawn_that_fails_is_refused(hub: InProcessHub) -> None:
    """When the start that a restart waits for fails, the restart ends, and the agent is not asked."""
    spawn, spawner = await spawning(hub)
    operation = spawner.request_restart("user:alice", RequestId.new())
    hub.docker.faults["start"] = [ConnectionError()]
    hub.docker.answering.set()
    with pytest.raises(AgentError) as caught:
        await operation.result()
    assert caught.value.reason is Reason.SERVER_NOT_RUNNING
    assert hub.agent.commands == []
    with pytest.raises(ConnectionError):
        await spawn


async def test_a_restart_waits_though_that_cannot_be_noted(hub: InProcessHub) -> None:
    """When the database is locked while a restart begins to wait, it waits all the same, and is done."""
    spawn, spawner = await spawning(hub)
    with locked_database(hub):
        operation = spawner.request_restart("user:alice", RequestId.new())
    hub.docker.answering.set()
    hub.agent.may_restart.set()
    assert (await operation.result()).ready
    assert await spawn is spawner


@pytest.mark.parametrize("what", ["cancelled", "not allowed"])
async def test_a_waiting_restart_that_does_not_begin_leaves_nothing(hub: InProcessHub, what: str) -> None:
    """When a waiting restart is cancelled, or no longer allowed, it ends with that, unasked, and without a note."""
    spawn, spawner = await spawning(hub)
    operation = spawner.request_restart("user:alice", RequestId.new(), lambda: what == "cancelled")
    if what == "cancelled":
        hub.plugin.queue.cancel(spawner.user.id)
    hub.docker.answering.set()
    with pytest.raises(AgentError) as caught:
        await operation.result()
    assert caught.value.reason is (Reason.CANCELLED if what == "cancelled" else Reason.NOT_ALLOWED)
    assert await spawn is spawner
    assert (spawner.ready, hub.agent.commands, hub.note()) == (True, [], None)


async def test_the_users_lock_is_free_while_the_server_boots(
    hub: InProcessHub, spawner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the container has its address and the server does not answer yet, another server may start or stop."""
    boots, booted = asyncio.Event(), asyncio.Event()

    async def answers_within(_server: SpawnedServer, _seconds: float) -> bool:
        boots.set()
        return await booted.wait()

    monkeypatch.setattr(SpawnedServer, "answers_within", answers_within)
    hub.agent.may_restart.set()
    operation = spawner.request_restart("user:alice", RequestId.new())
    await boots.wait()
    assert spawner.pending == "restart"
    async with hub.plugin.turns.take(spawner.user.id, 0.01):
        booted.set()
    assert (await operation.result()).ready


def log_in(hub: InProcessHub, spawner: Any) -> Callable[[], bool]:
    """Begin a browser session at a server; whether it goes on."""
    hub.db.add(orm.OAuthClient(identifier=spawner.oauth_client_id))
    orm.APIToken.new(user=hub.user().orm_user, client_id=spawner.oauth_client_id)
    hub.db.commit()
    return lambda: hub.db.query(orm.APIToken).filter_by(client_id=spawner.oauth_client_id).count() == 1


async def test_an_older_id_restarts_nothing(hub: InProcessHub, spawner: Any) -> None:
    """When the id of an earlier restart comes again, it gets that restart's outcome; route and sessions stay."""
    hub.agent.may_restart.set()
    first = spawner.request_restart("user:alice", RequestId.new())
    await first.result()
    await spawner.request_restart("user:alice", RequestId.new()).result()
    goes_on = log_in(hub, spawner)
    hub.proxy.deleted.clear()
    assert spawner.request_restart("user:alice", first.request_id) is first
    assert (hub.proxy.deleted, len(hub.agent.commands), goes_on()) == ([], 2, True)


async def test_an_id_from_before_this_hub_ends_no_session(hub: InProcessHub, spawner: Any) -> None:
    """When the agent answers a repeated id with a restart from before, the sessions that began since go on."""
    hub.agent.may_restart.set()
    first = spawner.request_restart("user:alice", RequestId.new())
    await first.result()
    successor = hub.next_hub()
    spawner = successor.user().spawner
    successor.proxy.targets[ROUTE] = target(hub.agent.moves_to)
    goes_on = log_in(successor, spawner)
    assert (await spawner.request_restart("user:alice", first.request_id).result()).ready
    assert goes_on()


@pytest.mark.usefixtures("spawner")
@pytest.mark.parametrize(
    ("fault", "happened"),
    [
        (None, True),
        (Reason.RATE_LIMITED, False),
        (Reason.INTERRUPTED, True),
        (Reason.INTERRUPTED, False),
        (Reason.DEADLINE_EXCEEDED, True),
    ],
)
async def test_a_left_over_restart_ends_sessions_if_it_happened(
    hub: InProcessHub, fault: Reason | None, *, happened: bool
) -> None:
    """When a killed Hub left a restart behind, sessions end if the container has started since, whatever is told."""
    successor, spawner = killed_during(hub, RESTART)
    goes_on = log_in(successor, spawner)
    hub.agent.may_restart.set()
    hub.agent.fault, hub.agent.is_lost = (AgentError(fault) if fault else None), happened
    assert await spawner.poll() is None
    await until(lambda: successor.note() is None)
    assert goes_on() is not happened


@pytest.mark.parametrize("happens", [True, False])
async def test_sessions_end_when_it_becomes_known_that_a_restart_happened(
    hub: InProcessHub, spawner: Any, monkeypatch: pytest.MonkeyPatch, *, happens: bool
) -> None:
    """When a restart's outcome is not known, it is found out from the container's start, and nothing is sent again."""
    monkeypatch.setattr(restarting, "_FIRST_PAUSE", 0.01)
    goes_on = log_in(hub, spawner)
    hub.agent.may_restart.set()
    hub.agent.fault, hub.agent.is_lost = AgentError(Reason.DEADLINE_EXCEEDED), happens
    operation = spawner.request_restart("user:alice", RequestId.new())
    await hub.agent.reached.wait()
    hub.agent.check_fault = AgentError(Reason.AGENT_UNREACHABLE)
    await operation.wait(5)
    assert goes_on()
    noted = hub.note()
    assert noted is not None
    assert noted.look_only
    hub.agent.check_fault = None
    await until(lambda: hub.note() is None)
    assert goes_on() is not happens
    assert len(hub.agent.commands) == 1
    assert hub.proxy.targets == {ROUTE: target(hub.docker.address)}


async def test_one_restart_at_a_time(hub: InProcessHub, spawner: Any) -> None:
    """When an id is repeated, it is the same restart, even after its end; another id is refused until then."""
    operation = await begun_restart(hub, spawner)
    assert spawner.request_restart("user:alice", operation.request_id) is operation
    with pytest.raises(AgentError) as caught:
        spawner.request_restart("user:bob", RequestId.new())
    assert caught.value.reason is Reason.OPERATION_IN_PROGRESS
    hub.agent.may_restart.set()
    await operation.result()
    assert spawner.request_restart("user:alice", operation.request_id) is operation
    assert len(hub.agent.commands) == 1


@pytest.mark.parametrize(("reason", "asked"), [(Reason.DEADLINE_EXCEEDED, 2), (Reason.RATE_LIMITED, 1)])
async def test_a_restart_with_an_unknown_end_is_asked_about_again(
    hub: InProcessHub, spawner: Any, reason: Reason, asked: int
) -> None:
    """When nobody knows how a restart ended, its repeated id reaches the agent again; a refusal is final."""
    hub.agent.may_restart.set()
    hub.agent.fault = AgentError(reason)
    operation = spawner.request_restart("user:alice", RequestId.new())
    await operation.wait(5)
    again = spawner.request_restart("user:alice", operation.request_id)
    await again.wait(5)
    assert [command.request_id for command in hub.agent.commands] == [operation.request_id] * asked


async def test_restarts_that_end_together_leave_the_loop_free_between_their_commits(hub: InProcessHub) -> None:
    """When many restarts end at once, other tasks of the Hub wait for one commit and not for all of them."""
    spawners = [await hub.spawn(f"user{number}") for number in range(5)]
    rounds, committed = 0, []
    sa.event.listen(hub.db, "after_commit", lambda _session: committed.append(rounds))

    async def count_rounds() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_rounds())
    operations = [each.request_restart("user:alice", RequestId.new()) for each in spawners]
    await hub.agent.reached.wait()
    hub.agent.may_restart.set()
    await asyncio.gather(*(operation.result() for operation in operations))
    counting.cancel()
    assert len(set(committed)) == len(committed) == 10


async def test_a_start_waits_for_the_users_turn(hub: InProcessHub) -> None:
    """When a reset, for example, is under way, a start waits for its end; when that takes too long, it is a 409."""
    spawner = hub.user().spawner
    async with hub.plugin.turns.take(spawner.user.id, 1):
        start = asyncio.create_task(spawner.start())
        await asyncio.sleep(0)  # one turn: the start now waits
        assert (start.done(), hub.docker.called) == (False, [])
    assert await start == hub.docker.address
    async with hub.plugin.turns.take(spawner.user.id, 1):
        with pytest.raises(web.HTTPError) as caught:
            await spawner.start()
    assert caught.value.status_code == 409


async def test_a_start_waits_while_the_agent_is_busy(hub: InProcessHub) -> None:
    """When the gateway answers 409, the start is tried again for a while; any other failure is final."""
    spawner = hub.user().spawner
    hub.docker.faults["start"] = [BusyError()]
    assert await spawner.start() == hub.docker.address
    hub.docker.faults["start"] = [ConnectionError()]
    with pytest.raises(ConnectionError):
        await spawner.start()
    hub.docker.faults["start"] = [BusyError() for _ in range(10)]
    with pytest.raises(BusyError):
        await spawner.start()


async def test_a_start_that_started_nothing_is_cleaned_up_without_waiting(hub: InProcessHub) -> None:
    """When a start fails before it reaches Docker's start, JupyterHub polls, and the stop that follows is one try."""
    hub.docker.faults |= {"inspect_image": [ConnectionError()], "stop": [ConnectionError()]}
    with pytest.raises(ConnectionError):
        await hub.spawn()
    assert hub.docker.called == ["inspect_image", "inspect_container", "stop"]


async def test_a_pending_stop_asks_docker_by_itself(hub: InProcessHub, spawner: Any) -> None:
    """When the container of a server that JupyterHub stops is down already, the mixin's stop is called all the same."""
    hub.docker.running = False
    await hub.user().stop()
    assert hub.docker.called == ["inspect_container", "stop"]
    assert spawner.server is None


async def test_a_server_that_is_kept_stays_on_record(hub: InProcessHub, spawner: Any) -> None:
    """When the Hub shuts down before a stop, JupyterHub's clean-up leaves the server, its start time and its state."""
    started, state = spawner.orm_spawner.started, spawner.orm_spawner.state
    hub.docker.answering.clear()
    stop = asyncio.create_task(hub.user().stop())
    await until(lambda: hub.docker.called)
    spawner.pending_stop.keep()
    with pytest.raises(StopAbandoned):
        await stop
    kept = hub.next_hub().user().spawner
    assert kept.ready
    assert (kept.orm_spawner.started, kept.orm_spawner.state) == (started, state)
    assert started


async def test_an_unforeseen_failure_stops_the_server(hub: InProcessHub, spawner: Any) -> None:
    """When a restart fails in an unforeseen way, JupyterHub stops the server and shows the Spawner as failed."""
    hub.agent.may_restart.set()
    hub.agent.fault = RuntimeError("unforeseen")
    operation = spawner.request_restart("user:alice", RequestId.new())
    with pytest.raises(AgentError) as caught:
        await operation.result()
    assert caught.value.reason is Reason.RESTART_FAILED
    assert hub.docker.called[-1] == "stop"
    assert hub.proxy.targets == {}
    assert (spawner.pending, spawner.server) == (None, None)
    assert hub.user().get_spawner() is spawner
    assert spawner.latest_restart is operation
    assert hub.user().get_spawner(replace_failed=True) is not spawner


async def test_progress_follows_the_restart(hub: InProcessHub, spawner: Any) -> None:
    """When a restart is under way, JupyterHub's spawn progress tells its phases up to the end."""
    operation = await begun_restart(hub, spawner)

    async def follow() -> list[Any]:
        return [event async for event in spawner.progress()]

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)  # one turn: the first phase is told
    hub.agent.may_restart.set()
    await operation.result()
    events = await following
    assert events[0] == {"progress": 20, "message": "Stopping the server", "phase": "stopping"}
    assert events[-1]["progress"] == 100
