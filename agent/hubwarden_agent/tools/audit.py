"""`hubwarden-agent audit`: whether the trail is whole, and what it says.

Invariants: nothing is written, and no lock is taken, so it may run beside an agent that serves. A line is shown
only if it has the hash that it says; what does not fit is said on stderr, never passed over.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hubwarden_agent.audit_chain import ChainError, ChainHead, check_follows, head_of, read
from hubwarden_agent.audit_store import AUDIT_FILE, rotated, whole
from hubwarden_agent.config import Config

_SHOWN = ("time", "sequence", "operation", "phase", "result", "reason", "username", "server_name", "actor", "object")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def anchor(text: str) -> ChainHead:
    """`SEQUENCE:HASH`, as the agent's stdout says it.

    Raises:
        argparse.ArgumentTypeError: it is not.
    """
    match = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", text)
    if not match:
        raise argparse.ArgumentTypeError("must be SEQUENCE:HASH, as in the agent's log")
    return ChainHead(int(match[1]), match[2])


def since(text: str) -> dt.datetime:
    """A moment such as `2026-11-22T08:00` (UTC unless it says otherwise), or an age such as `24h`, `30m` or `7d`.

    Raises:
        argparse.ArgumentTypeError: it is neither.
    """
    if match := re.fullmatch(r"([0-9]{1,4})([mhd])", text):
        return dt.datetime.now(dt.UTC) - dt.timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("must be a date and time, or an age such as 24h") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def verify(path: Path, anchors: Sequence[ChainHead]) -> Iterator[str]:
    """Check every line of every segment, and the anchors. Yields notes on what is as it may be.

    Raises:
        ChainError: with the place of the first line that does not fit, or what an anchor shows.
        OSError: a file cannot be read.
    """
    wanted = {one.sequence: one.hash for one in anchors}
    first, head = 0, None
    for place, line in _lines(path):
        if not line.endswith(b"\n"):
            yield f"{place}: a crash cut this line off; nobody was told that it was written"
            continue
        try:
            fields = read(whole(line))
            if head is None:
                first = fields["sequence"]
                head = ChainHead() if first == 1 else ChainHead(first - 1, fields["previous"])
                _check_anchor(wanted, head)
            check_follows(fields, head)
            head = head_of(fields)
            _check_anchor(wanted, head)
        except ChainError as error:
            raise ChainError(f"{place}: {error}") from error
    head = head or ChainHead()
    for sequence in sorted(wanted.keys() - {0}):
        if sequence > head.sequence:
            raise ChainError(f"the anchor {sequence} is not there: the file was shortened, and ends at {head.sequence}")
        raise ChainError(f"the anchor {sequence} cannot be checked: the oldest line that was kept is {first}")
    if first > 1:
        yield f"begins at {first}: what was before is gone, as by `audit.keep`; an anchor shows whether it is only that"
    yield f"whole from {first} to {head}"


def _check_anchor(wanted: dict[int, str], head: ChainHead) -> None:
    if wanted.pop(head.sequence, head.hash) != head.hash:
        raise ChainError(f"the anchor {head.sequence} has another hash: the file was recomputed")


def show(path: Path, wanted: Callable[[Mapping[str, Any]], bool], complain: Callable[[str], None]) -> Iterator[str]:
    """The lines that are wanted, as JSON as it was written, the oldest first.

    Raises:
        OSError: a file cannot be read.
    """
    for place, line in _lines(path):
        try:
            if wanted(read(whole(line))):
                yield line[:-1].decode()
        except ChainError as error:
            complain(f"{place}: {error}")


def main(arguments: Sequence[str], settings: Config) -> int:
    """Run `audit` over the agent's trail. Returns the exit status."""
    options, path = _parser().parse_args(arguments), settings.state_directory / AUDIT_FILE
    try:
        if options.action == "verify":
            for note in verify(path, options.anchor):
                print(note)  # noqa: T201 - a command line answers so
            return 0
        for line in show(path, _wanted(options), _complain):
            print(line if options.json else _row(json.loads(line)))  # noqa: T201 - a command line answers so
    except (ChainError, OSError) as error:
        _complain(str(error))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hubwarden-agent audit", description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    checking = actions.add_parser("verify", help="name the first line that does not fit, or say that all do")
    checking.add_argument(
        "--anchor", type=anchor, action="append", default=[], metavar="SEQUENCE:HASH", help="what a log collector kept"
    )
    showing = actions.add_parser("show", help="show lines, the oldest first")
    showing.add_argument("--user", help="of this user")
    showing.add_argument("--operation", help="of this operation: reset, restart, or the gateway's")
    showing.add_argument(
        "--since", type=since, help="a date and time (UTC unless it says otherwise), or an age: 24h, 7d"
    )
    showing.add_argument("--json", action="store_true", help="whole lines, as they were written")
    return parser


def _complain(text: str) -> None:
    print(f"hubwarden-agent: {text}", file=sys.stderr)  # noqa: T201 - a command line answers so


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in (*rotated(path), path):
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                yield f"{file.name}, line {number}", line


def _wanted(options: argparse.Namespace) -> Callable[[Mapping[str, Any]], bool]:
    def wanted(fields: Mapping[str, Any]) -> bool:
        return (
            options.user in (None, fields["username"])
            and options.operation in (None, fields["operation"])
            and (options.since is None or dt.datetime.fromisoformat(fields["time"]) >= options.since)
        )

    return wanted


def _row(fields: Mapping[str, Any]) -> str:
    """A line for a person. Control characters are not shown."""
    text = "  ".join(str(fields[name]) or "-" for name in _SHOWN)
    return "".join(character if character.isprintable() else "?" for character in text)
