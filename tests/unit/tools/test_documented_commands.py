"""Every command of the agent's that the backup page shows is one that it takes."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest
from hubwarden_agent import cli

PAGE = Path(__file__).resolve().parents[3] / "docs" / "backups.md"
IN_COMPOSE = re.compile(r"docker compose (?:run --rm --no-deps agent|exec agent hubwarden-agent) (.*)")


def commands() -> list[str]:
    """What follows the agent's name, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [match[1] for line in "".join(blocks).splitlines() if (match := IN_COMPOSE.fullmatch(line))]


def test_there_are_commands() -> None:
    """When the page is read, it shows each action of the tool."""
    shown = {" ".join(one.split()[:2]) for one in commands()}
    assert {"backups list", "backups show", "backups verify", "backups prune"} <= shown
    assert any(one.startswith("restore ") for one in shown)


@pytest.mark.parametrize("line", commands())
def test_it_parses(line: str) -> None:
    """When a documented command is split as by a shell, the tool's parser accepts it."""
    options, rest = cli._parser().parse_known_args(shlex.split(line, comments=True))  # noqa: SLF001 - the tool's own parser, without running a command
    assert options.command in cli.CONFIGURED_TOOLS
    importlib.import_module(f"hubwarden_agent.tools.{options.command}")._parser().parse_args(rest)  # noqa: SLF001 - the tool's own parser, without running a command
