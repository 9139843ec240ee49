"""The body of `POST /containers/create`, understood completely or refused: the closed schema.

Invariants: `BODY`, `HOST_CONFIG` and `PORT_BINDING`, with the tables of `mounts`, list every key that may stand in it,
with its decoder. They hold what docker-py 7 sends for DockerSpawner 14's options; a key that would change more than
that is listed only where docker-py has it of its own accord, and then only empty. What comes out are typed values of a
known shape, and options that are only compared (`gateway.options`); whether they are allowed is `policy`'s question.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from hubwarden_agent.engine.options import DEFAULTS, HOST
from hubwarden_agent.gateway.decoders import (
    Decoder,
    Field,
    count,
    empty,
    fields_of,
    flag,
    items,
    keys,
    mapping,
    never,
    text,
)
from hubwarden_agent.gateway.mounts import MountRequest, decode_binds, decode_mount_points, decode_mounts
from hubwarden_agent.gateway.refusals import field_refused

MAX_PORT = 65535
MAX_PORTS = 16
MAX_TEXTS = 1024
"""Entries of an array of texts: variables, or words of a command."""
MAX_ENVIRONMENT_BYTES = 64 * 1024
MAX_COMMAND_BYTES = 8 * 1024
"""As JSON. Docker shows a container's environment in each inspect of it, and its command also in each list."""
_PORT = re.compile(r"([1-9][0-9]{0,4})/(tcp|udp)")
_VARIABLE = re.compile(r"([^=\s]+)(=.*)?", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ANY_KEY = re.compile(r".+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PortBinding:
    """A container port (`"8888/tcp"`) that is to be published."""

    port: str
    host_ip: str = ""
    host_port: str = ""


@dataclass(frozen=True, slots=True)
class HostConfig:
    """The part of a create body that touches the host. Numbers are zero where not set."""

    network: str = ""
    binds: tuple[MountRequest, ...] = ()
    mounts: tuple[MountRequest, ...] = ()
    port_bindings: tuple[PortBinding, ...] = ()
    memory: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    pids: int = 0
    auto_remove: bool = False


@dataclass(frozen=True, slots=True)
class CreateBody:
    """A create body.

    `mount_points` are the paths that it declares as volumes (`Volumes`); `options` are the fields that only
    `[[spawn.allow]]` can allow, as they were asked for.
    """

    image: str = ""
    environment: Mapping[str, str | None] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    exposed_ports: tuple[str, ...] = ()
    mount_points: tuple[str, ...] = ()
    host: HostConfig = field(default_factory=HostConfig)
    options: Mapping[str, Any] = field(default_factory=dict)


def decode(document: object) -> CreateBody:
    """Decode a parsed document.

    Raises:
        GatewayRefusal: 400 that names the field.
    """
    body = fields_of(BODY, document, "")
    host = body.pop("host", {})
    options = {key: part.pop(key) for part in (body, host) for key in part.keys() & DEFAULTS.keys()}
    return CreateBody(**body, host=HostConfig(**host), options=options)


def _host_config(value: object, name: str) -> dict[str, Any]:
    return fields_of(HOST_CONFIG, value, name)


def _environment(value: object, name: str) -> Mapping[str, str | None]:
    """`NAME=value`, or a bare `NAME`, which Docker takes for "unset what the image sets"."""
    variables: dict[str, str | None] = {}
    for line in _texts(MAX_ENVIRONMENT_BYTES)(value, name):
        match = _VARIABLE.fullmatch(line)
        if not match:
            raise field_refused(name, "must be variables such as NAME=value")
        if match[1] in variables:
            raise field_refused(name, "has the same variable twice")
        variables[match[1]] = None if match[2] is None else match[2][1:]
    return variables


def _texts(most: int) -> Decoder[tuple[str, ...]]:
    """An array of texts that have at most so many bytes together as JSON, where a character has up to 6 or 12."""

    def decode_texts(value: object, name: str) -> tuple[str, ...]:
        texts = items(text, MAX_TEXTS)(value, name)
        if sum(len(json.dumps(one)) for one in texts) > most:
            raise field_refused(name, f"has more than {most} bytes as JSON")
        return texts

    return decode_texts


def _command(value: object, name: str) -> tuple[str, ...]:
    words = _texts(MAX_COMMAND_BYTES)(value, name)
    if any(_CONTROL.search(word) for word in words):
        raise field_refused(name, "must have no control characters but tab and newline")
    return words


def _labels(value: object, name: str) -> Mapping[str, str]:
    return {key: text(label, name) for key, label in mapping(value, name).items()}


def _port(value: str, name: str) -> str:
    match = _PORT.fullmatch(value)
    if not match or int(match[1]) > MAX_PORT:
        raise field_refused(name, "must be ports such as 8888/tcp")
    return value


def _ports(value: object, name: str) -> tuple[str, ...]:
    return tuple(_port(port, name) for port in keys(_ANY_KEY, "a port", MAX_PORTS)(value, name))


def _port_bindings(value: object, name: str) -> tuple[PortBinding, ...]:
    if len(mapping(value, name)) > MAX_PORTS:
        raise field_refused(name, f"has more than {MAX_PORTS} entries")
    ports = {
        _port(port, name): items(mapping, MAX_PORTS)(addresses if addresses is not None else [], name)
        for port, addresses in mapping(value, name).items()
    }
    return tuple(
        PortBinding(port, **fields_of(PORT_BINDING, address, name))
        for port, addresses in ports.items()
        for address in addresses
    )


def _unread(value: object, _: str) -> object:
    """Compared as a whole with the policy's values, by `options`."""
    return value


PORT_BINDING: Mapping[str, Field] = MappingProxyType(
    {"HostIp": Field(text, "host_ip"), "HostPort": Field(text, "host_port")}
)
"""`HostConfig.PortBindings[port][n]`."""

HOST_CONFIG: Mapping[str, Field] = MappingProxyType(
    {
        "NetworkMode": Field(text, "network"),
        "Binds": Field(decode_binds, "binds"),
        "Mounts": Field(decode_mounts, "mounts"),
        "PortBindings": Field(_port_bindings, "port_bindings"),
        "Memory": Field(count, "memory"),
        "CpuQuota": Field(count, "cpu_quota"),
        "CpuPeriod": Field(count, "cpu_period"),
        "PidsLimit": Field(count, "pids"),
        "AutoRemove": Field(flag, "auto_remove"),
        "Links": Field(never("are Docker's old way to connect containers; use a network (spawn.networks)")),
    }
    | {key.removeprefix(HOST): Field(_unread, key) for key in DEFAULTS if key.startswith(HOST)}
)
"""`HostConfig`."""

BODY: Mapping[str, Field] = MappingProxyType(
    {
        "Image": Field(text, "image"),
        "Env": Field(_environment, "environment"),
        "Cmd": Field(_command, "command"),
        "Labels": Field(_labels, "labels"),
        "ExposedPorts": Field(_ports, "exposed_ports"),
        "Volumes": Field(decode_mount_points, "mount_points"),
        "HostConfig": Field(_host_config, "host"),
        # What docker-py says about a terminal that nobody attaches to.
        "Tty": Field(empty),
        "OpenStdin": Field(empty),
        "StdinOnce": Field(empty),
        "AttachStdin": Field(empty),
        "AttachStdout": Field(flag),
        "AttachStderr": Field(flag),
        "NetworkDisabled": Field(empty),
    }
    # Keys that docker-py has for other callers; absent or empty in what DockerSpawner sends.
    | dict.fromkeys(("Domainname", "NetworkingConfig", "MacAddress", "StopSignal", "Runtime"), Field(empty))
    | {key: Field(_unread, key) for key in DEFAULTS if not key.startswith(HOST)}
)
"""The body itself."""
