"""Every configuration key with its default and its check: the closed table behind `config`.

What holds here: a key that is not in `TABLES` is a mistake, and so is a value that its check does not know. Checks are
pure and say what would be right. Keys of features that this version does not have accept only what turns them off.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from limits import RateLimitItem
from limits import parse as parse_rate

TCP = "tcp://"
"""What begins the addresses in `listen.grpc` that need `[tls]`."""
_MAX_PORT = 65535
_RATES = 'a rate such as "3/hour" or "6/10 minutes"'

Check = Callable[[Any], Any]
"""Turns a TOML value into what the agent uses, or raises ValueError with what would be right."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key: the default as TOML would give it, and its check. A key `in_values = False` is checked and dropped."""

    default: Any
    check: Check
    in_values: bool = True


def _text(pattern: str, wanted: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(f"must be {wanted}")
        return value

    return check


def _number(low: float, high: float, kind: type[int | float] = int) -> Check:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | kind) or not low <= value <= high:
            raise ValueError(f"must be a number from {low} to {high}")
        return kind(value)

    return check


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - a mistake in a file, reported with all the others
    return value


def _several(check: Check) -> Check:
    def check_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError("must be a list")  # noqa: TRY004 - as in _flag
        items = tuple(check(item) for item in value)
        if len(set(items)) != len(items):
            raise ValueError("holds the same value twice")
        return items

    return check_all


def _at_least_one(check: Check) -> Check:
    def check_all(value: Any) -> tuple[Any, ...]:
        items: tuple[Any, ...] = _several(check)(value)
        if not items:
            raise ValueError("must hold at least one")
        return items

    return check_all


def _only(value: Any, meaning: str) -> Check:
    def check(given: Any) -> Any:
        if given != value:
            raise ValueError(f"must be {value!r}: {meaning} is not available in this version")
        return given

    return check


_unix_socket = _text(r"unix:///[^\x00-\x20]{1,100}", '"unix:///absolute/path"')


def _listener(value: Any) -> str:
    wanted = '"unix:///absolute/path", or with [tls] "tcp://HOST:PORT"'
    address = _text(
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


def _empty_or(check: Check) -> Check:
    return lambda value: "" if value == "" else check(value)


def _socket_mode(value: Any) -> int:
    mode = int(_text("0[0-7]{3}", 'four octal digits such as "0660"')(value), 8)
    if mode & 0o007:
        raise ValueError("must not let others in")
    return mode


def _rate(value: Any) -> RateLimitItem:
    # Stricter than the library, which takes the first of several rates, and an amount or a span of 0.
    rate = _text(r"[1-9][0-9]{0,5} ?(/|per) ?([1-9][0-9]{0,3} )?(second|minute|hour|day)s?", _RATES)(value)
    return parse_rate(rate)


def _size(value: Any) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mg])", value) if isinstance(value, str) else None
    if not match:
        raise ValueError('must be a size such as "512m" or "4g"')
    return int(match[1]) * {"m": 1024**2, "g": 1024**3}[match[2]]


def _address(value: Any) -> str:
    try:
        return str(ipaddress.ip_address(_text(r".{1,45}", "an address")(value)))
    except ValueError as error:
        raise ValueError("must be an IP address of this host") from error


def _path(value: Any) -> Path:
    if not isinstance(value, str) or not PurePosixPath(value).is_absolute():
        raise ValueError("must be an absolute path")
    return Path(value)


def _labels(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(label, str) for label in value.values()):
        raise ValueError('must be a table of texts such as {"team" = "physics"}')
    if any(key.startswith("hubwarden.") for key in value):
        raise ValueError("must not hold hubwarden.* labels, which are the agent's own")
    return MappingProxyType(dict(value))


_client = _text(
    r"dns:[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|uri:[a-z][a-z0-9+.-]*:[!-~]{1,2000}",
    'an alternative name of a client certificate, exact: "dns:hub.example.org" or "uri:spiffe://example.org/hub"',
)
_template = _text(r"[^\x00-\x20]{1,200}", "a template such as 'jupyterlab-{username}'")
_image = _text(r"[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,254}", "an exact image reference")

TABLES: Mapping[str, Key] = MappingProxyType(
    {
        "listen.grpc": Key(["unix:///run/hubwarden/agent.sock"], _at_least_one(_listener)),
        "listen.gateway": Key("", _empty_or(_unix_socket)),
        "listen.metrics": Key("", _empty_or(_unix_socket_or_port)),
        "listen.socket_mode": Key("0660", _socket_mode),
        "listen.socket_group": Key("", _text(r"[a-z_0-9][a-z0-9_-]{0,31}|", "a group's name or number")),
        "tls.certificate": Key("", _empty_or(_path)),
        "tls.key": Key("", _empty_or(_path)),
        "tls.client_ca": Key("", _empty_or(_path)),
        "tls.clients": Key([], _several(_client)),
        "tls.minimum": Key("1.2", _text(r"1\.[23]", '"1.2" or "1.3"')),
        "docker.host": Key("unix:///var/run/docker.sock", _unix_socket),
        "docker.timeout": Key(30, _number(1, 600)),
        "names.container": Key("jupyterlab-{username}", _template),
        "names.named_container": Key("jupyterlab-{username}--{servername}", _empty_or(_template)),
        "names.home_volume": Key("jupyterlab-{username}_home", _template),
        "names.escape": Key("dockerspawner", _text("dockerspawner|legacy", '"dockerspawner" or "legacy"')),
        "limits.restarts_per_user": Key("6/10 minutes", _rate),
        "limits.resets_per_user": Key("3/hour", _rate),
        "limits.resets_total": Key("60/hour", _rate),
        "limits.max_stop_timeout": Key(60, _number(0, 75)),  # the agent's own end waits 90 s for a restart
        "limits.max_deadline": Key(600, _number(1, 86400)),
        "limits.max_concurrent": Key(256, _number(1, 10000)),
        "reset.stopped_container": Key("remove", _text("remove|refuse", '"remove" or "refuse"')),
        "reset.allow_non_local": Key(default=False, check=_flag),
        "reset.start_timeout": Key(60, _number(1, 86400)),
        "reset.backup": Key("off", _text("off|required", '"off" or "required"')),
        "reset.backup_dir": Key("/var/lib/hubwarden-backups", _path),
        "reset.keep": Key(3, _number(1, 10000)),
        "reset.keep_days": Key(30, _number(0, 36500)),
        "reset.max_bytes": Key(10**12, _number(1, 2**60)),
        "reset.protect_labels": Key([], _several(_text(r"[!-~]{1,255}", "a label's key"))),
        "reset.helper_image": Key("", _text(r"sha256:[0-9a-f]{64}|", "an image's full id, sha256:...")),
        "reset.sizes_interval": Key(0, _number(0, 86400)),
        "state.directory": Key("/var/lib/hubwarden", _path),
        "audit.file": Key("audit.jsonl", _text(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}", "a file name without a directory")),
        "audit.max_bytes": Key(67108864, _number(65536, 2**40)),
        "audit.keep": Key(20, _number(1, 10000)),
        "spawn.images": Key([], _several(_image)),
        "spawn.networks": Key(
            [],
            _several(_text(r"(?!host$)[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}", "a network's name, and not the host's own")),
        ),
        "spawn.volumes": Key(
            [
                "jupyterlab-{username}_home",
                "jupyterlab-{username}_workspace",
                "jupyterlab-{username}_cache",
            ],
            _several(_template),
        ),
        "spawn.host_paths": Key([], _only([], "mounting host paths"), in_values=False),
        "spawn.max_memory": Key("4g", _size),
        "spawn.max_cpus": Key(2.0, _number(0.01, 1024, float)),
        "spawn.max_pids": Key(1024, _number(1, 4194304)),
        "spawn.max_containers": Key(200, _number(1, 100000)),
        "spawn.max_creates": Key("60/minute", _rate),
        "spawn.labels": Key({}, _labels),
        "spawn.publish": Key("", _empty_or(_address)),
        "spawn.adopt": Key("off", _only("off", "adopting containers"), in_values=False),
    }
)
"""Key -> default and check. The one list of what may stand in `agent.toml`."""


class Reader:
    """A document held against the table: `values` for every key of the table, or `mistakes`."""

    def __init__(self, document: Mapping[str, Any], tables: Mapping[str, Key]) -> None:
        self.values: dict[str, Any] = {}
        self.mistakes: list[str] = []
        given = self._flatten(document, {key.partition(".")[0] for key in tables})
        self.mistakes.extend(f"{key}: unknown key" for key in given if key not in tables)
        for name, key in tables.items():
            try:
                value = key.check(given.get(name, key.default))
            except ValueError as error:
                self.mistakes.append(f"{name}: {error}")
                continue
            if key.in_values:
                self.values[name] = value

    def _flatten(self, document: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for table, content in document.items():
            if table not in known:
                self.mistakes.append(f"{table}: unknown {'table' if isinstance(content, dict) else 'key'}")
            elif isinstance(content, dict):
                given |= {f"{table}.{key}": value for key, value in content.items()}
            else:
                self.mistakes.append(f"{table}: must be a table")
        return given
