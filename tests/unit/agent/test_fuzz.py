"""Whole requests of every kind against a recording engine: no call names what is not that user's, no two share a name.

A thousand requests in the ordinary run; `make fuzz` makes 100,000.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

import escapism
import grpc
from google.protobuf import duration_pb2
from hubwarden.v1 import agent_pb2
from hubwarden_agent.engine.port import ContainerState, EngineError, EngineUnavailable, Mount
from hubwarden_agent.errors import Reason
from hubwarden_agent.messages import Received
from hubwarden_agent.service import STATUS_METADATA
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.agent.client import details as read_details
from support.agent.core import SECRET, AgentStage
from support.fakes.edges import TickingClock

REQUESTS = int(os.environ.get("HUBWARDEN_FUZZ_REQUESTS", "1000"))
BATCH = 100
SAFE = set("abcdefghijklmnopqrstuvwxyz0123456789")
TRICKY = ["a", "a-b", "a--b", "A", "a-2db", "john.doe-x", "ünï", "a_home", "a/b", "..", "-", "jupyterlab-a", "a\u200bb"]
IDS = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(2)]
STATES = [ContainerState.RUNNING, ContainerState.EXITED, *ContainerState]
TROUBLE = ["restart_container", "remove_volume", "container", "volume", "remove_container"]
DONE: Counter[str] = Counter()

texts = st.lists(st.text(max_size=80), min_size=4, max_size=12)
"""Hypothesis finds the texts; what is asked with them is dealt from a seed, so that a request costs little to make."""


@dataclass(frozen=True)
class Asked:
    """One request, what fails while it runs, and how much time it has."""

    message: Any
    trouble: str | None
    deadline: float | None


class Dealer:
    """Deals requests: mostly sound ones about users that exist, the rest anything."""

    def __init__(self, seed: int, strange: list[str], users: list[str]) -> None:
        self._random = Random(seed)  # noqa: S311 - dealing, not hiding
        self._strange = strange
        self._users = users

    def deal(self) -> Asked:
        """The next request."""
        message: agent_pb2.RestartContainerRequest | agent_pb2.ResetHomeVolumeRequest
        fields: dict[str, Any] = {
            "username": self._one_of(self._users),
            "actor": self._one_of(["user:a", "service:cull"]),
            "request_id": self._one_of([*IDS, *(self._fresh() for _ in range(4))]),
            "validate_only": self._random.random() < 0.2,
        }
        if self._random.random() < 0.5:
            seconds, nanos = self._random.randrange(-5, 70), self._random.randrange(-1000, 1000)
            fields["stop_timeout"] = duration_pb2.Duration(seconds=seconds, nanos=nanos)
            fields["server_name"] = self._one_of(["", "", "", "lab"])
            fields["expected_container"] = self._one_of(["", "", "", "jupyterlab-a"])
            message = agent_pb2.RestartContainerRequest(**fields)
        else:
            message = agent_pb2.ResetHomeVolumeRequest(**fields, expected_volume=self._one_of(["", "", "", TRICKY[0]]))
        trouble = self._random.choice(TROUBLE) if self._random.random() < 0.1 else None
        return Asked(message, trouble, self._random.choice([30.0] * 8 + [601.0, None]))

    def _fresh(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def _one_of(self, sound: list[str]) -> str:
        return self._random.choice(sound if self._random.random() < 0.9 else self._strange + TRICKY)


class Aborted(Exception):  # noqa: N818 - gRPC's word
    """What the real context raises, too."""


class Context:
    """A call's context: how much time there is, and what was answered."""

    def __init__(self, deadline: float | None) -> None:
        self._deadline = deadline
        self.packed = b""

    def time_remaining(self) -> float | None:
        """See `grpc.ServicerContext`."""
        return self._deadline

    def set_trailing_metadata(self, trailing: Any) -> None:
        """See `grpc.ServicerContext`."""
        self.packed = dict(trailing)[STATUS_METADATA]

    def abort(self, code: grpc.StatusCode, details: str) -> None:
        """See `grpc.ServicerContext`."""
        status, _, _ = read_details(self.packed)
        assert (status.code, status.message) == (code.value[0], details)
        raise Aborted


class World:
    """Users with what is theirs, laid out by rules that are not the agent's code."""

    def __init__(self, users: list[str]) -> None:
        self.stage = AgentStage(clock=TickingClock(), restarts="50/hour", resets="50/hour", resets_total="500/hour")
        self.owners: dict[str, str] = {}
        for number, username in enumerate(users):
            name = "jupyterlab-" + escapism.escape(username, safe=SAFE, escape_char="-").lower()
            volume = f"{name}_home"
            if len(volume.encode()) > 255:
                continue
            assert not {name, volume} & set(self.owners), "two users share a name"
            self.owners |= {name: username, volume: username}
            state = STATES[number % len(STATES)]
            container = self.stage.engine.add_container(name, state, mounts=(Mount("volume", "/home", volume=volume),))
            self.owners[container.id.value] = username
            self.stage.engine.add_volume(volume)

    def ask(self, asked: Asked) -> None:
        """One request; afterwards, whatever the engine was asked to change has to be that user's."""
        engine = self.stage.engine
        before = len(engine.calls)
        if asked.trouble:
            error = EngineUnavailable if len(asked.message.username) % 2 else EngineError
            engine.fail_next = {asked.trouble: error(SECRET)}
        context = Context(asked.deadline)
        is_restart = isinstance(asked.message, agent_pb2.RestartContainerRequest)
        method: Any = self.stage.service.RestartContainer if is_restart else self.stage.service.ResetHomeVolume
        try:
            method(Received(asked.message), context)
        except Aborted:
            check_refusal(context.packed)
        engine.fail_next = {}
        changes = engine.calls[before:]
        assert not (asked.message.validate_only and changes)
        DONE["changes"] += len(changes)
        DONE["requests"] += 1
        assert {self.owners.get(name) for _, name in changes} <= {asked.message.username}, changes


def check_refusal(packed: bytes) -> None:
    """A reason of the table, and nothing of what the engine said."""
    _, info, _ = read_details(packed)
    assert info.reason in set(Reason)
    assert SECRET.encode() not in packed


@settings(
    max_examples=max(REQUESTS // BATCH, 1),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.integers(0, 2**32), texts)
def test_no_request_reaches_what_is_not_its_users(seed: int, strange: list[str]) -> None:
    """Whatever is asked, in whatever order and whatever fails meanwhile."""
    users = list(dict.fromkeys([*TRICKY, *strange]))
    world = World(users)
    dealer = Dealer(seed, strange, users)
    for _ in range(BATCH):
        world.ask(dealer.deal())


def teardown_module() -> None:
    """Say how much was tried."""
    print(f"{DONE['requests']} requests, of which {DONE['changes']} changes reached the engine")  # noqa: T201
