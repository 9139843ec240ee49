"""`configure(c)`, the one line at the end of jupyterhub_config.py.

Invariants: what the operator configured before is kept and added to. Whether all of it took effect is checked when
the Hub starts (see `startcheck`). This file must never override an operator's setting other than the Spawner class,
which it extends.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyterhub.app import JupyterHub
from jupyterhub.handlers.static import CacheControlStaticFilesHandler
from traitlets.config import Config, MultipleInstanceError
from traitlets.utils.importstring import import_item

from hubwarden_hub import scopes, startcheck
from hubwarden_hub.batches_api import BatchesHandler, BatchHandler, BatchProgressHandler
from hubwarden_hub.history_api import EverybodysHistoryHandler, UserHistoryHandler
from hubwarden_hub.home_api import HomeVolumeHandler, ResetHomeVolumeHandler
from hubwarden_hub.listing_api import ServersAndHomesPage, UsersHandler
from hubwarden_hub.progress_api import ResetProgressHandler, RestartProgressHandler
from hubwarden_hub.server_api import ForgetServerHandler, RestartServerHandler
from hubwarden_hub.settings import configured
from hubwarden_hub.spawner import RestartableSpawnerMixin
from hubwarden_hub.state_api import StateHandler, WaitingOperationHandler

TEMPLATES = Path(__file__).parent / "templates"

HANDLERS: list[tuple[Any, ...]] = [
    (r"/api/users/([^/]+)/restart-server", RestartServerHandler),
    (r"/api/users/([^/]+)/servers/([^/]+)/restart-server", RestartServerHandler),
    (r"/api/users/([^/]+)/forget-server", ForgetServerHandler),
    (r"/api/users/([^/]+)/servers/([^/]+)/forget-server", ForgetServerHandler),
    (r"/api/users/([^/]+)/home-volume", HomeVolumeHandler),
    (r"/api/users/([^/]+)/reset-home-volume", ResetHomeVolumeHandler),
    (r"/api/users/([^/]+)/restart-server/progress", RestartProgressHandler),
    (r"/api/users/([^/]+)/servers/([^/]+)/restart-server/progress", RestartProgressHandler),
    (r"/api/users/([^/]+)/reset-home-volume/progress", ResetProgressHandler),
    (r"/api/users/([^/]+)/hubwarden-state", StateHandler),
    (r"/api/users/([^/]+)/waiting-operations/([^/]+)", WaitingOperationHandler),
    (r"/api/users/([^/]+)/hubwarden-history", UserHistoryHandler),
    (r"/api/hubwarden/history", EverybodysHistoryHandler),
    (r"/api/hubwarden/batches", BatchesHandler),
    (r"/api/hubwarden/batches/([^/]+)", BatchHandler),
    (r"/api/hubwarden/batches/([^/]+)/progress", BatchProgressHandler),
    (r"/api/hubwarden/users", UsersHandler),
    (r"/servers-and-homes", ServersAndHomesPage),
    (r"/hubwarden/static/(.*)", CacheControlStaticFilesHandler, {"path": str(TEMPLATES / "static")}),
]


def configure(c: Config) -> None:
    """Add Hubwarden to a Hub.

    Args:
        c: the configuration object of jupyterhub_config.py, with everything else already set on it.

    Raises:
        ValueError: `c.JupyterHub.spawner_class` is not set, or cannot be imported.
    """
    hub = c.JupyterHub
    hub.extra_handlers = [*configured(hub, "extra_handlers", []), *HANDLERS]
    # After the operator's own: a page of theirs with the same name wins.
    hub.template_paths = [*configured(hub, "template_paths", []), str(TEMPLATES)]
    hub.custom_scopes = {**configured(hub, "custom_scopes", {}), **scopes.DEFINITIONS}
    hub.spawner_class = restartable(configured(hub, "spawner_class", None))
    if c.Hubwarden.get("reset_home", True) and c.Hubwarden.get("users_reset_own_home", True):
        _grant_to_users(hub)
    scopes.grant_to_admins()
    _check_at_start()


def _grant_to_users(hub: Config) -> None:
    """Give every user the reset of their own home, the way that this version of JupyterHub has for it."""
    role_specs = configured(hub, "load_roles", [])
    overridden = any(spec.get("name") == "user" and "scopes" in spec for spec in role_specs)
    if "extra_user_scopes" in JupyterHub.class_trait_names() and not overridden:
        hub.extra_user_scopes = [*configured(hub, "extra_user_scopes", []), scopes.RESET_OWN]
    else:
        hub.load_roles = scopes.with_scope(role_specs, "user", scopes.RESET_OWN, ["self"])


def restartable(spawner: Any) -> type:
    """The configured Spawner class with the mixin before it.

    Args:
        spawner: a class, its import path, or the name of an entry point in `jupyterhub.spawners`.

    Raises:
        ValueError: there is none.
    """
    if isinstance(spawner, str) and spawner:
        entry_points = JupyterHub.class_traits()["spawner_class"].load_entry_points()
        entry_point = entry_points.get(spawner.lower())
        try:
            spawner = entry_point.load() if entry_point else import_item(spawner)
        except ImportError as error:
            raise ValueError(f"c.JupyterHub.spawner_class: cannot import {spawner!r}") from error
    if not isinstance(spawner, type):
        raise ValueError("Set c.JupyterHub.spawner_class (to 'docker') before hubwarden_hub.configure(c)")  # noqa: TRY004 - a setting is missing, the type of nothing is wrong
    if issubclass(spawner, RestartableSpawnerMixin):
        return spawner
    # JupyterHub's log names the Spawner's module and version: those of the configured class.
    attributes = {"__module__": spawner.__module__}
    return type(f"Restartable{spawner.__name__}", (RestartableSpawnerMixin, spawner), attributes)


def _check_at_start() -> None:
    """Have the Hub that reads this file check itself; other commands (`jupyterhub token`) read it too, and do not."""
    try:
        app = JupyterHub.instance()
    except MultipleInstanceError:
        return
    app.observe(lambda change: startcheck.install(change.owner, HANDLERS), "handlers")
