"""Whom somebody may act on: JupyterHub's parsed scopes as a value, for one scope.

Invariants: the same rule as JupyterHub's own filters (everybody, users, groups, single servers), once as a
condition of a query and once for a user who is at hand. It says what a list shows; each action is still decided by
`needs_scope` on its own endpoint. Nothing here may widen what JupyterHub has parsed.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from jupyterhub import orm
from jupyterhub.scopes import Scope, get_scopes_for, needs_scope, parse_scopes

from hubwarden_hub import scopes
from hubwarden_hub.settings import Hubwarden


@dataclass(frozen=True, slots=True)
class Reach:
    """Where one scope is held.

    Attributes:
        everybody: without a filter; the other fields are empty then.
        users: names in `!user=` filters.
        groups: names in `!group=` filters.
        servers: `USER/SERVER` in `!server=` filters.
    """

    everybody: bool = False
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    servers: frozenset[str] = frozenset()

    @classmethod
    def of(cls, parsed_scopes: Mapping[str, Any], scope: str) -> Reach:
        """Read it from a handler's `parsed_scopes`."""
        held = parsed_scopes.get(scope, {})
        if held is Scope.ALL:
            return cls(everybody=True)
        users, groups, servers = (frozenset(held.get(kind, ())) for kind in ("user", "group", "server"))
        return cls(users=users, groups=groups, servers=servers)

    @property
    def _owners(self) -> frozenset[str]:
        return frozenset(server.partition("/")[0] for server in self.servers)

    def goes_beyond(self, username: str | None) -> bool:
        """Whether it reaches anybody but this user. An empty group counts: it may get members."""
        return self.everybody or bool(self.groups) or bool((self.users | self._owners) - {username})

    def includes_user(self, username: str, groups: AbstractSet[str]) -> bool:
        """Whether it reaches all that is this user's."""
        return self.everybody or username in self.users or bool(self.groups & groups)

    def includes_server(self, username: str, groups: AbstractSet[str], server_name: str) -> bool:
        """Whether it reaches one server of this user's."""
        return self.includes_user(username, groups) or f"{username}/{server_name}" in self.servers

    def condition(self) -> sa.ColumnElement[bool]:
        """Which rows of JupyterHub's users it reaches, or owns a server that it reaches."""
        if self.everybody:
            return sa.true()
        return sa.or_(
            orm.User.name.in_(self.users | self._owners),
            orm.User.groups.any(orm.Group.name.in_(self.groups)),
        )


@dataclass(frozen=True, slots=True)
class Asker:
    """The author of a request, for checking later whether they still may: with the same token, if there was one."""

    db: Any
    table: Any
    key: int

    @classmethod
    def of(cls, handler: Any) -> Asker:
        """Of a request that has been authorized."""
        token, asker = handler.get_token(), handler.current_user
        if token is not None:
            return cls(handler.db, orm.APIToken, token.id)
        return cls(handler.db, type(getattr(asker, "orm_user", asker)), asker.id)

    def may(self, scope: str, username: str, server_name: str | None = None) -> bool:
        """Whether they hold a scope for a server now; for a home, without a server's name."""
        holder, user = self.db.query(self.table).filter_by(id=self.key).first(), orm.User.find(self.db, username)
        if holder is None or user is None:
            return False
        if self.table is orm.APIToken and holder.expires_in is not None and holder.expires_in <= 0:
            return False
        reach, groups = Reach.of(parse_scopes(get_scopes_for(holder)), scope), {group.name for group in user.groups}
        if server_name is None:
            return reach.includes_user(username, groups)
        return reach.includes_server(username, groups, server_name)


def reaches_others(parsed_scopes: Mapping[str, Any], username: str | None) -> bool:
    """Whether somebody may restart a server or reset a home that is not their own.

    Args:
        parsed_scopes: of whoever asks.
        username: theirs; None for a service, which has nothing of its own.
    """
    return any(Reach.of(parsed_scopes, scope).goes_beyond(username) for scope in (scopes.RESTART, scopes.RESET))


class Offers:
    """What the templates of all pages may ask: which of Hubwarden's parts to show, and to whom.

    Args:
        settings: which features are on.
    """

    def __init__(self, settings: Hubwarden) -> None:
        self._settings = settings

    def page(self, parsed_scopes: Mapping[str, Any], user: Any) -> bool:
        """Whether to link to the page "Servers and homes"."""
        return user is not None and reaches_others(parsed_scopes, user.name)

    def restart(self, parsed_scopes: Mapping[str, Any], user: Any) -> bool:
        """Whether somebody may restart their own servers."""
        return self._settings.restart_server and _reaches(parsed_scopes, scopes.RESTART, user)

    def reset(self, parsed_scopes: Mapping[str, Any], user: Any) -> bool:
        """Whether somebody may reset their own home."""
        return self._settings.reset_home and _reaches(parsed_scopes, scopes.RESET, user)


def _reaches(parsed_scopes: Mapping[str, Any], scope: str, user: Any) -> bool:
    return Reach.of(parsed_scopes, scope).includes_user(user.name, {group.name for group in user.groups})


def needs_scope_somewhere(*names: str) -> Any:
    """`needs_scope` for an endpoint that filters by itself, which JupyterHub 5 and 6 want to be told; 4 assumes it."""
    told = {"post_filter": True} if "post_filter" in inspect.signature(needs_scope).parameters else {}
    return needs_scope(*names, **told)
