"""The body of `POST /containers/create`, understood completely or refused: the closed schema.

Invariants: `CreateBody`, `HostConfig` and `PortBinding`, with the models of `mounts`, list every key that may be there.
They hold what docker-py 7 sends for DockerSpawner 14's options; a key that would change more than that is listed only
where docker-py has it of its own accord, and then only empty. What comes out are typed values of a known shape, and
options that are only compared (`gateway.options`); whether they are allowed is `policy`'s question.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from hubwarden_agent.engine.options import DEFAULTS, HOST
from hubwarden_agent.gateway.mounts import Bind, MountObject
from hubwarden_agent.gateway.schema import Count, Empty, Items, Nothing, Object, Text, at_most, read

MAX_PORT = 65535
MAX_PORTS = 16
MAX_MOUNTS = 16
MAX_TEXTS = 1024
"""Entries of an array of texts (variables, or words of a command), and labels."""
MAX_ENVIRONMENT_BYTES = 64 * 1024
MAX_COMMAND_BYTES = 8 * 1024
"""As JSON. Docker shows a container's environment in each inspect of it, and its command also in each list."""
_PORT = re.compile(r"([1-9][0-9]{0,4})/(tcp|udp)")
_VARIABLE = re.compile(r"([^=\s]+)(=.*)?", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _bounded(most: int) -> AfterValidator:
    """Texts that have at most so many bytes together as JSON, where a character has up to 6 or 12."""

    def check(texts: tuple[str, ...]) -> tuple[str, ...]:
        if sum(len(json.dumps(one)) for one in texts) > most:
            raise ValueError(f"has more than {most} bytes as JSON")
        return texts

    return AfterValidator(check)


def _variables(lines: tuple[str, ...]) -> tuple[str, ...]:
    names = [match[1] for line in lines if (match := _VARIABLE.fullmatch(line))]
    if len(names) != len(lines):
        raise ValueError("must be variables such as NAME=value")
    if len(set(names)) != len(names):
        raise ValueError("has the same variable twice")
    return lines


def _command(words: tuple[str, ...]) -> tuple[str, ...]:
    if any(_CONTROL.search(word) for word in words):
        raise ValueError("must have no control characters but tab and newline")
    return words


def _port(value: str) -> str:
    match = _PORT.fullmatch(value)
    if not match or int(match[1]) > MAX_PORT:
        raise ValueError("must be a port such as 8888/tcp")
    return value


def _links(value: object) -> object:
    if value not in ([], {}):
        raise ValueError("are Docker's old way to connect containers; use a network (spawn.networks)")
    return value


Environment = Annotated[Items[Text], at_most(MAX_TEXTS), _bounded(MAX_ENVIRONMENT_BYTES), AfterValidator(_variables)]
Command = Annotated[Items[Text], at_most(MAX_TEXTS), _bounded(MAX_COMMAND_BYTES), AfterValidator(_command)]
Port = Annotated[str, AfterValidator(_port)]


class PortBinding(Object):
    """`HostConfig.PortBindings[port][n]`."""

    host_ip: Text = Field(default="", alias="HostIp")
    host_port: Text = Field(default="", alias="HostPort")


Bindings = Annotated[
    Items[PortBinding],
    at_most(MAX_PORTS),
    BeforeValidator(lambda value: () if value is None else value),
]


class HostConfig(Object):
    """The part of a create body that touches the host. Numbers are zero where not set."""

    network: Text = Field(default="", alias="NetworkMode")
    binds: Annotated[Items[Bind], at_most(MAX_MOUNTS)] = Field(default=(), alias="Binds")
    mounts: Annotated[Items[MountObject], at_most(MAX_MOUNTS)] = Field(default=(), alias="Mounts")
    port_bindings: Annotated[dict[Port, Bindings], at_most(MAX_PORTS)] = Field(default={}, alias="PortBindings")
    memory: Count = Field(default=0, alias="Memory")
    cpu_quota: Count = Field(default=0, alias="CpuQuota")
    cpu_period: Count = Field(default=0, alias="CpuPeriod")
    pids: Count = Field(default=0, alias="PidsLimit")
    auto_remove: bool = Field(default=False, alias="AutoRemove")
    links: Annotated[Any, AfterValidator(_links)] = Field(default=[], alias="Links")
    # Compared by `gateway.options`, not read.
    ShmSize: Any = None
    Ulimits: Any = None
    RestartPolicy: Any = None
    LogConfig: Any = None
    DeviceRequests: Any = None

    @property
    def published(self) -> list[tuple[str, PortBinding]]:
        """Each container port that is to be published, with each of its bindings."""
        return [(port, binding) for port, bindings in self.port_bindings.items() for binding in bindings]


class CreateBody(Object):
    """A create body. `mount_points` are the paths that it declares as volumes."""

    image: Text = Field(default="", alias="Image")
    variables: Environment = Field(default=(), alias="Env")
    command: Command = Field(default=(), alias="Cmd")
    labels: Annotated[dict[str, Text], at_most(MAX_TEXTS)] = Field(default={}, alias="Labels")
    exposed_ports: Annotated[dict[Port, Empty], at_most(MAX_PORTS)] = Field(default={}, alias="ExposedPorts")
    mount_points: Annotated[dict[Text, Empty], at_most(MAX_MOUNTS)] = Field(default={}, alias="Volumes")
    host: HostConfig = Field(default=HostConfig(), alias="HostConfig")
    # Compared by `gateway.options`, not read.
    User: Any = None
    Hostname: Any = None
    WorkingDir: Any = None
    Entrypoint: Any = None
    Healthcheck: Any = None
    # What docker-py says about a terminal that nobody attaches to.
    Tty: Nothing = False
    OpenStdin: Nothing = False
    StdinOnce: Nothing = False
    AttachStdin: Nothing = False
    AttachStdout: bool = False
    AttachStderr: bool = False
    # Keys that docker-py has for other callers; absent or empty in what DockerSpawner sends.
    NetworkDisabled: Nothing = False
    Domainname: Nothing = ""
    NetworkingConfig: Nothing = ""
    MacAddress: Nothing = ""
    StopSignal: Nothing = ""
    Runtime: Nothing = ""

    @property
    def environment(self) -> Mapping[str, str | None]:
        """`NAME=value`, or a bare `NAME`, which Docker takes for "unset what the image sets"."""
        parts = (line.partition("=") for line in self.variables)
        return {name: value if equals else None for name, equals, value in parts}

    @property
    def options(self) -> dict[str, Any]:
        """What is asked for in the fields that only `[[spawn.allow]]` can allow."""
        found = {
            name: getattr(self.host if name.startswith(HOST) else self, name.removeprefix(HOST)) for name in DEFAULTS
        }
        return {name: value for name, value in found.items() if value is not None}


def decode(document: object) -> CreateBody:
    """Decode a parsed document.

    Raises:
        GatewayRefusal: 400 that names the field.
    """
    return read(CreateBody, document)
