"""What the plugin uses of JupyterHub's private parts: one table, asserted at the start and documented."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hubwarden_hub
import jupyterhub
import pytest
from hubwarden_hub import private_names
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.spawner import Spawner
from support.docker.private_engine import ROOT

SOURCES = sorted(Path(hubwarden_hub.__file__).parent.rglob("*.py"))
TABLE = [*private_names.OF_JUPYTERHUB.values(), private_names.OF_DOCKERSPAWNER]
NAMES = {name for names in TABLE for name in names}


def is_private(name: str) -> bool:
    """Whether a name begins with one underscore."""
    return name.startswith("_") and not name.startswith("__")


def used(tree: ast.AST) -> Iterator[str]:
    """The private attributes that a module reads or sets, also by `getattr`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) == "getattr"
            and isinstance(node.args[1], ast.Constant)
        ):
            yield str(node.args[1].value)


def defined(tree: ast.AST) -> Iterator[str]:
    """The attributes that a module's own classes have."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.AnnAssign) and line.value is not None:
                    yield ast.unparse(line.target)
                elif isinstance(line, ast.Assign):
                    yield from map(ast.unparse, line.targets)


def test_every_private_name_stands_in_the_table() -> None:
    """When a module uses a private attribute that the plugin does not define itself, the table has it."""
    trees = [ast.parse(path.read_text()) for path in SOURCES if path.name != "private_names.py"]
    theirs = {name for tree in trees for name in used(tree) if is_private(name)}
    ours = {name for tree in trees for name in defined(tree)}
    assert theirs - ours <= NAMES


def test_the_table_has_nothing_that_is_not_used() -> None:
    """When a name stands in the table, a module uses it."""
    text = "".join(path.read_text() for path in SOURCES if path.name != "private_names.py")
    assert [name for name in sorted(NAMES) if name not in text] == []


def test_each_name_is_explained_to_jupyterhubs_maintainers() -> None:
    """When a name of JupyterHub's stands in the table, the page for its maintainers has it."""
    page = (ROOT / "docs" / "jupyterhub-maintainers.md").read_text()
    names = [
        f"`{owner.__name__.removeprefix('jupyterhub.')}.{name}`"
        for owner, names in private_names.OF_JUPYTERHUB.items()
        for name in names
    ]
    assert [name for name in names if name not in page] == []


def test_this_jupyterhub_lacks_nothing() -> None:
    """When the tested version is installed, nothing is missing."""
    assert private_names.missing() is None


@pytest.mark.parametrize(
    ("owner", "name"), [(Spawner, "_spawn_future"), (BaseHandler, "find_user")], ids=["attribute", "method"]
)
def test_a_version_that_lacks_a_name_is_named(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """When JupyterHub lacks a name, the sentence has the version and the name."""
    monkeypatch.delattr(owner, name)
    sentence = f"JupyterHub {jupyterhub.__version__} is not supported: it lacks {owner.__name__}.{name}"
    assert private_names.missing() == sentence


def test_a_name_that_only_instances_have_is_found_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the method that sets an instance's attribute is gone, the attribute is missing."""
    monkeypatch.delattr(BaseHandler, "get_current_user_token")
    assert "it lacks BaseHandler._token_authenticated" in str(private_names.missing())
