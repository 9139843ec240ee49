"""The history's database: what is written, found, forgotten, and what a broken one does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hubwarden_hub.commands import RequestId
from hubwarden_hub.errors import Reason
from hubwarden_hub.history import FAILURES, Filter, History
from hubwarden_hub.records import Deed, End, Kind

LOG = logging.getLogger("test-history")


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    """One that keeps three entries."""
    history = History(f"sqlite:///{tmp_path}/history.sqlite", 3, LOG, lambda: 1000.0)
    yield history
    history.close()


def note(history: History, username: str, kind: Kind = Kind.RESTART, reason: Reason | None = None) -> Deed:
    """One finished operation."""
    deed = Deed(kind, username, "", "user:root", RequestId.new())
    history.begun(deed)
    history.ended(deed, End(reason, 1.5))
    return deed


async def test_an_operation_is_found_with_who_what_when_and_result(history: History) -> None:
    """With the request id of the agent's audit; before its end it has no result."""
    done = note(history, "alice", reason=Reason.TOO_BUSY)
    running = Deed(Kind.RESET, "bob", "", "user:bob", RequestId.new())
    history.begun(running)
    newest, oldest = await history.entries(Filter(), 10)
    assert (newest["username"], newest["result"], newest["request_id"]) == ("bob", None, str(running.request_id))
    assert oldest == {
        "id": 1,
        "kind": "restart",
        "username": "alice",
        "server_name": "",
        "actor": "user:root",
        "request_id": str(done.request_id),
        "began_at": 1000.0,
        "seconds": 1.5,
        "result": "failed",
        "reason": "TOO_BUSY",
    }


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(username="alice"), ["alice"]),
        (Filter(kind="reset"), ["bob"]),
        (Filter(result="failed"), ["carol"]),
        (Filter(actor="user:nobody"), []),
        (Filter(before=3), ["bob", "alice"]),
        (Filter(since=1000.0), ["carol", "bob", "alice"]),
        (Filter(since=1000.5), []),
        (Filter(until=1000.0), []),
        (Filter(until=1000.5), ["carol", "bob", "alice"]),
        (Filter(username="' OR 1=1 --"), []),
    ],
)
async def test_filters(history: History, wanted: Filter, found: list[str]) -> None:
    """Each field narrows what is found; newest first."""
    note(history, "alice")
    note(history, "bob", Kind.RESET)
    note(history, "carol", reason=Reason.DOCKER_ERROR)
    assert [entry["username"] for entry in await history.entries(wanted, 10)] == found


async def test_the_newest_of_each_of_some_users(history: History) -> None:
    """One entry for each who has any; nobody else's."""
    for username in ("alice", "bob", "alice"):
        note(history, username)
    latest = await history.latest(["alice", "carol"])
    assert [(entry["username"], entry["id"]) for entry in latest] == [("alice", 3)]
    assert await history.latest([]) == []


async def test_only_so_many_are_kept(history: History) -> None:
    """When there are too many records, the oldest go, over all users; a limit takes the newest."""
    for number in range(5):
        note(history, f"user{number}")
    assert [entry["username"] for entry in await history.entries(Filter(), 10)] == ["user4", "user3", "user2"]
    assert [entry["username"] for entry in await history.entries(Filter(), 1)] == ["user4"]


def test_a_broken_database_is_said_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Neither telling it nor closing it raises; the log and the metric have the loss."""
    before = next(iter(FAILURES.collect())).samples[0].value
    history = History("sqlite:////no/such/folder/history.sqlite", 3, LOG)
    note(history, "alice")
    history.close()
    assert next(iter(FAILURES.collect())).samples[0].value > before
    assert "an entry of the history is lost" in caplog.text


async def test_an_id_that_is_used_twice_falsifies_nobodys_entry(tmp_path: Path) -> None:
    """Not the one of an operation under way, nor one that a killed Hub left open."""
    url, request_id = f"sqlite:///{tmp_path}/history.sqlite", RequestId.new()
    deeds = [
        Deed(kind, username, server_name, "user:root", request_id)
        for kind, username, server_name in (
            (Kind.RESET, "bob", ""),
            (Kind.RESET, "alice", ""),
            (Kind.RESTART, "alice", ""),
            (Kind.RESTART, "alice", "lab"),
        )
    ]
    killed = History(url, 9, LOG)
    killed.begun(deeds[0])
    killed.close()
    history = History(url, 9, LOG)
    for deed in deeds[1:]:
        history.begun(deed)
    history.ended(deeds[1], End(Reason.RATE_LIMITED, 1.0))
    found = [(entry["kind"], entry["username"], entry["result"]) for entry in await history.entries(Filter(), 10)]
    assert found == [
        ("restart", "alice", None),
        ("restart", "alice", None),
        ("reset", "alice", "failed"),
        ("reset", "bob", None),
    ]
    history.close()


async def test_an_operation_that_a_killed_hub_saw_begin_is_ended_by_the_next(tmp_path: Path) -> None:
    """Under the same id it is the same entry; one that has ended is another."""
    deed, url = Deed(Kind.RESET, "bob", "", "user:bob", RequestId.new()), f"sqlite:///{tmp_path}/history.sqlite"
    killed = History(url, 3, LOG)
    killed.begun(deed)
    killed.close()
    history = History(url, 3, LOG)
    for _ in range(2):
        history.begun(deed)
        history.ended(deed, End(None, 1.0))
    assert [(entry["id"], entry["result"]) for entry in await history.entries(Filter(), 10)] == [
        (2, "done"),
        (1, "done"),
    ]
    history.close()
