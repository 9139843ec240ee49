"""Whole requests of every kind against a recording engine: no call names what is not that user's, no two share a name.

A thousand requests in the ordinary run; `make fuzz` makes 100,000.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

import escapism
import grpc
from agent_stage import SECRET, AgentStage
from fake_engine import Mount
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2
from hubwarden.v1 import agent_pb2
from hubwarden_agent.engine.port import ContainerState, EngineError, EngineUnavailable
from hubwarden_agent.errors import Reason
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

REQUESTS = int(os.environ.get("HUBWARDEN_FUZZ_REQUESTS", "1000"))
BATCH = 20
SAFE = set("abcdefghijklmnopqrstuvwxyz0123456789")
TRICKY = ["a", "a-b", "a--b", "A", "a-2db", "john.doe-x", "ünï", "a_home", "a/b", "..", "-", "jupyterlab-a", "a\u200bb"]
IDS = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(6)]

DONE: Counter[str] = Counter()

usernames = st.sampled_from(TRICKY) | st.text(max_size=80)
request_ids = st.sampled_from(IDS) | st.uuids(version=4).map(str) | st.text(max_size=40)
actors = st.sampled_from(["user:a", "service:cull", "", "root"]) | st.text(max_size=20).map(lambda name: f"user:{name}")
times = st.none() | st.builds(
    duration_pb2.Duration, seconds=st.integers(-5, 90), nanos=st.integers(-999_999_999, 999_999_999)
)
trouble = st.sampled_from(
    [None] * 6 + ["restart_container", "remove_volume", "container", "volume", "remove_container"]
)


@dataclass(frozen=True)
class Asked:
    """One request, what fails while it runs, and how much time it has."""

    message: Any
    trouble: str | None
    deadline: float | None


requests = st.builds(
    Asked,
    st.builds(
        agent_pb2.RestartContainerRequest,
        username=usernames,
        server_name=st.sampled_from(["", "", "lab", "a--b"]) | st.text(max_size=20),
        actor=actors,
        request_id=request_ids,
        validate_only=st.booleans(),
        expected_container=st.sampled_from(["", "", "jupyterlab-a"]) | st.text(max_size=20),
        stop_timeout=times,
    )
    | st.builds(
        agent_pb2.ResetHomeVolumeRequest,
        username=usernames,
        actor=actors,
        request_id=request_ids,
        validate_only=st.booleans(),
        expected_volume=st.sampled_from(["", "", "jupyterlab-a_home"]) | st.text(max_size=20),
    ),
    trouble,
    st.sampled_from([30.0, 30.0, 30.0, 600.0, 601.0, None]),
)


class Aborted(Exception):  # noqa: N818 - gRPC's word
    """What the real context raises, too."""


class Context:
    """A call's context: how much time there is, and what was answered."""

    def __init__(self, deadline: float | None) -> None:
        self._deadline = deadline
        self.status = status_pb2.Status()

    def time_remaining(self) -> float | None:
        """See `grpc.aio.ServicerContext`."""
        return self._deadline

    async def abort(self, code: grpc.StatusCode, details: str, trailing: Any) -> None:
        """See `grpc.aio.ServicerContext`."""
        self.status = status_pb2.Status.FromString(dict(trailing)["grpc-status-details-bin"])
        assert (self.status.code, self.status.message) == (code.value[0], details)
        raise Aborted


class World:
    """Users with what is theirs, laid out by rules that are not the agent's code."""

    def __init__(self, users: list[str]) -> None:
        self.stage = AgentStage(restarts="9/hour", resets="9/hour")
        self.owners: dict[str, str] = {}
        for number, username in enumerate(users):
            name = "jupyterlab-" + escapism.escape(username, safe=SAFE, escape_char="-").lower()
            volume = f"{name}_home"
            if len(volume.encode()) > 255:
                continue
            assert not {name, volume} & set(self.owners), "two users share a name"
            self.owners |= {name: username, volume: username}
            state = list(ContainerState)[number % len(ContainerState)]
            container = self.stage.engine.add_container(name, state, mounts=(Mount("volume", "/home", volume=volume),))
            self.owners[container.id.value] = username
            self.stage.engine.add_volume(volume)

    async def ask(self, asked: Asked) -> None:
        """One request; afterwards, whatever the engine was asked to change has to be that user's."""
        engine = self.stage.engine
        before = len(engine.calls)
        if asked.trouble:
            error = EngineUnavailable if len(asked.message.username) % 2 else EngineError
            engine.fail_next = {asked.trouble: error(SECRET)}
        context = Context(asked.deadline)
        is_restart = isinstance(asked.message, agent_pb2.RestartContainerRequest)
        method = self.stage.service.RestartContainer if is_restart else self.stage.service.ResetHomeVolume
        try:
            await method(asked.message, context)
        except Aborted:
            check_refusal(context.status)
        engine.fail_next = {}
        changes = engine.calls[before:]
        assert not (asked.message.validate_only and changes)
        DONE["changes"] += len(changes)
        DONE["requests"] += 1
        assert {self.owners.get(name) for _, name in changes} <= {asked.message.username}, changes


def check_refusal(status: status_pb2.Status) -> None:
    """A reason of the table, and nothing of what the engine said."""
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason in set(Reason)
    assert SECRET.encode() not in status.SerializeToString()


@settings(
    max_examples=max(REQUESTS // BATCH, 1),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(usernames, max_size=6, unique=True), st.lists(requests, min_size=BATCH, max_size=BATCH))
def test_no_request_reaches_what_is_not_its_users(others: list[str], batch: list[Asked]) -> None:
    """Whatever is asked, in whatever order and whatever fails meanwhile."""

    async def ask_all() -> None:
        users = list(dict.fromkeys([*others, *(asked.message.username for asked in batch[::2])]))
        world = World(users)
        for asked in batch:
            await world.ask(asked)

    asyncio.run(ask_all())


def teardown_module() -> None:
    """Say how much was tried."""
    print(f"{DONE['requests']} requests, of which {DONE['changes']} changes reached the engine")  # noqa: T201
