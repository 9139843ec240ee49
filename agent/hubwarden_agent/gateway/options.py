"""The options of a create that have no bound but a list: decoded, and compared with the policy's words for them.

Invariants: pure. A value is allowed if the operator wrote down the very same one; nothing is compared in part, and
what asks for nothing is always allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from hubwarden_agent.engine.options import DeviceRequest, HealthCheck, LogConfig, Options, RestartPolicy, Ulimit
from hubwarden_agent.gateway.decoders import Decoder, Field, count, empty, fields_of, integer, items, mapping, text
from hubwarden_agent.gateway.refusals import field_refused, not_listed
from hubwarden_agent.spawn_policy import SpawnPolicy

MAX_ENTRIES = 16
MAX_WORDS = 64

Value = TypeVar("Value")
_words = items(text, MAX_WORDS)


def _record(kind: Callable[..., Value], table: Mapping[str, Field]) -> Decoder[Value]:
    return lambda value, name: kind(**fields_of(table, value, name))


def _log_options(value: object, name: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, text(option, name)) for key, option in mapping(value, name).items()))


def _restart_name(value: object, name: str) -> str:
    """`no` is how Docker spells that there is no policy."""
    return "" if value == "no" else text(value, name)


ULIMIT: Mapping[str, Field] = MappingProxyType(
    {"Name": Field(text, "name"), "Soft": Field(integer, "soft"), "Hard": Field(integer, "hard")}
)
"""`HostConfig.Ulimits[n]`."""

RESTART_POLICY: Mapping[str, Field] = MappingProxyType(
    {"Name": Field(_restart_name, "name"), "MaximumRetryCount": Field(count, "maximum_retry_count")}
)
"""`HostConfig.RestartPolicy`."""

LOG_CONFIG: Mapping[str, Field] = MappingProxyType(
    {"Type": Field(text, "type"), "Config": Field(_log_options, "config")}
)
"""`HostConfig.LogConfig`."""

DEVICE_REQUEST: Mapping[str, Field] = MappingProxyType(
    {
        "Driver": Field(text, "driver"),
        "Count": Field(integer, "count"),
        "DeviceIDs": Field(_words, "device_ids"),
        "Capabilities": Field(items(_words, MAX_ENTRIES), "capabilities"),
        "Options": Field(empty),
    }
)
"""`HostConfig.DeviceRequests[n]`."""

HEALTH_CHECK: Mapping[str, Field] = MappingProxyType(
    {
        "Test": Field(_words, "test"),
        "Interval": Field(count, "interval"),
        "Timeout": Field(count, "timeout"),
        "Retries": Field(count, "retries"),
        "StartPeriod": Field(count, "start_period"),
    }
)
"""`Healthcheck`."""

HOST_OPTIONS: Mapping[str, Field] = MappingProxyType(
    {
        "ShmSize": Field(count, "shm_size"),
        "Ulimits": Field(items(_record(Ulimit, ULIMIT), MAX_ENTRIES), "ulimits"),
        "RestartPolicy": Field(_record(RestartPolicy, RESTART_POLICY), "restart_policy"),
        "LogConfig": Field(_record(LogConfig, LOG_CONFIG), "log_config"),
        "DeviceRequests": Field(items(_record(DeviceRequest, DEVICE_REQUEST), MAX_ENTRIES), "device_requests"),
    }
)
"""Those in `HostConfig`, by the attribute of `Options`."""

OPTIONS: Mapping[str, Field] = MappingProxyType(
    {
        "User": Field(text, "user"),
        "Hostname": Field(text, "hostname"),
        "WorkingDir": Field(text, "working_dir"),
        "Entrypoint": Field(_words, "entrypoint"),
        "Healthcheck": Field(_record(HealthCheck, HEALTH_CHECK), "health_check"),
    }
)
"""Those in the body itself, likewise."""

POLICY_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "User": "users",
        "Hostname": "hostnames",
        "WorkingDir": "working_dirs",
        "Entrypoint": "entrypoints",
        "Healthcheck": "healthchecks",
        "HostConfig.ShmSize": "shm_sizes",
        "HostConfig.Ulimits": "ulimits",
        "HostConfig.RestartPolicy": "restart_policies",
        "HostConfig.LogConfig": "log_configs",
        "HostConfig.DeviceRequests": "device_requests",
    }
)
"""Field -> the key of `[spawn]` that lists its values."""

_SEVERAL = frozenset({"HostConfig.Ulimits", "HostConfig.DeviceRequests"})
"""Where each entry is compared, and not the whole."""


def allowed(options: Options, policy: SpawnPolicy, *, auto_remove: bool) -> Options:
    """The same options, if the policy lists each.

    Raises:
        GatewayRefusal: 400, naming the field and the key.
    """
    for field, key in POLICY_KEYS.items():
        value = getattr(options, _attribute(field))
        listed: tuple[Any, ...] = getattr(policy, key)
        asked = value if field in _SEVERAL else () if value == type(value)() else (value,)
        for one in asked:
            if one not in listed:
                raise not_listed(field, one, key)
    names = [limit.name for limit in options.ulimits]
    if len(set(names)) != len(names):
        raise field_refused("HostConfig.Ulimits", "sets the same limit twice")
    if options.restart_policy.name and auto_remove:
        raise field_refused("HostConfig.RestartPolicy", "cannot go with AutoRemove (DockerSpawner.remove)")
    return options


def _attribute(field: str) -> str:
    in_host = field.startswith("HostConfig.")
    return (HOST_OPTIONS[field.removeprefix("HostConfig.")] if in_host else OPTIONS[field]).attribute
