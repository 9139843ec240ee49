"""A registry of images on loopback, which the private engine may ask without TLS: Debian's docker-registry.

Invariants: nothing is installed on the machine. Where the program is missing, Debian's package is unpacked into the
cache folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from support.waiting.conditions import wait_for
from support.waiting.ports import free_port

PROGRAM = "docker-registry"
_CONFIGURATION = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {directory}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_PASSWORDS = "auth: {{htpasswd: {{realm: tests, path: {directory}/passwords}}}}\n"


def _program() -> str:
    if found := shutil.which(PROGRAM):
        return found
    cache = Path(os.environ.get("HUBWARDEN_CACHE") or Path.home() / ".cache" / "hubwarden") / PROGRAM
    unpacked = cache / "usr" / "bin" / PROGRAM
    if not unpacked.exists():
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["apt-get", "-q", "download", PROGRAM], check=True, cwd=folder)
            (package,) = Path(folder).glob("*.deb")
            subprocess.run(["dpkg", "-x", package, cache], check=True)
    return str(unpacked)


class Registry:
    """A registry that serves.

    Args:
        port: on loopback.
        client: of the engine that pushes to it.
    """

    def __init__(self, port: int, client: Any) -> None:
        self.host = f"127.0.0.1:{port}"
        self._client = client

    def push(self, base: str, name: str, *, tag: str = "1", **config: Any) -> str:
        """Make an image of a base with another configuration, push it, and forget it here. Returns its reference.

        Args:
            base: an image on the engine.
            name: in the registry.
            tag: of the image.
            config: of the image, in Docker's words: `User`, `Labels`, `Volumes`.
        """
        reference = f"{self.host}/{name}"
        container = self._client.containers.create(base, ["true"])
        container.commit(reference, tag, conf=config)
        container.remove()
        pushed = self._client.images.push(reference, tag)
        assert "digest: sha256:" in pushed, pushed
        self._client.images.remove(f"{reference}:{tag}")
        return f"{reference}:{tag}"


@contextmanager
def serving(client: Any, *, private: bool = False) -> Iterator[Registry]:
    """Run a registry for the body; a private one lets nobody in."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "config.yml"
        template = _CONFIGURATION + (_PASSWORDS if private else "")
        configuration.write_text(template.format(directory=f"{folder}/data", port=port))
        (Path(folder) / "data").mkdir()
        (Path(folder) / "data" / "passwords").touch()
        with (Path(folder) / "log").open("w") as log:
            process = subprocess.Popen([_program(), "serve", str(configuration)], stdout=log, stderr=log)
        try:
            wait_for(lambda: _answers(port), "the registry answers")
            yield Registry(port, client)
        finally:
            process.terminate()
            process.wait()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        return error.code == HTTPStatus.UNAUTHORIZED
    except OSError:
        return False
