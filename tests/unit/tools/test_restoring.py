"""A restore over the fake engine: what it refuses, what it leaves at every failure, and what it says."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hubwarden_agent.config import ResetPolicy
from hubwarden_agent.engine.home_port import Helper
from hubwarden_agent.engine.port import ContainerState, EngineError, EngineUnavailable, Volume
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.home_content import pending_restores
from hubwarden_agent.home_content.backup_manifest import BackupSource, BadBackup, Manifest
from hubwarden_agent.home_content.backup_service import Backups
from hubwarden_agent.home_content.backup_store import Store
from hubwarden_agent.home_content.volume_content import VolumeContent
from hubwarden_agent.names import ImageId, Names, RequestId, Templates, Username, VolumeName
from hubwarden_agent.operations.volume_removal import Removal
from hubwarden_agent.tools.restore_service import NotRestored, Restorer, RestoreRequest
from support.fakes.edges import FakeClock, MemoryAudit
from support.fakes.engine import FakeEngine, home_of
from support.fakes.homes import EMPTY_TAR
from support.scenarios.zstd_tar import compressed

HOME = VolumeName("jupyterlab-alice_home")
THESIS, OTHER = (EMPTY_TAR, b"thesis"), (EMPTY_TAR, b"something else" * 100_000)
LABELS, OPTIONS = {"kept": "yes"}, {"size": "1g"}


class Stage:
    """A store with a backup of alice's home, and a restorer in front of a fake engine."""

    def __init__(self, directory: Path) -> None:
        self.store, self.state = Store(directory / "backups"), directory / "state"
        self.store.directory.mkdir(mode=0o700)
        self.state.mkdir()
        self.clock, self.engine, self.audit = FakeClock(), FakeEngine(), MemoryAudit()
        self.policy = ResetPolicy()
        self.said: list[str] = []
        self.backup = self.put(THESIS)

    def put(self, content: tuple[bytes, ...], **fields: Any) -> Manifest:
        """A backup that is in place."""
        subject = BackupSource(Username("alice"), HOME, "local", OPTIONS, LABELS, RequestId(str(uuid.uuid4())))
        writer = self.store.begin(replace(subject, **fields), self.clock)
        writer.write(compressed(b"".join(content)))
        return writer.commit(sum(map(len, content)))

    @property
    def helper(self) -> Helper:
        """What reads and writes volumes."""
        return Helper(ImageId("sha256:" + "a" * 64), "jupyterlab-{username}")

    def restore(
        self, backup: Manifest | None = None, user: str = "alice", volume: VolumeName = HOME, *, aside: bool = False
    ) -> Any:
        """One run of the tool."""
        names = Names(Templates())
        policy = replace(
            self.policy, backup="required", backup_dir=self.store.directory, helper_image=self.helper.image.value
        )
        backups = Backups(self.engine, names, policy, self.clock)
        removal, content = Removal(self.engine, names, policy, self.clock), VolumeContent(self.engine)
        restorer = Restorer(
            self.engine, content, self.helper, removal, backups, self.audit, self.state, self.clock, self.said.append
        )
        order = RestoreRequest(RequestId(str(uuid.uuid4())), Username("root"), Username(user), volume, aside)
        with self.store.open((backup or self.backup).backup_id) as reader:
            return restorer.restore(order, reader)

    def fill(self, content: tuple[bytes, ...] = OTHER) -> Volume:
        """A home with something in it."""
        volume = self.engine.add_volume(HOME.value, labels={"old": "one"})
        self.engine.contents[HOME] = content
        return volume

    def restored(self) -> bool:
        """Whether the home is the backup's, with all that an operator gave the volume, and nothing is left noted."""
        volume = self.engine.volumes[HOME]
        content = b"".join(self.engine.contents[HOME])
        return (
            (volume.labels, volume.options, content) == (LABELS, OPTIONS, b"".join(THESIS))
            and pending_restores.of(self.state, HOME) is None
            and not self.engine.containers
        )


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """No volume yet."""
    return Stage(tmp_path)


class TestRefused:
    """Nothing is changed, recorded or noted."""

    @pytest.fixture(autouse=True)
    def _nothing_happened(self, stage: Stage) -> Iterator[None]:
        yield
        assert [call for call in stage.engine.calls if call[0] != "help"] == []
        assert stage.audit.phases() == []
        assert list(pending_restores.users(stage.state, Names(Templates()))) == []
        assert stage.store.verify(stage.backup.backup_id) == stage.backup

    def test_another_users_backup(self, stage: Stage) -> None:
        """A wrong id does not hand alice's files to bob."""
        with pytest.raises(NotRestored, match="a backup of alice, not of bob"):
            stage.restore(user="bob", volume=VolumeName("jupyterlab-bob_home"))

    @pytest.mark.parametrize("aside", [False, True])
    def test_into_another_users_home(self, stage: Stage, *, aside: bool) -> None:
        """Bob's files would become a backup of alice, and nothing would keep bob out of half a home."""
        with pytest.raises(NotRestored, match="another user's home"):
            stage.restore(volume=VolumeName("jupyterlab-bob_home"), aside=aside)

    def test_a_volume_that_cannot_be_read(self, stage: Stage) -> None:
        """What comes is no tar: said as the engine's failure, with the volume's name for the operator."""
        stage.fill((b"no tar" * 1000,))
        with pytest.raises(RequestRefused) as refused:
            stage.restore()
        assert refused.value.reason is Reason.DOCKER_ERROR
        assert HOME.value in str(refused.value.__cause__)

    def test_a_home_with_something_in_it(self, stage: Stage) -> None:
        """Refused, however much it is, with the option that would do."""
        for content in (OTHER, (EMPTY_TAR[:512], *THESIS[1:], b"x" * 2**20)):
            stage.fill(content)
            with pytest.raises(NotRestored, match="not empty: restore with --aside"):
                stage.restore()

    def test_a_small_home_with_one_file(self, stage: Stage) -> None:
        """When the home already holds one empty file, the restore is refused."""
        file = EMPTY_TAR[:512].replace(b".", b"a", 1)
        stage.fill((EMPTY_TAR[:512] + _checked(file) + bytes(1024),))
        with pytest.raises(NotRestored, match="not empty"):
            stage.restore()

    @pytest.mark.parametrize("damage", ["flipped", "cut", "edited", "swapped", "of the future", "no tar"])
    def test_a_backup_that_is_not_whole(self, stage: Stage, damage: str) -> None:
        """When a backup or its manifest is damaged or missing, nothing is restored."""
        volume, other = stage.fill(), stage.put(OTHER)
        tar, line = (stage.store.directory / f"{stage.backup.backup_id}{suffix}" for suffix in (".tar.zst", ".json"))
        whole = tar.read_bytes(), line.read_bytes()
        match damage:
            case "flipped":
                tar.write_bytes(whole[0][:-1] + bytes([whole[0][-1] ^ 1]))
            case "cut":
                tar.write_bytes(whole[0][:-1])
            case "edited":
                line.write_bytes(whole[1].replace(b"alice_home", b"bobby_home"))
            case "swapped":
                line.write_bytes(other.line())
            case "of the future":
                line.write_bytes(whole[1].replace(b'"format":1', b'"format":2'))
            case "no tar":
                tar.unlink()
        with pytest.raises(BadBackup):
            stage.restore(aside=True)
        assert stage.engine.volumes == {HOME: volume}
        tar.write_bytes(whole[0])
        line.write_bytes(whole[1])

    @pytest.mark.parametrize(
        ("state", "reason"),
        [
            (ContainerState.RUNNING, Reason.SERVER_RUNNING),
            (ContainerState.PAUSED, Reason.SERVER_RUNNING),
            (ContainerState.RESTARTING, Reason.SERVER_RUNNING),
            (ContainerState.REMOVING, Reason.OPERATION_IN_PROGRESS),
        ],
    )
    def test_a_server_that_runs(self, stage: Stage, state: ContainerState, reason: Reason) -> None:
        """When the user's server runs, the restore is refused, also with `--aside`."""
        stage.fill()
        stage.engine.add_container("jupyterlab-alice", state, mounts=(home_of("alice"),))
        with pytest.raises(RequestRefused) as refused:
            stage.restore(aside=True)
        assert refused.value.reason is reason

    @pytest.mark.parametrize("state", list(ContainerState))
    def test_somebody_elses_container(self, stage: Stage, state: ContainerState) -> None:
        """When another user's container holds the volume in any state, the restore is refused."""
        stage.fill()
        stage.engine.add_container("somebody", state, mounts=(home_of("alice"),))
        with pytest.raises(RequestRefused) as refused:
            stage.restore(aside=True)
        assert refused.value.reason is Reason.VOLUME_IN_USE

    def test_a_stopped_server_that_policy_keeps(self, stage: Stage) -> None:
        """`stopped_container = "refuse"` counts here, too."""
        stage.policy = replace(stage.policy, stopped_container="refuse")
        stage.fill()
        stage.engine.add_container("jupyterlab-alice", ContainerState.EXITED, mounts=(home_of("alice"),))
        with pytest.raises(RequestRefused) as refused:
            stage.restore(aside=True)
        assert refused.value.reason is Reason.CONTAINER_KEPT

    @pytest.mark.parametrize("allowed", [False, True])
    def test_a_volume_that_points_elsewhere(self, stage: Stage, *, allowed: bool) -> None:
        """What is there, or what the backup would make, whatever policy lets a reset do.

        Removing it would erase nothing, so that files would be mixed, and nothing could be undone.
        """
        stage.policy = replace(stage.policy, allow_non_local=allowed)
        bind = {"type": "none", "o": "bind", "device": "/etc"}
        with pytest.raises(NotRestored, match="point to files elsewhere"):
            stage.restore(stage.put(THESIS, options=bind))
        stage.engine.add_volume(HOME.value, options=bind)
        with pytest.raises(RequestRefused) as refused:
            stage.restore(aside=True)
        assert refused.value.reason is Reason.VOLUME_NOT_LOCAL

    def test_an_engine_that_is_away(self, stage: Stage) -> None:
        """When Docker is unavailable, the tool's message names Docker."""
        stage.engine.available = False
        with pytest.raises(RequestRefused) as refused:
            stage.restore()
        assert refused.value.reason is Reason.DOCKER_UNAVAILABLE


class TestDone:
    @pytest.mark.parametrize("found", ["missing", "empty", "full"])
    def test_the_home_is_as_it_was(self, stage: Stage, found: str) -> None:
        """Content, driver, options and labels; recorded with the backup's id; the backup stays."""
        if found != "missing":
            stage.fill((EMPTY_TAR,) if found == "empty" else OTHER)
        answer = stage.restore(aside=found == "full")
        assert stage.restored()
        assert stage.audit.phases() == [("intent", None), ("outcome", None)]
        entry = stage.audit.lines[0].entry
        assert (entry.operation, entry.username, entry.object) == ("restore", "alice", HOME.value)
        assert (entry.client, entry.actor, entry.backup_id) == ("tool", "operator:root", stage.backup.backup_id.value)
        assert stage.audit.lines[1].answer == answer
        assert stage.store.verify(stage.backup.backup_id) == stage.backup
        assert len(stage.store.all()) == (2 if found == "full" else 1)

    def test_what_was_set_aside_can_be_restored(self, stage: Stage) -> None:
        """With the labels that it had, in place of what was restored."""
        stage.fill()
        first = stage.restore(aside=True)
        [aside] = [one for one in stage.store.all() if one != stage.backup]
        assert first["set_aside"] == aside.backup_id.value
        stage.restore(aside, aside=True)
        assert (stage.engine.contents[HOME], stage.engine.volumes[HOME].labels) != (OTHER, LABELS)
        assert b"".join(stage.engine.contents[HOME]) == b"".join(OTHER)

    def test_a_stopped_server_goes(self, stage: Stage) -> None:
        """It holds the old volume, as in a reset; it is said, and recorded by id."""
        stage.fill()
        server = stage.engine.add_container("jupyterlab-alice", ContainerState.EXITED, mounts=(home_of("alice"),))
        stage.restore(aside=True)
        assert stage.restored()
        assert server.id.value in stage.audit.lines[0].entry.object_id
        assert "removed the stopped container jupyterlab-alice" in stage.said

    def test_into_another_volume(self, stage: Stage) -> None:
        """When a backup is restored into another volume, the home stays as it is."""
        stage.fill()
        beside = VolumeName("beside")
        stage.restore(volume=beside)
        assert b"".join(stage.engine.contents[beside]) == b"".join(THESIS)
        assert stage.engine.contents[HOME] == OTHER


class TestFailed:
    @pytest.mark.parametrize("found", ["missing", "empty", "full"])
    @pytest.mark.parametrize("number", range(11))
    def test_every_failure_is_undone(self, stage: Stage, found: str, number: int) -> None:
        """Whichever question to the engine fails: the volume is whole or empty, what it held is in the store."""
        before = stage.fill((EMPTY_TAR,) if found == "empty" else OTHER) if found != "missing" else None
        if not self.fails_at(stage, number, aside=found == "full"):
            assert stage.restored()
            assert number >= {"missing": 4, "empty": 8, "full": 9}[found]
            return
        volume = stage.engine.volumes.get(HOME)
        content = b"".join(stage.engine.contents.get(HOME, ()))
        assert content in (b"", EMPTY_TAR, b"".join(OTHER))
        assert (volume is None) == (before is None)
        assert volume is None or before is None or volume.labels == before.labels
        if found == "full" and content != b"".join(OTHER):
            assert any(one.tar_bytes == len(b"".join(OTHER)) for one in stage.store.all())
        assert pending_restores.of(stage.state, HOME) is None
        assert [phase for phase, _ in stage.audit.phases()] in ([], ["intent", "outcome"])
        stage.restore(aside=True)
        assert stage.restored()

    def fails_at(self, stage: Stage, number: int, *, aside: bool) -> bool:
        """Restore, with the question of this number to the engine failing. Whether there were so many."""
        counter, enter = itertools.count(), stage.engine._enter  # noqa: SLF001 - a step of the restore alone

        def failing(method: str, name: str) -> None:
            enter(method, name)
            if next(counter) == number:
                raise EngineError("SECRET-FROM-DOCKER")

        stage.engine._enter = failing  # type: ignore[method-assign]  # noqa: SLF001 - a step of the restore alone; every question passes here
        try:
            stage.restore(aside=aside)
        except (RequestRefused, NotRestored):
            return True
        else:
            return False
        finally:
            stage.engine._enter = enter  # type: ignore[method-assign]  # noqa: SLF001 - a step of the restore alone; as above

    def test_no_backup_of_what_is_there_no_restore(self, stage: Stage) -> None:
        """A store that cannot take it leaves everything as it is."""
        volume = stage.fill()
        stage.policy = replace(stage.policy, max_bytes=len(OTHER[0]))
        with pytest.raises(RequestRefused) as refused:
            stage.restore(aside=True)
        assert refused.value.reason is Reason.BACKUP_FAILED
        assert stage.engine.volumes[HOME] is volume
        assert stage.audit.phases()[-1] == ("outcome", Reason.BACKUP_FAILED)

    def test_no_record_no_restore(self, stage: Stage) -> None:
        """An audit that cannot be written stops it before the first change."""
        volume = stage.fill()
        stage.audit.broken = True
        with pytest.raises(RequestRefused) as refused:
            stage.restore(aside=True)
        assert refused.value.reason is Reason.AUDIT_UNAVAILABLE
        assert stage.engine.volumes[HOME] is volume

    def test_somebody_who_was_quicker(self, stage: Stage) -> None:
        """A volume that appears meanwhile is not written into, nor removed."""
        stage.engine.before["volume"] = lambda: stage.engine.before.update(
            volume=lambda: stage.engine.add_volume(HOME.value, labels={"somebody": "else"})
        )
        with pytest.raises(RequestRefused, match="Somebody else created"):
            stage.restore()
        assert stage.engine.volumes[HOME].labels == {"somebody": "else"}
        assert HOME not in stage.engine.contents

    def test_an_operator_who_gives_up(self, stage: Stage) -> None:
        """When the operator interrupts the tool while the volume is filled, the restore is undone."""
        stage.fill((EMPTY_TAR,))
        stage.engine.before["create_volume"] = lambda: stage.engine.before.update(help=_interrupt)
        with pytest.raises(KeyboardInterrupt):
            stage.restore()
        assert HOME not in stage.engine.contents
        assert pending_restores.of(stage.state, HOME) is None


def _interrupt() -> None:
    raise KeyboardInterrupt


class TestKilled:
    def test_a_half_filled_home_is_begun_anew(self, stage: Stage) -> None:
        """Said, and without --aside: it is noted that what is there is ours."""
        stage.engine.before["create_volume"] = lambda: stage.engine.before.update(help=_half(stage))
        with pytest.raises(_Killed):
            self.without_undo(stage)
        assert list(pending_restores.users(stage.state, Names(Templates()))) == [Username("alice")]
        assert stage.engine.contents[HOME] == (b"half",)
        stage.restore()
        assert stage.restored()
        assert any("was interrupted: beginning anew" in text for text in stage.said)

    @pytest.mark.parametrize("method", ["remove_volume", "create_volume"])
    def test_it_is_noted_before_anything_is_changed(self, stage: Stage, method: str) -> None:
        """So that nobody is given a new, empty home meanwhile."""
        stage.fill((EMPTY_TAR,))
        stage.engine.before[method] = _die
        with pytest.raises(_Killed):
            self.without_undo(stage)
        assert list(pending_restores.users(stage.state, Names(Templates()))) == [Username("alice")]
        stage.restore()
        assert stage.restored()

    def test_killed_again_and_again(self, stage: Stage) -> None:
        """What was noted first is not lost when the next run is killed, too, before it removed anything."""
        stage.engine.before["create_volume"] = lambda: stage.engine.before.update(help=_half(stage))
        with pytest.raises(_Killed):
            self.without_undo(stage)
        stage.engine.before["remove_volume"] = _die
        with pytest.raises(_Killed):
            self.without_undo(stage)
        assert stage.engine.contents[HOME] == (b"half",)
        stage.engine.fail_next["remove_volume"] = EngineUnavailable("gone")
        with pytest.raises(RequestRefused):
            stage.restore()
        assert list(pending_restores.users(stage.state, Names(Templates()))) == [Username("alice")]
        stage.restore()
        assert stage.restored()

    def test_what_somebody_put_there_since_is_not_ours(self, stage: Stage) -> None:
        """Another volume of that name, with something in it, is only replaced when told to."""
        stage.engine.before["create_volume"] = lambda: stage.engine.before.update(help=_half(stage))
        with pytest.raises(_Killed):
            self.without_undo(stage)
        del stage.engine.volumes[HOME]
        stage.fill()
        with pytest.raises(NotRestored, match="not empty"):
            stage.restore()
        assert list(pending_restores.users(stage.state, Names(Templates()))) == [Username("alice")]
        stage.restore(aside=True)
        assert stage.restored()
        assert list(pending_restores.users(stage.state, Names(Templates()))) == []

    def without_undo(self, stage: Stage) -> None:
        """A run that nobody cleans up after."""
        undo = Restorer._undo  # noqa: SLF001 - a step of the restore alone
        Restorer._undo = _nothing  # type: ignore[assignment]  # noqa: SLF001 - a step of the restore alone; nobody is there any more
        try:
            stage.restore()
        finally:
            Restorer._undo = undo  # type: ignore[method-assign]  # noqa: SLF001 - a step of the restore alone; as above


class _Killed(BaseException):
    """The end of a process, as far as one can play it."""


def _die() -> None:
    raise _Killed


def _half(stage: Stage) -> Callable[[], None]:
    def die() -> None:
        stage.engine.contents[HOME] = (b"half",)
        raise _Killed

    return die


def _nothing(*_: object) -> None:
    pass


def _checked(header: bytes) -> bytes:
    """A tar's header with the checksum of what it says."""
    total = sum(header[:148]) + sum(header[156:]) + 8 * ord(" ")
    return header[:148] + b"%06o\0 " % total + header[156:]
