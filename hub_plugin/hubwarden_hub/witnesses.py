"""Who is told of operations: the Hub's log, the Hub's metrics, and JupyterHub's event log.

Invariants: a log line and an event name the user, the actor and the request id; a metric names none of them, so
that the number of its series is bounded by the tables of kinds and reasons. Nothing here waits or decides.
"""

from __future__ import annotations

from logging import Logger
from pathlib import Path
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from hubwarden_hub.records import Deed, End

EVENT = "urn:hubwarden:hub:operation"
EVENT_VERSION = "1"
EVENT_SCHEMA = Path(__file__).parent / "operation_event.yaml"

# In prometheus_client's default registry, which JupyterHub shows on /hub/metrics.
OPERATIONS = Counter("hubwarden_hub_operations", "Operations that ended, by outcome.", ["kind", "result", "reason"])
SECONDS = Histogram(
    "hubwarden_hub_operation_seconds",
    "From an operation's acceptance by the Hub to its outcome.",
    ["kind", "result"],
    buckets=(0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600),
)
IN_FLIGHT = Gauge("hubwarden_hub_operations_in_flight", "Operations without an outcome yet.", ["kind"])


class LogWitness:
    """One line at the begin, one at the end.

    Args:
        log: the Hub's; a logger of another name would not reach its output.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log

    def begun(self, deed: Deed) -> None:
        """See `Witness`."""
        self._log.info("Hubwarden: %s begins (%s)", _in_words(deed), deed.request_id)

    def ended(self, deed: Deed, end: End) -> None:
        """See `Witness`."""
        if end.reason is None:
            self._log.info("Hubwarden: %s done in %.1f s (%s)", _in_words(deed), end.seconds, deed.request_id)
        else:
            self._log.warning("Hubwarden: %s failed: %s (%s)", _in_words(deed), end.reason, deed.request_id)


def _in_words(deed: Deed) -> str:
    server = f" server {deed.server_name!r}" if deed.server_name else ""
    return f"{deed.kind} of {deed.username!r}{server} for {deed.actor!r}"


class MetricsWitness:
    """Counts, in flight and ended."""

    def begun(self, deed: Deed) -> None:
        """See `Witness`."""
        IN_FLIGHT.labels(deed.kind.value).inc()

    def ended(self, deed: Deed, end: End) -> None:
        """See `Witness`."""
        IN_FLIGHT.labels(deed.kind.value).dec()
        OPERATIONS.labels(deed.kind.value, end.result, end.reason.value if end.reason else "").inc()
        SECONDS.labels(deed.kind.value, end.result).observe(end.seconds)


class EventWitness:
    """Emits one event a finished operation, like JupyterHub's own for starts and stops.

    Args:
        eventlog: JupyterHub's: `jupyter_events.EventLogger`, or that of jupyter_telemetry before JupyterHub 5.
    """

    def __init__(self, eventlog: Any) -> None:
        self._eventlog = eventlog
        self._emits = hasattr(eventlog, "emit")
        if self._emits:
            eventlog.register_event_schema(EVENT_SCHEMA)
        else:
            eventlog.register_schema_file(str(EVENT_SCHEMA))

    def begun(self, deed: Deed) -> None:
        """See `Witness`. An event says what happened, so there is none yet."""

    def ended(self, deed: Deed, end: End) -> None:
        """See `Witness`."""
        data = {
            "action": deed.kind.value,
            "username": deed.username,
            "servername": deed.server_name,
            "actor": deed.actor,
            "request_id": str(deed.request_id),
            "result": end.result,
            "reason": end.reason.value if end.reason else "",
            "seconds": end.seconds,
        }
        if self._emits:
            self._eventlog.emit(schema_id=EVENT, data=data)
        else:
            self._eventlog.record_event(EVENT, EVENT_VERSION, data)
