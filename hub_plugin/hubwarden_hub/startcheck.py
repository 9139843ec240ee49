"""Whether the plugin is really in the Hub that is starting. If not, the Hub does not start.

Invariants: the check runs when JupyterHub has made its list of handlers, which is after roles were loaded and
before the first Spawner is made or the first request served; it looks at what took effect, not at what was configured,
so that a command-line option or a later line in a configuration file that undoes half of the plugin is found out.
"""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, TemplateNotFound, meta
from jupyterhub import orm

from hubwarden_hub import private_names, scopes
from hubwarden_hub.home_note import resume
from hubwarden_hub.plugin import Plugin
from hubwarden_hub.reach import Offers
from hubwarden_hub.settings import Hubwarden, configured
from hubwarden_hub.spawner import RestartableSpawnerMixin

NOT_FOR_RESTARTS = {
    "SwarmSpawner": "SwarmSpawner makes services, not containers; Docker's restart would leave a second one running"
}
NOT_FOR_RESETS = {
    "SystemUserSpawner": "SystemUserSpawner mounts a home of the host, and a reset needs a named volume "
    "(c.Hubwarden.reset_home = False does without)"
}
HOME_PAGE, HOME_PART = "home.html", "hubwarden_home.html"


class HubwardenNotInstalled(SystemExit):
    """Stops the Hub. A `SystemExit`, so that the message is the last thing on the terminal, without a traceback."""

    def __init__(self, mistakes: list[str]) -> None:
        lines = "".join(f"\n  - {mistake}" for mistake in mistakes)
        super().__init__(
            f"The Hub does not start, because Hubwarden did not take effect:{lines}\n"
            "Call hubwarden_hub.configure(c) on the last line of the configuration, and use no command-line option "
            "that overrides what it sets."
        )


def install(app: Any, handlers: list[tuple[Any, ...]]) -> None:
    """Check, hand the plugin to handlers and Spawners, and then take up what a killed Hub left behind.

    Args:
        app: the `JupyterHub` application.
        handlers: its rules, the Hub's prefix included.

    Raises:
        HubwardenNotInstalled: naming everything that did not take effect.
    """
    settings = Hubwarden(parent=app)
    mistakes = spawner_mistakes(app.spawner_class, reset_home=settings.reset_home)
    if settings.reset_home and not mistakes:
        mistakes += home_volume_mistakes(app, settings.home_volume)
    mistakes += handler_mistakes(app.handlers, app.hub_prefix, handlers)
    held = {name: list(role.scopes) for name in ("user", "admin") if (role := orm.Role.find(app.db, name))}
    mistakes += scopes.mistakes_in(
        held, users_reset_own_home=settings.users_reset_own_home, reset_home=settings.reset_home
    )
    if mistakes:
        raise HubwardenNotInstalled(mistakes)
    warn_of_hidden_buttons(app)
    # Not a function: JupyterHub would call that with the user, and show what it returns.
    app.tornado_settings["template_vars"] = {**app.template_vars, "hubwarden": Offers(settings)}
    plugin = app.tornado_settings["hubwarden"] = Plugin.of(settings, app.log, app.eventlog)
    app.cleanup = plugin.stops.limiting(app.cleanup)
    resume(app, plugin)


def spawner_mistakes(spawner_class: type, *, reset_home: bool = True) -> list[str]:
    """What the Spawner class that the Hub uses lacks, for restarts and, if homes are reset, for that."""
    name = f"{spawner_class.__module__}.{spawner_class.__name__}"
    mistakes = []
    if not issubclass(spawner_class, RestartableSpawnerMixin):
        mistakes.append(f"the Hub's Spawner class {name} lacks Hubwarden's mixin")
    if (lacking := private_names.missing()) is not None:
        mistakes.append(lacking)
    others = [base for base in spawner_class.__mro__ if base is not RestartableSpawnerMixin]
    needed = private_names.OF_DOCKERSPAWNER
    if missing := [attribute for attribute in needed if not any(attribute in vars(base) for base in others)]:
        mistakes.append(f"the Hub's Spawner class {name} is not a DockerSpawner (it lacks {', '.join(missing)})")
    unsupported = NOT_FOR_RESTARTS | (NOT_FOR_RESETS if reset_home else {})
    return mistakes + [
        f"the Hub's Spawner class {name} is not supported: {unsupported[base.__name__]}"
        for base in others
        if base.__module__.startswith("dockerspawner.") and base.__name__ in unsupported
    ]


def home_volume_mistakes(app: Any, home_volume: str) -> list[str]:
    """Whether users' homes are on the volume that a reset deletes. Where a hook may still decide, a warning."""
    volumes, mounts = _of_spawner(app, "volumes"), _of_spawner(app, "mounts")
    mounted = [*volumes, *(mount["source"] for mount in mounts if mount.get("type") == "volume")]
    if home_volume in mounted:
        return []
    mistake = (
        f"c.Hubwarden.home_volume {home_volume!r} is not among the Spawner's volumes ({', '.join(mounted) or 'none'}): "
        "write it as in c.DockerSpawner.volumes"
    )
    if _of_spawner(app, "pre_spawn_hook") is None:
        return [mistake]
    app.log.warning("Hubwarden: %s, unless c.Spawner.pre_spawn_hook adds it", mistake)
    return []


def _of_spawner(app: Any, name: str) -> Any:
    """A trait of the Spawner class as configured. An instance cannot be asked: DockerSpawner's needs a user."""
    value = getattr(app.spawner_class, name).default()
    for section in app.spawner_class.section_names():
        value = configured(app.config[section], name, value)
    return value


def warn_of_hidden_buttons(app: Any) -> None:
    """Log a warning if the Hub's home page does not include our part."""
    environment: Environment = app.tornado_settings["jinja2_env"]
    if HOME_PART not in _templates_of(environment, HOME_PAGE, set()):
        path = environment.get_template(HOME_PAGE).filename
        app.log.warning(
            "Hubwarden: the template %s hides Hubwarden's buttons: add {%% include %r %%} to its block `main`",
            path,
            HOME_PART,
        )


def _templates_of(environment: Environment, name: str, seen: set[str]) -> set[str]:
    """The template and all that it extends or includes; names that are computed are left out."""
    if name in seen or environment.loader is None:
        return seen
    try:
        source, *_ = environment.loader.get_source(environment, name)
    except TemplateNotFound:
        return seen
    seen.add(name)
    for other in meta.find_referenced_templates(environment.parse(source)):
        if other is not None:
            _templates_of(environment, other, seen)
    return seen


def handler_mistakes(rules: list[Any], prefix: str, handlers: list[tuple[Any, ...]]) -> list[str]:
    """Which of our handlers are not among the Hub's rules."""
    present = {(rule[0], rule[1]) for rule in rules}
    return [
        f"the endpoint {prefix}{path.lstrip('/')} is not served"
        for path, handler, *_ in handlers
        if (prefix.rstrip("/") + path, handler) not in present
    ]
