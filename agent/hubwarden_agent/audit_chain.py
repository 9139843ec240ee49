"""The chain that the audit's lines make: pure, and the same code for writing and for verifying.

Invariants: a line is one JSON object whose last two keys are `previous`, the hash of the line before, and `hash`,
the SHA-256 of the line as it is written without that last key. So a line can neither be changed nor left out without
every later hash changing. What this cannot show by itself is in the threat model: somebody who can rewrite the file
can recompute the chain, and only an anchor that is kept elsewhere shows it.
This file must never open a file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class ChainError(Exception):
    """A line does not fit. The text says how, and never holds the line's own."""


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The last line of a chain; before the first line, sequence 0 and a hash of zeros."""

    sequence: int = 0
    hash: str = "0" * 64

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"


def link(fields: Mapping[str, Any], head: ChainHead) -> tuple[bytes, ChainHead]:
    """The next line of a chain, its end included, and the head that it makes.

    Args:
        fields: begin with `time`; the sequence comes after it.
        head: the line before.
    """
    time, *others = fields.items()
    chained = dict([time, ("sequence", head.sequence + 1), *others, ("previous", head.hash)])
    line, digest = _sealed(chained)
    return line + b"\n", ChainHead(head.sequence + 1, digest)


def read(line: bytes) -> dict[str, Any]:
    """The fields of a line (its end not included) that is whole and has the hash that it says.

    Raises:
        ChainError: it is not, or it is not spelt as we spell it.
    """
    try:
        fields: dict[str, Any] = json.loads(line)
        del fields["hash"]
        sealed, fields["hash"] = _sealed(fields)
        head_of(fields)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ChainError("it is not a line of the audit") from error
    if line != sealed:
        raise ChainError("its hash is not that of what it says")
    return fields


def head_of(fields: Mapping[str, Any]) -> ChainHead:
    """The head that a line makes."""
    return ChainHead(int(fields["sequence"]), fields["hash"])


def check_follows(fields: Mapping[str, Any], head: ChainHead) -> None:
    """Refuse a line that is not the next one.

    Raises:
        ChainError: a line before it is missing, was changed, or was put there.
    """
    if fields["sequence"] != head.sequence + 1:
        raise ChainError(f"its sequence is {fields['sequence']}, after {head.sequence}")
    if fields["previous"] != head.hash:
        raise ChainError("it does not follow the line before it, which was changed")


def _sealed(fields: Mapping[str, Any]) -> tuple[bytes, str]:
    """The line with its hash as the last key, and that hash."""
    line = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    digest = hashlib.sha256(line).hexdigest()
    return line[:-1] + f',"hash":"{digest}"}}'.encode(), digest
