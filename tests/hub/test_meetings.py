"""Everything that can meet: what comes while something else is under way, from one table.

Invariants: the first operation is held in its very middle, at the engine, for as long as the others are tried; an
answer that does not wait comes while it is held. Afterwards nothing is half done.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import httpx
import jupyterhub
import pytest
from support.jupyterhub.gate import Gated
from support.jupyterhub.people import Person
from support.jupyterhub.stack import TOKEN, Agent, Hub
from support.waiting.conditions import wait_for

OLDEST = jupyterhub.__version__.startswith("4.")
Then = Literal[
    "start",
    "stop",
    "restart",
    "an admin's restart",
    "the same click",
    "reset",
    "rename",
    "delete the server",
    "delete the user",
]


@dataclass(frozen=True)
class Meeting:
    """What comes while something is under way, and what it gets.

    Attributes:
        waits: it is answered only after what is under way has ended.
        reason: the answer's, if it is one of ours.
    """

    then: Then
    status: int
    reason: str | None = None
    waits: bool = False


@dataclass(frozen=True)
class Ends:
    """How things are in the end: the Hub's view, and the operations in the history."""

    state: Literal["ready", "stopped", "deleted"]
    history: tuple[str, ...]


# JupyterHub's own words: 400 for what it refuses while something is pending, 405 for a method that a version lacks.
TABLE: dict[tuple[str, Ends], tuple[Meeting, ...]] = {
    ("spawn", Ends("ready", ("restart",))): (
        Meeting("start", 202),
        Meeting("reset", 400, "SERVER_RUNNING"),
        Meeting("restart", 200, waits=True),
    ),
    ("stop", Ends("stopped", ())): (
        Meeting("start", 400),
        Meeting("restart", 409, "OPERATION_IN_PROGRESS"),
        Meeting("reset", 400, "SERVER_RUNNING"),
    ),
    ("restart", Ends("ready", ("restart",))): (
        Meeting("start", 400),
        Meeting("stop", 400 if OLDEST else 409),
        Meeting("restart", 409, "OPERATION_IN_PROGRESS"),
        Meeting("an admin's restart", 409, "OPERATION_IN_PROGRESS"),
        Meeting("reset", 400, "SERVER_RUNNING"),
        Meeting("rename", 400 if jupyterhub.__version__.startswith("6.") else 405),
        Meeting("delete the user", 400),
        Meeting("the same click", 200, waits=True),
    ),
    ("reset", Ends("ready", ("reset",))): (
        Meeting("stop", 204),
        Meeting("restart", 400, "SERVER_NOT_RUNNING"),
        Meeting("reset", 409, "OPERATION_IN_PROGRESS"),
        Meeting("the same click", 200, waits=True),
        Meeting("start", 201, waits=True),
    ),
    ("reset", Ends("deleted", ())): (Meeting("delete the user", 204),),
}


# The home is the default server's as well: while a named one restarts it is in use. JupyterHub has no better word
# for deleting a user one of whose named servers is active, restarted or not.
NAMED: tuple[Meeting, ...] = (
    Meeting("start", 400),
    Meeting("stop", 400 if OLDEST else 409),
    Meeting("restart", 409, "OPERATION_IN_PROGRESS"),
    Meeting("reset", 400, "SERVER_RUNNING"),
    Meeting("delete the server", 400 if OLDEST else 409),
    Meeting("delete the user", 500),
)

# Without the agent the Hub still knows what it knows; without the Hub its proxy answers.
AWAY: dict[tuple[Literal["agent", "hub"], Literal["running", "stopped"]], tuple[Meeting, ...]] = {
    ("agent", "running"): (
        Meeting("restart", 503, "AGENT_UNREACHABLE"),
        Meeting("an admin's restart", 503, "AGENT_UNREACHABLE"),
        Meeting("reset", 400, "SERVER_RUNNING"),
    ),
    ("agent", "stopped"): (
        Meeting("restart", 400, "SERVER_NOT_RUNNING"),
        Meeting("reset", 503, "AGENT_UNREACHABLE"),
    ),
    ("hub", "running"): tuple(Meeting(then, 503) for then in ("restart", "an admin's restart", "reset", "stop")),
    ("hub", "stopped"): tuple(Meeting(then, 503) for then in ("restart", "reset", "start")),
}


def begin(
    person: Person, user: httpx.Client, operation: str, request_id: str = "", server_name: str = ""
) -> httpx.Response:
    """Do it, the user's own acts with the user's client; while the answer is only "accepted", ask again."""
    given, operator = {"X-Request-ID": request_id or str(uuid.uuid4())}, person.operator
    server = f"{person.path}/servers/{server_name}" if server_name else f"{person.path}/server"
    restart = f"{person.path}/servers/{server_name}/restart-server" if server_name else f"{person.path}/restart-server"
    acts: dict[str, Callable[[], httpx.Response]] = {
        "spawn": lambda: operator.post(server),
        "start": lambda: operator.post(server),
        "stop": lambda: operator.delete(server),
        "restart": lambda: user.post(restart, headers=given),
        "an admin's restart": lambda: person.hub.client(f"{TOKEN}-restarter").post(restart, headers=given),
        "reset": lambda: person.reset(user, headers=given),
        "rename": lambda: operator.patch(server, json={"name": "other"}),
        "delete the server": lambda: operator.request("DELETE", server, json={"remove": True}),
        "delete the user": lambda: operator.delete(person.path),
    }
    while True:
        answer = acts[operation]()
        if answer.status_code != httpx.codes.ACCEPTED or operation in {"spawn", "start", "stop"}:
            return answer


def made_ready_for(person: Person, operation: str) -> None:
    """Have the server and the home as they are before an operation."""
    if operation == "spawn":
        return
    person.start()
    person.run("echo mine > /home/jovyan/file")
    if operation == "reset":
        person.stop()


@pytest.mark.every_hub
@pytest.mark.parametrize(("situation", "meetings"), TABLE.items(), ids=lambda part: "-".join(map(str, part))[:20])
def test_what_comes_meanwhile(
    gated: Gated,
    make_person: Callable[..., Person],
    situation: tuple[str, Ends],
    meetings: tuple[Meeting, ...],
) -> None:
    """Each gets what the table says, and when; then the state, the route, the home and the history are as it says."""
    under_way, ends = situation
    person, click = make_person(gated.hub), str(uuid.uuid4())
    user = person.client()
    made_ready_for(person, under_way)
    first: list[httpx.Response] = []
    later: dict[Meeting, Future[httpx.Response]] = {}
    with ThreadPoolExecutor() as pool:
        with gated.gate.holding(under_way, lambda: first.append(begin(person, user, under_way, click))):
            for meeting in meetings:
                act, request_id = (under_way, click) if meeting.then == "the same click" else (meeting.then, "")
                answering = pool.submit(begin, person, user, act, request_id)
                if meeting.waits:
                    later[meeting] = answering
                else:
                    check(meeting, answering.result(60))
            assert not any(answering.done() for answering in later.values())
        for meeting, answering in later.items():
            check(meeting, answering.result(90))
            if meeting.then == "the same click":
                assert answering.result().json() == first[0].json()
    if ends.state != "deleted":
        entries = person.operator.get(f"{person.path}/hubwarden-history").json()["entries"]
        assert [(entry["kind"], entry["result"]) for entry in entries] == [(kind, "done") for kind in ends.history]
    check_end(person, under_way, ends)


@pytest.mark.every_hub
def test_what_comes_while_a_named_server_restarts(gated: Gated, make_person: Callable[..., Person]) -> None:
    """Each gets what the table says, the restart goes on, and the default server's home is as it was."""
    person = make_person(gated.hub)
    user = person.client()
    person.bench.forget_container(f"{person.container_name}--lab")
    assert person.operator.post(f"{person.path}/servers/lab").is_success
    wait_for(lambda: (person.server("lab") or {}).get("ready"), "the named server")
    first: list[httpx.Response] = []
    with gated.gate.holding("restart", lambda: first.append(begin(person, user, "restart", server_name="lab"))):
        for meeting in NAMED:
            check(meeting, begin(person, user, meeting.then, server_name="lab"))
    assert [answer.status_code for answer in first] == [httpx.codes.OK]
    wait_for(lambda: (person.server("lab") or {}).get("ready"), "the named server")
    entries = person.operator.get(f"{person.path}/hubwarden-history").json()["entries"]
    assert [(entry["kind"], entry["server_name"], entry["result"]) for entry in entries] == [("restart", "lab", "done")]


@pytest.mark.parametrize(("situation", "meetings"), AWAY.items(), ids=lambda part: "-".join(map(str, part))[:20])
def test_what_comes_while_somebody_is_away(
    own_agent: Agent,
    make_hub: Callable[..., Hub],
    make_person: Callable[..., Person],
    situation: tuple[str, str],
    meetings: tuple[Meeting, ...],
) -> None:
    """Each gets what the table says, and nothing of it happens: neither meanwhile nor after the return."""
    away, state = situation
    hub = make_hub(own_agent)
    hub.start()
    person = make_person(hub)
    made_ready_for(person, "restart" if state == "running" else "reset")
    user, started = person.client(), person.started_at()
    (own_agent.stop if away == "agent" else hub.kill)()
    for meeting in meetings:
        check(meeting, begin(person, user, meeting.then))
    (own_agent.start if away == "agent" else hub.start)()
    wait_for(person.is_ready if state == "running" else lambda: person.server() is None, f"a server that is {state}")
    assert person.started_at() == started
    assert person.bench.client.volumes.list(filters={"name": person.volume("home")})
    entries = person.operator.get(f"{person.path}/hubwarden-history").json()["entries"]
    assert {entry["result"] for entry in entries} <= {"failed"}
    if state == "running":
        assert person.visit().json()["user"] == person.name


def check(meeting: Meeting, answer: httpx.Response) -> None:
    """Whether an answer is the table's."""
    reason = (
        answer.json().get("reason") if answer.headers.get("Content-Type", "").startswith("application/json") else None
    )
    assert (answer.status_code, reason) == (meeting.status, meeting.reason), (meeting, answer.text)


def check_end(person: Person, under_way: str, ends: Ends) -> None:
    """Whether things are as the table says in the end."""
    if ends.state == "deleted":
        wait_for(lambda: not person.bench.client.volumes.list(filters={"name": person.volume("home")}), "the reset")
        assert person.operator.get(person.path).status_code == httpx.codes.NOT_FOUND
        return
    if ends.state == "stopped":
        wait_for(lambda: person.server() is None, "the Hub shows it stopped")
        assert person.container().status == "exited"
        return
    wait_for(person.is_ready, "the server")
    assert person.visit().json() == {"user": person.name, "host": person.container().short_id}
    if under_way != "spawn":
        assert person.run("ls -A /home/jovyan") == ("" if under_way == "reset" else "file\n")
