"""`[spawn]`: what the gateway lets a Hub spawn, and its keys. docs/spawn-policy.md explains each to an operator.

Invariants: an empty list allows nothing, and values that could never be allowed are refused at the start.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from hubwarden_agent import host_paths, mount_keys
from hubwarden_agent.config_checks import Check, Key, empty_or, number, rate, several, size, text, words
from hubwarden_agent.engine.options import DeviceRequest, HealthCheck, LogConfig, RestartPolicy, Tmpfs, Ulimit
from hubwarden_agent.mount_targets import Target
from hubwarden_agent.rates import Rate, parse_rate


@dataclass(frozen=True, slots=True)
class SpawnPolicy:
    """What the gateway lets a Hub spawn. Empty lists allow nothing; sizes are in bytes. See docs/spawn-policy.md.

    `volumes` maps the template of a volume's name to its target in the container.
    """

    images: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    pull: tuple[str, ...] = ()
    volumes: Mapping[str, str] = field(default_factory=dict)
    max_memory: int = 4 * 1024**3
    max_cpus: float = 2.0
    max_pids: int = 1024
    max_containers: int = 200
    max_creates: Rate = field(default_factory=lambda: parse_rate("60/minute"))
    labels: Mapping[str, str] = field(default_factory=dict)
    publish: str = ""
    adopt: Literal["off", "by-name"] = "off"
    max_volumes: int = 1000
    host_paths: tuple[host_paths.HostPath, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    users: tuple[str, ...] = ()
    hostnames: tuple[str, ...] = ()
    working_dirs: tuple[str, ...] = ()
    entrypoints: tuple[tuple[str, ...], ...] = ()
    exec: tuple[tuple[str, ...], ...] = ()
    healthchecks: tuple[HealthCheck, ...] = ()
    shm_sizes: tuple[int, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    restart_policies: tuple[RestartPolicy, ...] = ()
    log_configs: tuple[LogConfig, ...] = ()
    device_requests: tuple[DeviceRequest, ...] = ()

    @property
    def targets(self) -> tuple[Target, ...]:
        """Every target of the policy."""
        return targets(self.volumes, self.host_paths, self.tmpfs)


def targets(
    volumes: Mapping[str, str], paths: tuple[host_paths.HostPath, ...], tmpfs: tuple[Tmpfs, ...]
) -> tuple[Target, ...]:
    """The targets of `spawn.volumes`, `spawn.host_paths` and `spawn.tmpfs`."""
    return (
        *(Target("spawn.volumes", volume, path) for volume, path in volumes.items()),
        *(Target("spawn.host_paths", one.source, one.target) for one in paths),
        *(Target("spawn.tmpfs", "a file system in memory", one.target) for one in tmpfs),
    )


def _address(value: Any) -> str:
    try:
        return str(ipaddress.ip_address(text(r".{1,45}", "an address")(value)))
    except ValueError as error:
        raise ValueError("must be an IP address of this host") from error


def _labels(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(label, str) for label in value.values()):
        raise ValueError('must be a table of texts such as {"team" = "physics"}')
    if any(key.startswith("hubwarden.") for key in value):
        raise ValueError("must not hold hubwarden.* labels, which are the agent's own")
    return MappingProxyType(dict(value))


def _table(
    kind: type[Any], required: Mapping[str, Check], optional: Mapping[str, Check] = MappingProxyType({})
) -> Check:
    """A table such as {name = "nofile", soft = 1024, hard = 1024}, in docker-py's words."""
    checks = {**required, **optional}

    def check(value: Any) -> Any:
        if not isinstance(value, dict) or not required.keys() <= value.keys() <= checks.keys():
            raise ValueError(
                f"must be tables of {', '.join(required)} and if need be {', '.join(optional) or 'no more'}"
            )
        try:
            return kind(**{key: checks[key](item) for key, item in value.items()})
        except ValueError as error:
            raise ValueError(f"has a value that does not fit: {error}") from error

    return check


def _log_options(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or not all(isinstance(option, str) for option in value.values()):
        raise ValueError('must be a table of texts such as {"max-size" = "10m"}')
    return tuple(sorted(value.items()))


def _working_dir(value: Any) -> str:
    path = mount_keys.target(value)
    if host_paths.is_below(path, host_paths.KERNEL_PATHS):
        raise ValueError("must not be below /proc, /sys or /dev")
    return path


_any_text = text(r"[^\x00-\x1f]{1,4096}", "text")
_command = words(_any_text)
_unbounded = number(-1, 2**63 - 1)
_nanoseconds = number(10**9, 10**15)
_image = text(r"[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,254}", "an exact image reference")

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}")


def _pullable(value: Any) -> str:
    """A reference whose content somebody known decides: a registry by its host, or a digest.

    Docker asks the default public registry for any other name, and the owner of the name there decides.
    """
    image = str(_image(value))
    host, slash, _ = image.partition("/")
    if not (slash and (host == "localhost" or "." in host or ":" in host)) and not _DIGEST.search(image):
        raise ValueError(f"{image} must begin with a registry's host, such as registry.example.org/, or have a digest")
    return image


SPAWN_KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "spawn.images": Key([], several(_image)),
        "spawn.networks": Key(
            [],
            several(text(r"(?!host$)[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}", "a network's name, and not the host's own")),
        ),
        "spawn.pull": Key([], several(_pullable)),
        "spawn.volumes": Key(
            {
                "jupyterlab-{username}_home": "/home/jovyan",
                "jupyterlab-{username}_workspace": "/workspace",
                "jupyterlab-{username}_cache": "/cache",
            },
            mount_keys.volumes,
        ),
        "spawn.host_paths": Key([], mount_keys.paths),
        "spawn.tmpfs": Key(
            [], several(_table(Tmpfs, {"target": mount_keys.target, "size": size}, {"mode": number(0, 0o1777)}))
        ),
        "spawn.max_memory": Key("4g", size),
        "spawn.max_cpus": Key(2.0, number(0.01, 1024, float)),
        "spawn.max_pids": Key(1024, number(1, 4194304)),
        "spawn.max_containers": Key(200, number(1, 100000)),
        "spawn.max_volumes": Key(1000, number(1, 1000000)),
        "spawn.max_creates": Key("60/minute", rate),
        "spawn.labels": Key({}, _labels),
        "spawn.publish": Key("", empty_or(_address)),
        "spawn.users": Key(
            [], several(text(r"[a-z0-9_][a-z0-9_.-]*(:[a-z0-9_][a-z0-9_.-]*)?", "users such as 1000:100"))
        ),
        "spawn.hostnames": Key([], several(text(r"[a-zA-Z0-9][a-zA-Z0-9.-]{0,62}", "host names"))),
        "spawn.working_dirs": Key([], several(_working_dir)),
        "spawn.entrypoints": Key([], several(_command)),
        "spawn.exec": Key([], several(_command)),
        "spawn.healthchecks": Key(
            [],
            several(
                _table(
                    HealthCheck,
                    {"test": _command},
                    {
                        "interval": _nanoseconds,
                        "timeout": _nanoseconds,
                        "retries": number(1, 1000),
                        "start_period": _nanoseconds,
                    },
                )
            ),
        ),
        "spawn.shm_sizes": Key([], several(size)),
        "spawn.ulimits": Key(
            [],
            several(
                _table(
                    Ulimit,
                    {"name": text("[a-z]{2,16}", "a limit's name"), "soft": _unbounded, "hard": _unbounded},
                )
            ),
        ),
        "spawn.restart_policies": Key(
            [],
            several(
                _table(
                    RestartPolicy,
                    {"name": text("on-failure|always|unless-stopped", "on-failure, always or unless-stopped")},
                    {"maximum_retry_count": number(0, 1000)},
                )
            ),
        ),
        "spawn.log_configs": Key(
            [],
            several(
                _table(LogConfig, {"type": text(r"[a-z][a-z0-9/:._-]{0,99}", "a driver")}, {"config": _log_options})
            ),
        ),
        "spawn.device_requests": Key(
            [],
            several(
                _table(
                    DeviceRequest,
                    {"capabilities": words(_command)},
                    {
                        "driver": _any_text,
                        "count": number(-1, 1024),
                        "device_ids": words(text(r"[a-zA-Z0-9][a-zA-Z0-9._:/=-]{0,99}", "a device's id")),
                    },
                )
            ),
        ),
        "spawn.adopt": Key("off", text("off|by-name", '"off" or "by-name"')),
    }
)
"""Key -> default and check, as in `config_keys`."""
