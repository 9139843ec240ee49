"""gRPC services whose request messages are parsed here, because gRPC itself answers and logs a failed parse badly.

gRPC's generated code parses before any handler runs: a message that cannot be parsed gets a status without `ErrorInfo`
and a traceback in the log, once a call. Here the handler gets a `Received` and refuses in its own order.

Invariants: a message with an unknown field, at any depth, or an unknown enum value is malformed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from hubwarden_agent.errors import Reason, RequestRefused

MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True, slots=True)
class Received(Generic[MessageT]):
    """A request as it arrived. A malformed one has an empty message."""

    message: MessageT
    malformed: bool = False

    def check(self) -> None:
        """Refuse a malformed message, once the caller is admitted.

        Raises:
            RequestRefused: `INVALID_REQUEST`.
        """
        if self.malformed:
            raise RequestRefused(Reason.INVALID_REQUEST, "The message is malformed, or holds something unknown.")


def received(kind: type[MessageT], content: bytes) -> Received[MessageT]:
    """Parse a message. Never raises for what the bytes are."""
    try:
        message = kind.FromString(content)
    except DecodeError:
        return Received(kind(), malformed=True)
    size = message.ByteSize()
    message.DiscardUnknownFields()
    if message.ByteSize() != size or not _enums_known(message):
        return Received(kind(), malformed=True)
    return Received(message)


def add_service(server: grpc.Server, service: ServiceDescriptor, servicer: object) -> None:
    """Serve the unary methods of a service that the servicer has, each of which takes a `Received`."""
    handlers = {
        method.name: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, method.name),
            request_deserializer=partial(received, GetMessageClass(method.input_type)),
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )
        for method in service.methods
        if hasattr(servicer, method.name)
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))


def _enums_known(message: Message) -> bool:
    """Whether each enum field of the message itself has a value that its type lists."""
    return all(
        number in field.enum_type.values_by_number
        for field, value in message.ListFields()
        if field.enum_type is not None
        for number in (value if field.is_repeated else (value,))
    )
