"""The mixin on a Spawner without Docker: what it says while things are under way, and whom it waits for."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hubwarden_hub import marker, spawned
from hubwarden_hub.commands import Home, RequestId, ResetCommand, RestartCommand, Restarted
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.gateway_errors import BUSY_MESSAGE
from hubwarden_hub.history import History
from hubwarden_hub.operations import Turns
from hubwarden_hub.pending_stop import Stops
from hubwarden_hub.plugin import Plugin
from hubwarden_hub.records import Deed, End, Records
from hubwarden_hub.reset import Resets
from hubwarden_hub.settings import Hubwarden
from hubwarden_hub.spawner import RestartableSpawnerMixin
from jupyterhub import orm
from tornado import web

RESTARTED = Restarted("jupyterlab-alice", "id", datetime(2026, 1, 1, tzinfo=UTC))


class BusyError(Exception):
    """The gateway's 409, as docker-py raises it."""

    status_code = 409

    def __init__(self) -> None:
        super().__init__(BUSY_MESSAGE)


@dataclass
class World:
    """The agent, the proxy and the database, as far as a Spawner asks them."""

    may_restart: asyncio.Event = field(default_factory=asyncio.Event)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    commands: list[RestartCommand] = field(default_factory=list)
    routes: dict[str, str] = field(default_factory=dict)
    lost: AgentError | None = None
    commits: int = 0
    rounds: int = 0
    committed: list[int] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    spawners: dict[str, Any] = field(default_factory=dict)
    broken: list[Exception] = field(default_factory=list)
    rolled_back: int = 0
    told: list[tuple[str, RequestId]] = field(default_factory=list)

    def begun(self, deed: Deed) -> None:
        """See `records.Witness`."""
        self.told.append(("begun", deed.request_id))

    def ended(self, deed: Deed, end: End) -> None:
        """See `records.Witness`."""
        assert end
        self.told.append(("ended", deed.request_id))

    async def check_restart(self, command: RestartCommand) -> Restarted:
        """See `agent.Agent`."""
        assert command
        return RESTARTED

    async def restart(self, command: RestartCommand) -> Restarted:
        """See `agent.Agent`."""
        self.commands.append(command)
        self.reached.set()
        await self.may_restart.wait()
        if self.lost:
            raise self.lost
        return RESTARTED

    async def check_reset(self, command: ResetCommand) -> Home:
        """See `agent.Agent`."""
        raise NotImplementedError

    async def reset(self, command: ResetCommand) -> Home:
        """See `agent.Agent`."""
        raise NotImplementedError

    async def delete_route(self, spec: str) -> None:
        """See JupyterHub's Proxy."""
        self.routes.pop(spec)

    async def add_route(self, spec: str, target: str, data: dict[str, str]) -> None:
        """See JupyterHub's Proxy."""
        assert data == {"user": "alice", "server_name": ""}
        self.routes[spec] = target

    def commit(self) -> None:
        """See SQLAlchemy's Session; fails as planned."""
        if self.broken:
            raise self.broken.pop(0)
        self.commits += 1
        self.committed.append(self.rounds)

    def rollback(self) -> None:
        """See SQLAlchemy's Session."""
        self.rolled_back += 1

    def query(self, _table: Any) -> Any:
        """See SQLAlchemy's Session: no sessions of anybody's."""
        return SimpleNamespace(filter_by=lambda **_: SimpleNamespace(delete=lambda **_: 0))

    async def stop(self, name: str) -> None:
        """See JupyterHub's User, which lets go of a Spawner unless its last spawn failed, or may yet."""
        self.stopped.append(name)
        self.spawners[name].server = None
        future = self.spawners[name]._spawn_future  # noqa: SLF001 - JupyterHub's own state of a spawn
        if not (future and (not future.done() or future.exception())):
            self.spawners.pop(name)


class Server:
    """See JupyterHub's Server."""

    proto, ip, port, base_url = "http", "10.0.0.1", 8888, "/user/alice/"

    @property
    def host(self) -> str:
        """What the proxy is told."""
        return f"http://{self.ip}:{self.port}"

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"{self.host}{self.base_url}"


class PlainSpawner:
    """What the mixin uses of JupyterHub's Spawner and of DockerSpawner."""

    name = ""
    object_name = "jupyterlab-alice"
    object_id = ""
    proxy_spec = "/user/alice/"
    oauth_client_id = "jupyterhub-user-alice"
    http_timeout = 1
    log = logging.getLogger("test")
    _log_name = "alice"
    _spawn_pending = False
    _spawn_future: Any = None

    def __init__(self, world: World) -> None:
        settings = Hubwarden(turn_wait=0.5)
        turns = Turns()
        records = Records([world], self.log)
        history = History("sqlite://", 1, self.log)
        resets = Resets(world, turns, 0.5, self.log, records)
        plugin = Plugin(settings, world, turns, resets, records, history, Stops(0.5))
        world.spawners[""] = self
        self.user = SimpleNamespace(
            id=1,
            name="alice",
            db=world,
            orm_user=orm.User(name="alice"),
            orm_spawners={},
            spawners=world.spawners,
            stop=world.stop,
            settings={"hubwarden": plugin, "proxy": world},
        )
        self.orm_spawner = SimpleNamespace(state=None)
        self._server: Server | None = Server()
        self.statuses: list[Any] = []
        self.starts: list[Any] = []
        self.polled = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    @property
    def server(self) -> Server | None:
        """See JupyterHub."""
        return self._server

    @server.setter
    def server(self, server: Server | None) -> None:
        self._server = server

    @property
    def pending(self) -> str | None:
        """See JupyterHub."""
        return "spawn" if self._spawn_pending else None

    @property
    def ready(self) -> bool:
        """See JupyterHub."""
        return not self.pending and self.server is not None

    async def poll(self) -> Any:
        """The next planned status; running, when none is planned."""
        status = self.statuses.pop(0) if self.statuses else None
        self.polled.set()
        await self.may_answer.wait()
        if isinstance(status, Exception):
            raise status
        return status

    async def start(self) -> Any:
        """The next planned outcome."""
        outcome = self.starts.pop(0) if self.starts else ("10.0.0.1", 8888)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def stop(self, _now: bool = False) -> None:  # noqa: FBT001, FBT002 - JupyterHub's signature
        """The agent is away."""
        raise ConnectionError

    async def get_ip_and_port(self) -> tuple[str, int]:
        """See DockerSpawner."""
        return ("10.0.0.2", 9999)

    def get_state(self) -> dict[str, Any]:
        """See JupyterHub."""
        return {"object_id": "id"}

    def load_state(self, state: dict[str, Any]) -> None:
        """See JupyterHub."""

    def clear_state(self) -> None:
        """See JupyterHub."""


class Spawner(RestartableSpawnerMixin, PlainSpawner):
    """The two together."""


@pytest.fixture(autouse=True)
def servers_answer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In JupyterHub's place."""

    async def answered(url: str, **_: Any) -> None:
        assert url.endswith("/user/alice/api")

    monkeypatch.setattr(spawned, "wait_for_http_server", answered)


@pytest.fixture
def world() -> World:
    """A world with a route to the server."""
    return World(routes={"/user/alice/": "http://10.0.0.1:8888"})


@pytest.fixture
def spawner(world: World) -> Any:
    """A Spawner with a server that runs."""
    return Spawner(world)


def left_behind(command: marker.Command, seconds_ago: float = 1) -> dict[str, Any]:
    """The Spawner's state with a note."""
    return {marker.KEY: marker.written(marker.Note(command, time.time() - seconds_ago))}


async def restarting(spawner: Any, world: World) -> Any:
    """A restart that has got as far as the agent."""
    operation = await spawner.request_restart("user:alice", RequestId.new())
    await world.reached.wait()
    return operation


async def test_what_the_hub_sees_during_a_restart(spawner: Any, world: World) -> None:
    """Pending, neither ready nor dead, without a route, with a note; then ready, at the new address, without one."""
    operation = await restarting(spawner, world)
    spawner.statuses = [137]
    assert (spawner.pending, spawner.ready, await spawner.poll()) == ("restart", False, None)
    assert world.routes == {}
    noted = marker.read(spawner.orm_spawner.state)
    assert noted is not None
    assert noted.command == world.commands[0]
    spawner.statuses = []
    world.may_restart.set()
    assert (await operation.result()).ready
    assert (spawner.pending, spawner.ready) == (None, True)
    assert world.routes == {"/user/alice/": "http://10.0.0.2:9999"}
    assert spawner.orm_spawner.state == {"object_id": "id"}


async def test_jupyterhub_does_not_delete_a_user_during_a_restart(spawner: Any, world: World) -> None:
    """Its DELETE looks at `_stop_pending`, which otherwise is what JupyterHub sets it to."""
    operation = await restarting(spawner, world)
    assert spawner._stop_pending  # noqa: SLF001 - JupyterHub's own state of a spawn
    world.may_restart.set()
    await operation.result()
    assert not spawner._stop_pending  # noqa: SLF001 - JupyterHub's own state of a spawn
    spawner._stop_pending = True  # noqa: SLF001 - JupyterHub's own state of a spawn
    assert spawner._stop_pending  # noqa: SLF001 - JupyterHub's own state of a spawn


async def test_a_poll_that_began_before_the_restart_counts_for_nothing(spawner: Any, world: World) -> None:
    """It may have seen the moment in which the container was down, and come back after all was over."""
    spawner.statuses = [137]
    spawner.may_answer.clear()
    poll = asyncio.create_task(spawner.poll())
    await spawner.polled.wait()
    world.may_restart.set()
    operation = await spawner.request_restart("user:alice", RequestId.new())
    spawner.may_answer.set()
    await operation.result()
    assert await poll is None


async def test_unknown_is_not_dead(spawner: Any) -> None:
    """A poll without an answer keeps the server; without a server on record there is nothing to keep."""
    spawner.statuses = [ConnectionError(), 137]
    assert await spawner.poll() is None
    assert await spawner.poll() == 137
    spawner.server, spawner.statuses = None, [ConnectionError()]
    with pytest.raises(ConnectionError):
        await spawner.poll()


async def test_the_address_is_asked_for(spawner: Any) -> None:
    """Not what the database says; a server that is gone is nowhere, least of all at its old address."""
    assert await spawner.get_url() == "http://10.0.0.2:9999/user/alice/"
    spawner.statuses = [137]
    assert await spawner.get_url() == "http://127.0.0.1:1/"


async def test_what_a_killed_hub_left_is_resolved_before_anything_is_trusted(spawner: Any, world: World) -> None:
    """The agent is asked under the same id, once, whoever asks first; then the note is gone."""
    left = RestartCommand("alice", "", "user:alice", RequestId.new(), "jupyterlab-alice", 10)
    spawner.load_state(left_behind(left))
    polls = [asyncio.create_task(spawner.poll()), asyncio.create_task(spawner.get_url())]
    await asyncio.sleep(0.01)
    assert not spawner.polled.is_set()
    world.may_restart.set()
    assert await asyncio.gather(*polls) == [None, "http://10.0.0.2:9999/user/alice/"]
    assert world.commands == [left]
    assert spawner.orm_spawner.state == {"object_id": "id"}
    assert await spawner.request_restart("user:alice", left.request_id) is spawner.latest_restart
    assert world.told == [("begun", left.request_id), ("ended", left.request_id)]


async def test_a_server_that_stops_forgets_its_restart(spawner: Any, world: World) -> None:
    """A note does not outlive the server it is about. A reset's is not about a server, nor anything to restart."""
    left = RestartCommand("alice", "", "user:alice", RequestId.new(), "jupyterlab-alice", 10)
    spawner.load_state(left_behind(left))
    spawner.clear_state()
    assert marker.read(spawner.get_state()) is None
    reset = ResetCommand("alice", "user:alice", RequestId.new(), "volume")
    spawner.load_state(left_behind(reset))
    spawner.clear_state()
    assert await spawner.poll() is None
    assert world.commands == []
    noted = marker.read(spawner.get_state())
    assert noted is not None
    assert noted.command == reset


async def test_a_restart_left_behind_long_ago_is_not_asked_about(spawner: Any, world: World) -> None:
    """The agent may never have heard of it, and would restart a server that is worked in; its sessions end anyway."""
    left = RestartCommand("alice", "", "user:alice", RequestId.new(), "jupyterlab-alice", 10)
    spawner.load_state(left_behind(left, spawner.plugin.settings.note_lifetime + 1))
    assert await spawner.poll() is None
    assert spawner.latest_restart.failure.reason is Reason.INTERRUPTED
    assert world.commands == []
    assert spawner.orm_spawner.state == {"object_id": "id"}


@pytest.mark.parametrize("where", ["agent", "database"])
async def test_a_left_over_that_cannot_be_resolved_now_is_tried_again(
    spawner: Any, world: World, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A poll meanwhile keeps the server; the next one asks anew."""
    left = RestartCommand("alice", "", "user:alice", RequestId.new(), "jupyterlab-alice", 10)
    spawner.load_state(left_behind(left))
    world.may_restart.set()

    async def broken(_command: RestartCommand) -> Restarted:
        raise RuntimeError("unforeseen")

    with monkeypatch.context() as patch:
        if where == "agent":
            patch.setattr(world, "restart", broken)
        else:
            world.broken = [OSError("database is locked")]
        assert await spawner.poll() is None
    assert spawner.latest_restart.outcome.done()
    assert await spawner.poll() is None
    assert world.commands[-1] == left
    assert spawner.orm_spawner.state == {"object_id": "id"}
    assert spawner.latest_restart.failure is None


async def test_a_start_ends_the_meaning_of_a_resets_note(spawner: Any) -> None:
    """Whoever works in a home must not lose it to a reset that nobody knew the end of."""
    db = orm.new_session_factory("sqlite:///:memory:")()
    spawner.user.db, spawner.user.orm_user = db, orm.User(name="alice")
    reset = ResetCommand("alice", "user:alice", RequestId.new(), "volume")
    for name in ("", "was-default"):
        db.add(orm.Spawner(name=name, user=spawner.user.orm_user, state=left_behind(reset)))
    db.commit()
    spawner.user.orm_spawners = spawner.user.orm_user.orm_spawners
    spawner.load_state(left_behind(reset))
    await spawner.start()
    db.rollback()
    assert [each.state for each in spawner.user.orm_spawners.values()] == [{}, {}]
    assert marker.KEY not in spawner.get_state()


async def test_a_restart_that_cannot_be_noted_does_nothing(spawner: Any, world: World) -> None:
    """The server is well, and keeps its route; nothing is left to be written later."""
    world.broken = [OSError("database is locked")]
    operation = await spawner.request_restart("user:alice", RequestId.new())
    with pytest.raises(AgentError) as caught:
        await operation.result()
    assert caught.value.reason is Reason.DOCKER_ERROR
    assert (world.stopped, world.commands, world.rolled_back) == ([], [], 1)
    assert world.routes == {"/user/alice/": "http://10.0.0.1:8888"}
    assert spawner.ready
    assert spawner.get_state() == {"object_id": "id"}


async def test_a_request_that_is_repeated_during_a_spawn_is_one_restart(spawner: Any, world: World) -> None:
    """Both wait for the spawn, and then get the same one."""
    spawner._spawn_pending, spawner._spawn_future = True, asyncio.Future()  # noqa: SLF001 - JupyterHub's own state of a spawn
    request_id = RequestId.new()
    requests = [asyncio.create_task(spawner.request_restart("user:alice", request_id)) for _ in range(2)]
    await asyncio.sleep(0.01)
    spawner._spawn_pending = False  # noqa: SLF001 - JupyterHub's own state of a spawn
    spawner._spawn_future.set_result(None)  # noqa: SLF001 - JupyterHub's own state of a spawn
    first, second = await asyncio.gather(*requests)
    assert first is second
    world.may_restart.set()
    assert (await first.result()).ready


async def test_a_restart_during_a_spawn_waits_for_it(spawner: Any, world: World) -> None:
    """And then restarts; a spawn that takes too long is a refusal."""
    spawner._spawn_pending, spawner._spawn_future = True, asyncio.Future()  # noqa: SLF001 - JupyterHub's own state of a spawn
    with pytest.raises(AgentError) as caught:
        await spawner.request_restart("user:alice", RequestId.new())
    assert caught.value.reason is Reason.OPERATION_IN_PROGRESS
    request = asyncio.create_task(spawner.request_restart("user:alice", RequestId.new()))
    await asyncio.sleep(0.01)
    spawner._spawn_pending = False  # noqa: SLF001 - JupyterHub's own state of a spawn
    spawner._spawn_future.set_result(None)  # noqa: SLF001 - JupyterHub's own state of a spawn
    world.may_restart.set()
    assert (await (await request).result()).ready


async def test_one_restart_at_a_time(spawner: Any, world: World) -> None:
    """The same id is the same restart, also when it is over; another is refused until then."""
    operation = await restarting(spawner, world)
    assert await spawner.request_restart("user:alice", operation.request_id) is operation
    with pytest.raises(AgentError) as caught:
        await spawner.request_restart("user:bob", RequestId.new())
    assert caught.value.reason is Reason.OPERATION_IN_PROGRESS
    world.may_restart.set()
    await operation.result()
    assert await spawner.request_restart("user:alice", operation.request_id) is operation
    assert len(world.commands) == 1


@pytest.mark.parametrize(("reason", "asked"), [(Reason.DEADLINE_EXCEEDED, 2), (Reason.RATE_LIMITED, 1)])
async def test_a_restart_that_nobody_knows_the_end_of_is_asked_about_again(
    spawner: Any, world: World, reason: Reason, asked: int
) -> None:
    """Whoever repeats the id then reaches the agent with it; a refusal is the answer for good."""
    world.may_restart.set()
    world.lost = AgentError(reason)
    operation = await spawner.request_restart("user:alice", RequestId.new())
    await operation.wait(5)
    again = await spawner.request_restart("user:alice", operation.request_id)
    await again.wait(5)
    assert [command.request_id for command in world.commands] == [operation.request_id] * asked


async def test_restarts_that_end_together_leave_the_loop_free_between_their_commits(world: World) -> None:
    """However many there are, whoever else wants the Hub's loop waits for one commit and not for all of them."""
    spawners = [Spawner(world) for _ in range(5)]
    shared = spawners[0].user.settings["hubwarden"]
    for number, each in enumerate(spawners):
        each.user.id, each.user.settings["hubwarden"] = number, shared
        each.proxy_spec = f"/user/{number}/"
        world.routes[each.proxy_spec] = "http://10.0.0.1:8888"

    async def count_rounds() -> None:
        while True:
            world.rounds += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_rounds())
    operations = [await each.request_restart("user:alice", RequestId.new()) for each in spawners]
    await world.reached.wait()
    world.may_restart.set()
    await asyncio.gather(*(operation.result() for operation in operations))
    counting.cancel()
    assert len(set(world.committed)) == len(world.committed) == 10


async def test_a_start_waits_for_the_users_turn(spawner: Any) -> None:
    """While a reset is under way, for example; too long is 409."""
    turns = spawner.user.settings["hubwarden"].turns
    async with turns.take(1, 1):
        start = asyncio.create_task(spawner.start())
        await asyncio.sleep(0.01)
        assert not start.done()
    assert await start == ("10.0.0.1", 8888)
    async with turns.take(1, 1):
        with pytest.raises(web.HTTPError) as caught:
            await spawner.start()
    assert caught.value.status_code == 409


async def test_a_start_waits_while_the_agent_is_busy(spawner: Any) -> None:
    """The gateway's 409 is tried again, within bounds; any other failure is one."""
    spawner.starts = [BusyError()]
    assert await spawner.start() == ("10.0.0.1", 8888)
    spawner.starts = [ConnectionError()]
    with pytest.raises(ConnectionError):
        await spawner.start()
    spawner.starts = [BusyError() for _ in range(10)]
    with pytest.raises(BusyError):
        await spawner.start()


async def test_a_start_that_started_nothing_is_cleaned_up_without_waiting(spawner: Any) -> None:
    """When a start fails before it reaches Docker's start, the stop that follows is one attempt."""
    spawner.starts = [ConnectionError()]
    with pytest.raises(ConnectionError):
        await spawner.start()
    spawner._stop_pending, spawner.statuses = True, [137]  # noqa: SLF001 - JupyterHub's own state of a stop
    assert await spawner.poll() == 137
    with pytest.raises(ConnectionError):
        await spawner.stop()


async def test_a_pending_stop_asks_docker_by_itself(spawner: Any) -> None:
    """When JupyterHub polls before it stops a server, the answer is "running", so that the mixin's stop decides."""
    spawner._stop_pending, spawner.statuses = True, [137]  # noqa: SLF001 - JupyterHub's own state of a stop
    assert await spawner.poll() is None
    await spawner.stop()
    assert spawner.statuses == []


async def test_a_server_that_is_kept_stays_on_record(spawner: Any) -> None:
    """When the Hub shuts down before a stop, JupyterHub's clean-up leaves the server, its start time and its state."""
    spawner.orm_spawner.started, spawner.pending_stop.started = None, "then"
    spawner.pending_stop.keeps_record = True
    spawner.server = None
    spawner.clear_state()
    assert spawner.server is not None
    assert spawner.orm_spawner.started == "then"
    spawner.pending_stop.keeps_record = False
    spawner.server = None
    assert spawner.server is None


async def test_what_goes_wrong_unforeseen_stops_the_server(
    spawner: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The route may be anybody's by then: it is not given back, and whoever waits is told."""

    async def broken(_command: RestartCommand) -> Restarted:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(world, "restart", broken)
    operation = await spawner.request_restart("user:alice", RequestId.new())
    with pytest.raises(AgentError) as caught:
        await operation.result()
    assert caught.value.reason is Reason.RESTART_FAILED
    assert world.stopped == [""]
    assert world.routes == {}
    assert spawner.pending is None
    assert world.spawners[""].latest_restart is operation  # JupyterHub kept the Spawner
    assert world.spawners[""]._spawn_future.exception() is caught.value  # noqa: SLF001 - JupyterHub's own state of a spawn


async def test_progress_follows_the_restart(spawner: Any, world: World) -> None:
    """In the shape of JupyterHub's spawn progress, up to the end."""
    operation = await restarting(spawner, world)

    async def follow() -> list[Any]:
        return [event async for event in spawner.progress()]

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)
    world.may_restart.set()
    await operation.result()
    events = await following
    assert events[0] == {"progress": 20, "message": "Stopping the server", "phase": "stopping"}
    assert events[-1]["progress"] == 100
