"""Who calls, as the transport proves it, and whether they may.

What holds here: on a unix socket the file's mode has decided already. Over TLS, a caller is let in by a typed
alternative name (`dns:` or `uri:`) of its verified certificate that is on the operator's list, and by nothing else: the
common name is never read. Who is not on the list learns that, and nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from hubwarden_agent.audit import Entry
from hubwarden_agent.audit_trails import AuditTrail
from hubwarden_agent.errors import Reason, Refusal

UNIX_CLIENT = "unix"
"""Who called, when the transport is a unix socket: whoever may open it."""
UNNAMED = "no alternative name"
"""Who called, when the certificate has neither kind of name."""
MAX_CLIENT_TEXT = 256
"""Characters of an unlisted caller's names that are recorded: they choose them."""

_TYPED = {"peer_dns": "dns:", "peer_uri": "uri:"}
"""gRPC's keys of verified names that say of which type they are; `x509_subject_alternative_name` mixes all types."""

Context = grpc.aio.ServicerContext[Any, Any]


class Callers(Protocol):
    """Decides about one listener's callers."""

    async def admit(self, context: Context, operation: str, request_id: str) -> str:
        """Who calls, for commands and audit. `request_id` is a UUID4 or empty.

        Raises:
            Refusal: `CLIENT_NOT_ALLOWED`, which was recorded.
        """


class SocketCallers:
    """The callers on unix sockets."""

    async def admit(self, *_: object) -> str:
        """See `Callers.admit`."""
        return UNIX_CLIENT


@dataclass(frozen=True, slots=True)
class TlsCallers:
    """The callers over TLS; `listed` is asked at every call, so that taking a client off the list works at once."""

    listed: Callable[[], frozenset[str]]
    audit: AuditTrail

    async def admit(self, context: Context, operation: str, request_id: str) -> str:
        """See `Callers.admit`."""
        names = alternative_names(context.auth_context())
        allowed = names & self.listed()
        if allowed:
            return min(allowed)
        client = ", ".join(sorted(names))[:MAX_CLIENT_TEXT] or UNNAMED
        entry = Entry(operation, "", "", client, "", request_id, "", "")
        await self.audit.denied(entry, Reason.CLIENT_NOT_ALLOWED)
        raise Refusal(Reason.CLIENT_NOT_ALLOWED)


def alternative_names(verified: Mapping[str, Iterable[bytes]]) -> frozenset[str]:
    """The names in what gRPC verified, each with its type; DNS names in lower case, as they compare."""
    return frozenset(
        prefix + (text.lower() if key == "peer_dns" else text)
        for key, prefix in _TYPED.items()
        for text in (name.decode("utf-8", "replace") for name in verified.get(key, ()))
    )
