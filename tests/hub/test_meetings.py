"""Everything that can meet: what comes while something else is under way, from one table.

What holds here: the first operation is held in its very middle, at the engine, for as long as the others are tried; an
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
from hub.gate import Gated
from hub.people import Person
from hub.stack import TOKEN, wait_for

OLDEST = jupyterhub.__version__.startswith("4.")
Then = Literal["start", "stop", "restart", "an admin's restart", "the same click", "reset", "rename", "delete the user"]


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


def begin(person: Person, operation: str, request_id: str = "") -> httpx.Response:
    """Do it, and wait for the answer."""
    given = {"X-Request-ID": request_id or str(uuid.uuid4())}
    server, user = f"{person.path}/server", person.hub.client(person.token())
    acts: dict[str, Callable[[], httpx.Response]] = {
        "spawn": lambda: person.operator.post(server),
        "start": lambda: person.operator.post(server),
        "stop": lambda: person.operator.delete(server),
        "restart": lambda: person.restart(user, headers=given),
        "an admin's restart": lambda: person.restart(person.hub.client(f"{TOKEN}-restarter"), headers=given),
        "reset": lambda: person.reset(user, headers=given),
        "rename": lambda: person.operator.patch(server, json={"name": "other"}),
        "delete the user": lambda: person.operator.delete(person.path),
    }
    return acts[operation]()


def made_ready_for(person: Person, operation: str) -> None:
    """Have the server and the home as they are before an operation."""
    if operation == "spawn":
        return
    person.start()
    person.run("echo mine > /home/jovyan/file")
    if operation == "reset":
        person.stop()


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
    made_ready_for(person, under_way)
    first: list[httpx.Response] = []
    later: dict[Meeting, Future[httpx.Response]] = {}
    with ThreadPoolExecutor() as pool:
        with gated.gate.holding(under_way, lambda: first.append(begin(person, under_way, click))):
            for meeting in meetings:
                act, request_id = (under_way, click) if meeting.then == "the same click" else (meeting.then, "")
                answering = pool.submit(begin, person, act, request_id)
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
