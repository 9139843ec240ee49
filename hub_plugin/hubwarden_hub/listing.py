"""A page of JupyterHub's users: searched, filtered, sorted and cut by the database.

Invariants: what is loaded is bounded by the page's size, however many users there are; two pages of one listing
never overlap, because the order is total. Nothing here may write, or look at a user outside the given reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from jupyterhub import orm
from sqlalchemy.orm import Session, selectinload

from hubwarden_hub.reach import Reach

# A server on record runs, starts or stops: JupyterHub's own meaning of "active". Not a subquery for each user:
# JupyterHub has no index for that, and 5,000 users would take seconds.
_HAS_SERVER = orm.User.id.in_(sa.select(orm.Spawner.user_id).where(orm.Spawner.server_id.is_not(None)))
_SORTS = {
    "name": orm.User.name,
    "last_activity": orm.User.last_activity,
    "running": sa.case((_HAS_SERVER, 0), else_=1),
}
SORTS = (*_SORTS, *(f"-{name}" for name in _SORTS))
STATES = {"running": _HAS_SERVER, "stopped": ~_HAS_SERVER}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which page.

    Attributes:
        search: what the name contains; case matters only outside of ASCII on SQLite.
        state: one of `STATES`: any server on record, or none.
        sort: one of `SORTS`; a name breaks ties.
    """

    search: str | None = None
    state: str | None = None
    sort: str = "name"
    offset: int = 0
    limit: int = 50


def page_of(db: Session, reaches: Sequence[Reach], wanted: Wanted) -> tuple[int, list[Any]]:
    """How many users fit, and those of the page, their servers and groups loaded.

    Args:
        db: JupyterHub's session.
        reaches: a user is listed who is in any of them.
        wanted: which page.
    """
    conditions = [sa.or_(*(reach.condition() for reach in reaches))]
    if wanted.search is not None:
        conditions.append(orm.User.name.icontains(wanted.search, autoescape=True))
    if wanted.state is not None:
        conditions.append(STATES[wanted.state])
    total = db.scalar(sa.select(sa.func.count()).select_from(orm.User).where(*conditions))
    column = _SORTS[wanted.sort.removeprefix("-")]
    direction = sa.desc(column) if wanted.sort.startswith("-") else sa.asc(column)
    query = (
        sa.select(orm.User)
        .where(*conditions)
        .order_by(column.is_(None), direction, orm.User.name)  # NULLS LAST is not every database's
        .offset(wanted.offset)
        .limit(wanted.limit)
        .options(selectinload(orm.User._orm_spawners), selectinload(orm.User.groups))  # noqa: SLF001 - orm_spawners is a dict, not a relationship
    )
    return int(total or 0), list(db.scalars(query))
