"""Budgets of an earlier process of the agent: every intent in the audit is one charge.

Invariants: a charge that was given back has no intent, so it is not counted. Operations that the audit cannot date
(the time of day was changed) are counted as if they were recent.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hubwarden_agent.audit import AuditRecord
from hubwarden_agent.budgets import SlidingWindow

OLD_RECORDS = 1000
"""Reading ends after this many records in a row that are too old. A clock that was wrong for a while leaves fewer."""


@dataclass(frozen=True, slots=True)
class Charge:
    """A restart or a reset that began `age` seconds ago, as far as the time of day can tell."""

    operation: str
    username: str
    age: float


def charges(history: Iterable[AuditRecord], now: dt.datetime, seconds: float) -> Sequence[Charge]:
    """The charges of the last `seconds`, the oldest first.

    Args:
        history: the newest first.
        now: the time of day.
        seconds: the longest window of any budget.
    """
    found, old = list[Charge](), 0
    for past in history:
        age = (now - past.time).total_seconds()
        old = old + 1 if age > seconds else 0
        if old > OLD_RECORDS:
            break
        if past.phase == "intent" and past.entry.operation in {"restart", "reset"}:
            found.append(Charge(past.entry.operation, past.entry.username, age))
    return found[::-1]


def restore_budgets(
    charged: Sequence[Charge], restarts: SlidingWindow, resets: SlidingWindow, resets_total: SlidingWindow
) -> None:
    """Charge each budget for what was done before this process was started.

    Args:
        charged: the oldest first.
        restarts: a user's restarts.
        resets: a user's resets.
        resets_total: all users' resets, under the key "".
    """
    restarts.restore((one.username, one.age) for one in charged if one.operation == "restart")
    resets.restore((one.username, one.age) for one in charged if one.operation == "reset")
    resets_total.restore(("", one.age) for one in charged if one.operation == "reset")
