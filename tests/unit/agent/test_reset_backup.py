"""A reset where policy requires a backup: no removal without one that is whole and on disk."""

from __future__ import annotations

import errno
import os
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hubwarden_agent.config import ResetPolicy
from hubwarden_agent.engine.port import HELPER_LABEL, ContainerState, EngineError, EngineUnavailable
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.home_content import backup_service
from hubwarden_agent.home_content.backup_manifest import Manifest
from hubwarden_agent.home_content.backup_service import HELPERS, Backups
from hubwarden_agent.home_content.backup_store import Store
from hubwarden_agent.names import BackupId, VolumeName
from hubwarden_agent.operations.recovery import Recovery
from support.agent.core import CONTAINER, HOME, SECRET, AgentStage, reset_command
from support.fakes.engine import home_of
from support.waiting.conditions import wait_for
from support.waiting.threads import in_background

VOLUME = VolumeName(HOME)
CONTENT = (b"the first piece", b"the second")
IMAGE = f"sha256:{7:064x}"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A directory for backups, as the operator has to make it."""
    directory = tmp_path / "backups"
    directory.mkdir(mode=0o700)
    return Store(directory)


@pytest.fixture
def stage(store: Store) -> AgentStage:
    """A user with a home that holds something, and with a stopped container."""
    return stage_of(store)


def stage_of(store: Store, **fields: Any) -> AgentStage:
    """The same by another policy."""
    policy: dict[str, Any] = {"backup": "required", "helper_image": IMAGE, "backup_dir": store.directory}
    stage = AgentStage(policy=ResetPolicy(**policy | fields))
    stage.engine.add_volume(HOME, labels={"quota": "5g"})
    stage.engine.contents[VOLUME] = CONTENT
    stage.engine.add_container(CONTAINER, ContainerState.EXITED, mounts=(home_of("alice"),))
    return stage


def backups_of(stage: AgentStage) -> Backups:
    """The agent's backups, where the policy requires them."""
    assert stage.home is not None
    assert stage.home.backups is not None
    return stage.home.backups


def refused(stage: AgentStage, *, validate_only: bool = False) -> RequestRefused:
    """Reset, which is refused; no part of a backup and no helper stays, and neither volume nor container is touched."""
    with pytest.raises(RequestRefused) as raised:
        stage.resetter.reset(reset_command(validate_only=validate_only))
    assert SECRET not in str(raised.value)
    assert VOLUME in stage.engine.volumes
    assert [one.name for one in stage.engine.containers.values()] == [CONTAINER]
    assert {method for method, _ in stage.touched} <= {"help"}
    assert list(stage.policy.backup_dir.iterdir()) == []
    return raised.value


def content(store: Store, backup_id: str) -> tuple[Manifest, bytes]:
    """What a backup holds, once all of it is verified."""
    manifest = store.verify(BackupId(backup_id))
    with store.open(manifest.backup_id) as reader:
        return manifest, b"".join(reader.chunks())


class TestDenials:
    @pytest.mark.parametrize("error", [EngineError(SECRET), EngineUnavailable(SECRET)])
    def test_a_helper_that_does_not_end_well(self, stage: AgentStage, error: EngineError) -> None:
        """BACKUP_FAILED, with an intent and an outcome that say so."""
        stage.engine.fail_next["help"] = error
        refusal = refused(stage)
        assert (refusal.reason, refusal.detail.volume) == (Reason.BACKUP_FAILED, HOME)
        assert stage.audit.phases() == [("intent", None), ("outcome", Reason.BACKUP_FAILED)]

    def test_a_volume_that_is_too_large(self, store: Store) -> None:
        """When a home has one byte more than `max_bytes`, the reset is BACKUP_FAILED."""
        too_small = sum(map(len, CONTENT)) - 1
        assert (refused(stage_of(store, max_bytes=too_small))).reason is Reason.BACKUP_FAILED

    @pytest.mark.parametrize("validate_only", [False, True])
    def test_a_disk_with_no_more_than_the_reserve(
        self, stage: AgentStage, monkeypatch: pytest.MonkeyPatch, *, validate_only: bool
    ) -> None:
        """Looked at before anything is read; validating says it too."""
        free = backup_service.RESERVE_BYTES - 1
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free, f_frsize=1))
        assert (refused(stage, validate_only=validate_only)).reason is Reason.BACKUP_FAILED

    def test_a_disk_that_fills_meanwhile(self, stage: AgentStage, monkeypatch: pytest.MonkeyPatch) -> None:
        """Looked at again and again while it is written."""
        monkeypatch.setattr(backup_service, "CHECK_EVERY_BYTES", 1)
        looks = iter([backup_service.RESERVE_BYTES, backup_service.RESERVE_BYTES - 1])
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=next(looks), f_frsize=1))
        stage.engine.contents[VOLUME] = CONTENT + CONTENT
        assert (refused(stage)).reason is Reason.BACKUP_FAILED
        assert next(looks, None) is None

    def test_a_disk_that_does_not_keep_what_it_took(self, stage: AgentStage, monkeypatch: pytest.MonkeyPatch) -> None:
        """An error at fsync, after all was written: no backup."""

        def fails(_: int) -> None:
            raise OSError(errno.EIO, "I/O error")

        monkeypatch.setattr(os, "fsync", fails)
        assert (refused(stage)).reason is Reason.BACKUP_FAILED

    @pytest.mark.parametrize("validate_only", [False, True])
    def test_as_many_backups_as_may_run_at_once(self, stage: AgentStage, *, validate_only: bool) -> None:
        """TOO_BUSY, denied, and nothing spent: nobody queues with a lock held. Room again once one has ended."""
        release = stage.engine.hold["help"] = threading.Event()
        others = [f"user{number}" for number in range(HELPERS)]
        for name in others:
            stage.engine.add_volume(f"jupyterlab-{name}_home")
        resetting = [in_background(partial(stage.resetter.reset, reset_command(name))) for name in others]
        wait_for(lambda: len(stage.touched) == HELPERS, "the backups")
        with pytest.raises(RequestRefused) as raised:
            stage.resetter.reset(reset_command(validate_only=validate_only))
        assert (raised.value.reason, raised.value.retry_after) == (Reason.TOO_BUSY, 60)
        assert stage.audit.phases()[HELPERS:] == ([] if validate_only else [("denied", Reason.TOO_BUSY)])
        assert (stage.user_budget.remaining("alice"), stage.total_budget.remaining("")) == (3, 60 - HELPERS)
        assert len(stage.touched) == HELPERS
        release.set()
        for one in resetting:
            one.result(30)
        assert (stage.resetter.reset(reset_command())).backup_id

    def test_more_resets_in_one_moment_than_backups_at_once(self, stage: AgentStage) -> None:
        """Places are held from the look on: the rest is refused, and holds nothing."""
        release = stage.engine.hold["help"] = threading.Event()
        names = [f"user{number}" for number in range(HELPERS + 3)]
        for name in names:
            stage.engine.add_volume(f"jupyterlab-{name}_home")
        resetting = [in_background(partial(stage.resetter.reset, reset_command(name))) for name in names]
        wait_for(lambda: sum(one.done() for one in resetting) == 3, "the refusals")
        refusals = [one.exception() for one in resetting if one.done()]
        assert [one.reason for one in refusals if isinstance(one, RequestRefused)] == [Reason.TOO_BUSY] * 3
        release.set()
        assert sum(one.exception(30) is None for one in resetting) == HELPERS

    def test_a_place_is_free_again_after_any_refusal(self, stage: AgentStage) -> None:
        """A failing helper, a spent budget, an audit that cannot be written: each as often as there are places."""
        for _ in range(HELPERS):
            stage.engine.fail_next["help"] = EngineError(SECRET)
            assert (refused(stage)).reason is Reason.BACKUP_FAILED
        stage.user_budget.acquire("alice")
        for _ in range(HELPERS):
            assert (refused(stage)).reason is Reason.RATE_LIMITED
        stage.clock.advance(3600)
        for _ in range(HELPERS):
            stage.audit.broken = True
            assert (refused(stage)).reason is Reason.AUDIT_UNAVAILABLE
        stage.audit.broken = False
        assert (stage.resetter.reset(reset_command())).backup_id

    def test_a_directory_that_others_can_read(self, stage: AgentStage, store: Store) -> None:
        """When others can read the backup directory, no backup is made."""
        store.directory.chmod(0o755)
        assert (refused(stage)).reason is Reason.BACKUP_FAILED

    def test_no_image_of_our_own(self, store: Store) -> None:
        """In no container of this engine, and nothing configured."""
        assert (refused(stage_of(store, helper_image=""))).reason is Reason.BACKUP_FAILED

    def test_an_agent_that_is_being_stopped(self, stage: AgentStage) -> None:
        """When the agent is stopped, a backup under way ends at its next chunk, and no other succeeds."""
        release = stage.engine.hold["help"] = threading.Event()
        resetting = in_background(lambda: refused(stage))
        wait_for(lambda: stage.touched, "the backup")
        backups_of(stage).stop()
        release.set()
        assert resetting.result(30).reason is Reason.BACKUP_FAILED
        assert refused(stage).reason is Reason.BACKUP_FAILED
        assert stage.registry.drain(0)

    @pytest.mark.parametrize("validate_only", [False, True])
    @pytest.mark.parametrize("required", [False, True])
    def test_a_volume_that_another_tool_depends_on(self, store: Store, *, required: bool, validate_only: bool) -> None:
        """By the key of one of its labels: VOLUME_IN_USE with a sentence of its own, before anything is spent."""
        stage = stage_of(store, protect_labels=("snapshots", "quota"), backup="required" if required else "off")
        refusal = refused(stage, validate_only=validate_only)
        assert (refusal.reason, refusal.detail.holders) == (Reason.VOLUME_IN_USE, ())
        assert refusal.message == "Another tool depends on the home volume."
        assert stage.total_budget.remaining("") == 60


class TestBackup:
    def test_it_is_there_before_anything_is_removed(self, stage: AgentStage, store: Store) -> None:
        """Whole and verified at the first removal; it says what is needed to make the volume again."""
        seen = []
        stage.engine.before["remove_container"] = lambda: seen.extend(store.all())
        answer = stage.resetter.reset(reset_command())
        manifest, tar = content(store, answer.backup_id)
        assert seen == [manifest]
        assert tar == b"".join(CONTENT)
        assert (manifest.username.value, manifest.volume, manifest.driver) == ("alice", VOLUME, "local")
        assert (manifest.labels, manifest.created) == ({"quota": "5g"}, stage.clock.now())
        assert answer.size_bytes == manifest.tar_bytes == len(tar)
        assert [method for method, _ in stage.touched] == [
            "help",
            "remove_container",
            "remove_volume",
            "create_volume",
        ]

    def test_it_is_on_the_record(self, stage: AgentStage) -> None:
        """The outcome has its id, and the same request id answers with it again."""
        command = reset_command()
        answer = stage.resetter.reset(command)
        assert stage.audit.lines[-1].answer["backup_id"] == answer.backup_id
        assert stage.resetter.reset(command) == answer

    def test_it_stays_when_the_removal_fails(self, stage: AgentStage, store: Store) -> None:
        """When the removal fails after a backup, the backup stays and the outcome names it."""
        stage.engine.fail_next["remove_volume"] = EngineError(SECRET)
        with pytest.raises(RequestRefused):
            stage.resetter.reset(reset_command())
        [manifest] = store.all()
        assert stage.audit.lines[-1].answer == {"backup_id": manifest.backup_id.value}

    def test_old_ones_go_after_a_reset(self, store: Store) -> None:
        """Older than `keep_days` and not among the `keep` newest; none before the reset has succeeded."""
        stage = stage_of(store, keep=1, keep_days=10)
        first = stage.resetter.reset(reset_command())
        stage.clock.advance(11 * 24 * 3600)
        stage.engine.fail_next["remove_volume"] = EngineError(SECRET)
        with pytest.raises(RequestRefused):
            stage.resetter.reset(reset_command())
        assert first.backup_id in {one.backup_id.value for one in store.all()}
        last = stage.resetter.reset(reset_command())
        kept = {one.backup_id.value for one in store.all()}
        assert first.backup_id not in kept
        assert last.backup_id in kept

    def test_what_goes_after_a_reset_is_on_the_record(self, store: Store) -> None:
        """Who asked for the reset and which backup goes, under a request id of its own, after the reset's outcome."""
        stage = stage_of(store, keep=1, keep_days=10)
        first = stage.resetter.reset(reset_command())
        stage.clock.advance(11 * 24 * 3600)
        stage.audit.lines.clear()
        stage.resetter.reset(reset_command())
        phases = [(line.phase, line.entry.operation) for line in stage.audit.lines]
        assert phases == [("intent", "reset"), ("outcome", "reset"), ("intent", "prune"), ("outcome", "prune")]
        reset, pruned = stage.audit.lines[0].entry, stage.audit.lines[2].entry
        assert (pruned.username, pruned.object, pruned.backup_id) == ("alice", HOME, first.backup_id)
        assert (pruned.client, pruned.actor) == (reset.client, reset.actor)
        assert (pruned.request_id != reset.request_id, pruned.fingerprint) == (True, "")

    def test_what_cannot_be_recorded_does_not_go(self, store: Store) -> None:
        """Nor does the reset fail, which is done by then."""
        stage = stage_of(store, keep=1, keep_days=10)
        first = stage.resetter.reset(reset_command())
        stage.clock.advance(11 * 24 * 3600)
        stage.engine.before["create_volume"] = lambda: setattr(stage.audit, "broken", True)
        last = stage.resetter.reset(reset_command())
        assert {one.backup_id.value for one in store.all()} == {first.backup_id, last.backup_id}
        assert stage.audit.lines[-1].entry.operation == "reset"

    def test_pruning_that_fails_changes_nothing(self, stage: AgentStage, store: Store) -> None:
        """When pruning fails after a reset, the reset still succeeds."""
        stage.engine.before["create_volume"] = lambda: store.directory.chmod(0o755)
        assert (stage.resetter.reset(reset_command())).backup_id

    def test_off_keeps_nothing(self, store: Store) -> None:
        """When backups are off, a reset runs no helper and writes no file."""
        answer = stage_of(store, backup="off").resetter.reset(reset_command())
        assert (answer.backup_id, answer.size_bytes, list(store.directory.iterdir())) == ("", -1, [])


class TestLeftBehind:
    def test_a_helper_that_a_crash_left_is_no_holder(self, stage: AgentStage) -> None:
        """It neither stops a reset nor survives it; one that only looks like it stops it."""
        fields: dict[str, Any] = {"labels": {HELPER_LABEL: stage.names.scheme}, "mounts": (home_of("alice"),)}
        stage.engine.add_container(f"hubwarden-helper-{1:016x}", ContainerState.RUNNING, **fields)
        stage.resetter.reset(reset_command(validate_only=True))
        stage.resetter.reset(reset_command())
        assert stage.engine.containers == {}
        stage.engine.add_volume("jupyterlab-bob_home")
        stage.engine.add_container("helper", **fields | {"mounts": (home_of("bob"),)})
        with pytest.raises(RequestRefused) as raised:
            stage.resetter.reset(reset_command("bob", validate_only=True))
        assert raised.value.reason is Reason.VOLUME_IN_USE

    def test_the_start_sweeps(self, stage: AgentStage, store: Store) -> None:
        """Helpers of this agent, and files of what was never finished."""
        labels = {HELPER_LABEL: stage.names.scheme}
        stage.engine.add_container(f"hubwarden-helper-{1:016x}", labels=labels)
        part = store.directory / "11111111-1111-4111-8111-111111111111.tar.zst.part"
        part.touch()
        Recovery(stage.engine, stage.names, stage.audit, stage.registry, stage.locks, stage.clock).remove_helpers()
        backups_of(stage).sweep()
        assert [one.name for one in stage.engine.containers.values()] == [CONTAINER]
        assert not part.exists()

    def test_the_start_does_not_wait_for_docker(self, stage: AgentStage) -> None:
        """Helpers are swept by the next backup of their volume, too."""
        stage.engine.available = False
        Recovery(stage.engine, stage.names, stage.audit, stage.registry, stage.locks, stage.clock).remove_helpers()
        backups_of(stage).sweep()

    def test_no_start_without_a_place_for_backups(self, tmp_path: Path) -> None:
        """Where they are required: better no agent than one on which every reset fails."""
        with pytest.raises(OSError, match="nowhere"):
            backups_of(stage_of(Store(tmp_path / "nowhere"))).sweep()
        assert stage_of(Store(tmp_path / "nowhere"), backup="off").home is None
