"""What an operator's tool that changes something has in common with the others: the agent's place, taken for itself.

Invariants: nothing is changed beside an agent that serves, or another tool: the state directory's lock is held for
as long as the body runs, and what is done goes into the agent's own audit.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from getpass import getuser
from typing import TypeVar

from hubwarden_agent.audit import Audit
from hubwarden_agent.audit_store import AUDIT_FILE, AuditStore
from hubwarden_agent.budgets import SlidingWindow
from hubwarden_agent.clock import Clock
from hubwarden_agent.config import Config
from hubwarden_agent.denials import DenialLimiter
from hubwarden_agent.errors import RequestRefused
from hubwarden_agent.names import Username
from hubwarden_agent.rates import parse_rate
from hubwarden_agent.state_lock import locked

Parsed = TypeVar("Parsed")


@contextmanager
def exclusive_audit(settings: Config, clock: Clock) -> Iterator[Audit]:
    """Hold the state directory for the body, and give it the audit to write to.

    Raises:
        AlreadyRunning: an agent or another tool holds it.
        OSError: it, or the audit, is not ours to write.
    """
    kept = settings.audit
    with locked(settings.state_directory):
        segments = AuditStore(settings.state_directory / AUDIT_FILE, kept.max_bytes, kept.keep)
        audit = Audit(segments, clock, DenialLimiter(SlidingWindow(parse_rate("60/minute"), clock)))
        try:
            yield audit
        finally:
            audit.close()


def argument(parse: Callable[[str], Parsed]) -> Callable[[str], Parsed]:
    """A parser of untrusted text as argparse wants it."""

    def parsed(text: str) -> Parsed:
        try:
            return parse(text)
        except RequestRefused as refusal:
            raise argparse.ArgumentTypeError(refusal.message) from refusal

    return parsed


def add_operator(parser: argparse.ArgumentParser) -> None:
    """`--operator`, for the audit's `actor`: in a container, everybody is the same user."""
    parser.add_argument(
        "--operator",
        type=argument(Username),
        default=_this_user(),
        metavar="NAME",
        help="who you are, for the audit (else the name of the user that this runs as)",
    )


def _this_user() -> Username:
    try:
        return Username(getuser())
    except (OSError, KeyError, RequestRefused):  # a uid without a name
        return Username(f"uid {os.getuid()}")


def say(text: str) -> None:
    """A line on stdout, without what could move a terminal's cursor."""
    print(printable(text))  # noqa: T201 - a command line answers so


def complain(text: str) -> None:
    """A line on stderr, likewise."""
    print(f"hubwarden-agent: {printable(text)}", file=sys.stderr)  # noqa: T201 - a command line answers so


def printable(text: str) -> str:
    """A text whose every character can be shown."""
    return "".join(character if character.isprintable() else "?" for character in text)
