"""What compose.yml and the demo's configurations have to agree on."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKERS_OWN_WEIGHT = 1024


def test_the_hub_outweighs_all_servers_that_the_policy_allows() -> None:
    """The Hub has more of the processors than all servers together, so that their boot keeps nobody waiting for it."""
    hub = yaml.safe_load((ROOT / "compose.yml").read_text(encoding="utf-8"))["services"]["hub"]
    policy = tomllib.loads((ROOT / "deploy" / "demo" / "agent.toml").read_text(encoding="utf-8"))["spawn"]
    assert hub["cpu_shares"] > DOCKERS_OWN_WEIGHT * policy["max_containers"]
