"""The gRPC reference says what the one table of reasons says."""

from __future__ import annotations

import re
from pathlib import Path

from hubwarden_agent.errors import ERROR_TABLE, GATEWAY_REASONS

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "grpc-api.md"
ROW = re.compile(r"^\| `([A-Z_]+)` \| `([A-Z_]+)` \| (\S.*) \|$", re.MULTILINE)


def test_the_reference_lists_every_reason_with_its_code_and_an_advice() -> None:
    """A reason or a code that the reference has and the table has not, or the reverse, is found."""
    listed = {reason: code for reason, code, _advice in ROW.findall(REFERENCE.read_text())}
    table = {reason: code for reason, (code, _sentence) in ERROR_TABLE.items() if reason not in GATEWAY_REASONS}
    assert listed == {reason.value: code.name for reason, code in table.items()}
