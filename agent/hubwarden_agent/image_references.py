"""References of images in `[spawn]`: which of them name the same image, and what a list of pulls rules out.

Invariants: pure. References are compared as Docker completes them, so that no spelling avoids the check of a pulled
image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

DEFAULT_HOST = "docker.io"
_PREFIX_OF_AN_ID = re.compile(r"(sha256:)?[0-9a-f]{1,64}")
_ID = re.compile(r"sha256:[0-9a-f]{64}")


def normalized(image: str) -> str:
    """A reference with all that Docker fills in: host, `library/`, tag. A tag before a digest means nothing."""
    name, _, digest = image.partition("@")
    folder, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    host, slash, path = f"{folder}{slash}{last}".partition("/")
    if not slash or not (host == "localhost" or "." in host or ":" in host or host != host.lower()):
        host, path = DEFAULT_HOST, f"{host}{slash}{path}"
    elif host == "index.docker.io":
        host = DEFAULT_HOST
    if host == DEFAULT_HOST and "/" not in path:
        path = f"library/{path}"
    return f"{host}/{path}@{digest}" if digest else f"{host}/{path}:{tag or 'latest'}"


def is_ambiguous(image: str) -> bool:
    """Whether Docker could take a reference for the beginning of any image's id. A whole id is one image only."""
    return bool(_PREFIX_OF_AN_ID.fullmatch(image)) and not _ID.fullmatch(image)


def errors(images: Sequence[str], pull: Sequence[str], users: Iterable[str]) -> list[str]:
    """One sentence for each image and user that must not be listed together with these pulls, with its key."""
    pulled = {normalized(image): image for image in pull}
    return [
        f"spawn.images: {image} names the same image as {pulled[normalized(image)]} of spawn.pull, and would not be "
        "checked: list one"
        for image in images
        if image not in pull and normalized(image) in pulled
    ] + [
        f"spawn.allow: User {user} must be the numbers of a user and a group, such as 1000:100: an image of spawn.pull "
        "decides which user a name is and which group a user has"
        for user in users
        if pull and not re.fullmatch("[0-9]+:[0-9]+", user)
    ]
