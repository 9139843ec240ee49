"""What the plugin uses of JupyterHub and DockerSpawner beyond their documented interfaces, in one table.

Invariants: `missing` is part of the start check, so a version that lacks one of the names stops the Hub with a sentence
instead of failing in the middle of a restart. `docs/jupyterhub-maintainers.md` says what each is for.
Must not: use any of them.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Mapping
from typing import Any

import jupyterhub
from jupyterhub import orm, roles
from jupyterhub.app import JupyterHub
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.proxy import Proxy
from jupyterhub.spawner import Spawner

OF_JUPYTERHUB: Mapping[Any, tuple[str, ...]] = {
    Spawner: (
        "_log_name",
        "_spawn_future",
        "_spawn_pending",
        "_stop_pending",
        "oauth_client_id",
        "orm_spawner",
        "pending",
        "poll_and_notify",
        "proxy_spec",
        "server",
    ),
    BaseHandler: ("_jupyterhub_user", "_record_activity", "_token_authenticated", "find_user", "parsed_scopes"),
    JupyterHub: ("cleanup", "handlers", "hub_prefix", "template_vars", "tornado_settings"),
    Proxy: ("add_route", "delete_route"),
    orm.User: ("_orm_spawners", "groups", "last_activity"),
    orm.Spawner: ("server_id", "state"),
    orm.Server: ("ip", "port"),
    orm.APIToken: ("client_id", "find"),
    orm.OAuthCode: ("client_id",),
    orm.Role: ("find",),
    roles: ("get_default_roles",),
}
OF_DOCKERSPAWNER = (
    "format_volume_name",
    "get_ip_and_port",
    "mounts",
    "object_id",
    "object_name",
    "start_object",
    "volumes",
)


def missing() -> str | None:
    """A sentence that names JupyterHub's version and all that it lacks; None if that is nothing."""
    lacking = [
        f"{owner.__name__.rpartition('.')[2]}.{name}"
        for owner, names in OF_JUPYTERHUB.items()
        for name in names
        if not (hasattr(owner, name) or _is_set_by(owner, name))
    ]
    if not lacking:
        return None
    return f"JupyterHub {jupyterhub.__version__} is not supported: it lacks {', '.join(lacking)}"


def _is_set_by(owner: Any, name: str) -> bool:
    """Whether a method of a class assigns the attribute: some are only instances'."""
    functions = (inspect.unwrap(value) for value in vars(owner).values() if inspect.isfunction(value))
    steps = (step for function in functions for step in dis.get_instructions(function))
    return any(step.opname == "STORE_ATTR" and step.argval == name for step in steps)
