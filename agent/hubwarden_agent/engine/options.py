"""What a container may have beside what every container has, as typed and closed values.

Invariants: each value is what the operator listed in `[spawn]` and the Hub asked for in the same words; an empty
one asks for nothing. Field names are docker-py's, so that an entry can be copied from a Hub's configuration.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ulimit:
    """One of `HostConfig.Ulimits`; -1 is no limit."""

    name: str = ""
    soft: int = 0
    hard: int = 0


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """`HostConfig.RestartPolicy`: `on-failure`, `always` or `unless-stopped`."""

    name: str = ""
    maximum_retry_count: int = 0


@dataclass(frozen=True, slots=True)
class LogConfig:
    """`HostConfig.LogConfig`: a log driver and its options, sorted by name."""

    type: str = ""
    config: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """`Healthcheck`: a command that the engine runs in the container again and again. Times in nanoseconds."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    retries: int = 0
    start_period: int = 0


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """One of `HostConfig.DeviceRequests`; -1 devices are all of them."""

    driver: str = ""
    count: int = 0
    device_ids: tuple[str, ...] = ()
    capabilities: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """A file system in memory, which counts as the container's; `size` in bytes, `mode` 0 for the engine's default."""

    target: str = ""
    size: int = 0
    mode: int = 0


@dataclass(frozen=True, slots=True)
class Options:
    """All of it; `shm_size` in bytes."""

    user: str = ""
    hostname: str = ""
    working_dir: str = ""
    entrypoint: tuple[str, ...] = ()
    health_check: HealthCheck = HealthCheck()
    shm_size: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    restart_policy: RestartPolicy = RestartPolicy()
    log_config: LogConfig = LogConfig()
    device_requests: tuple[DeviceRequest, ...] = ()
