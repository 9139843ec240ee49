"""The chain: what is written can be read back, and nothing else can be."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
from hubwarden_agent.audit_chain import ChainError, ChainHead, check_follows, head_of, link, read

FIELDS: dict[str, Any] = {"time": "2026-11-22T12:00:00.000Z", "username": "木村", "duration_ms": None}


def _chain(count: int) -> list[bytes]:
    lines, head = [], ChainHead()
    for _ in range(count):
        line, head = link(FIELDS, head)
        lines.append(line)
    return lines


def test_a_line_says_what_it_was_given_and_its_place() -> None:
    """The fields in their order, the sequence after the time, `previous` and `hash` at the end."""
    line, head = link(FIELDS, ChainHead())
    fields = json.loads(line)
    assert list(fields) == ["time", "sequence", "username", "duration_ms", "previous", "hash"]
    assert (fields["sequence"], fields["previous"], fields["hash"]) == (1, "0" * 64, head.hash)
    assert head_of(read(line[:-1])) == head


def test_the_hash_can_be_recomputed_with_ordinary_tools() -> None:
    """It is the SHA-256 of the line as it stands, without `,"hash":"…"`: jq and sha256sum do that."""
    line, head = link(FIELDS, ChainHead())
    without = re.sub(rb',"hash":"[0-9a-f]{64}"', b"", line).removesuffix(b"\n")
    assert hashlib.sha256(without).hexdigest() == head.hash


def test_each_line_follows_the_one_before() -> None:
    """Sequence and hash go on from one line to the next."""
    head = ChainHead()
    for line in _chain(3):
        fields = read(line[:-1])
        check_follows(fields, head)
        head = head_of(fields)
    assert head.sequence == 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("木村", "alice"),
        ('"sequence":1', '"sequence":2'),
        ('{"time"', '{ "time"'),
        ('"username":"', '"username":"x","username":"'),
        ("木村", "\\u6728\\u6751"),
        ('null,"previous"', 'null,"hash":"","previous"'),
    ],
)
def test_no_change_goes_unseen(old: str, new: str) -> None:
    """Another value, another spelling of the same value, a key twice: not a line that we wrote."""
    line = _chain(1)[0].decode()
    assert old in line
    with pytest.raises(ChainError):
        read(line.replace(old, new).removesuffix("\n").encode())


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]", b'"x"', b"null", b"\xff", b'{"hash":1}', b'{"hash":"x"}', b"[" * 9000]
)
def test_what_is_no_line_is_broken(line: bytes) -> None:
    """Whatever is in the file, reading it raises nothing else."""
    with pytest.raises(ChainError):
        read(line)


def test_a_line_that_is_left_out_is_seen() -> None:
    """By its sequence; and one that took its place, by the hash."""
    first, _, third = _chain(3)
    with pytest.raises(ChainError, match="sequence is 3, after 1"):
        check_follows(read(third[:-1]), head_of(read(first[:-1])))
    with pytest.raises(ChainError, match="does not follow"):
        check_follows(read(third[:-1]), ChainHead(2, "f" * 64))
