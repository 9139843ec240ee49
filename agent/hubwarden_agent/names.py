"""Whose is what: user names to container and volume names, and untrusted text into types that cannot hold bad text.

Invariants: a `Username`, `ServerName`, ... exists only if its text passed `fullmatch`, and `Names` never gives
two users the same name (`template_mistakes` refuses templates under which it could). Names are always derived forwards,
from a user to a name; nothing here, or anywhere else, may guess a user from the beginning of a name.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar, Literal, Self

from escapism import escape

from hubwarden_agent.config_types import Table
from hubwarden_agent.errors import Reason, RequestRefused

MAX_NAME_BYTES = 255
"""Docker's bound on a volume's name, which is also a file's; kept for containers too."""

EscapeRule = Literal["dockerspawner", "legacy"]


@dataclass(frozen=True, slots=True)
class _Text:
    """Text that matched its pattern as a whole. Subclasses give the pattern."""

    value: str
    pattern: ClassVar[re.Pattern[str]]

    def __post_init__(self) -> None:
        if not self.pattern.fullmatch(self.value):
            raise RequestRefused(Reason.INVALID_REQUEST, f"That is not a valid {_words(type(self).__name__)}.")

    @classmethod
    def parse(cls, value: str) -> Self:
        """Make one of untrusted text.

        Raises:
            RequestRefused: `INVALID_REQUEST`, without echoing the text.
        """
        return cls(value)

    def __str__(self) -> str:
        return self.value


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


_PRINTABLE = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"


class Username(_Text):
    """A JupyterHub user name, not escaped. JupyterHub forbids `/` and surrounding white space; so does this."""

    pattern = re.compile(rf"(?!\s)(?:(?!/){_PRINTABLE}){{1,255}}(?<!\s)")


class ServerName(_Text):
    """The name of a user's server, not escaped; empty for the default server."""

    pattern = re.compile(rf"(?:(?!/){_PRINTABLE}){{0,255}}")


class Actor(_Text):
    """Who asked, as the Hub claims it. Recorded, never used to decide."""

    pattern = re.compile(rf"(?:user|service):{_PRINTABLE}{{1,255}}")


class RequestId(_Text):
    """A UUID4 in its canonical spelling (AIP-155)."""

    pattern = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class ContainerName(_Text):
    """A container's name, as Docker accepts it."""

    pattern = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}")


class ContainerId(_Text):
    """A container's full id."""

    pattern = re.compile(r"[0-9a-f]{64}")


class ImageId(_Text):
    """An image's full id. Unlike a reference, it is one image and no other."""

    pattern = re.compile(r"sha256:[0-9a-f]{64}")


class VolumeName(_Text):
    """A named volume's name, as Docker accepts it. Never a path."""

    pattern = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}")


class BackupId(_Text):
    """A backup's id: when, a hash of the volume's name, a hash of its manifest."""

    pattern = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}-[0-9a-f]{16}")


def _dockerspawner_escape(text: str) -> str:
    """DockerSpawner 14's default: a byte that is not a lower-case letter or digit becomes `-` and two hex digits."""
    return str(escape(text, set(string.ascii_lowercase + string.digits), escape_char="-")).lower()


def _legacy_escape(text: str) -> str:
    """DockerSpawner's `escape = "legacy"`, under which user `a--b` and user `a`'s server `b` would be one name."""
    return str(escape(text, set(string.ascii_letters + string.digits + "-"), escape_char="_"))


_ESCAPES = {"dockerspawner": _dockerspawner_escape, "legacy": _legacy_escape}
# What an escape can produce, token after token. Both are prefix codes: text is cut into tokens in one way only.
_TOKEN = {"dockerspawner": r"[a-z0-9]|-[0-9a-f]{2}", "legacy": r"[A-Za-z0-9-]|_[0-9A-F]{2}"}


@dataclass(frozen=True, slots=True)
class Templates(Table):
    """The operator's templates. `template_mistakes` has to be empty before `Names` may use them."""

    container: str = "jupyterlab-{username}"
    named_container: str = "jupyterlab-{username}--{servername}"
    home_volume: str = "jupyterlab-{username}_home"
    escape: EscapeRule = "dockerspawner"


def _split(template: str) -> tuple[str, str]:
    prefix, _, rest = template.partition("{username}")
    return prefix, rest


def placeholder_mistake(template: str, placeholders: tuple[str, ...]) -> str | None:
    """What is wrong with a template that must hold each placeholder once, in this order, and be a Docker name else."""
    pattern = "[a-zA-Z0-9][a-zA-Z0-9_.-]*" + "[a-zA-Z0-9_.-]*".join(re.escape(f"{{{p}}}") for p in placeholders)
    if re.fullmatch(pattern + "[a-zA-Z0-9_.-]*", template):
        return None
    wanted = " and then ".join(f"{{{p}}}" for p in placeholders)
    return f"must start with a letter or digit and hold {wanted} once, with letters, digits, '_', '.' and '-' around"


def ambiguous(first: str, second: str, escape_rule: EscapeRule) -> bool:
    """Whether two templates with `{username}` can give two users (or one user twice) the same name."""
    (prefix_a, suffix_a), (prefix_b, suffix_b) = _split(first), _split(second)
    if prefix_a != prefix_b:
        return prefix_a.startswith(prefix_b) or prefix_b.startswith(prefix_a)
    longer, shorter = sorted((suffix_a, suffix_b), key=len, reverse=True)
    if not longer.endswith(shorter):
        return False
    # u + longer == v + shorter is possible exactly when what is left over could itself be the end of an escaped name.
    between = longer.removesuffix(shorter) if shorter else longer
    return re.fullmatch(f"(?:{_TOKEN[escape_rule]})*", between) is not None


def named_server_mistake(container: str, named: str) -> str | None:
    """Why default and named servers' containers could share a name; only for DockerSpawner's own escape.

    A user name that was escaped ends where text begins that no escape can produce. The separator has to begin so.
    """
    prefix, suffix = _split(container)
    named_prefix, rest = _split(named)
    separator = rest.partition("{servername}")[0]
    ends_username = re.compile(r"[^a-z0-9-]|-[^0-9a-f]|-[0-9a-f][^0-9a-f]")
    if prefix != named_prefix:
        return "must begin as names.container does, up to and including {username}"
    if not ends_username.match(separator) or (suffix and not ends_username.match(suffix)):
        return "needs a separator after {username} that no escaped name can hold, such as '--' or '_'"
    if suffix.startswith(separator):
        return "must not use a separator that names.container has after {username}"
    return None


def template_mistakes(templates: Templates, volumes: tuple[str, ...] = ()) -> dict[str, str]:
    """Every key under `[names]` whose template is malformed or could be read two ways, and likewise `spawn.volumes`.

    Args:
        templates: of `[names]`.
        volumes: the templates of `spawn.volumes`, each without a `placeholder_mistake`.
    """
    found: dict[str, str | None] = {
        "names.container": placeholder_mistake(templates.container, ("username",)),
        "names.named_container": _named_container_mistake(templates),
        "names.home_volume": placeholder_mistake(templates.home_volume, ("username",)),
    }
    if not any(found.values()):
        found["spawn.volumes"] = _volumes_mistake({templates.home_volume, *volumes}, templates.escape)
    return {key: mistake for key, mistake in found.items() if mistake}


def _named_container_mistake(templates: Templates) -> str | None:
    if not templates.named_container:
        return None
    if templates.escape == "legacy":
        return "must be empty with escape = 'legacy'"
    malformed = placeholder_mistake(templates.named_container, ("username", "servername"))
    return malformed or named_server_mistake(templates.container, templates.named_container)


def _volumes_mistake(volumes: set[str], escape_rule: EscapeRule) -> str | None:
    for first, second in combinations(sorted(volumes), 2):
        if ambiguous(first, second, escape_rule):
            return f"{first!r} and {second!r} could give two users the same volume"
    return None


class Names:
    """Derives names from users. Two users never share one.

    Args:
        templates: without mistakes, see `template_mistakes`.

    Raises:
        ValueError: the templates have mistakes.
    """

    def __init__(self, templates: Templates) -> None:
        mistakes = template_mistakes(templates)
        if mistakes:
            raise ValueError(f"unusable templates: {mistakes}")
        self._templates = templates
        self._escape = _ESCAPES[templates.escape]

    @property
    def scheme(self) -> str:
        """What tells this agent's containers from another's on the same engine (label `hubwarden.agent`)."""
        return self._templates.container

    def container(self, username: Username, server_name: ServerName) -> ContainerName:
        """The container of a user's server.

        Raises:
            RequestRefused: `INVALID_REQUEST` when Docker cannot hold the name, or for a named server without
                template.
        """
        if not server_name.value:
            return ContainerName(self._bounded(self._templates.container, username))
        if not self._templates.named_container:
            raise RequestRefused(Reason.INVALID_REQUEST, "Named servers are not available here.")
        # DockerSpawner lower-cases a server's name before it escapes it.
        servername = self._escape(server_name.value.lower())
        return ContainerName(self._bounded(self._templates.named_container, username, servername))

    def home_volume(self, username: Username) -> VolumeName:
        """The user's home volume.

        Raises:
            RequestRefused: `INVALID_REQUEST` when Docker cannot hold the name.
        """
        return self.volume(self._templates.home_volume, username)

    def is_called_home(self, volume: VolumeName) -> bool:
        """Whether this could be some user's home volume."""
        return self.volume_pattern(self._templates.home_volume).fullmatch(volume.value) is not None

    def volume(self, template: str, username: Username) -> VolumeName:
        """A volume of the user by one of the policy's templates.

        Raises:
            RequestRefused: `INVALID_REQUEST` when Docker cannot hold the name.
        """
        return VolumeName(self._bounded(template, username))

    def volume_pattern(self, template: str) -> re.Pattern[str]:
        """What volumes of a template are called, over all users: to count them, never to find an owner."""
        prefix, suffix = _split(template)
        return re.compile(f"{re.escape(prefix)}(?:{_TOKEN[self._templates.escape]})+{re.escape(suffix)}")

    def _bounded(self, template: str, username: Username, servername: str = "") -> str:
        name = template.format(username=self._escape(username.value), servername=servername)
        if len(name.encode()) > MAX_NAME_BYTES:
            raise RequestRefused(Reason.INVALID_REQUEST, "The name is too long for Docker.")
        return name
