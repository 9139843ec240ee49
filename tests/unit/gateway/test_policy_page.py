"""The page about the policy is whole: every option of DockerSpawner, every argument of docker-py, every key."""

from __future__ import annotations

import inspect
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from docker.types import HostConfig  # noqa: TID251 - whose arguments the page lists
from docker.types.containers import ContainerConfig  # noqa: TID251 - whose arguments the page lists
from dockerspawner import DockerSpawner
from hubwarden_agent import config
from hubwarden_agent.engine.options import DEFAULTS
from hubwarden_agent.spawn_policy import SpawnPolicy

PAGE = Path(__file__).parents[3] / "docs" / "spawn-policy.md"


def listed(heading: str) -> set[str]:
    """What stands in the first column of the table under a heading."""
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}


def test_every_option_of_dockerspawner_is_on_the_page() -> None:
    """A trait that somebody adds has to be decided; one that is gone has to go."""
    assert listed("Options of DockerSpawner") == set(DockerSpawner.class_trait_names(config=True))


@pytest.mark.parametrize("kind", [HostConfig, ContainerConfig])
def test_every_argument_of_docker_py_is_on_the_page(kind: type) -> None:
    """When docker-py has an argument, the page names it, allowed or refused."""
    arguments = set(inspect.signature(kind).parameters)
    assert arguments <= listed("`extra_create_kwargs` and `extra_host_config`")


def test_every_key_is_on_the_page_and_the_example_is_a_policy() -> None:
    """The block can be copied, and holds a value for every key but those of other features."""
    block = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)[0].replace("sha256:…", "sha256:0")
    keys = {f"spawn.{key}" for key in tomllib.loads(block)["spawn"]}
    assert keys == {f"spawn.{key.name}" for key in fields(SpawnPolicy)} - {"spawn.adopt"}
    assert config.parse(block).spawn.exec


def test_every_field_that_can_be_allowed_is_on_the_page_with_a_value() -> None:
    """When a field is in the closed table, the page shows a value for it that the configuration accepts."""
    section = PAGE.read_text().partition("\n## Options that are allowed by value\n")[2].partition("\n## ")[0]
    shown = dict(re.findall(r"^\| `([A-Za-z.]+)` \| (?:one entry: )?`([^`]+)`", section, re.MULTILINE))
    assert shown.keys() == {*DEFAULTS, "HostConfig.Mounts"}
    for field, value in shown.items():
        assert config.parse(f'[[spawn.allow]]\nfield = "{field}"\nvalue = {value}\n').spawn.allow
