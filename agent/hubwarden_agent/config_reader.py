"""A parsed document held against the table of keys: values, or every mistake at once.

Invariants: a key that the table does not have is a mistake, and one mistake hides no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hubwarden_agent.config_checks import Key


class Reader:
    """A document held against the table: `values` for every key of the table, or `mistakes`."""

    def __init__(self, document: Mapping[str, Any], tables: Mapping[str, Key]) -> None:
        self.values: dict[str, Any] = {}
        self.mistakes: list[str] = []
        given = self._flatten(document, {key.partition(".")[0] for key in tables})
        self.mistakes.extend(f"{key}: unknown key" for key in given if key not in tables)
        for name, key in tables.items():
            try:
                self.values[name] = key.check(given.get(name, key.default))
            except ValueError as error:
                self.mistakes.extend(f"{name}: {mistake}" for mistake in error.args)

    def _flatten(self, document: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for table, content in document.items():
            if table not in known:
                self.mistakes.append(f"{table}: unknown {'table' if isinstance(content, dict) else 'key'}")
            elif isinstance(content, dict):
                given |= {f"{table}.{key}": value for key, value in content.items()}
            else:
                self.mistakes.append(f"{table}: must be a table")
        return given
