"""Who holds a home decides, over all holders at once: the whole table of states, owners and ages, walked."""

from __future__ import annotations

import datetime as dt
from itertools import combinations_with_replacement, product

import pytest
from hubwarden_agent.config import ResetPolicy
from hubwarden_agent.engine.port import Container, ContainerState
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.names import ContainerId
from hubwarden_agent.operations.reset_checks import Holder, RemovalInProgress, removable

NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
START_TIMEOUT = 300
OLD, YOUNG = (NOW - dt.timedelta(seconds=seconds) for seconds in (START_TIMEOUT, START_TIMEOUT - 1))
RUNNING = {ContainerState.RUNNING, ContainerState.PAUSED, ContainerState.RESTARTING}
Row = tuple[ContainerState, bool, dt.datetime]
ROWS: list[Row] = list(product(ContainerState, [True, False], [OLD, YOUNG]))


def _holder(number: int, row: Row) -> Holder:
    state, own, created = row
    name = f"{'own' if own else 'foreign'}-{number}"
    return Holder(Container(ContainerId(f"{number:064x}"), name, state, created), own)


def _outcome(rows: tuple[Row, ...], *, keep: bool = False) -> tuple[str, tuple[str, ...]]:
    holders = [_holder(number, row) for number, row in enumerate(rows)]
    policy = ResetPolicy("refuse" if keep else "remove", start_timeout=START_TIMEOUT)
    try:
        chosen = removable("home", holders, NOW, policy)
    except RequestRefused as refusal:
        return refusal.reason.value, refusal.detail.holders
    except RemovalInProgress:
        return "removing", ()
    return "remove", tuple(container.name for container in chosen)


def _expected(rows: tuple[Row, ...], *, keep: bool) -> str:
    """DESIGN's order, written once more and differently: the worst row decides."""
    ranks = [_rank(row) for row in rows]
    verdicts = [
        Reason.SERVER_RUNNING,
        Reason.OPERATION_IN_PROGRESS,
        Reason.VOLUME_IN_USE,
        "removing",
        Reason.CONTAINER_KEPT if keep else "remove",
    ]
    return str(verdicts[min(ranks)]) if ranks else "remove"


def _rank(row: Row) -> int:
    state, own, created = row
    if not own:
        return 2
    if state in RUNNING:
        return 0
    if state is ContainerState.CREATED and created > OLD:
        return 1
    return 3 if state is ContainerState.REMOVING else 4


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_every_combination_of_up_to_three_holders(count: int, *, keep: bool) -> None:
    """Own running, then own spawn under way, then anything foreign, then wait, then policy; else the own ones go."""
    for rows in combinations_with_replacement(ROWS, count):
        verdict, _ = _outcome(rows, keep=keep)
        assert verdict == _expected(rows, keep=keep), rows


def test_order_does_not_matter() -> None:
    """The same holders the other way round give the same verdict."""
    for rows in combinations_with_replacement(ROWS, 2):
        assert _outcome(rows)[0] == _outcome(rows[::-1])[0]


def test_only_own_stopped_containers_are_chosen() -> None:
    """Whatever is chosen for removal is own, and exited, dead or created long ago."""
    for row in ROWS:
        verdict, names = _outcome((row,))
        if verdict == "remove":
            assert names == ("own-0",)
            assert row[0] in {ContainerState.EXITED, ContainerState.DEAD, ContainerState.CREATED}


def test_a_refusal_names_whom_it_is_about() -> None:
    """VOLUME_IN_USE names the foreign holders, sorted, and SERVER_RUNNING the own ones."""
    stopped = (ContainerState.EXITED, False, OLD)
    assert _outcome((stopped, (ContainerState.DEAD, True, OLD), stopped))[1] == ("foreign-0", "foreign-2")
    assert _outcome((stopped, (ContainerState.PAUSED, True, OLD)))[1] == ("own-1",)
