"""Which references of the policy name one image, and which users a policy with pulls must not list."""

from __future__ import annotations

from itertools import combinations

import pytest
from hubwarden_agent import config
from hubwarden_agent.config import ConfigurationError
from hubwarden_agent.image_references import normalized

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    "spellings",
    [
        ("reg.example.org/lab", "reg.example.org/lab:latest"),
        ("hub:5000/lab", "hub:5000/lab:latest"),
        ("lab", "lab:latest", "library/lab", "docker.io/lab", "docker.io/library/lab:latest", "index.docker.io/lab"),
        ("jupyter/lab:1", "docker.io/jupyter/lab:1", "index.docker.io/jupyter/lab:1"),
        (f"lab@{DIGEST}", f"lab:1@{DIGEST}", f"docker.io/library/lab:2@{DIGEST}"),
    ],
)
def test_spellings_of_one_reference(spellings: tuple[str, ...]) -> None:
    """When references differ only in what Docker fills in, or in a tag before a digest, they are the same."""
    assert len({normalized(spelling) for spelling in spellings}) == 1


def test_different_references() -> None:
    """When host, path, tag or digest differ, Docker keeps the images apart, and so does the comparison."""
    references = (
        *("lab", "lab:1", "jupyter/lab", "localhost/lab", "hub:5000/lab", "hub/lab", "HUB/lab", "reg.example.org/lab"),
        *("REG.example.org/lab", "reg.example.org/library/lab", f"lab@{DIGEST}", f"lab@sha256:{'1' * 64}"),
    )
    same = [pair for pair in combinations(references, 2) if normalized(pair[0]) == normalized(pair[1])]
    assert same == []


@pytest.mark.parametrize(
    ("pulled", "other"),
    [
        ("reg.example.org/lab", "reg.example.org/lab:latest"),
        ("docker.io/jupyter/lab:1", "jupyter/lab:1"),
        (f"lab@{DIGEST}", f"lab:1@{DIGEST}"),
    ],
)
def test_a_second_spelling_of_a_pulled_image(pulled: str, other: str) -> None:
    """When `images` spells an image of `pull` in a second way that `pull` does not list, that is a mistake."""
    with pytest.raises(ConfigurationError) as raised:
        config.parse(f'[spawn]\nimages = ["{other}", "{pulled}"]\npull = ["{pulled}"]\n')
    assert raised.value.mistakes == [
        f"spawn.images: {other} names the same image as {pulled} of spawn.pull, and would not be checked: list one"
    ]


def test_spellings_that_are_all_checked_or_all_the_operators() -> None:
    """When `pull` lists every spelling of an image, or none of them, the configuration is accepted."""
    both = '["reg.example.org/lab", "reg.example.org/lab:latest"]'
    assert config.parse(f"[spawn]\nimages = {both}\npull = {both}\n")
    assert config.parse(f"[spawn]\nimages = {both}\n")


@pytest.mark.parametrize("user", ["jovyan", "root", "1000:users", "jovyan:100", "1000a", "1000", "0"])
def test_a_user_that_a_pulled_image_decides(user: str) -> None:
    """When `pull` lists an image and a user has a name or no group, that is a mistake; without pulls it is accepted."""
    lists = "".join(f'[[spawn.allow]]\nfield = "User"\nvalue = "{one}"\n' for one in ("1000:100", user))
    with pytest.raises(ConfigurationError) as raised:
        config.parse(f'[spawn]\nimages = ["localhost/lab:1"]\npull = ["localhost/lab:1"]\n{lists}')
    (mistake,) = raised.value.mistakes
    assert mistake.startswith(f"spawn.allow: User {user} must be the numbers of a user and a group, such as 1000:100: ")
    assert [one.value for one in config.parse(lists).spawn.allow] == ["1000:100", user]


@pytest.mark.parametrize("user", ["1000:100", "0:0"])
def test_a_user_in_numbers_beside_pulls(user: str) -> None:
    """When `pull` lists an image and each user has numbers for itself and its group, the configuration is accepted."""
    text = '[spawn]\nimages = ["localhost/lab:1"]\npull = ["localhost/lab:1"]\n'
    assert config.parse(f'{text}[[spawn.allow]]\nfield = "User"\nvalue = "{user}"\n').spawn.allow


@pytest.mark.parametrize("image", ["cafe", "a", "a" * 64, "sha256:cafe", f"sha256:{'a' * 63}", "0123456789ab"])
def test_a_reference_that_could_be_the_beginning_of_an_id(image: str) -> None:
    """When Docker could take a reference for any image whose id begins so, it is refused; with a tag it is a name."""
    with pytest.raises(ConfigurationError) as raised:
        config.parse(f'[spawn]\nimages = ["{image}"]\n')
    (mistake,) = raised.value.mistakes
    assert mistake.startswith("spawn.images: ")
    assert "id" in mistake


@pytest.mark.parametrize("image", ["cafe:latest", "cafe/lab", "localhost/cafe", "cafes", f"sha256:{'a' * 64}"])
def test_a_reference_that_is_a_name_or_a_whole_id(image: str) -> None:
    """When a reference has a tag, a folder, another letter or all of an id, it names one image and is accepted."""
    assert config.parse(f'[spawn]\nimages = ["{image}"]\n').spawn.images == (image,)
