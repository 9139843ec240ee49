"""What an attack's answer has to be: the refusal that the case names, in Docker's shape."""

from __future__ import annotations

from support.agent.gateway import Reply
from support.scenarios.attacks.case import Case


class AttackError(AssertionError):
    """A case does not hold; what exactly is in the text."""


def judge_attack(case: Case, reply: Reply) -> None:
    """Hold the answer to the attack against the case.

    Raises:
        AttackError: it is another answer.
    """
    if reply.status != case.status:
        raise AttackError(f"{case.name}: got {reply.status} {reply.text!r}, not {case.status}")
    if case.attack.method == "HEAD" and not case.names:  # whose answers have no text
        return
    if not reply.headers["content-type"].startswith("application/json") or set(reply.json) != {"message"}:
        raise AttackError(f"{case.name}: the answer is not shaped as Docker's: {reply.text!r}")
    if case.names not in reply.message:
        raise AttackError(f"{case.name}: {reply.message!r} does not name {case.names!r}")


def judge_twin(case: Case, reply: Reply) -> None:
    """Hold the answer to the twin against the case.

    Raises:
        AttackError: the twin did not go through.
    """
    if reply.status != case.twin_status:
        raise AttackError(f"{case.name}: the twin got {reply.status} {reply.text!r}, not {case.twin_status}")


def needs_own_container(case: Case) -> bool:
    """Whether attack or twin are about a container that the user has already."""
    return b"@own" in case.attack.encoded({}) + case.twin.encoded({})
