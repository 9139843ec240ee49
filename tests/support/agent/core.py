"""The agent's core over a fake engine, a clock that stands still and an audit in memory, and commands to give it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from hubwarden_agent.app import DENIALS_LOGGED, home_content
from hubwarden_agent.authorization import SocketAuthorizer
from hubwarden_agent.budgets import SlidingWindow
from hubwarden_agent.config import ResetPolicy
from hubwarden_agent.denials import DenialLimiter
from hubwarden_agent.errors import Reason
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.metrics import Metrics
from hubwarden_agent.names import Actor, Names, RequestId, ServerName, Templates, Username
from hubwarden_agent.operations.operation_registry import OperationRegistry, OperationUnderWay
from hubwarden_agent.operations.requests import ResetRequest, RestartRequest
from hubwarden_agent.operations.reset import ResetService, unknown_size
from hubwarden_agent.operations.restart import RestartService
from hubwarden_agent.operations.volume_removal import Removal
from hubwarden_agent.rates import parse_rate
from hubwarden_agent.service import AgentService, Bounds
from hubwarden_agent.work_pool import WorkPool
from support.fakes.edges import FakeClock, MemoryAudit
from support.fakes.engine import FakeEngine

Result = TypeVar("Result")
ALICE = Username("alice")
CONTAINER = "jupyterlab-alice"
HOME = "jupyterlab-alice_home"
SECRET = "SECRET-FROM-DOCKER"
"""What the fake engine puts into its errors: text that no client and no audit line may ever hold."""


@dataclass
class AgentStage:
    """Every part of the core, as `app` puts them together, with everything injected a fake."""

    policy: ResetPolicy = field(default_factory=ResetPolicy)
    templates: Templates = field(default_factory=Templates)
    restarts: str = "6/10 minutes"
    resets: str = "3/hour"
    resets_total: str = "60/hour"
    threads: int = 64
    engine: Any = field(default_factory=FakeEngine)
    clock: Any = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.audit = MemoryAudit()
        self.metrics = Metrics(self.clock)
        self.locks = UserLocks()
        self.names = Names(self.templates)
        self.registry = OperationRegistry(self.locks, self.clock)
        self.restart_budget = SlidingWindow(parse_rate(self.restarts), self.clock)
        self.user_budget = SlidingWindow(parse_rate(self.resets), self.clock)
        self.total_budget = SlidingWindow(parse_rate(self.resets_total), self.clock, Reason.RESET_BUDGET_SPENT)
        self.restarter = RestartService(
            self.engine, self.names, self.registry, self.locks, self.audit, self.restart_budget, self.clock
        )
        self.home = home_content(self.engine, self.names, self.policy, self.clock)
        self.resetter = ResetService(
            Removal(self.engine, self.names, self.policy, self.clock),
            self.registry,
            self.locks,
            self.audit,
            self.user_budget,
            self.total_budget,
            self.home.backups if self.home else None,
            self.home.sizes.of if self.home else unknown_size,
        )
        self.logged = DenialLimiter(SlidingWindow(parse_rate(DENIALS_LOGGED), self.clock))
        self.service = AgentService(
            self.restarter,
            self.resetter,
            Bounds(60, 600),
            self.metrics,
            SocketAuthorizer(),
            self.logged,
            WorkPool(self.threads, "work"),
        )

    @property
    def touched(self) -> list[tuple[str, str]]:
        """What the engine was asked to change, in order."""
        calls: list[tuple[str, str]] = self.engine.calls
        return calls


def request_id() -> RequestId:
    """An id that nobody used."""
    return RequestId(str(uuid.uuid4()))


def restart_command(
    username: str = "alice",
    server_name: str = "",
    *,
    identifier: RequestId | None = None,
    validate_only: bool = False,
    expected_container: str = "",
    stop_timeout: int = 10,
) -> RestartRequest:
    """A restart as the service would make it."""
    return RestartRequest(
        client="unix",
        actor=Actor("user:alice"),
        request_id=None if validate_only else identifier or request_id(),
        username=Username(username),
        server_name=ServerName(server_name),
        expected_container=expected_container,
        stop_timeout=stop_timeout,
    )


def reset_command(
    username: str = "alice",
    *,
    identifier: RequestId | None = None,
    validate_only: bool = False,
    expected_volume: str = "",
) -> ResetRequest:
    """A reset as the service would make it."""
    return ResetRequest(
        client="unix",
        actor=Actor("user:alice"),
        request_id=None if validate_only else identifier or request_id(),
        username=Username(username),
        expected_volume=expected_volume,
    )


def awaited(call: Callable[[], Result]) -> Result:
    """What a call returns, or the outcome of the operation under way that it repeats: as `AgentService` waits."""
    try:
        return call()
    except OperationUnderWay as other:
        return cast("Result", other.wait(30))
