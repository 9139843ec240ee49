"""Pulling an image, and why that failed: Docker reports nearly every failure as text alone.

Invariants:
- No credentials are sent, and none of the Docker CLI's are looked for.
- An error of an unknown kind is an `EngineError`, never "there is no such image".
"""

from __future__ import annotations

from docker import APIClient
from docker.errors import APIError

from hubwarden_agent.engine.port import EngineError, NotFound
from hubwarden_agent.engine.spawn_port import DiskFull, PullDenied

_KINDS: tuple[tuple[type[EngineError], tuple[str, ...]], ...] = (
    (DiskFull, ("no space left on device", "disk quota exceeded")),
    (PullDenied, ("denied", "unauthorized", "authentication required", "no basic auth credentials", "forbidden")),
    (NotFound, ("not found", "unknown", "does not exist")),
)
"""What an error's text holds, in lower case, for each kind. The first that fits counts."""


def pull(client: APIClient, reference: str) -> None:
    """Pull an image.

    Raises:
        NotFound: the registry does not have it.
        PullDenied: the registry wants credentials, or denies access.
        DiskFull: there is no room for it.
        EngineError: it failed for another reason.
    """
    repository, separator, tag = reference.rpartition("@" if "@" in reference else ":")
    if not separator or "/" in tag:
        repository, tag = reference, "latest"
    try:
        # Without credentials: the SDK would else take them from the CLI's files, and run the helpers that those name.
        for progress in client.pull(repository, tag=tag, auth_config={}, stream=True, decode=True):
            if "error" in progress:
                raise _failure(str(progress["error"]), repository)
    except APIError as error:
        raise _failure(str(error.explanation), repository) from error


def _failure(said: str, repository: str) -> EngineError:
    text = said.replace(repository, "").lower()
    kind = next((kind for kind, signs in _KINDS if any(sign in text for sign in signs)), EngineError)
    return kind(said)
