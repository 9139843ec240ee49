"""Who may: the plugin's one scope of its own, and by whom it is held unless the operator says otherwise.

Invariants: users hold the scope for themselves only. Without the filter `!user` every user could reset everybody's
home, so `check_held` looks at what really is in the database once the Hub has loaded its roles. Restarting needs
JupyterHub's own scope `servers`, which nothing here touches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jupyterhub import roles
from jupyterhub.scopes import define_custom_scopes

RESET = "custom:hubwarden:reset"
RESET_OWN = f"{RESET}!user"
# Not `delete:servers`: idle-cullers and group assistants hold that, and could wipe homes with it.
RESTART = "servers"
# Not `servers`: every user holds that for their own, and a forgotten server may run on.
FORGET = "admin:servers"

DEFINITIONS: Mapping[str, Mapping[str, str]] = {
    RESET: {"description": "Reset home volumes: see whether one can be reset, and delete everything in it."}
}

Role = dict[str, Any]


def define() -> None:
    """Make the scope known to JupyterHub; handlers are checked against the known ones when they are defined."""
    define_custom_scopes({name: dict(definition) for name, definition in DEFINITIONS.items()})


def with_scope(role_specs: Sequence[Mapping[str, Any]], name: str, scope: str, defaults: Iterable[str]) -> list[Role]:
    """`c.JupyterHub.load_roles` with a scope added to one role.

    An entry that is there is added to (a second one would stop the Hub with "multiply defined").

    Args:
        role_specs: what the operator configured.
        name: the role.
        scope: what it gets beside what it has.
        defaults: the scopes that JupyterHub gives the role; an entry's `scopes` replace these, so they come along
            where there was no entry, or one without scopes.
    """
    merged = [dict(spec) for spec in role_specs]
    spec = next((spec for spec in merged if spec.get("name") == name), None)
    if spec is None:
        spec = {"name": name}
        merged.append(spec)
    scopes = list(spec.get("scopes", defaults))
    spec["scopes"] = scopes if scope in scopes else [*scopes, scope]
    return merged


def grant_to_admins() -> None:
    """Have JupyterHub's own admin role include the scope.

    JupyterHub does not give custom scopes to admins, and refuses a redefinition of the role
    (`roles.create_role`: "Cannot override admin role"). A role of our own would have to list its members in the
    configuration, and miss whoever is made an admin later. So the default definition itself is extended. When a future
    JupyterHub stops asking it, `check_held` keeps the Hub from starting.
    """
    original: Callable[[], list[Role]] = roles.get_default_roles

    def get_default_roles() -> list[Role]:
        return with_scope(original(), "admin", RESET, ())

    get_default_roles.__wrapped__ = original  # type: ignore[attr-defined]  # as functools.wraps does
    roles.get_default_roles = get_default_roles


def mistakes_in(held: Mapping[str, Sequence[str]], *, users_reset_own_home: bool, reset_home: bool) -> list[str]:
    """What is wrong with who holds the scope.

    Args:
        held: the scopes of the roles `user` and `admin`, as the Hub has loaded them.
        users_reset_own_home: whether users are meant to hold it for themselves.
        reset_home: whether anybody needs it: homes can be reset.
    """
    mistakes = []
    if RESET in held["user"]:
        mistakes.append(f"the role 'user' holds {RESET} for everybody: write {RESET_OWN}")
    if not reset_home:
        return mistakes
    if users_reset_own_home and RESET_OWN not in held["user"]:
        mistakes.append(f"the role 'user' does not hold {RESET_OWN} (see c.Hubwarden.users_reset_own_home)")
    if RESET not in held["admin"]:
        mistakes.append(f"the role 'admin' does not hold {RESET} (see c.Hubwarden.reset_home)")
    return mistakes
