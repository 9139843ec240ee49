"""The operator's configuration: TOML in, frozen values out, or every mistake at once.

What holds here: `TABLES` lists every key with its default, and what is not listed is refused. A value that exists was
checked. Defaults are the safe ones. This file must never open a socket or look at anything but the file it is given.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from limits import RateLimitItem
from limits import parse as parse_rate

from hubwarden_agent.config_keys import TABLES, Reader
from hubwarden_agent.names import Templates, template_mistakes


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


@dataclass(frozen=True, slots=True)
class Docker:
    """The engine's address, and the seconds it may take for anything but stop, restart and pull."""

    host: str
    timeout: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Budgets and bounds; `max_stop_timeout` and `max_deadline` in seconds."""

    restarts_per_user: RateLimitItem
    resets_per_user: RateLimitItem
    resets_total: RateLimitItem
    max_stop_timeout: int
    max_deadline: int
    max_concurrent: int


@dataclass(frozen=True, slots=True)
class ResetPolicy:
    """What a reset may remove."""

    stopped_container: Literal["remove", "refuse"] = "remove"
    allow_non_local: bool = False


@dataclass(frozen=True, slots=True)
class AuditPolicy:
    """The audit file's name under the state directory, the size of a segment in bytes, and how many are kept."""

    file: str = "audit.jsonl"
    max_bytes: int = 67108864
    keep: int = 20


@dataclass(frozen=True, slots=True)
class SpawnPolicy:
    """What the gateway lets a Hub spawn. Empty lists allow nothing; `max_memory` in bytes."""

    images: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    max_memory: int = 4 * 1024**3
    max_cpus: float = 2.0
    max_pids: int = 1024
    max_containers: int = 200
    max_creates: RateLimitItem = field(default_factory=lambda: parse_rate("60/minute"))
    labels: Mapping[str, str] = field(default_factory=dict)
    publish: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that the operator decides."""

    listen: Listen
    docker: Docker
    names: Templates
    limits: Limits
    reset: ResetPolicy
    state_directory: Path
    audit: AuditPolicy
    spawn: SpawnPolicy


def load(path: Path) -> Config:
    """Read a configuration file.

    Raises:
        ConfigurationError: with every mistake.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([f"{path}: {error}"]) from error
    return parse(text)


def parse(text: str) -> Config:
    """Parse a configuration.

    Raises:
        ConfigurationError: with every mistake.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"not TOML: {error}"]) from error
    reader = Reader(document, TABLES)
    values = reader.values
    mistakes = list(reader.mistakes)
    if not mistakes:
        mistakes.extend(f"{key}: {mistake}" for key, mistake in _template_mistakes(values).items())
    if mistakes:
        raise ConfigurationError(mistakes)
    return _config(values)


def _template_mistakes(values: Mapping[str, Any]) -> dict[str, str]:
    return template_mistakes(_templates(values), values["spawn.volumes"] if values["listen.gateway"] else ())


def _templates(values: Mapping[str, Any]) -> Templates:
    return Templates(**_section(values, "names"))


def _section(values: Mapping[str, Any], table: str) -> dict[str, Any]:
    return {key.removeprefix(f"{table}."): value for key, value in values.items() if key.startswith(f"{table}.")}


def _config(values: Mapping[str, Any]) -> Config:
    return Config(
        listen=Listen(**_section(values, "listen")),
        docker=Docker(**_section(values, "docker")),
        names=_templates(values),
        limits=Limits(**_section(values, "limits")),
        reset=ResetPolicy(**_section(values, "reset")),
        state_directory=values["state.directory"],
        audit=AuditPolicy(**_section(values, "audit")),
        spawn=SpawnPolicy(**_section(values, "spawn")),
    )
