"""`hubwarden-agent` as a later version may be: its answers have fields that today's contract does not know."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from google.protobuf import message_factory
from hubwarden.v1 import agent_pb2
from hubwarden_agent import cli

UNKNOWN_FIELD = b"\x82\x7d\x05newer"
"""Field 2000, a string."""


def _newer(message: Any) -> Any:
    return SimpleNamespace(SerializeToString=lambda answer: message.SerializeToString(answer) + UNKNOWN_FIELD)


if __name__ == "__main__":
    answers = {name: _newer(getattr(agent_pb2, name)) for name in vars(agent_pb2) if name.endswith("Response")}
    known = message_factory.GetMessageClass
    message_factory.GetMessageClass = lambda message: answers.get(message.name) or known(message)  # type: ignore[assignment] # a newer contract
    cli.run()
