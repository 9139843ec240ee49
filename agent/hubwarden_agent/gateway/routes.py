"""Which requests there are: the closed table of methods, paths and query parameters, and nothing normalised on the way.

Invariants: the request target is matched as the client wrote it. It may hold no percent sign (but docker-py's
`%40` in an image's digest), no `//`, no `..` and no slash at its end, and an image is found by comparing its whole
spelling with the policy's. What is not in `ROUTES` is refused, and so is a parameter that is unknown, missing or twice.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import parse_qsl

from hubwarden_agent.gateway.refusals import GatewayRefusal, endpoint_refused

API_VERSION = 44
"""The minor version of Docker's API (1.x) that the gateway speaks, docker-py's default. The engine's own is another."""

OLDEST_API_VERSION = 24
"""The oldest that docker-py 7 speaks. What differs between the two is nothing that the gateway offers."""

MAX_PARAMETERS = 8


class Operation(enum.StrEnum):
    """What a request is for; the changing ones are called so in the audit trail."""

    PING = "ping"
    VERSION = "version"
    IMAGE = "image"
    PULL = "pull"
    INSPECT = "inspect"
    CREATE = "create"
    START = "start"
    STOP = "stop"
    REMOVE = "remove"
    PREPARE_EXEC = "prepare-exec"
    EXEC = "exec"


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request whose method, path and query were understood. `reference` is the container's or image's, as spelt."""

    operation: Operation
    reference: str = ""
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether it changes something, or may take as long as that."""
        return self.operation not in (
            Operation.PING,
            Operation.VERSION,
            Operation.IMAGE,
            Operation.INSPECT,
            Operation.PREPARE_EXEC,
        )

    @property
    def takes_body(self) -> bool:
        """Whether this one comes with a JSON body; no other may have one."""
        return self.operation in (Operation.CREATE, Operation.PREPARE_EXEC, Operation.EXEC)


@dataclass(frozen=True, slots=True)
class _Parameter:
    pattern: re.Pattern[str]
    required: bool


@dataclass(frozen=True, slots=True)
class Route:
    """One row: `path` is matched as a whole, after the version's prefix, which `prefix_optional` makes optional."""

    method: str
    path: re.Pattern[str]
    operation: Operation
    query: Mapping[str, _Parameter] = field(default_factory=dict)
    prefix_optional: bool = False


_NAME = r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}"
_NO = re.compile(r"False|false|0")
_VERSION_PREFIX = re.compile(r"/v1\.([1-9][0-9])(?=/)")
_PATH = re.compile(r"/[A-Za-z0-9._:/@-]*")


def _required(pattern: str) -> _Parameter:
    return _Parameter(re.compile(pattern), required=True)


ROUTES: tuple[Route, ...] = (
    Route("GET", re.compile(r"/_ping"), Operation.PING, prefix_optional=True),
    Route("GET", re.compile(r"/version"), Operation.VERSION, prefix_optional=True),
    Route("GET", re.compile(r"/images/(.{1,512})/json"), Operation.IMAGE),
    Route(
        "POST",
        re.compile(r"/images/create"),
        Operation.PULL,
        {"fromImage": _required(r".{1,512}"), "tag": _required(r".{1,128}")},
    ),
    Route("GET", re.compile(rf"/containers/({_NAME})/json"), Operation.INSPECT),
    Route("POST", re.compile(r"/containers/create"), Operation.CREATE, {"name": _required(_NAME)}),
    Route("POST", re.compile(rf"/containers/({_NAME})/start"), Operation.START),
    Route("POST", re.compile(rf"/containers/({_NAME})/stop"), Operation.STOP),
    Route("POST", re.compile(rf"/containers/({_NAME})/exec"), Operation.PREPARE_EXEC),
    Route("POST", re.compile(r"/exec/([0-9a-f]{64})/start"), Operation.EXEC),
    Route(
        "DELETE",
        re.compile(rf"/containers/({_NAME})"),
        Operation.REMOVE,
        {
            # A volume without a name that a removal left behind would be counted by nothing, and found by nobody.
            "v": _required(r"True|true|1"),
            "link": _Parameter(_NO, required=False),
            "force": _Parameter(_NO, required=False),
        },
    ),
)
"""Everything that the gateway answers."""


def resolve(method: str, target: str) -> ApiRequest:
    """Find out what a request is for.

    Args:
        method: as the client wrote it.
        target: the request target as the client wrote it, query included.

    Raises:
        GatewayRefusal: 403 for what is not in `ROUTES`, 400 for a version or a query that is not right.
    """
    path, mark, query = target.partition("?")
    suspicious = ".." in path or "//" in path or path.endswith("/")
    if suspicious or not _PATH.fullmatch(path.replace("%40", "@")):
        raise endpoint_refused()
    prefix = _VERSION_PREFIX.match(path)
    rest = path[prefix.end() :] if prefix else path
    for route in ROUTES:
        match = route.path.fullmatch(rest)
        if match and route.method == method and (prefix or route.prefix_optional):
            _check_version(prefix)
            reference = match[1] if match.groups() else ""
            return ApiRequest(route.operation, reference, _parameters(query if mark else None, route))
    raise endpoint_refused()


def _check_version(prefix: re.Match[str] | None) -> None:
    if prefix and not OLDEST_API_VERSION <= int(prefix[1]) <= API_VERSION:
        raise GatewayRefusal(
            f"client version 1.{int(prefix[1])} is not supported; "
            f"this gateway speaks 1.{OLDEST_API_VERSION} to 1.{API_VERSION}"
        )


def _parameters(query: str | None, route: Route) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for key, value in _pairs(query):
        known = route.query.get(key)
        if known is None or key in found:
            raise GatewayRefusal("hubwarden: a query parameter is not supported, or is duplicated")
        if not known.pattern.fullmatch(value):
            raise GatewayRefusal(f"hubwarden: the query parameter {key} has a value that is not supported")
        found[key] = value
    for key, parameter in route.query.items():
        if parameter.required and key not in found:
            raise GatewayRefusal(f"hubwarden: the query parameter {key} is required")
    return MappingProxyType(found)


def _pairs(query: str | None) -> list[tuple[str, str]]:
    if query is None:
        return []
    if not query:
        raise GatewayRefusal("hubwarden: the query is empty")
    try:
        return parse_qsl(
            query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=MAX_PARAMETERS
        )
    except ValueError as error:
        raise GatewayRefusal("hubwarden: the query is malformed") from error
