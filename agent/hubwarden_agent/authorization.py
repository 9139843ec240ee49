"""Authorization of gRPC callers, by what the transport proves.

Invariants:
- On a unix socket, the mode of the file has decided already. (grpcio shows no credentials of a unix socket's peer.)
- Over TLS, a caller is authorized by a typed subject alternative name (`dns:` or `uri:`) of its verified certificate
  that is on the operator's list. The common name is never read.
- A caller that is not on the list learns that, and nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import grpc

from hubwarden_agent.audit import Audit, AuditEntry
from hubwarden_agent.errors import Reason, RequestRefused

UNIX_CLIENT = "unix"
"""The client's name on a unix socket."""
UNNAMED = "no alternative name"
"""The client's name when its certificate has neither kind of name."""
MAX_CLIENT_TEXT = 256
"""Characters of an unlisted caller's names that are recorded: they choose them."""

_TYPED = {"peer_dns": "dns:", "peer_uri": "uri:"}
"""gRPC's keys of verified names by type; `x509_subject_alternative_name` mixes all types."""


class Authorizer(Protocol):
    """Decides about the callers of one listener."""

    def authorize(self, context: grpc.ServicerContext, operation: str, request_id: str) -> str:
        """The client's name, for requests and audit. `request_id` is a UUID4 or empty.

        Raises:
            RequestRefused: `CLIENT_NOT_ALLOWED`, which was recorded.
        """


class SocketAuthorizer:
    """For unix sockets: each caller is authorized."""

    def authorize(self, *_: object) -> str:
        """See `Authorizer.authorize`."""
        return UNIX_CLIENT


@dataclass(frozen=True, slots=True)
class TlsAuthorizer:
    """For TLS. `allowed_clients` is asked at each call, so that removing a client from the list revokes it at once."""

    allowed_clients: Callable[[], frozenset[str]]
    audit: Audit

    def authorize(self, context: grpc.ServicerContext, operation: str, request_id: str) -> str:
        """See `Authorizer.authorize`."""
        names = alternative_names(cast("Mapping[str, Iterable[bytes]]", context.auth_context()))  # the stubs are wrong
        if allowed := names & self.allowed_clients():
            return min(allowed)
        client = ", ".join(sorted(names))[:MAX_CLIENT_TEXT] or UNNAMED
        self.audit.denied(AuditEntry(operation, "", "", client, "", request_id, "", ""), Reason.CLIENT_NOT_ALLOWED)
        raise RequestRefused(Reason.CLIENT_NOT_ALLOWED)


def alternative_names(verified: Mapping[str, Iterable[bytes]]) -> frozenset[str]:
    """The verified names, each with its type. DNS names are in lower case, as they compare."""
    return frozenset(
        prefix + (text.lower() if key == "peer_dns" else text)
        for key, prefix in _TYPED.items()
        for text in (name.decode("utf-8", "replace") for name in verified.get(key, ()))
    )
