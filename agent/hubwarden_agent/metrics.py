"""What the agent counts and times, for Prometheus.

Invariants:
- Each label's value comes from a closed set of the agent's (operations, results, reasons): neither a user name nor
  any other text of a request can become one.
- Measuring decides nothing and never fails an operation.

One context manager surrounds each call, at the two edges, and one each request to Docker, in the engine. Anything else
is read when Prometheus asks.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from hubwarden_agent.clock import Clock
from hubwarden_agent.engine.port import EngineError, EngineUnavailable
from hubwarden_agent.errors import Reason, RequestRefused

Warned = Literal["mount_target", "runtime_unknown", "runtime_outdated"]
"""What the agent warns of at its start."""

_OWN_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_DOCKER_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


@dataclass(slots=True)
class CallTimer:
    """One call under way: its operation, as far as that is known, and the seconds that Docker took of it."""

    operation: str
    docker: float = 0.0


_current: ContextVar[CallTimer | None] = ContextVar("call_timer", default=None)
"""A call's work is run in a copy of its context, so its requests to Docker count as its own."""


class Metrics:
    """Every metric, in a registry of its own.

    Attributes:
        registry: what Prometheus is shown.

    Args:
        clock: for durations.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._operations = Counter(
            "hubwarden_operations",
            "Calls answered. result: ok, or refused (with its reason).",
            ("operation", "result", "reason"),
            registry=registry,
        )
        # From 0 on: Prometheus' increase() does not see the step from no sample to the first, and alerts look at these.
        for operation, reason in itertools.product(("restart", "reset", "unknown"), Reason):
            self._operations.labels(operation, "refused", reason.value)
        self._own = Histogram(
            "hubwarden_operation_own_seconds",
            "A call's duration without Docker's share. A repeated request id waits for the first, which counts here.",
            ("operation",),
            buckets=_OWN_BUCKETS,
            registry=registry,
        )
        self._docker = Histogram(
            "hubwarden_operation_docker_seconds",
            "Docker's share of a call's duration.",
            ("operation",),
            buckets=_DOCKER_BUCKETS,
            registry=registry,
        )
        self._in_flight = Gauge("hubwarden_operations_in_flight", "Calls being answered now.", registry=registry)
        self._docker_up = Gauge("hubwarden_docker_up", "Whether Docker answered when last asked.", registry=registry)
        self._certificate_expiry = Gauge(
            "hubwarden_certificate_expiry_timestamp_seconds",
            "When the certificate in use expires; absent without TLS.",
            ("certificate",),
            registry=registry,
        )
        self._certificates_stale = Gauge(
            "hubwarden_certificates_stale",
            "1 while certificate files that changed cannot be used, and older ones are.",
            registry=registry,
        )
        self._resets_left = Gauge(
            "hubwarden_resets_left", "Resets left of limits.resets_total; at 0, all are refused.", registry=registry
        )
        self._warnings = Gauge(
            "hubwarden_warning",
            "1 while the agent's log has a warning: mount_target (below a folder that may be the user's), "
            "runtime_outdated (runc lets containers out), runtime_unknown (runc's version cannot be told).",
            ("warning",),
            registry=registry,
        )
        self._audit_sequence = Gauge(
            "hubwarden_audit_sequence", "The sequence number of the last audit line.", registry=registry
        )

    @contextmanager
    def operation(self, kind: str) -> Iterator[CallTimer]:
        """Measure one call. The body may set what it is more precisely."""
        timer = CallTimer(kind)
        token = _current.set(timer)
        begun = self._clock.monotonic()
        result, reason = "ok", ""
        self._in_flight.inc()
        try:
            yield timer
        except Exception as error:
            result, reason = "refused", _reason(error).value
            raise
        finally:
            self._in_flight.dec()
            _current.reset(token)
            self._operations.labels(timer.operation, result, reason).inc()
            self._docker.labels(timer.operation).observe(timer.docker)
            own = self._clock.monotonic() - begun - timer.docker
            self._own.labels(timer.operation).observe(max(own, 0.0))

    @contextmanager
    def docker(self) -> Iterator[None]:
        """Measure one request to Docker, as part of the call that it belongs to."""
        begun = self._clock.monotonic()
        try:
            yield
            self._docker_up.set(1)
        except EngineError as error:
            self._docker_up.set(0 if isinstance(error, EngineUnavailable) else 1)
            raise
        finally:
            if timer := _current.get():
                timer.docker += self._clock.monotonic() - begun

    def state(self, *, resets_left: Callable[[], float], audit_sequence: Callable[[], float]) -> None:
        """Show these from now on."""
        self._resets_left.set_function(resets_left)
        self._audit_sequence.set_function(audit_sequence)

    def warning(self, warned: Warned, *, standing: bool) -> None:
        """Show from now on whether this warning stands."""
        self._warnings.labels(warned).set(standing)

    def certificates(self, expires: Callable[[], dt.datetime], stale: Callable[[], bool]) -> None:
        """Show the certificate in use from now on: when it expires, and whether newer files cannot be used."""
        # The label only keeps the sample away until now: without TLS there is nothing that could expire.
        self._certificate_expiry.labels("certificate").set_function(lambda: expires().timestamp())
        self._certificates_stale.set_function(lambda: float(stale()))


def _reason(error: Exception) -> Reason:
    """As the edges answer it."""
    return error.reason if isinstance(error, RequestRefused) else Reason.DOCKER_ERROR
