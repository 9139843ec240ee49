"""Structured logs: one JSON object a line on stderr, each with the request id of the operation that it belongs to.

The audit's anchors go to stdout, so that a collector can keep them apart from everything else.

Invariants: this is where what Docker said ends up. It is for operators; nothing from here goes to a client.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Set where an operation begins; its tasks and its questions to Docker inherit it."""


@contextmanager
def request(identifier: str) -> Iterator[None]:
    """What is logged in the body belongs to this request."""
    token = request_id.set(identifier)
    try:
        yield
    finally:
        request_id.reset(token)


anchors = logging.getLogger("hubwarden_agent.audit.anchors")
"""Where each segment of the audit ends."""

_PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """A record, and whatever was passed as `extra`, as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        time = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": time.replace("+00:00", "Z"), "level": record.levelname.lower()}
        line["logger"] = record.name
        line["message"] = record.getMessage()
        if identifier := request_id.get():
            line["request_id"] = identifier
        line |= {key: value for key, value in vars(record).items() if key not in _PLAIN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure() -> None:
    """Send every log record of this process to stderr as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    to_stdout = logging.StreamHandler(sys.stdout)
    to_stdout.setFormatter(JsonFormatter())
    anchors.handlers = [to_stdout]
    anchors.propagate = False
