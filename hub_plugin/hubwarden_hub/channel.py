"""The way to the agent: a unix socket, or TCP with mutual TLS and files that are renewed while the Hub runs.

Invariants: there is no plaintext TCP. gRPC cannot renew a client's certificate, so when the files change there is
a new channel, and the old one ends when its last call has; files that cannot be used (a certificate whose key has not
arrived yet) leave the channel as it is. Nothing here is logged but paths.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from logging import Logger
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

TCP = "tcp://"

# An agent that comes back is used within a second. Proxies are for the way out, never for the way to the agent.
_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


@dataclass(frozen=True, slots=True)
class Files:
    """PEM files: the CA of the agent's certificate, and the Hub's own certificate with its key."""

    ca: Path
    certificate: Path
    key: Path

    def read(self) -> tuple[bytes, bytes, bytes]:
        """All three as they are.

        Raises:
            OSError: one of them cannot be read.
        """
        return self.ca.read_bytes(), self.certificate.read_bytes(), self.key.read_bytes()

    def check(self) -> None:
        """Raises `ValueError`, naming the file, or `OSError`, if they cannot be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(self.ca)
        except ssl.SSLError as error:
            raise ValueError(f"{self.ca}: must be certificates in PEM") from error
        try:
            context.load_cert_chain(self.certificate, self.key, _no_password)
        except ssl.SSLError as error:
            raise ValueError(f"{self.key}: must be the key of {self.certificate}, both in PEM") from error


def _no_password() -> str:
    raise ValueError("the key must not need a password, which nobody is there to type")


class Dialer:
    """Gives the channel to use now. Belongs to one event loop from its first use.

    Args:
        address: `unix:///path`, or `tcp://HOST:PORT` with files.
        files: for TCP.
        grace: seconds that calls on a replaced channel get to end.
        log: told when files were renewed, or cannot be used.
    """

    def __init__(self, address: str, files: Files | None, grace: float, log: Logger) -> None:
        self._address = address
        self._files = files
        self._grace = grace
        self._log = log
        self._contents: tuple[bytes, bytes, bytes] | None = None
        self._problem = ""
        self._channel: grpc.aio.Channel | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def channel(self) -> grpc.aio.Channel:
        """The channel to use for the next call.

        Raises:
            ValueError: there has never been one, because the files cannot be used.
            OSError: likewise.
        """
        if self._files is not None:
            self._renew(self._files)
        if self._channel is None:
            self._channel = self._dial()
        return self._channel

    def _renew(self, files: Files) -> None:
        try:
            contents = files.read()
            if contents != self._contents:
                files.check()
                self._contents = contents
                self._leave()
            self._problem = ""
        except (OSError, ValueError) as error:
            if self._contents is None:
                raise
            if str(error) != self._problem:
                self._log.error("Hubwarden: the renewed TLS files cannot be used, keeping the old ones: %s", error)
            self._problem = str(error)

    def _leave(self) -> None:
        """Have the next call dial anew. The task set keeps asyncio from losing the one that closes the old channel."""
        if self._channel is not None:
            self._log.info("Hubwarden: the TLS files were renewed: connecting anew")
            closing = asyncio.ensure_future(self._channel.close(self._grace))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            self._channel = None

    def _dial(self) -> grpc.aio.Channel:
        if self._contents is None:
            if not self._address.startswith("unix:"):
                raise ValueError("TCP needs TLS files")
            return grpc.aio.insecure_channel(self._address, _OPTIONS)
        ca, certificate, key = self._contents
        credentials = grpc.ssl_channel_credentials(ca, key, certificate)
        return grpc.aio.secure_channel(f"dns:///{self._address.removeprefix(TCP)}", credentials, _OPTIONS)
