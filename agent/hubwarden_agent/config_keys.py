"""Every configuration key with its default and its check: the closed table behind `config`.

Invariants: a key that is not in `TABLES` is a mistake, and so is a value that its check does not know. Checks are
pure and say what would be right.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hubwarden_agent.config_checks import Key, at_least_one, empty_or, flag, number, path, rate, several, template, text
from hubwarden_agent.spawn_policy import SPAWN_KEYS

TCP = "tcp://"
"""What begins the addresses in `listen.grpc` that need `[tls]`."""
_MAX_PORT = 65535

_unix_socket = text(r"unix:///[^\x00-\x20]{1,100}", '"unix:///absolute/path"')


def _listener(value: Any) -> str:
    wanted = '"unix:///absolute/path", or with [tls] "tcp://HOST:PORT"'
    address = text(
        r"unix:///[^\x00-\x20]{1,100}|tcp://([a-zA-Z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\]):[1-9][0-9]{0,4}", wanted
    )(value)
    if address.startswith(TCP) and int(address.rpartition(":")[2]) > _MAX_PORT:
        raise ValueError(f"must be {wanted}, the port at most {_MAX_PORT}")
    return str(address)


def _unix_socket_or_port(value: Any) -> str:
    """Also `127.0.0.1:9464` or `[::1]:9464`. The address is spelt out, so nobody listens everywhere by chance."""
    address, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    try:
        if not re.fullmatch(r"[1-9][0-9]{0,4}", port) or int(port) > _MAX_PORT:
            return str(_unix_socket(value))
        kind = ipaddress.IPv6Address if address.startswith("[") else ipaddress.IPv4Address
        kind(address.removeprefix("[").removesuffix("]"))
    except ValueError as error:
        raise ValueError('must be "unix:///absolute/path" or an address and port such as "127.0.0.1:9464"') from error
    return str(value)


def _socket_mode(value: Any) -> int:
    mode = int(text("0[0-7]{3}", 'four octal digits such as "0660"')(value), 8)
    if mode & 0o007:
        raise ValueError("must not let others in")
    return mode


_group = text(r"[a-z_0-9][a-z0-9_-]{0,31}|", "a group's name or number")
_client = text(
    r"dns:[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|uri:[a-z][a-z0-9+.-]*:[!-~]{1,2000}",
    'an alternative name of a client certificate, exact: "dns:hub.example.org" or "uri:spiffe://example.org/hub"',
)

TABLES: Mapping[str, Key] = MappingProxyType(
    {
        "listen.grpc": Key(["unix:///run/hubwarden/agent.sock"], at_least_one(_listener)),
        "listen.gateway": Key("", empty_or(_unix_socket)),
        "listen.metrics": Key("", empty_or(_unix_socket_or_port)),
        "listen.socket_mode": Key("0660", _socket_mode),
        "listen.socket_group": Key("", _group),
        "listen.metrics_group": Key("", _group),
        "tls.certificate": Key("", empty_or(path)),
        "tls.key": Key("", empty_or(path)),
        "tls.client_ca": Key("", empty_or(path)),
        "tls.clients": Key([], several(_client)),
        "tls.minimum": Key("1.2", text(r"1\.[23]", '"1.2" or "1.3"')),
        "docker.host": Key("unix:///var/run/docker.sock", _unix_socket),
        "docker.timeout": Key(30, number(1, 600)),
        "names.container": Key("jupyterlab-{username}", template),
        "names.named_container": Key("jupyterlab-{username}--{servername}", empty_or(template)),
        "names.home_volume": Key("jupyterlab-{username}_home", template),
        "names.escape": Key("dockerspawner", text("dockerspawner|legacy", '"dockerspawner" or "legacy"')),
        "limits.restarts_per_user": Key("6/10 minutes", rate),
        "limits.resets_per_user": Key("3/hour", rate),
        "limits.resets_total": Key("60/hour", rate),
        "limits.max_stop_timeout": Key(60, number(0, 75)),  # the agent's own end waits 90 s for a restart
        "limits.max_deadline": Key(600, number(1, 86400)),
        "limits.max_concurrent": Key(256, number(1, 10000)),
        "reset.stopped_container": Key("remove", text("remove|refuse", '"remove" or "refuse"')),
        "reset.allow_non_local": Key(default=False, check=flag),
        "reset.start_timeout": Key(60, number(1, 86400)),
        "reset.backup": Key("off", text("off|required", '"off" or "required"')),
        "reset.backup_dir": Key("/var/lib/hubwarden-backups", path),
        "reset.keep": Key(3, number(1, 10000)),
        "reset.keep_days": Key(30, number(0, 36500)),
        "reset.max_bytes": Key(10**12, number(1, 2**60)),
        "reset.protect_labels": Key([], several(text(r"[!-~]{1,255}", "a label's key"))),
        "reset.helper_image": Key("", text(r"sha256:[0-9a-f]{64}|", "an image's full id, sha256:...")),
        "reset.sizes_interval": Key(0, number(0, 86400)),
        "state.directory": Key("/var/lib/hubwarden", path),
        "audit.file": Key("audit.jsonl", text(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}", "a file name without a directory")),
        "audit.max_bytes": Key(67108864, number(65536, 2**40)),
        "audit.keep": Key(20, number(1, 10000)),
    }
    | dict(SPAWN_KEYS)
)
"""Key -> default and check. The one list of what may stand in `agent.toml`."""
