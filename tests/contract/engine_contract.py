"""What every implementation of the engine port has to do: one suite, run over the fake and over real Docker.

A subclass provides `engine` and `stage`; the stage makes what a test begins with.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import pytest
from hubwarden_agent.engine.home_port import Helper
from hubwarden_agent.engine.port import (
    HELPER_LABEL,
    Conflict,
    ContainerState,
    Mount,
    NotFound,
)
from hubwarden_agent.engine.spawn_port import ContainerSpec, SpawnEngine
from hubwarden_agent.home_content.volume_content import TooLarge, VolumeContent
from hubwarden_agent.names import ContainerId, ContainerName, ImageId, VolumeName
from support.scenarios.zstd_tar import decompressed
from support.waiting.conditions import wait_for

NOBODY = ContainerId("f" * 64)
PATIENCE = 15.0
"""Seconds within which the engine does what it does by itself."""
Change = Callable[[SpawnEngine], None]
CHANGES: tuple[Change, ...] = (
    lambda engine: engine.restart_container(NOBODY, 1),
    lambda engine: engine.stop_container(NOBODY, 1),
    lambda engine: engine.start_container(NOBODY),
    lambda engine: engine.remove_container(NOBODY, anonymous_volumes=False),
)


class Stage(Protocol):
    """Makes what a test begins with, in names of the test's own."""

    image: str
    network: str
    folder: str
    helper_image: ImageId
    number: int

    def name(self, suffix: str = "") -> str:
        """A name nobody else uses; the same for the same suffix within a test."""

    def container(
        self,
        suffix: str = "",
        *,
        volume: str = "",
        start: bool = True,
        auto_remove: bool = False,
        labels: dict[str, str] | None = None,
        name: str = "",
    ) -> str:
        """A container that runs until it is stopped. Returns its id."""

    def volume(self, suffix: str = "", *, labels: dict[str, str] | None = None) -> str:
        """A plain volume. Returns its name."""

    def filled_volume(self) -> str:
        """A volume with a file called `thesis`. Returns its name."""


class EngineContract:
    """The port's promises."""

    def test_a_missing_container_is_none(self, engine: SpawnEngine, stage: Stage) -> None:
        """Asking for a container that does not exist is no error."""
        assert engine.container(ContainerName(stage.name())) is None
        assert engine.container(NOBODY) is None

    def test_the_version_of_runc(self, engine: SpawnEngine) -> None:
        """When the engine starts containers with runc, its version begins with three numbers."""
        assert re.match(r"v?\d+\.\d+\.\d+", engine.runtime_version() or "")

    def test_a_missing_volume_is_none(self, engine: SpawnEngine, stage: Stage) -> None:
        """Asking for a volume that does not exist is no error."""
        assert engine.volume(VolumeName(stage.name())) is None

    def test_a_missing_image_is_none(self, engine: SpawnEngine) -> None:
        """Asking for an image that the engine does not have is no error."""
        assert engine.image("hubwarden-nobody/has-this:ever") is None

    @pytest.mark.parametrize("change", CHANGES)
    def test_changing_a_missing_container_is_not_found(self, engine: SpawnEngine, change: Change) -> None:
        """Restart, stop, start and removal of a container that is gone raise NotFound."""
        with pytest.raises(NotFound):
            change(engine)

    def test_removing_a_missing_volume_is_not_found(self, engine: SpawnEngine, stage: Stage) -> None:
        """Removal of a volume that is gone raises NotFound."""
        with pytest.raises(NotFound):
            engine.remove_volume(VolumeName(stage.name()))

    def test_a_running_container_is_not_removed(self, engine: SpawnEngine, stage: Stage) -> None:
        """Removal without force conflicts with a running container and leaves it running."""
        container = ContainerId(stage.container())
        with pytest.raises(Conflict):
            engine.remove_container(container, anonymous_volumes=False)
        seen = engine.container(container)
        assert seen is not None
        assert seen.state is ContainerState.RUNNING

    @pytest.mark.parametrize("start", [True, False])
    def test_a_held_volume_is_not_removed(self, engine: SpawnEngine, stage: Stage, start: bool) -> None:  # noqa: FBT001 - a parameter of the matrix
        """A volume that a container holds, running or only created, conflicts and stays."""
        volume = VolumeName(stage.volume())
        stage.container(volume=volume.value, start=start)
        with pytest.raises(Conflict):
            engine.remove_volume(volume)
        assert engine.volume(volume) is not None

    def test_a_restart_keeps_the_id_and_moves_the_start(self, engine: SpawnEngine, stage: Stage) -> None:
        """Restart is in place: same id, running, a later StartedAt."""
        container = ContainerId(stage.container())
        before = engine.container(container)
        engine.restart_container(container, 5)
        after = engine.container(container)
        assert before is not None
        assert after is not None
        assert (after.id, after.state) == (before.id, ContainerState.RUNNING)
        assert before.started is not None
        assert after.started is not None
        assert after.started > before.started

    def test_a_restart_starts_a_stopped_container(self, engine: SpawnEngine, stage: Stage) -> None:
        """Why the agent looks first: the engine's restart starts what is stopped."""
        container = ContainerId(stage.container())
        engine.stop_container(container, 5)
        engine.restart_container(container, 5)
        seen = engine.container(container)
        assert seen is not None
        assert seen.state is ContainerState.RUNNING

    def test_stopping_and_starting_twice_is_no_error(self, engine: SpawnEngine, stage: Stage) -> None:
        """When a stopped container is stopped, or a running one started, state and last start stay as they were."""
        container = ContainerId(stage.container())
        engine.stop_container(container, 5)
        engine.stop_container(container, 5)
        seen = engine.container(container)
        assert seen is not None
        assert seen.state is ContainerState.EXITED
        engine.start_container(container)
        once = engine.container(container)
        assert once is not None
        assert once.state is ContainerState.RUNNING
        engine.start_container(container)
        assert engine.container(container) == once

    def test_an_auto_remove_container_survives_a_restart_and_goes_at_a_stop(
        self, engine: SpawnEngine, stage: Stage
    ) -> None:
        """When an AutoRemove container is restarted, it stays; when it is stopped, the engine removes it by itself."""
        container = ContainerId(stage.container(auto_remove=True))
        engine.restart_container(container, 5)
        seen = engine.container(container)
        assert seen is not None
        assert (seen.auto_remove, seen.state) == (True, ContainerState.RUNNING)
        engine.stop_container(container, 5)
        wait_for(lambda: engine.container(container) is None, "the container's removal", PATIENCE)

    def test_holders_are_found_in_every_state(self, engine: SpawnEngine, stage: Stage) -> None:
        """Running, created and exited containers hold a volume and are listed as inspected, without environment."""
        volume = VolumeName(stage.volume())
        running = stage.container("running", volume=volume.value)
        created = stage.container("created", volume=volume.value, start=False)
        exited = stage.container("exited", volume=volume.value)
        stage.container("other")
        engine.stop_container(ContainerId(exited), 5)
        stopped = (ContainerId(exited), ContainerState.EXITED)
        wait_for(
            lambda: stopped in [(one.id, one.state) for one in engine.containers_holding(volume)],
            "the list to show the stop",
            PATIENCE,
        )
        held = engine.containers_holding(volume)
        assert {container.id.value for container in held} == {running, created, exited}
        assert {mount.volume for container in held for mount in container.mounts} == {volume.value}
        for listed in held:
            shown = engine.container(listed.id)
            assert shown is not None
            assert (listed.name, listed.state, listed.labels) == (shown.name, shown.state, shown.labels)
            assert (listed.image, listed.image_id, listed.mounts) == (shown.image, shown.image_id, shown.mounts)
            assert listed.created == shown.created.replace(microsecond=0)
            assert listed.environment == ()

    def test_a_stopped_containers_volume_survives_its_removal(self, engine: SpawnEngine, stage: Stage) -> None:
        """Removing a container with its anonymous volumes leaves named ones."""
        volume = VolumeName(stage.volume())
        container = ContainerId(stage.container(volume=volume.value))
        engine.stop_container(container, 5)
        engine.remove_container(container, anonymous_volumes=True)
        assert engine.container(container) is None
        assert engine.volume(volume) is not None
        engine.remove_volume(volume)
        assert engine.volume(volume) is None

    def test_creating_a_volume_that_exists_gives_the_old_one(self, engine: SpawnEngine, stage: Stage) -> None:
        """Docker answers silently with what is there, without the labels that were asked for."""
        volume = VolumeName(stage.volume(labels={"kept": "yes"}))
        again = engine.create_volume(volume, "local", {}, {"kept": "no"})
        assert again.labels == {"kept": "yes"}

    def test_a_volume_comes_back_with_labels(self, engine: SpawnEngine, stage: Stage) -> None:
        """A volume that is created anew carries the labels that were asked for."""
        volume = VolumeName(stage.volume(labels={"kept": "yes"}))
        engine.remove_volume(volume)
        created = engine.create_volume(volume, "local", {}, {"kept": "yes"})
        assert (created.name, created.driver, created.labels) == (volume, "local", {"kept": "yes"})

    def test_a_container_is_what_its_spec_says(self, engine: SpawnEngine, stage: Stage) -> None:
        """Create, start and inspect: labels, environment, command, mounts and image are the spec's."""
        spec = self._spec(stage)
        container = engine.create_container(spec)
        engine.start_container(container)
        seen = engine.container(spec.name)
        assert seen is not None
        assert seen.id == container
        assert seen.state is ContainerState.RUNNING
        assert spec.labels.items() <= seen.labels.items()
        assert set(spec.environment) <= set(seen.environment)
        assert (seen.command, seen.image) == (spec.command, spec.image)
        assert [(mount.volume, mount.target) for mount in seen.mounts] == [(stage.name("home"), "/home/jovyan")]
        assert stage.network in seen.addresses
        engine.stop_container(container, 1)

    def test_a_taken_name_conflicts(self, engine: SpawnEngine, stage: Stage) -> None:
        """A second container of the same name is a Conflict."""
        spec = self._spec(stage)
        engine.create_container(spec)
        with pytest.raises(Conflict):
            engine.create_container(spec)

    def test_labelled_containers_are_found_by_all_labels(self, engine: SpawnEngine, stage: Stage) -> None:
        """When labels are asked for, only containers that carry all of them are listed."""
        spec = self._spec(stage)
        container = engine.create_container(spec)
        found = engine.containers_labelled(spec.labels)
        assert [one.id for one in found] == [container]
        assert not engine.containers_labelled({**spec.labels, "hubwarden.test": "another"})

    def test_a_command_runs_and_its_status_is_told(self, engine: SpawnEngine, stage: Stage) -> None:
        """When a command in a container ends in time, its exit status is returned."""
        container = ContainerId(stage.container())
        assert engine.run_in_container(container, ("/bin/sh", "-c", "echo output; exit 0"), 30) == 0

    def test_a_command_in_no_container_or_a_stopped_one(self, engine: SpawnEngine, stage: Stage) -> None:
        """When the container is missing, NotFound is raised; when it is stopped, Conflict."""
        with pytest.raises(NotFound):
            engine.run_in_container(NOBODY, ("true",), 1)
        container = ContainerId(stage.container())
        engine.stop_container(container, 5)
        with pytest.raises(Conflict):
            engine.run_in_container(container, ("true",), 1)

    def test_volumes_are_listed_by_name(self, engine: SpawnEngine, stage: Stage) -> None:
        """Those that are there, and not those that are gone."""
        name = stage.volume()
        assert name in engine.volume_names()
        engine.remove_volume(VolumeName(name))
        assert name not in engine.volume_names()

    def test_a_container_has_the_options_of_its_spec(self, engine: SpawnEngine, stage: Stage) -> None:
        """A specification with options and every kind of mount makes a container that starts."""
        options = {
            "User": "0:0",
            "Hostname": "lab",
            "WorkingDir": "/tmp",
            "Entrypoint": ["/bin/sh", "-c"],
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 10**9, "Timeout": 0, "Retries": 0, "StartPeriod": 0},
            "HostConfig.ShmSize": 8 * 1024**2,
            "HostConfig.Ulimits": [{"Name": "nofile", "Soft": 512, "Hard": 1024}],
            "HostConfig.RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
            "HostConfig.LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
        }
        spec = replace(
            self._spec(stage),
            command=("while :; do sleep 0.1; done",),
            options=options,
            mounts=(
                Mount("volume", "/home/jovyan", volume=stage.name("home")),
                Mount("tmpfs", "/fast", size=1024**2),
                Mount("bind", "/shared", read_only=True, source=stage.folder),
            ),
        )
        container = engine.create_container(spec)
        engine.start_container(container)
        seen = engine.container(container)
        assert seen is not None
        assert seen.state is ContainerState.RUNNING
        mounts = {
            (mount.kind, mount.target, mount.read_only, mount.source) for mount in seen.mounts if not mount.volume
        }
        assert ("bind", "/shared", True, stage.folder) in mounts
        engine.stop_container(container, 0)

    def test_what_was_archived_is_extracted(self, engine: SpawnEngine, stage: Stage) -> None:
        """A tar of a volume, written into another, gives the same tar there; no helper stays behind."""
        volume, other = VolumeName(stage.filled_volume()), VolumeName(stage.volume("other"))
        first, second = list[bytes](), list[bytes]()
        helper = Helper(stage.helper_image, stage.name())
        length = VolumeContent(engine).archive(volume, helper, 2**40, first.append)
        tar = decompressed(b"".join(first))
        VolumeContent(engine).extract(other, helper, iter([tar]))
        assert VolumeContent(engine).archive(other, helper, length, second.append) == length == len(tar)
        assert b"thesis" in tar
        assert decompressed(b"".join(second)) == tar
        assert engine.containers_holding(volume) == engine.containers_holding(other) == ()

    def test_more_than_is_allowed(self, engine: SpawnEngine, stage: Stage) -> None:
        """One byte too many ends it, and no helper stays behind; that nothing was left out, the type of error says."""
        volume, helper = VolumeName(stage.filled_volume()), Helper(stage.helper_image, stage.name())
        length = VolumeContent(engine).archive(volume, helper, 2**40, lambda _: None)
        with pytest.raises(TooLarge):
            VolumeContent(engine).archive(volume, helper, length - 1, lambda _: None)
        assert engine.containers_holding(volume) == ()

    def test_what_the_taker_raises_ends_the_archive(self, engine: SpawnEngine, stage: Stage) -> None:
        """A full disk on this side is raised as it is, and no helper stays behind."""
        volume = VolumeName(stage.filled_volume())

        def take(_: bytes) -> None:
            raise OSError("no space left")

        with pytest.raises(OSError, match="no space left"):
            VolumeContent(engine).archive(volume, Helper(stage.helper_image, stage.name()), 2**40, take)
        assert engine.containers_holding(volume) == ()

    def test_helpers_are_removed_by_label_and_name(self, engine: SpawnEngine, stage: Stage) -> None:
        """Only this scheme's helpers go: a container with the label and another name, or another scheme, stays."""
        labels = {HELPER_LABEL: stage.name()}
        helper = stage.container(name=f"hubwarden-helper-{stage.number:016x}", labels=labels)
        named_otherwise = stage.container("other", labels=labels)
        engine.remove_helpers(stage.name("another"))
        assert engine.container(ContainerId(helper)) is not None
        engine.remove_helpers(stage.name())
        assert engine.container(ContainerId(helper)) is None
        assert engine.container(ContainerId(named_otherwise)) is not None

    def test_a_volumes_size_is_counted(self, engine: SpawnEngine, stage: Stage) -> None:
        """A volume is listed once, with its creation, and is as large as what is in it."""
        volume = VolumeName(stage.filled_volume())
        seen = engine.volume(volume)
        assert seen is not None
        [size] = [one for one in engine.homes().volume_sizes() if one.name == volume]
        assert size.created == seen.created
        assert size.size_bytes >= len(b"thesis")

    def _spec(self, stage: Stage) -> ContainerSpec:
        name = stage.name("made")
        return ContainerSpec(
            name=ContainerName(name),
            image=stage.image,
            labels={"hubwarden.test": "yes", "hubwarden.owner": name},
            environment=("JUPYTERHUB_USER=alice",),
            command=("/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"),
            network=stage.network,
            mounts=(Mount("volume", "/home/jovyan", volume=stage.name("home")),),
            memory=64 * 1024**2,
            cpus=0.5,
            pids=64,
            auto_remove=False,
        )
