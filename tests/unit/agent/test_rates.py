"""Rates: what the `limits` library makes of them, or a refusal."""

from __future__ import annotations

import itertools

import limits
import pytest
from hubwarden_agent.rates import Rate, parse_rate

AMOUNTS, PERS, COUNTS = ("1", "6", "999999"), ("/", " / ", "per", " per "), ("", "1 ", "10 ", "9999 ")
UNITS = [unit + plural for unit in ("second", "minute", "hour", "day") for plural in ("", "s")]


@pytest.mark.parametrize("text", ["3/hour", "6/10 minutes", "1 per second", "100 per 2 days"])
def test_what_operators_write(text: str) -> None:
    """When a rate is written in a documented form, it is parsed."""
    assert parse_rate(text).amount == int(text.split("/", maxsplit=1)[0].split(" ", maxsplit=1)[0])


def test_a_rate_is_what_the_library_makes_of_it() -> None:
    """Every notation that is taken means the same there."""
    taken = 0
    for parts in itertools.product(AMOUNTS, PERS, COUNTS, UNITS):
        try:
            rate = parse_rate("".join(parts))
        except ValueError:
            continue
        theirs = limits.parse("".join(parts))
        assert rate == Rate(theirs.amount, theirs.get_expiry())
        taken += 1
    assert taken > 100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "hour",
        "0/hour",
        "3/0 hours",
        "03/hour",
        "-3/hour",
        "3.5/hour",
        "3/hour;1/day",
        "3/hour, 1/day",
        "3/month",
        "3/year",
        "3/h",
        "3/hours ",
        " 3/hour",
        "3/hour\n",
        "3/HOUR",
        "٣/hour",
        "1000000/hour",
        "3/10000 hours",
    ],
)
def test_no_rate(text: str) -> None:
    """What could be read in two ways, allows nothing, or is longer than any budget."""
    with pytest.raises(ValueError, match="not a rate"):
        parse_rate(text)
