"""The operator's configuration: TOML in, frozen values out, or every mistake at once.

Invariants: `TABLES` lists every key with its default, and what is not listed is refused. A value that exists was
checked. Defaults are the safe ones. This file must never open a socket or look at anything but the file it is given.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path
from typing import Any, Literal

from hubwarden_agent import host_paths, image_references, mount_targets, old_keys, spawn_allow
from hubwarden_agent.config_keys import TABLES, TCP
from hubwarden_agent.config_reader import Reader
from hubwarden_agent.names import Templates, template_mistakes
from hubwarden_agent.rates import Rate
from hubwarden_agent.spawn_policy import SpawnPolicy, targets

HEALTH_SOCKET = "health.sock"
"""In the state directory: where health is asked for on this host."""
_TLS_KEYS = {key for key in TABLES if key.startswith("tls.")}
_OWN_FILES = ("docker.host", "state.directory", "reset.backup_dir", "listen.gateway", "listen.metrics", *_TLS_KEYS)
_TEMPLATE_KEYS = {key for key in TABLES if key.startswith("names.")} | {"spawn.volumes", "listen.gateway"}


class ConfigurationError(Exception):
    """The configuration cannot be used.

    Args:
        mistakes: one sentence each, beginning with the key.
    """

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join(mistakes))


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the agent listens. `gateway` and `metrics` are empty when they are off."""

    grpc: tuple[str, ...]
    gateway: str
    metrics: str
    socket_mode: int
    socket_group: str
    metrics_group: str

    @property
    def unix(self) -> tuple[str, ...]:
        """The addresses in `grpc` that are unix sockets."""
        return tuple(address for address in self.grpc if not address.startswith(TCP))

    @property
    def tcp(self) -> tuple[str, ...]:
        """The others, as gRPC writes them: HOST:PORT."""
        return tuple(address.removeprefix(TCP) for address in self.grpc if address.startswith(TCP))


@dataclass(frozen=True, slots=True)
class Tls:
    """What TCP listeners show and demand; complete where there is one. `clients` are `dns:NAME` or `uri:URI`."""

    certificate: Path
    key: Path
    client_ca: Path
    clients: tuple[str, ...]
    minimum: Literal["1.2", "1.3"] = "1.2"


@dataclass(frozen=True, slots=True)
class Docker:
    """The engine's address, and the seconds it may take for anything but stop, restart and pull."""

    host: str
    timeout: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Budgets and bounds; `max_stop_timeout` and `max_deadline` in seconds."""

    restarts_per_user: Rate
    resets_per_user: Rate
    resets_total: Rate
    max_stop_timeout: int
    max_deadline: int
    max_concurrent: int


@dataclass(frozen=True, slots=True)
class ResetPolicy:
    """What a reset may remove, and what is kept of it.

    A container not started `start_timeout` seconds after its creation never will be. `backup_dir` is only used where
    backups are; `max_bytes` are of an uncompressed tar. `sizes_interval` in seconds; 0: sizes are not counted.
    """

    stopped_container: Literal["remove", "refuse"] = "remove"
    allow_non_local: bool = False
    start_timeout: int = 60
    backup: Literal["off", "required"] = "off"
    backup_dir: Path = Path("/var/lib/hubwarden-backups")
    keep: int = 3
    keep_days: int = 30
    max_bytes: int = 10**12
    protect_labels: tuple[str, ...] = ()
    helper_image: str = ""
    sizes_interval: int = 0


@dataclass(frozen=True, slots=True)
class AuditPolicy:
    """The audit file's name under the state directory, the size of a segment in bytes, and how many are kept."""

    file: str = "audit.jsonl"
    max_bytes: int = 67108864
    keep: int = 20


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that the operator decides."""

    listen: Listen
    tls: Tls
    docker: Docker
    names: Templates
    limits: Limits
    reset: ResetPolicy
    state_directory: Path
    audit: AuditPolicy
    spawn: SpawnPolicy

    @property
    def warnings(self) -> list[str]:
        """One sentence for each value that is accepted but may be unsafe, beginning with its key."""
        return mount_targets.warnings(self.spawn.targets) if self.listen.gateway else []


Examine = Callable[[Tls], list[str]]


def load(path: Path | None, examine: Examine | None = None) -> Config:
    """Read a configuration file, or use all defaults without one; `examine` as in `parse`.

    Raises:
        ConfigurationError: with every mistake.
    """
    return parse(_text(path), examine)


def load_tls(path: Path | None) -> Tls:
    """Read `[tls]` alone, complete: a renewal does not depend on the other sections.

    Raises:
        ConfigurationError: with every mistake in it.
    """
    document = _document(_text(path))
    tables = {name: key for name, key in TABLES.items() if name in _TLS_KEYS}
    reader = Reader({"tls": document.get("tls", {})}, tables)
    mistakes = reader.mistakes + _absent_from_tls(reader.values)
    if mistakes:
        raise ConfigurationError(mistakes)
    return _tls(reader.values)


def parse(text: str, examine: Examine | None = None) -> Config:
    """Parse a configuration.

    Args:
        text: TOML.
        examine: what looks at the files that a complete `[tls]` names, so that their mistakes are listed with the rest.

    Raises:
        ConfigurationError: with every mistake.
    """
    document = _document(text)
    replaced = old_keys.take(document)
    reader = Reader(document, TABLES)
    values = reader.values
    mistakes = replaced + reader.mistakes
    if values.keys() >= _TEMPLATE_KEYS:
        mistakes.extend(f"{key}: {mistake}" for key, mistake in _template_mistakes(values).items())
    mistakes.extend(_address_mistakes(values))
    mistakes.extend(_tls_mistakes(values, examine))
    mistakes.extend(_host_path_mistakes(values))
    mistakes.extend(
        f"spawn.pull: {image} is not in spawn.images, so no server can use it"
        for image in values.get("spawn.pull", ())
        if image not in values.get("spawn.images", (image,))
    )
    allow = values.get("spawn.allow", ())
    users = spawn_allow.listed(allow, "User").values()
    mistakes.extend(image_references.errors(values.get("spawn.images", ()), values.get("spawn.pull", ()), users))
    mounted = (values.get(f"spawn.{key}", empty) for key, empty in (("volumes", {}), ("host_paths", ()), ("allow", ())))
    mistakes.extend(mount_targets.errors(targets(*mounted)))
    if mistakes:
        raise ConfigurationError(mistakes)
    return _config(values)


def _text(path: Path | None) -> str:
    try:
        return path.read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([f"{path}: {error}"]) from error


def _document(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"not TOML: {error}"]) from error


def _address_mistakes(values: Mapping[str, Any]) -> list[str]:
    """No two listeners are in one place, and none where Docker is or health will be."""
    taken = {_place(f"unix://{values.get('state.directory')}/{HEALTH_SOCKET}"): "the health socket in state.directory"}
    mistakes = []
    for key in ("docker.host", "listen.grpc", "listen.gateway", "listen.metrics"):
        value = values.get(key, "")
        for address in value if isinstance(value, tuple) else (value,):
            other = taken.setdefault(_place(address), key) if address else key
            if other != key:
                mistakes.append(f"{key}: must not be the address of {other}")
    return mistakes


def _place(address: str) -> str:
    """An address as it compares: sockets by their path, ports by host and number."""
    return normpath(address) if address.startswith("unix:") else address.removeprefix(TCP)


def _host_path_mistakes(values: Mapping[str, Any]) -> list[str]:
    """The files that have to be kept from a container are the engine's and the agent's own, homes' backups too."""
    if not values.keys() >= {"spawn.host_paths", "listen.grpc", *_OWN_FILES}:
        return []
    own = [str(value).removeprefix("unix://") for value in (*values["listen.grpc"], *map(values.get, _OWN_FILES))]
    found = host_paths.errors(values["spawn.host_paths"], tuple(path for path in own if path.startswith("/")))
    return [f"spawn.host_paths: {mistake}" for mistake in found]


def _tls_mistakes(values: Mapping[str, Any], examine: Examine | None) -> list[str]:
    """TCP never starts without all of `[tls]`."""
    if not any(address.startswith(TCP) for address in values.get("listen.grpc", ())):
        return []
    absent = _absent_from_tls(values)
    if absent:
        return absent
    return examine(_tls(values)) if examine and values.keys() >= _TLS_KEYS else []


def _absent_from_tls(values: Mapping[str, Any]) -> list[str]:
    absent = [key for key in _TLS_KEYS if key in values and not values[key]]
    return [f"{key}: must be set, because listen.grpc has a tcp:// address" for key in absent]


def _tls(values: Mapping[str, Any]) -> Tls:
    section = _section(values, "tls")
    return Tls(**section | {key: Path(section[key]) for key in ("certificate", "key", "client_ca")})


def _template_mistakes(values: Mapping[str, Any]) -> dict[str, str]:
    return template_mistakes(_templates(values), tuple(values["spawn.volumes"]) if values["listen.gateway"] else ())


def _templates(values: Mapping[str, Any]) -> Templates:
    return Templates(**_section(values, "names"))


def _section(values: Mapping[str, Any], table: str) -> dict[str, Any]:
    return {key.removeprefix(f"{table}."): value for key, value in values.items() if key.startswith(f"{table}.")}


def _config(values: Mapping[str, Any]) -> Config:
    return Config(
        listen=Listen(**_section(values, "listen")),
        tls=_tls(values),
        docker=Docker(**_section(values, "docker")),
        names=_templates(values),
        limits=Limits(**_section(values, "limits")),
        reset=ResetPolicy(**_section(values, "reset")),
        state_directory=values["state.directory"],
        audit=AuditPolicy(**_section(values, "audit")),
        spawn=SpawnPolicy(**_section(values, "spawn")),
    )
