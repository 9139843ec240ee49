"""JupyterHub's users, Spawners, database and spawn in the test's own process, for tests of the mixin.

Only Docker, the agent and the proxy's table of routes are scripted. `User`, `Spawner`, DockerSpawner, the ORM and the
handler's spawn are JupyterHub's and DockerSpawner's own, so that a change in them shows.

Invariants: a server that runs was spawned by JupyterHub and answers HTTP requests at a real port.
Must not: repeat anything that JupyterHub or DockerSpawner does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from dockerspawner import DockerSpawner
from hubwarden_hub import marker
from hubwarden_hub.batch_store import BatchStore
from hubwarden_hub.batches import Batches
from hubwarden_hub.commands import Home, RequestId, ResetCommand, RestartCommand, Restarted
from hubwarden_hub.history import History
from hubwarden_hub.operation_queue import OperationQueue
from hubwarden_hub.operations import Turns
from hubwarden_hub.plugin import Plugin
from hubwarden_hub.records import Deed, End, Records
from hubwarden_hub.reset import Resets
from hubwarden_hub.settings import Hubwarden
from hubwarden_hub.spawner import RestartableSpawnerMixin
from hubwarden_hub.stops import Stops
from jupyterhub import orm, roles
from jupyterhub.auth import Authenticator
from jupyterhub.handlers import BaseHandler
from jupyterhub.objects import Hub
from jupyterhub.proxy import Proxy
from jupyterhub.user import UserDict
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest, RequestStartLine
from tornado.netutil import bind_sockets
from tornado.web import Application, ErrorHandler, RequestHandler

LOG = logging.getLogger("test")
BEFORE = Restarted("jupyterlab-alice", "id", datetime(2026, 1, 1, tzinfo=UTC))
TURN_WAIT = 0.5


@dataclass
class ScriptedDocker:
    """Docker's answers about one container, which runs.

    Attributes:
        address: where the container's port is published.
        faults: what the next calls of a method raise.
        answering: while it is not set, an answer is worked out but not given.
        called: the methods, in order.
    """

    address: tuple[str, int]
    running: bool = True
    faults: dict[str, list[Exception]] = field(default_factory=dict)
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    called: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.answering.set()

    async def __call__(self, method: str) -> Any:
        """See `DockerSpawner.docker`."""
        self.called.append(method)
        answer = self._answer(method)
        await self.answering.wait()
        if faults := self.faults.get(method):
            raise faults.pop(0)
        return answer

    def _answer(self, method: str) -> Any:
        if method in {"start", "stop"}:
            self.running = method == "start"
        state = {"Running": self.running, "ExitCode": 137, "Error": "", "FinishedAt": ""}
        ip, port = self.address
        answers = {
            "inspect_container": {"Id": "id", "State": state, "Config": {"Env": []}},
            "port": [{"HostIp": ip, "HostPort": str(port)}],
        }
        return answers.get(method)


class Spawner(RestartableSpawnerMixin, DockerSpawner):  # type: ignore[misc]  # DockerSpawner is not typed
    """The mixin on DockerSpawner, with a scripted Docker."""

    async def docker(self, method: str, *_args: Any, **_options: Any) -> Any:
        return await self.user.settings["docker"](method)


class Routes(Proxy):  # type: ignore[misc]  # JupyterHub is not typed
    """A proxy whose routes are kept in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: dict[str, str] = {}
        self.deleted: list[str] = []

    async def add_route(self, routespec: str, target: str, data: dict[str, str]) -> None:
        assert routespec == f"/user/{data['user']}/"
        assert data["server_name"] == ""
        self.targets[routespec] = target

    async def delete_route(self, routespec: str) -> None:
        del self.targets[routespec]
        self.deleted.append(routespec)


@dataclass
class ScriptedAgent:
    """An agent whose restarts end when the test says so, and that notes what the Hub tells its operation listeners.

    Attributes:
        may_restart: while it is not set, a restart is under way.
        fault: what a restart raises.
        check_fault: what a check raises.
        is_lost: whether the restart happens although that is raised.
        present: the container as it is now; each restart is a second later.
        moves_to: where the container is after a restart.
    """

    docker: ScriptedDocker
    moves_to: tuple[str, int]
    may_restart: asyncio.Event = field(default_factory=asyncio.Event)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    fault: Exception | None = None
    check_fault: Exception | None = None
    is_lost: bool = False
    present: Restarted = BEFORE
    answers: dict[RequestId, Restarted] = field(default_factory=dict)
    commands: list[RestartCommand] = field(default_factory=list)
    told: list[tuple[str, RequestId]] = field(default_factory=list)

    async def check_restart(self, command: RestartCommand) -> Restarted:
        assert command
        if self.check_fault:
            raise self.check_fault
        return self.present

    async def restart(self, command: RestartCommand) -> Restarted:
        self.commands.append(command)
        self.reached.set()
        await self.may_restart.wait()
        if self.fault and not self.is_lost:
            raise self.fault
        if command.request_id not in self.answers:
            self.present = replace(self.present, started_at=self.present.started_at + timedelta(seconds=1))
            self.answers[command.request_id] = self.present
        self.docker.address = self.moves_to
        if self.fault:
            raise self.fault
        return self.answers[command.request_id]

    async def check_reset(self, command: ResetCommand) -> Home:
        raise NotImplementedError

    async def reset(self, command: ResetCommand) -> Home:
        raise NotImplementedError

    def begun(self, deed: Deed) -> None:
        self.told.append(("begun", deed.request_id))

    def ended(self, deed: Deed, end: End) -> None:
        assert end
        self.told.append(("ended", deed.request_id))


def new_database() -> Any:
    """A session of an empty database with what a Hub puts into it when it starts."""
    db = orm.new_session_factory("sqlite:///:memory:")()
    for role in roles.get_default_roles():
        roles.create_role(db, role)
    db.add(orm.OAuthClient(identifier="jupyterhub"))
    db.commit()
    return db


class InProcessHub:
    """A Hub's users, as its handlers and its plugin have them.

    Args:
        agent: does the restarts.
        db: of an earlier Hub; its servers are found on record.
    """

    def __init__(self, agent: ScriptedAgent, db: Any = None) -> None:
        self.agent, self.docker, self.proxy = agent, agent.docker, Routes()
        self.db = db or new_database()
        settings, turns, records = Hubwarden(turn_wait=TURN_WAIT), Turns(), Records([agent], LOG)
        queue = OperationQueue(settings.max_operations, records, LOG)
        resets = Resets(agent, turns, TURN_WAIT, LOG, queue)
        batches = Batches(BatchStore("sqlite://", LOG), 5, LOG)
        history = History("sqlite://", 1, LOG)
        self.plugin = Plugin(settings, agent, turns, queue, resets, records, history, Stops(TURN_WAIT), batches)
        self.settings = {
            "hubwarden": self.plugin,
            "docker": self.docker,
            "hub": Hub(),
            "proxy": self.proxy,
            "spawner_class": Spawner,
            "authenticator": Authenticator(),
            "eventlog": SimpleNamespace(emit=lambda **_event: None),
            "internal_ssl": False,
            "log": LOG,
            "db": self.db,
        }
        self.users = self.settings["users"] = UserDict(lambda: self.db, self.settings)

    def user(self, name: str = "alice") -> Any:
        """JupyterHub's `User`, which is made at the first look."""
        if self.db.query(orm.User).filter_by(name=name).first() is None:
            self.db.add(orm_user := orm.User(name=name))
            self.db.commit()
            roles.assign_default_roles(self.db, orm_user)
        return self.users[name]

    async def spawn(self, name: str = "alice") -> Any:
        """Spawn as JupyterHub's handlers do; the Spawner, whose server is ready."""
        connection = SimpleNamespace(set_close_callback=lambda _callback: None)
        line = RequestStartLine("POST", "/", "HTTP/1.0")
        request = HTTPServerRequest(start_line=line, connection=connection)  # type: ignore[arg-type]  # never answered
        user = self.user(name)
        await BaseHandler(Application(**self.settings), request).spawn_single_user(user)
        return user.spawner

    def next_hub(self) -> InProcessHub:
        """The Hub that is started after this one was killed."""
        self.db.rollback()
        return InProcessHub(self.agent, self.db)

    def note(self, name: str = "alice") -> marker.Note | None:
        """The note about a pending operation in the default server's row."""
        self.db.rollback()
        return marker.read(self.user(name).orm_spawners[""].state or {})


class _Answers(RequestHandler):
    def get(self) -> None:
        self.finish({})


@asynccontextmanager
async def server_addresses() -> AsyncIterator[list[tuple[str, int]]]:
    """Two addresses at which users' servers answer while the body runs, under the path that JupyterHub asks."""
    server = HTTPServer(Application([("/user/[^/]+/api", _Answers), (".*", ErrorHandler, {"status_code": 503})]))
    sockets = [bind_sockets(0, "127.0.0.1")[0] for _ in range(2)]
    server.add_sockets(sockets)
    yield [listening.getsockname() for listening in sockets]
    server.stop()
    await server.close_all_connections()
