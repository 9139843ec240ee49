"""The body of `POST /containers/create`, understood completely or refused: the closed schema.

What holds here: `BODY`, `HOST_CONFIG`, `MOUNT` and `PORT_BINDING` list every key that may stand in it, with its
decoder. They hold what docker-py 7 sends for DockerSpawner 14's options; a key that would change more than that is
listed only where docker-py has it of its own accord, and then only empty. What comes out are typed values of a known
shape; whether they are allowed is `policy`'s question.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from hubwarden_agent.gateway.decoders import Field, count, empty, fields_of, flag, items, keys, mapping, text
from hubwarden_agent.gateway.refusals import field_refused

MAX_PORT = 65535
MAX_MOUNTS = 16
MAX_PORTS = 16
MAX_TEXTS = 1024
"""Entries of an array of texts: variables, or words of a command."""
_PORT = re.compile(r"([1-9][0-9]{0,4})/(tcp|udp)")
_VARIABLE = re.compile(r"([^=\s]+)(=.*)?", re.DOTALL)
_ANY_KEY = re.compile(r".+", re.DOTALL)
_BIND_MODES = {"rw": False, "ro": True}


@dataclass(frozen=True, slots=True)
class VolumeMount:
    """A named volume, or what is meant as one, at a clean absolute path in the container."""

    source: str = ""
    target: str = ""
    read_only: bool = False


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
    binds: tuple[VolumeMount, ...] = ()
    mounts: tuple[VolumeMount, ...] = ()
    port_bindings: tuple[PortBinding, ...] = ()
    memory: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    pids: int = 0
    auto_remove: bool = False


@dataclass(frozen=True, slots=True)
class CreateBody:
    """A create body. `mount_points` are the paths that it declares as volumes (`Volumes`)."""

    image: str = ""
    environment: Mapping[str, str | None] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    exposed_ports: tuple[str, ...] = ()
    mount_points: tuple[str, ...] = ()
    host: HostConfig = field(default_factory=HostConfig)


def decode(document: object) -> CreateBody:
    """Decode a parsed document.

    Raises:
        GatewayRefusal: 400 that names the field.
    """
    return CreateBody(**fields_of(BODY, document, ""))


def _host_config(value: object, name: str) -> HostConfig:
    return HostConfig(**fields_of(HOST_CONFIG, value, name))


def _environment(value: object, name: str) -> Mapping[str, str | None]:
    """`NAME=value`, or a bare `NAME`, which Docker takes for "unset what the image sets"."""
    variables: dict[str, str | None] = {}
    for line in items(text, MAX_TEXTS)(value, name):
        match = _VARIABLE.fullmatch(line)
        if not match:
            raise field_refused(name, "must be variables such as NAME=value")
        if match[1] in variables:
            raise field_refused(name, "has the same variable twice")
        variables[match[1]] = None if match[2] is None else match[2][1:]
    return variables


def _labels(value: object, name: str) -> Mapping[str, str]:
    return {key: text(label, name) for key, label in mapping(value, name).items()}


def _target(value: object, name: str) -> str:
    """A path that Docker and we read alike: absolute, clean, and not the root."""
    path = text(value, name)
    clean = path.startswith("/") and not path.startswith("//") and posixpath.normpath(path) == path != "/"
    if not clean or not path.isprintable() or ":" in path:
        raise field_refused(name, "must be an absolute path without '.', '..', '//', ':' or a '/' at its end")
    return path


def _bind(value: object, name: str) -> VolumeMount:
    """`volume:target[:mode]`; labels, propagation and nocopy are modes too, and none of them is taken."""
    parts = text(value, name).split(":")
    if len(parts) not in (2, 3) or (mode := (*parts, "rw")[2]) not in _BIND_MODES:
        raise field_refused(name, "must be volume:target, volume:target:rw or volume:target:ro")
    return VolumeMount(parts[0], _target(parts[1], name), _BIND_MODES[mode])


def _mount(value: object, name: str) -> VolumeMount:
    mount = VolumeMount(**fields_of(MOUNT, value, name))
    if not mount.target or mapping(value, name).get("Type") is None:
        raise field_refused(name, "must have a Type and a Target")
    return mount


def _mount_type(value: object, name: str) -> None:
    if value != "volume":
        raise field_refused(name, 'must be "volume"')


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


def _mount_points(value: object, name: str) -> tuple[str, ...]:
    return tuple(_target(path, name) for path in keys(_ANY_KEY, "a path", MAX_MOUNTS)(value, name))


PORT_BINDING: Mapping[str, Field] = MappingProxyType(
    {"HostIp": Field(text, "host_ip"), "HostPort": Field(text, "host_port")}
)
"""`HostConfig.PortBindings[port][n]`."""

MOUNT: Mapping[str, Field] = MappingProxyType(
    {
        "Type": Field(_mount_type),
        "Source": Field(text, "source"),
        "Target": Field(_target, "target"),
        "ReadOnly": Field(flag, "read_only"),
        "VolumeOptions": Field(empty),  # labels, drivers and NoCopy are in here
    }
)
"""`HostConfig.Mounts[n]`."""

HOST_CONFIG: Mapping[str, Field] = MappingProxyType(
    {
        "NetworkMode": Field(text, "network"),
        "Binds": Field(items(_bind, MAX_MOUNTS), "binds"),
        "Mounts": Field(items(_mount, MAX_MOUNTS), "mounts"),
        "PortBindings": Field(_port_bindings, "port_bindings"),
        "Memory": Field(count, "memory"),
        "CpuQuota": Field(count, "cpu_quota"),
        "CpuPeriod": Field(count, "cpu_period"),
        "PidsLimit": Field(count, "pids"),
        "AutoRemove": Field(flag, "auto_remove"),
        "Links": Field(empty),
    }
)
"""`HostConfig`."""

BODY: Mapping[str, Field] = MappingProxyType(
    {
        "Image": Field(text, "image"),
        "Env": Field(_environment, "environment"),
        "Cmd": Field(items(text, MAX_TEXTS), "command"),
        "Labels": Field(_labels, "labels"),
        "ExposedPorts": Field(_ports, "exposed_ports"),
        "Volumes": Field(_mount_points, "mount_points"),
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
    | dict.fromkeys(("Hostname", "Domainname", "User", "Entrypoint", "WorkingDir", "NetworkingConfig"), Field(empty))
    | dict.fromkeys(("MacAddress", "StopSignal", "Healthcheck", "Runtime"), Field(empty))
)
"""The body itself."""
