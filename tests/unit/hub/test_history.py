"""The history's database: what is written, found, forgotten, and what a broken one does."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
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


async def test_no_attribute_is_written_by_two_threads(tmp_path: Path) -> None:
    """When the Hub notes, ends and reads operations, each attribute has one thread that writes it."""
    writers: dict[str, set[int]] = {}

    class Observed(History):
        def __setattr__(self, name: str, value: object) -> None:
            writers.setdefault(name, set()).add(threading.get_ident())
            super().__setattr__(name, value)

    history = Observed(f"sqlite:///{tmp_path}/history.sqlite", 3, LOG)
    writers.clear()
    for number in range(20):
        note(history, f"user{number}")
        await history.entries(Filter(), 1)
    history.close()
    assert {name for name, threads in writers.items() if len(threads) > 1} == set()


async def test_questions_to_a_database_that_hangs_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the thread is stuck, a question is given up after its time, and too many at once are refused."""
    monkeypatch.setattr("hubwarden_hub.history._READ_SECONDS", 0.05)
    history, hangs = History(f"sqlite:///{tmp_path}/history.sqlite", 3, LOG), threading.Event()
    history._thread.submit(hangs.wait, 30)  # noqa: SLF001 - as a locked database would
    questions = [history.entries(Filter(), 1) for _ in range(30)]
    answers = await asyncio.gather(*questions, return_exceptions=True)
    assert {type(answer) for answer in answers} == {sa.exc.TimeoutError}
    assert [str(answer) for answer in answers].count("too many questions wait for the history") == 10
    hangs.set()
    monkeypatch.undo()
    assert await history.entries(Filter(), 1) == []
    history.close()


def test_entries_that_wait_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When the thread is stuck, entries beyond the bound are lost, and after it is free there is room again."""
    monkeypatch.setattr("hubwarden_hub.history._WAITING", 4)
    history, hangs = History(f"sqlite:///{tmp_path}/history.sqlite", 9, LOG), threading.Event()
    history._thread.submit(hangs.wait, 30)  # noqa: SLF001 - as a locked database would
    for number in range(4):
        note(history, f"user{number}")
    assert caplog.text.count("too many entries wait for the database") == 2
    hangs.set()
    history._thread.submit(lambda: None).result()  # noqa: SLF001 - all before it are written
    note(history, "user4")
    assert caplog.text.count("too many entries wait for the database") == 2
    history.close()
