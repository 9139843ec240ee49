"""Batches: what restarts when, what is written, and what a batch of an earlier Hub looks like."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any

import pytest
from hubwarden_hub import batch_store
from hubwarden_hub.batch_store import BatchStore
from hubwarden_hub.batches import Batch, Batches, Item
from hubwarden_hub.batches_api import parsed
from hubwarden_hub.commands import RequestId
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.operations import Operation
from support.waiting.conditions import until

LOG = logging.getLogger()


class World:
    """A Hub's batches, and restarts that end when the test says so."""

    def __init__(self, path: Path, concurrency: int = 2) -> None:
        self.now = 1_000_000.0
        self.running: dict[str, Operation[Any]] = {}
        self.refused: dict[str, Reason] = {}
        self.store = BatchStore(f"sqlite:///{path / 'batches.sqlite'}", LOG)
        self.batches = Batches(self.store, concurrency, LOG, lambda: self.now)

    def restart(self, item: Item, request_id: RequestId) -> Operation[Any]:
        """See `Restart`."""
        name = f"{item.username}/{item.server_name}"
        if name in self.refused:
            raise AgentError(self.refused[name])
        self.running[name] = Operation(request_id)
        return self.running[name]

    async def begin(self, *names: str, minutes: float = 0) -> Batch:
        """A batch of these servers."""
        items = [Item(*name.split("/")) for name in names]
        return await self.batches.begin(str(RequestId.new()), "user:ops", items, minutes, self.restart)

    async def finish(self, *names: str) -> None:
        """End restarts, once they have begun."""
        for name in names:
            await until(lambda name=name: name in self.running, name)  # type: ignore[misc]  # a default binds the name
            self.running.pop(name).succeed("done")


async def ended(batch: Batch) -> dict[str, Any]:
    """The batch at its end."""
    await until(lambda: batch.has_ended)
    return batch.described()


async def test_a_few_users_at_a_time_and_one_server_each(tmp_path: Path) -> None:
    """When a batch runs, no more users' servers restart than allowed, and each user's one after the other."""
    world = World(tmp_path)
    batch = await world.begin("a/", "a/lab", "b/", "c/")
    await until(lambda: len(world.running) == 2)
    assert set(world.running) == {"a/", "b/"}
    assert batch.described()["counts"] == {"running": 2, "waiting": 2}
    await world.finish("b/", "c/", "a/", "a/lab")
    described = await ended(batch)
    assert (described["state"], described["counts"]) == ("done", {"done": 4})


async def test_a_refused_restart_fails_alone(tmp_path: Path) -> None:
    """When one server cannot be restarted, its reason is in the batch, and the others are restarted."""
    world = World(tmp_path)
    world.refused["a/"] = Reason.NOT_ALLOWED
    batch = await world.begin("a/", "b/")
    await world.finish("b/")
    described = await ended(batch)
    assert described["counts"] == {"failed": 1, "done": 1}
    assert [server["reason"] for server in described["servers"]] == ["NOT_ALLOWED", None]


async def test_a_stopped_batch_begins_nothing_more(tmp_path: Path) -> None:
    """When a batch is stopped, what runs goes on to its end, and the rest is skipped."""
    world = World(tmp_path, concurrency=1)
    batch = await world.begin("a/", "a/lab", "b/")
    await until(lambda: world.running)
    world.batches.stop(batch, "user:ops")
    await world.finish("a/")
    described = await ended(batch)
    assert (described["state"], described["counts"]) == ("stopped", {"done": 1, "skipped": 2})


async def test_an_announced_batch_waits_and_can_be_stopped(tmp_path: Path) -> None:
    """When a batch is announced, its users can see when, nothing restarts before that, and stopping it ends it."""
    world = World(tmp_path)
    batch = await world.begin("a/", minutes=5)
    assert world.batches.announced_to("a") == batch.described()["begins_at"] == "1970-01-12T13:51:40+00:00"
    assert world.batches.announced_to("b") is None
    world.batches.stop(batch, "user:ops")
    described = await ended(batch)
    assert (described["state"], world.running, world.batches.announced_to("a")) == ("stopped", {}, None)


async def test_the_next_hub_has_it_as_interrupted(tmp_path: Path) -> None:
    """When the Hub ends in the middle of a batch, the next one reports what was done and what was not."""
    world = World(tmp_path, concurrency=1)
    batch = await world.begin("a/", "b/", "c/")
    await world.finish("a/")
    await until(lambda: "b/" in world.running)
    await asyncio.sleep(0)
    successor = World(tmp_path)
    await until(lambda: world.batches.get(batch.batch_id))
    await world.store.load(batch.batch_id)  # what was being written is written now
    described = await successor.batches.described(batch.batch_id)
    assert described is not None
    assert described["state"] == "interrupted"
    assert [server["state"] for server in described["servers"]] == ["done", "interrupted", "interrupted"]
    assert described["counts"] == {"done": 1, "interrupted": 2}
    assert successor.batches.get(batch.batch_id) is None


async def test_changes_are_told_to_the_end(tmp_path: Path) -> None:
    """When somebody follows a batch, the last change is its end."""
    world = World(tmp_path)
    batch = await world.begin("a/")
    told = asyncio.ensure_future(_states(batch))
    await world.finish("a/")
    assert (await told)[-1] == "done"


async def _states(batch: Batch) -> list[str]:
    return [described["state"] async for described in batch.changes()]


async def test_a_batch_that_cannot_be_written_does_not_begin(tmp_path: Path) -> None:
    """When the database cannot be written, nothing is restarted."""
    world = World(tmp_path / "missing")
    with pytest.raises(AgentError):
        await world.begin("a/")
    assert world.running == {}


async def test_a_database_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the database does not answer, neither a new batch nor a question about one waits for long."""
    monkeypatch.setattr(batch_store, "_PATIENCE", 0.01)
    hangs = threading.Event()
    world = World(tmp_path)
    monkeypatch.setattr(world.store, "_save", lambda _batch: hangs.wait(30))
    monkeypatch.setattr(world.store, "_load", lambda _batch_id: hangs.wait(30))
    with pytest.raises(AgentError):
        await world.begin("a/")
    with pytest.raises(asyncio.TimeoutError):
        await world.batches.described("nobody's")
    hangs.set()
    assert world.running == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"servers": [], "operation": "restart"}',
        b'{"servers": [{"user": "a"}], "operation": "reset"}',
        b'{"servers": [{"user": "a"}, {"user": "a", "server": ""}], "operation": "restart"}',
        b'{"servers": [{"user": 1}], "operation": "restart"}',
        b'{"servers": [{"user": "a", "x": 1}], "operation": "restart"}',
        b'{"servers": [{"user": "a"}], "operation": "restart", "announce_minutes": -1}',
        b'{"servers": [{"user": "a"}], "operation": "restart", "announce_minutes": NaN}',
        b'{"servers": [{"user": "a"}], "operation": "restart", "announce_minutes": true}',
        b'{"servers": [{"user": "a"}], "operation": "restart", "more": 1}',
        b'{"servers": "a", "operation": "restart"}',
    ],
)
def test_any_other_body_is_refused(body: bytes) -> None:
    """When a body is not exactly what is described, nothing is done."""
    with pytest.raises(AgentError) as caught:
        parsed(body)
    assert caught.value.reason is Reason.INVALID_REQUEST


def test_a_body_is_understood() -> None:
    """When the server's name is left out, it is the default server."""
    items, minutes = parsed(
        b'{"servers": [{"user": "a"}, {"user": "a", "server": "lab"}], "operation": "restart", "announce_minutes": 5}'
    )
    assert (items, minutes) == ([Item("a", ""), Item("a", "lab")], 5)
