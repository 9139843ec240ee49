"""The layout of tests/: suites stand alone, and share code through tests/support only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
SUITES = {"unit", "contract", "engine", "security", "hub", "browser"}


def imported(source: str) -> Iterator[str]:
    """Each module that a source imports, and each name that it imports from one, dotted."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def forbidden(suite: str, source: str) -> list[str]:
    """What a module of a suite, or of `support`, imports although it must not."""
    return [
        name
        for name in imported(source)
        if "conftest" in (parts := name.split("."))
        or any(part.startswith("test_") for part in parts)
        or parts[0] in SUITES - {suite}
    ]


def test_no_suite_imports_a_conftest_or_another_suite() -> None:
    """When a module under tests/ imports a conftest, a test module or another suite, this names them."""
    files = [file for file in TESTS.rglob("*.py") if file.parent != TESTS]
    suites = {file: file.relative_to(TESTS).parts[0] for file in files}
    assert set(suites.values()) == SUITES | {"support"}
    found = {str(file): forbidden(suite, file.read_text(encoding="utf-8")) for file, suite in suites.items()}
    assert {file: names for file, names in found.items() if names} == {}


def test_the_root_of_tests_holds_no_helpers() -> None:
    """When a helper lies at the root of tests/ and not in a package of tests/support, this fails."""
    assert {file.name for file in TESTS.glob("*.py")} <= {"conftest.py"}
    assert [file.name for file in (TESTS / "support").glob("*.py")] == []
