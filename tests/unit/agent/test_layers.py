"""The agent's layers: every import, also one within a function or for types only, points downwards."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path

import hubwarden_agent

PACKAGE = "hubwarden_agent"
ROOT = Path(hubwarden_agent.__file__).parent
PAGE = Path(__file__).resolve().parents[3] / "docs" / "reading-the-agent.md"

LAYERS = (
    "cli",
    "app",
    "listeners tls_listener metrics_server tools",
    "service messages",
    "gateway",
    "home_content",
    "operations",
    "",
    "engine",
    "clock config_types errors healthcheck logging_setup names rates",
)
"""The highest first. A package stands for all its modules. The empty layer has every other module."""
LEVELS = {name: -level for level, names in enumerate(LAYERS) for name in names.split()}
OTHERS = -LAYERS.index("")


def modules() -> dict[str, Path]:
    """The agent's modules by their dotted names within the package. Packages' own files import nothing."""
    paths = {path: path.relative_to(ROOT).with_suffix("").parts for path in ROOT.rglob("*.py")}
    return {".".join(parts): path for path, parts in paths.items() if parts[-1] != "__init__"}


def imports(source: str, known: Mapping[str, Path]) -> set[str]:
    """Which of the agent's modules a source imports."""
    found = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name.removeprefix(f"{PACKAGE}.") for name in found} & known.keys()


def upwards(graph: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """The imports that do not point downwards, or to the same layer."""
    level = {name: LEVELS.get(name.partition(".")[0], OTHERS) for name in graph}
    return [(name, other) for name, others in graph.items() for other in others if level[other] > level[name]]


def in_cycles(graph: Mapping[str, set[str]]) -> set[str]:
    """The modules that import each other in a circle, and those that import them."""
    left = dict(graph)
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    return set(left)


def test_imports_point_downwards() -> None:
    """When a module imports one of a higher layer, or one that imports it in turn, this names them."""
    known = modules()
    graph = {name: imports(path.read_text(encoding="utf-8"), known) for name, path in known.items()}
    assert LEVELS.keys() <= {name.partition(".")[0] for name in graph}, "the layers name modules that are there"
    assert "audit" in graph["operations.reset"]
    assert "engine.home_port" in graph["engine.docker_engine"], "imports within functions are seen"
    assert upwards(graph) == []
    assert in_cycles(graph) == set()


def test_no_step_of_the_reading_order_relies_on_a_later_one() -> None:
    """When a file that docs/reading-the-agent.md orders imports one of a later step, this names both."""
    ordered = PAGE.read_text(encoding="utf-8").partition("## The rest of the core")[0]
    steps = re.split(r"^\d\. ", ordered, flags=re.MULTILINE)[1:]
    named = [(name, number) for number, text in enumerate(steps) for name in re.findall(r"`([a-z_/]+)\.py`", text)]
    step = {name.replace("/", "."): number for name, number in named}
    known = modules()
    relied = [(name, other) for name in step for other in imports(known[name].read_text(encoding="utf-8"), known)]
    assert len(steps) == 7
    assert [(name, other) for name, other in relied if step.get(other, 0) > step[name]] == []


def test_a_package_file_imports_nothing() -> None:
    """When a package's own file holds more than a docstring, this fails: each import of the package would run it."""
    sources = [path.read_text(encoding="utf-8") for path in ROOT.rglob("__init__.py")]
    assert all(len(ast.parse(source).body) == 1 for source in sources)


def test_an_upward_import_and_a_circle_are_found() -> None:
    """When a made-up module imports upwards or in a circle, the checks name it."""
    assert upwards({"operations.reset": {"home_content.sizes"}, "home_content.sizes": {"names"}, "names": set()}) == [
        ("operations.reset", "home_content.sizes")
    ]
    assert in_cycles({"audit": {"denials"}, "denials": {"audit"}, "app": {"audit"}, "names": set()}) == {
        "audit",
        "denials",
        "app",
    }
