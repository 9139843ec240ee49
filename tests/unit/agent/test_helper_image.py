"""The only image that a helper is made of is the agent's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hubwarden_agent.engine.home_port import Helper
from hubwarden_agent.engine.port import EngineError
from hubwarden_agent.home_content.helper_image import helper, own_container
from hubwarden_agent.names import ContainerId, ImageId, Names, Templates
from support.fakes.engine import FakeEngine

NAMES = Names(Templates())
IMAGE, OTHER = f"sha256:{1:064x}", f"sha256:{2:064x}"
A, B = "a" * 64, "b" * 64


def _line(source: str, target: str) -> str:
    return f"719 683 254:1 {source} {target} rw,relatime - ext4 /dev/vda1 rw\n"


def _docker(identifier: str, name: str) -> str:
    return _line(f"/var/lib/docker/containers/{identifier}/{name}", f"/etc/{name}")


class TestOwnContainer:
    @pytest.mark.parametrize(
        ("mounts", "found"),
        [
            (
                _line("/", "/") + _docker(A, "resolv.conf") + _docker(A, "hostname") + _docker(A, "hosts"),
                ContainerId(A),
            ),
            (_docker(A, "hostname").replace("/var/lib/docker", "/srv/docker/data"), ContainerId(A)),
            (_line("/", "/"), None),
            (_docker(A, "hostname") + _docker(B, "hosts"), None),
            (_docker(A[1:], "hostname"), None),
            (_line(f"/var/lib/docker/containers/{A}/hostname", "/srv/hostname"), None),
            (_line(f"/var/lib/docker/containers/{A}/hostname\\040/etc/hostname", "/srv/x"), None),
        ],
        ids=["all three", "another data root", "none", "two", "not an id", "mounted elsewhere", "in another field"],
    )
    def test_it_is_what_docker_mounts_on_its_files(
        self, tmp_path: Path, mounts: str, found: ContainerId | None
    ) -> None:
        """When Docker's mounts name exactly one container, its full id is found."""
        (tmp_path / "mountinfo").write_text(mounts, encoding="utf-8")
        assert own_container(tmp_path / "mountinfo") == found

    def test_a_kernel_that_does_not_say(self, tmp_path: Path) -> None:
        """When the kernel has no mountinfo file, no container is found."""
        assert own_container(tmp_path / "mountinfo") is None


class TestHelper:
    def test_nothing_to_make_it_of(self) -> None:
        """Neither found nor configured; an id that this engine does not have is not found."""
        for own in (None, ContainerId(A)):
            with pytest.raises(EngineError):
                helper(FakeEngine(), NAMES, "", own)

    def test_another_image_than_our_own(self) -> None:
        """What is configured cannot contradict what is found."""
        engine = FakeEngine()
        own = engine.add_container("agent", image_id=IMAGE).id
        with pytest.raises(EngineError):
            helper(engine, NAMES, OTHER, own)

    def test_our_own(self) -> None:
        """As found, as configured where nothing is found, or both the same."""
        engine = FakeEngine()
        own = engine.add_container("agent", image_id=IMAGE).id
        wanted = Helper(ImageId(IMAGE), NAMES.scheme)
        assert helper(engine, NAMES, "", own) == wanted
        assert helper(engine, NAMES, IMAGE, own) == wanted
        assert helper(engine, NAMES, IMAGE, None) == wanted
