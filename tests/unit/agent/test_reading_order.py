"""The order in which the agent's core is read names every module of it, once."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import hubwarden_agent
from support.agent.loaded_modules import loaded_files

ROOT = Path(hubwarden_agent.__file__).parent
PAGE = Path(__file__).resolve().parents[3] / "docs" / "reading-the-agent.md"


def test_each_module_of_the_core_is_named_once(tmp_path: Path) -> None:
    """When the default configuration loads a module that the order does not name, or names twice, this shows it."""
    ordered, _, optional = PAGE.read_text(encoding="utf-8").partition("## What is optional")
    named = Counter(files(ordered))
    core = {str(path.relative_to(ROOT)) for path in loaded_files(tmp_path) if path.name != "__init__.py"}
    assert core == named.keys()
    assert set(named.values()) == {1}
    assert [name for name in files(optional) if not (ROOT / name).is_file()] == []


def files(text: str) -> list[str]:
    """The files of the agent that a text names."""
    return [name for name in re.findall(r"`([a-z_/]+\.py)`", text) if not name.startswith("tests/")]
