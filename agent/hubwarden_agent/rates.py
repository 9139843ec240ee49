"""How often something may be done: the notation that JupyterHub's operators know from the `limits` library.

Invariants: it is a part of that library's notation, and means the same. A rate that could be read as another one
(several at once, an amount or a span of 0) is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NOTATION = re.compile(r"([1-9][0-9]{0,5}) ?(?:/|per) ?(?:([1-9][0-9]{0,3}) )?(second|minute|hour|day)s?")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `amount` within `seconds`."""

    amount: int
    seconds: int


def parse_rate(text: str) -> Rate:
    """A rate such as `3/hour` or `6 per 10 minutes`.

    Raises:
        ValueError: that is none.
    """
    match = _NOTATION.fullmatch(text)
    if not match:
        raise ValueError(f"not a rate: {text!r}")
    amount, count, unit = match.groups()
    return Rate(int(amount), int(count or 1) * _SECONDS[unit])
