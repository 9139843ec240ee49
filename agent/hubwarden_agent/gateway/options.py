"""The options of a create that have no bound but a list: compared with the values that `[[spawn.allow]]` holds.

Invariants: pure. A value is allowed if the operator wrote down the very same one; nothing is compared in part, what
asks for nothing is always allowed, and what comes out is the operator's copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hubwarden_agent.engine.options import DEFAULTS
from hubwarden_agent.gateway.refusals import field_refused, not_listed
from hubwarden_agent.spawn_allow import canonical, listed
from hubwarden_agent.spawn_policy import SpawnPolicy

RESTART = "HostConfig.RestartPolicy"
NO_RESTART = {"Name": "no"}
"""How Docker also spells that there is no restart policy."""


def allowed(options: Mapping[str, Any], policy: SpawnPolicy, *, auto_remove: bool) -> dict[str, Any]:
    """The operator's copies of what is asked for, if the policy lists each.

    Args:
        options: field of `DEFAULTS` -> JSON.
        policy: the operator's.
        auto_remove: whether the same create asks for it.

    Raises:
        GatewayRefusal: 400, naming the field.
    """
    chosen = {}
    for field, value in options.items():
        default, values = DEFAULTS[field], listed(policy.allow, field)
        if default and isinstance(default, list):
            found: Any = _each(field, value, default[0], values)
        else:
            found = _whole(field, value, default, values)
        if found:
            chosen[field] = found
    if RESTART in chosen and auto_remove:
        raise field_refused(RESTART, "cannot go with AutoRemove (DockerSpawner.remove)")
    return chosen


def _whole(field: str, value: object, default: object, values: Mapping[str, Any]) -> Any:
    """The operator's copy of a value; None for one that asks for nothing."""
    text = canonical(value, default)
    nothing = {canonical(default, default)} | ({canonical(NO_RESTART, default)} if field == RESTART else set())
    if text in nothing:
        return None
    if text not in values:
        raise not_listed(field, value, "allow")
    return values[text]


def _each(field: str, value: object, default: object, values: Mapping[str, Any]) -> list[Any]:
    """The operator's copies of an array's entries, each at most once: which of two holds is nothing to rely on."""
    if not isinstance(value, list):
        raise field_refused(field, "must be an array")
    texts = [canonical(entry, default) for entry in value]
    for entry, text in zip(value, texts, strict=True):
        if text not in values:
            raise not_listed(field, entry, "allow")
    if len(set(texts)) != len(texts):
        raise field_refused(field, "has the same entry twice")
    return [values[text] for text in texts]
