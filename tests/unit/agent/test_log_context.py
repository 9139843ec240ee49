"""Logs are one JSON object a line with the request id of the operation, whatever the text holds."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hubwarden_agent import logging_setup


def _line(message: str, *arguments: object, **extra: Any) -> str:
    logger = logging.getLogger("hubwarden_agent.test")
    record = logger.makeRecord("hubwarden_agent.test", logging.INFO, __file__, 1, message, arguments, None, extra=extra)
    return logging_setup.JsonFormatter().format(record)


def test_a_line_is_one_object() -> None:
    """Time with milliseconds in UTC, level, logger, the message with its arguments, and what came as extra."""
    line = json.loads(_line("hello %s", "world", cause="none"))
    assert line.pop("time").endswith("Z")
    assert line == {"level": "info", "logger": "hubwarden_agent.test", "message": "hello world", "cause": "none"}


@pytest.mark.parametrize("text", ["two\nlines", 'a "quote"', "\x1b[31m", "\x00", "木村"])
def test_no_text_makes_a_second_line(text: str) -> None:
    """Line ends and control characters in a message are escaped, so nobody can forge a line."""
    line = _line(text)
    assert line.isprintable()
    assert json.loads(line)["message"] == text


def test_the_request_id_is_in_every_line_of_its_operation() -> None:
    """Set once, it is in each line; without an operation there is none."""
    assert "request_id" not in json.loads(_line("before"))
    token = logging_setup.request_id.set("the-id")
    try:
        assert json.loads(_line("within"))["request_id"] == "the-id"
    finally:
        logging_setup.request_id.reset(token)


def test_an_exception_stays_in_its_line() -> None:
    """A traceback is a field of the line, not lines of its own."""
    error = RuntimeError("what docker said")
    record = logging.makeLogRecord({"msg": "failed", "exc_info": (type(error), error, None)})
    line = logging_setup.JsonFormatter().format(record)
    assert "\n" not in line
    assert "what docker said" in json.loads(line)["exception"]
