"""What compose.yml and the demo's files have to agree on, and what must not be in compose.yml."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "deploy" / "demo"
DOCKERS_OWN_WEIGHT = 1024


def services(file: Path) -> Any:
    """The services of a Compose file."""
    return yaml.safe_load(file.read_text(encoding="utf-8"))["services"]


def test_the_hub_outweighs_all_servers_that_the_policy_allows() -> None:
    """When all servers boot at once, the Hub's CPU weight exceeds theirs together."""
    policy = tomllib.loads((DEMO / "agent.toml").read_text(encoding="utf-8"))["spawn"]
    assert services(ROOT / "compose.yml")["hub"]["cpu_shares"] > DOCKERS_OWN_WEIGHT * policy["max_containers"]


@pytest.mark.parametrize("name", ["compose.yml", "compose.remote.yml"])
def test_what_an_operator_deploys_contains_nothing_of_the_demo(name: str) -> None:
    """When an operator deploys a Compose file as it is, it has no password, demo image, or network for builds."""
    text = repr(services(ROOT / name))
    for word in ("demo", "PASSWORD", "'network': 'host'"):
        assert word not in text


@pytest.mark.parametrize("name", ["compose.yml", "compose.remote.yml"])
def test_the_agents_image_is_never_pulled_by_its_short_name(name: str) -> None:
    """When the image is missing, Compose builds it, and never runs what a public registry has under that name."""
    agent = services(ROOT / name)["agent"]
    assert "build" in agent
    assert agent["pull_policy"] == "${HUBWARDEN_AGENT_PULL_POLICY:-never}"


@pytest.mark.parametrize("folder", ["demo", "offline"])
def test_the_overrides_weaken_no_service(folder: str) -> None:
    """When the demo's or the offline override is added, it changes how images are built and what the Hub is told."""
    for service in services(ROOT / "deploy" / folder / "compose.yml").values():
        assert service.keys() <= {"build", "environment"}
