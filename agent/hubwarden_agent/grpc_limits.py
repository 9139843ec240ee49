"""What one client, and all of them, may take of each gRPC listener: the only table of gRPC's options.

gRPC's defaults bound neither connections nor streams, and each of them takes memory before any handler runs: a
connection about 30 KB with half a HEADERS frame, and up to 40 MB while it sends CONTINUATION frames without end.

Invariants: whatever the clients of one listener send, the agent's memory stays below compose.yml's `mem_limit`.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_MESSAGE_BYTES = 16 * 1024

COMMON: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # The first is announced to clients; above the second, requests are always refused. In between, gRPC decides at
    # random, so both are the same.
    ("grpc.max_metadata_size", MAX_MESSAGE_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_MESSAGE_BYTES),
    # A compressed message is malformed: 16 KiB would become 16 MB before the bound on messages is applied again.
    ("grpc.per_message_decompression", 0),
    # A connection has 10 s for TLS and for HTTP/2's first frames. Clients connect again after an idle minute.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 60_000),
    ("grpc.max_connection_age_ms", 3_600_000),
    ("grpc.max_connection_age_grace_ms", 600_000),
    # A client that answers no ping loses its connection and its calls.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A client may ping every 5 min, and more often twice.
    ("grpc.http2.min_ping_interval_without_data_ms", 300_000),
    ("grpc.http2.max_ping_strikes", 2),
    ("grpc.so_reuseport", 0),
)


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """Numbers at once: connections of a listener, streams of a connection, calls of all connections.

    Each call holds a thread.
    """

    connections: int
    streams: int
    calls: int

    @property
    def options(self) -> tuple[tuple[str, int], ...]:
        """The options of a server with these limits; `calls` is its `maximum_concurrent_rpcs`."""
        return (
            *COMMON,
            ("grpc.max_allowed_incoming_connections", self.connections),
            ("grpc.max_concurrent_streams", self.streams),
        )


UNIX = ListenerLimits(connections=8, streams=128, calls=128)
TCP = ListenerLimits(connections=8, streams=128, calls=128)
HEALTH = ListenerLimits(connections=8, streams=16, calls=8)
