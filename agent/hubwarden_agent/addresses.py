"""Types of the addresses in `agent.toml`: where the agent listens, and whom it lets in.

Invariants: an address is spelt out, so that nothing listens everywhere by chance.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from hubwarden_agent.config_types import matching

TCP = "tcp://"
"""What begins the addresses that need `[tls]`."""
MAX_PORT = 65535
_LISTENER = '"unix:///absolute/path", or with [tls] "tcp://HOST:PORT"'
_SOCKET = r"unix:///[^\x00-\x20]{1,100}"
_LISTENERS = _SOCKET + r"|tcp://([a-zA-Z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\]):[1-9][0-9]{0,4}"


def _port(address: str) -> str:
    if address.startswith(TCP) and int(address.rpartition(":")[2]) > MAX_PORT:
        raise ValueError(f"must be {_LISTENER}, the port at most {MAX_PORT}")
    return address


def _socket_or_port(value: str) -> str:
    """Also `127.0.0.1:9464` or `[::1]:9464`."""
    if not re.fullmatch(f"({_SOCKET})?", value) and not _is_address_and_port(value):
        raise ValueError('must be "unix:///absolute/path" or an address and port such as "127.0.0.1:9464"')
    return value


def _is_address_and_port(value: str) -> bool:
    address, _, port = value.rpartition(":")
    kind = ipaddress.IPv6Address if address.startswith("[") else ipaddress.IPv4Address
    try:
        kind(address.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return bool(re.fullmatch(r"[1-9][0-9]{0,4}", port)) and int(port) <= MAX_PORT


def _socket_mode(value: object) -> int:
    if not isinstance(value, str) or not re.fullmatch("0[0-7]{2}0", value):
        raise ValueError('must be four octal digits such as "0660", the last one 0: others must not get in')
    return int(value, 8)


Socket = Annotated[str, matching(_SOCKET, '"unix:///absolute/path"')]
Listener = Annotated[str, matching(_LISTENERS, _LISTENER), AfterValidator(_port)]
Group = Annotated[str, matching(r"[a-z_0-9][a-z0-9_-]{0,31}|", "a group's name or number")]
Client = Annotated[
    str,
    matching(
        r"dns:[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|uri:[a-z][a-z0-9+.-]*:[!-~]{1,2000}",
        'an alternative name of a client certificate, exact: "dns:hub.example.org" or "uri:spiffe://example.org/hub"',
    ),
]
OptionalListener = Annotated[str, matching(f"({_LISTENERS})?", _LISTENER), AfterValidator(_port)]
SocketOrPort = Annotated[str, AfterValidator(_socket_or_port)]
SocketMode = Annotated[int, BeforeValidator(_socket_mode)]
