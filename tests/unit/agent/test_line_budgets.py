"""The agent stays short enough to be read: ceilings on its lines.

Counted are lines of formatted code without blanks, comments and docstrings. A ceiling is what was reached, rounded up
to the next ten. Lower it with the code. Raising one takes a decision record. The last one is
docs/decisions/0044-the-gateway-also-on-tcp.md.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Collection
from pathlib import Path

import hubwarden_agent
from support.agent.loaded_modules import loaded_files

ROOT = Path(hubwarden_agent.__file__).parent

CORE = 3630
"""What the default configuration loads."""
GATEWAY = 1940
"""`gateway/`, and what else only an agent with a gateway loads."""
HOME_CONTENT = 900
"""`home_content/`, and what else only an agent with backups or sizes loads."""
SERVING = 6730
"""All of the above, TLS, metrics and health checks: everything but `tools/`."""

_UNCOUNTED = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def lines(source: str) -> int:
    """How many lines of a source hold code."""
    strings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in _UNCOUNTED
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(code - strings)


def lines_of(files: Collection[Path]) -> int:
    """How many lines of these files hold code."""
    return sum(lines(path.read_text(encoding="utf-8")) for path in files)


def below(folder: str) -> set[Path]:
    """The modules of one of the agent's packages."""
    return set((ROOT / folder).rglob("*.py"))


def test_the_core_is_no_longer_than_it_was(tmp_path: Path) -> None:
    """When what the default configuration loads grows over its ceiling, this fails."""
    core = loaded_files(tmp_path)
    assert ROOT / "operations" / "reset.py" in core
    assert lines_of(core) <= CORE


def test_the_gateway_is_no_longer_than_it_was(tmp_path: Path) -> None:
    """When what only an agent with a gateway has grows over its ceiling, this fails."""
    core = loaded_files(tmp_path)
    gateway = loaded_files(tmp_path, f'listen.gateway = "unix://{tmp_path}/gateway.sock"\n') | below("gateway")
    assert lines_of(gateway - core) <= GATEWAY


def test_home_content_is_no_longer_than_it_was(tmp_path: Path) -> None:
    """When what only an agent with backups and sizes has grows over its ceiling, this fails."""
    core = loaded_files(tmp_path)
    homes = below("home_content") | {ROOT / "engine" / "home_port.py", ROOT / "engine" / "docker_homes.py"}
    assert core & homes == set()
    assert lines_of(homes) <= HOME_CONTENT


def test_what_serves_is_no_longer_than_it_was() -> None:
    """When code moves out of the other three ceilings, it still counts: this fails when all together has grown."""
    assert lines_of(below(".") - below("tools")) <= SERVING


def test_how_lines_are_counted() -> None:
    """When a source has blanks, comments and docstrings, only its code is counted, each line once."""
    blanks, code = '"""Two\nlines."""\n\n# a comment\n\n', 'TEXT = """\nthree\n"""  # lines\ndef f() -> int:\n'
    assert lines(f'{blanks}{code}    """One."""\n    return 1\n') == 5
