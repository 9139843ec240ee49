"""The operator's configuration: TOML in, frozen values out, or every mistake at once.

Invariants: a value that exists was checked. This file must never open a socket or look at anything but the file it is
given.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hubwarden_agent import config_checks, old_keys
from hubwarden_agent.config_checks import HEALTH_SOCKET
from hubwarden_agent.config_tables import Config, Limits, ResetPolicy, Tls
from hubwarden_agent.config_types import key_of, mistakes

__all__ = [
    "HEALTH_SOCKET",
    "Config",
    "ConfigurationError",
    "Examine",
    "Limits",
    "ResetPolicy",
    "Tls",
    "load",
    "load_tls",
    "parse",
]


class ConfigurationError(Exception):
    """The configuration cannot be used.

    Args:
        mistakes: one sentence each, beginning with the key.
    """

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join(mistakes))


Examine = Callable[[Tls], list[str]]
_CONFIG = TypeAdapter(Config)


def load(path: Path | None, examine: Examine | None = None) -> Config:
    """Read a configuration file, or use all defaults without one; `examine` as in `parse`.

    Raises:
        ConfigurationError: with every mistake.
    """
    return parse(_text(path), examine)


def load_tls(path: Path | None) -> Tls:
    """Read `[tls]` alone: a renewal does not depend on the other sections. An empty list of clients is nobody.

    Raises:
        ConfigurationError: with every mistake in it.
    """
    settings, found, _ = _validated({"tls": _document(_text(path)).get("tls", {})})
    if found:
        raise ConfigurationError(found)
    return settings.tls


def parse(text: str, examine: Examine | None = None) -> Config:
    """Parse a configuration.

    Args:
        text: TOML.
        examine: what looks at the files that a complete `[tls]` names, so that their mistakes are listed with the rest.

    Raises:
        ConfigurationError: with every mistake.
    """
    document = _document(text)
    replaced = old_keys.take(document)
    settings, found, wrong = _validated(document)
    found = [*replaced, *found, *config_checks.errors(settings, wrong)]
    if examine and settings.listen.tls_keys and not any(mistake.startswith("tls.") for mistake in found):
        found += examine(settings.tls)
    if found:
        raise ConfigurationError(found)
    return settings


def _validated(document: dict[str, Any]) -> tuple[Config, list[str], frozenset[str]]:
    """The configuration, with the default wherever a value is wrong; all mistakes, and their keys.

    As JSON, in which pydantic's strict mode takes arrays for tuples and objects for tables. What TOML has beside JSON
    (dates) becomes null, which no key takes.
    """
    try:
        return _CONFIG.validate_json(json.dumps(document, default=lambda _: None)), [], frozenset()
    except ValidationError as error:
        wrong = frozenset(key_of(one["loc"]) for one in error.errors(include_url=False, include_input=False))
        sound = {
            table: {key: value for key, value in content.items() if f"{table}.{key}" not in wrong}
            for table, content in document.items()
            if table not in wrong
        }
        return _validated(sound)[0], mistakes(error), wrong


def _text(path: Path | None) -> str:
    try:
        return path.read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([f"{path}: {error}"]) from error


def _document(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"not TOML: {error}"]) from error
