"""What a case of the attack corpus is: data, and how its requests become bytes.

Invariants: an attack and its twin are the same request but for what is attacked. Tokens such as `@user@` stand for
what differs from run to run; they are replaced in the finished bytes of a body, so a case can hold any bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

JSON = MappingProxyType({"Content-Type": "application/json"})
CREATE = "/v1.44/containers/create?name=jupyterlab-@user@"
BODY: Mapping[str, Any] = MappingProxyType(
    {
        "Image": "@image@",
        "Cmd": ["/bin/sh", "-c", "sleep 60"],
        "Env": ["JUPYTERHUB_USER=@user@", "JUPYTERHUB_SERVER_NAME=", "JUPYTERHUB_API_TOKEN=secret"],
        "HostConfig": {
            "NetworkMode": "bridge",
            "Memory": 64 * 1024**2,
            "Binds": ["jupyterlab-@user@_home:/home/jovyan:rw"],
        },
    }
)
"""A create that goes through: what every attack on a body starts from."""


@dataclass(frozen=True)
class Request:
    """One request. `raw` replaces everything else and is sent as it is, after its tokens were replaced."""

    method: str = "POST"
    target: str = CREATE
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes = b""

    def encoded(self, tokens: Mapping[str, str]) -> bytes:
        """The bytes on the wire."""
        if self.raw:
            return replaced(self.raw, tokens)
        body = replaced(self.body, tokens)
        given = {"Host": "localhost", "Connection": "close", "Content-Length": str(len(body)), **self.headers}
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
        return replaced("\r\n".join([*lines, "", ""]).encode(), tokens) + body


@dataclass(frozen=True)
class Shows:
    """Sent to the engine itself, the attack makes a container whose inspect holds `value` at `path`."""

    path: str
    value: Any


@dataclass(frozen=True)
class Says:
    """Sent to the engine itself, the attack gets this status: the engine knows the request, and no typo hides in it."""

    status: int


@dataclass(frozen=True)
class Ours:
    """Nothing that the engine itself could show, and why; the twin alone proves the case."""

    why: str


@dataclass(frozen=True)
class Case:
    """One attack.

    Args:
        name: unique in the corpus.
        gain: what it would have gained.
        attack: is refused.
        twin: the same without what is attacked, and goes through.
        control: what the engine itself makes of the attack.
        status: of the refusal.
        names: what its message has to hold: the attacked field.
        twin_status: of the twin.
        prepare: what somebody had asked the engine itself for before.
    """

    name: str
    gain: str
    attack: Request
    twin: Request
    control: Shows | Says | Ours
    status: int
    names: str
    twin_status: int = 201
    prepare: Request | None = None


def replaced(data: bytes, tokens: Mapping[str, str]) -> bytes:
    """The data with its tokens replaced."""
    for token, value in tokens.items():
        data = data.replace(f"@{token}@".encode(), value.encode())
    return data


def create(body: bytes | Mapping[str, Any] = BODY, target: str = CREATE, **headers: str) -> Request:
    """A create."""
    data = body if isinstance(body, bytes) else json.dumps(dict(body)).encode()
    return Request("POST", target, data, {**JSON, **{name.replace("_", "-"): value for name, value in headers.items()}})


TWIN = create()


def body(**changes: Any) -> dict[str, Any]:
    """`BODY` with other values; `host` changes `HostConfig`, and None takes a key away."""
    host = {**BODY["HostConfig"], **changes.pop("host", {})}
    changed = {**BODY, "HostConfig": host, **changes}
    return {key: value for key, value in changed.items() if value is not None}


def host(key: str, value: Any, gain: str, control: Shows | Says | Ours | None = None, **other: Any) -> Case:
    """An attack by one key of `HostConfig`; the engine itself shows it as it was sent, if nothing else is said.

    Args:
        key: in `HostConfig`.
        value: the attacker's.
        gain: see `Case`.
        control: see `Case`.
        other: `name`, `names`, `twin` (a harmless value for the same key) and `base` (other keys for both).
    """
    base: Mapping[str, Any] = other.get("base", {})
    harmless = {key: other["twin"]} if "twin" in other else {}
    return Case(
        name=other.get("name", f"{key} {json.dumps(value)[:60]}"),
        gain=gain,
        attack=create(body(host={**base, key: value})),
        twin=create(body(host={**base, **harmless})),
        control=control or Shows(f"HostConfig.{key}", value),
        status=400,
        names=other.get("names", f"HostConfig.{key}"),
    )


def top(key: str, value: Any, gain: str, control: Shows | Says | Ours | None = None, **other: Any) -> Case:
    """An attack by one key of the body itself; otherwise as `host`."""
    return Case(
        name=other.get("name", f"body {key} {json.dumps(value)[:60]}"),
        gain=gain,
        attack=create(body(**{key: value})),
        twin=create(body(**({key: other["twin"]} if "twin" in other else {}))),
        control=control or Shows(f"Config.{key}", value),
        status=400,
        names=other.get("names", key),
    )
