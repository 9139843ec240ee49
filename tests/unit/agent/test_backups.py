"""The store of backups: nothing half is ever a backup, nothing changed is ever read, nothing that matters is pruned."""

from __future__ import annotations

import datetime as dt
import errno
import hashlib
import json
import os
import shutil
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hubwarden_agent.home_content.backup_file import Writer
from hubwarden_agent.home_content.backup_manifest import BackupSource, BadBackup, Manifest, expired, volume_part
from hubwarden_agent.home_content.backup_store import Store
from hubwarden_agent.names import BackupId, RequestId, Username, VolumeName
from support.scenarios.zstd_tar import compressed

START = dt.datetime(2026, 11, 24, 8, 0, 0, 123456, tzinfo=dt.UTC)
HOME = VolumeName("jupyterlab-alice_home")
CONTENT = b"not really a tar " * 1000


class Now:
    """A clock that stands still until told."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> dt.datetime:
        return self.time

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        self.time += dt.timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Now:
    """Begins at `START`."""
    return Now()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty one."""
    (tmp_path / "backups").mkdir(mode=0o700)
    return Store(tmp_path / "backups")


def subject(volume: VolumeName = HOME) -> BackupSource:
    """Alice's home, for a request of its own."""
    options, labels = {"size": "1g"}, {"kept": "yes", "ü": "\u2028"}
    return BackupSource(Username("älice"), volume, "local", options, labels, RequestId(str(uuid.uuid4())))


def put(store: Store, clock: Now, content: bytes = CONTENT, volume: VolumeName = HOME) -> Manifest:
    """A backup that is in place."""
    writer = store.begin(subject(volume), clock)
    writer.write(compressed(content))
    return writer.commit(len(content))


def put_and_commit(writer: Writer, content: bytes) -> None:
    """All that follows `begin`."""
    writer.write(content)
    writer.commit(len(content))


def names(store: Store) -> list[str]:
    """Every file in the store."""
    return sorted(file.name for file in store.directory.iterdir())


def read(store: Store, backup_id: BackupId) -> bytes:
    """All that a backup holds."""
    with store.open(backup_id) as reader:
        reader.verify()
        return b"".join(reader.chunks())


class TestWriting:
    def test_what_is_put_in_comes_out(self, store: Store, clock: Now) -> None:
        """Content, and everything that the manifest says."""
        asked = subject()
        writer = store.begin(asked, clock)
        frame = compressed(CONTENT)
        writer.write(frame[:5])
        writer.write(b"")
        writer.write(frame[5:])
        manifest = writer.commit(len(CONTENT))
        assert read(store, manifest.backup_id) == CONTENT
        assert store.manifest(manifest.backup_id) == manifest
        assert [getattr(manifest, name) for name in ("username", "volume", "driver", "options", "labels")] == [
            getattr(asked, name) for name in ("username", "volume", "driver", "options", "labels")
        ]
        assert (manifest.request_id, manifest.created) == (asked.request_id, START.replace(microsecond=0))
        tar = (store.directory / f"{manifest.backup_id}.tar.zst").read_bytes()
        assert manifest.sha256 == hashlib.sha256(tar).hexdigest()
        assert (manifest.file_bytes, manifest.tar_bytes) == (len(tar), len(CONTENT))

    def test_files_are_ours_alone(self, store: Store, clock: Now) -> None:
        """When a backup is made, its two files have mode 0600 under any umask."""
        before = os.umask(0)
        try:
            manifest = put(store, clock)
        finally:
            os.umask(before)
        assert names(store) == [f"{manifest.backup_id}.json", f"{manifest.backup_id}.tar.zst"]
        assert {file.stat().st_mode & 0o777 for file in store.directory.iterdir()} == {0o600}

    def test_nothing_is_a_backup_before_commit(self, store: Store, clock: Now) -> None:
        """Nor after an abort, which leaves nothing and may be repeated."""
        writer = store.begin(subject(), clock)
        writer.write(b"x")
        assert store.all() == []
        writer.abort()
        writer.abort()
        assert names(store) == []

    @pytest.mark.parametrize("labels", [{"long": "x" * 2**20}, {"half of one": "\ud800"}])
    def test_what_could_not_be_read_again_is_no_backup(self, store: Store, clock: Now, labels: dict[str, str]) -> None:
        """Labels too long or not text: found while the volume is still there."""
        writer = store.begin(replace(subject(), labels=labels), clock)
        with pytest.raises(OSError, match="could not be read again"):
            writer.commit(0)
        writer.abort()
        assert names(store) == []

    @pytest.mark.parametrize(("call", "calls"), [("write", 2), ("fsync", 4), ("rename", 2)])
    def test_a_disk_that_fails_leaves_nothing(
        self, store: Store, clock: Now, monkeypatch: pytest.MonkeyPatch, call: str, calls: int
    ) -> None:
        """Whichever write, flush or rename it is: an error, no backup, and no file once it is aborted."""
        real, content = getattr(os, call), os.urandom(10**6)
        for number in range(calls):
            before = iter(range(number))

            def failing(*arguments: object, before: Iterator[int] = before, **named: object) -> object:
                if next(before, None) is None:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return real(*arguments, **named)

            writer = store.begin(subject(), clock)
            monkeypatch.setattr(os, call, failing)
            with pytest.raises(OSError, match="No space"):
                put_and_commit(writer, content)
            monkeypatch.setattr(os, call, real)
            writer.abort()
            assert names(store) == []

    def test_a_kill_at_any_moment_leaves_a_backup_or_none(
        self, store: Store, clock: Now, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever was the last thing done: what is listed is whole, and a sweep leaves nothing else."""
        content, done = os.urandom(10**6), list[str]()
        for number in range(9):
            done.clear()
            with monkeypatch.context() as patched:
                for name in ("write", "fsync", "rename"):
                    patched.setattr(os, name, _killing(getattr(os, name), done, number))
                with suppress(_Killed):
                    put(store, clock, content)
            assert all(read(store, one) == content for one in store.ids())
            store.sweep()
            assert len(names(store)) == 2 * len(store.ids())
            clock.time += dt.timedelta(seconds=1)
        assert done == ["write", "fsync", "write", "fsync", "rename", "fsync", "rename", "fsync"]
        assert len(store.ids()) == 2

    def test_memory_is_constant(self, store: Store, clock: Now) -> None:
        """A hundred megabytes pass through less than eight."""
        chunk = os.urandom(2**16) * 16
        tracemalloc.start()
        try:
            writer = store.begin(subject(), clock)
            compressor = zstandard.ZstdCompressor(write_checksum=True).compressobj()
            for _ in range(100):
                writer.write(compressor.compress(chunk))
            writer.write(compressor.flush())
            store.verify(writer.commit(100 * len(chunk)).backup_id)
            assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
        finally:
            tracemalloc.stop()


class TestReading:
    def test_every_flipped_bit_shows(self, store: Store, clock: Now) -> None:
        """When one bit of either file is flipped, the backup is refused."""
        manifest = put(store, clock, b"short")
        for suffix in (".tar.zst", ".json"):
            file = store.directory / f"{manifest.backup_id}{suffix}"
            whole = file.read_bytes()
            for place in range(len(whole)):
                file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
                with pytest.raises(BadBackup):
                    store.verify(manifest.backup_id)
            file.write_bytes(whole)
        store.verify(manifest.backup_id)

    @pytest.mark.parametrize("suffix", [".tar.zst", ".json"])
    def test_what_is_cut_off_or_missing_shows_without_reading(self, store: Store, clock: Now, suffix: str) -> None:
        """A backup with such a file is not listed as sound, and not opened."""
        manifest = put(store, clock)
        file = store.directory / f"{manifest.backup_id}{suffix}"
        os.truncate(file, file.stat().st_size - 1)
        with pytest.raises(BadBackup):
            store.manifest(manifest.backup_id)
        file.unlink()
        with pytest.raises(BadBackup, match="is missing"):
            store.manifest(manifest.backup_id)
        assert store.all() == []

    def test_swapped_backups_show(self, store: Store, clock: Now) -> None:
        """One's tar, one's manifest, or both under the other's name."""
        one, other = put(store, clock), put(store, clock, b"!" + CONTENT[1:])
        files = [
            store.directory / f"{which.backup_id}{suffix}" for which in (one, other) for suffix in (".tar.zst", ".json")
        ]
        tar, line, other_tar, other_line = (file.read_bytes() for file in files)
        for swapped in ((other_tar, line), (tar, other_line), (other_tar, other_line)):
            files[0].write_bytes(swapped[0])
            files[1].write_bytes(swapped[1])
            with pytest.raises(BadBackup):
                store.verify(one.backup_id)
        store.verify(other.backup_id)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("volume", "jupyterlab-bob_home"),
            ("options", {"type": "none", "o": "bind", "device": "/"}),
            ("labels", {}),
            ("tar_bytes", 1.0),
            ("tar_bytes", True),
            ("file_bytes", -1),
            ("sha256", "0" * 63),
            ("labels", {"a": 1}),
            ("options", []),
            ("driver", None),
            ("username", ""),
            ("created", "2026-11-24T08:00:00+00:00"),
            ("more", "x"),
        ],
    )
    def test_an_edited_manifest_shows(self, store: Store, clock: Now, key: str, value: object) -> None:
        """As another id at best: the id that was written down does not fit any more."""
        manifest = put(store, clock)
        fields = json.loads(manifest.line()) | {key: value}
        with pytest.raises(BadBackup):
            Manifest.parse(_spelt(fields))

    def test_a_recomputed_manifest_is_another_backup(self, store: Store, clock: Now) -> None:
        """Who changes it and computes its hash again gets an id that nobody wrote down."""
        manifest = put(store, clock)
        forged = replace(manifest, volume=VolumeName("jupyterlab-bob_home"))
        (store.directory / f"{manifest.backup_id}.json").write_bytes(forged.line())
        with pytest.raises(BadBackup, match="another backup's"):
            store.manifest(manifest.backup_id)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("tar_bytes", 1.0),
            ("tar_bytes", True),
            ("file_bytes", -1),
            ("sha256", "0" * 63),
            ("sha256", None),
            ("labels", {"a": 1}),
            ("options", []),
            ("driver", None),
            ("agent_version", 1),
        ],
    )
    def test_a_value_that_makes_no_sense_is_refused(self, store: Store, clock: Now, key: str, value: object) -> None:
        """Also where the hash was computed again to fit."""
        forged = replace(put(store, clock), **{key: value})  # type: ignore[arg-type] # that is what is tested
        with pytest.raises(BadBackup, match="was changed"):
            Manifest.parse(forged.line())

    @pytest.mark.parametrize("number", [0, 2, "1", True, None])
    def test_another_format_is_refused(self, store: Store, clock: Now, number: object) -> None:
        """Of the future or not, with whatever keys it has."""
        fields = json.loads(put(store, clock).line()) | {"format": number, "unheard": "of"}
        with pytest.raises(BadBackup, match="format"):
            Manifest.parse(_spelt(fields))

    @pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b'{"format":1}', b"\xff", b"[" * 10000, b'"\\ud800"'])
    def test_what_is_no_manifest(self, text: bytes) -> None:
        """When a manifest is malformed, it is refused, and the message quotes nothing of it."""
        with pytest.raises(BadBackup, match="its manifest cannot be read"):
            Manifest.parse(text)

    def test_a_bomb_is_bounded(self, store: Store, clock: Now) -> None:
        """A tar that decompresses to more than its manifest says ends there, without the memory it asks for."""
        manifest = put(store, clock, bytes(2**28))
        small = replace(manifest, tar_bytes=10)
        for suffix, content in ((".json", small.line()), (".tar.zst", _tar(store, manifest))):
            (store.directory / f"{small.backup_id}{suffix}").write_bytes(content)
        tracemalloc.start()
        try:
            with pytest.raises(BadBackup, match="length"), store.open(small.backup_id) as reader:
                assert list(reader.chunks()) == []
            assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
        finally:
            tracemalloc.stop()

    def test_a_shorter_tar_shows_at_its_end(self, store: Store, clock: Now) -> None:
        """And a verification finds it before anything is used."""
        manifest = put(store, clock, b"12")
        longer = replace(manifest, tar_bytes=3)
        for suffix, content in ((".json", longer.line()), (".tar.zst", _tar(store, manifest))):
            (store.directory / f"{longer.backup_id}{suffix}").write_bytes(content)
        with pytest.raises(BadBackup, match="length"):
            store.verify(longer.backup_id)

    @pytest.mark.parametrize("suffix", [".tar.zst", ".json"])
    @pytest.mark.parametrize("kind", ["link", "fifo", "folder", "foreign"])
    def test_only_files_of_our_own_are_read(self, store: Store, clock: Now, suffix: str, kind: str) -> None:
        """No link is followed, no pipe waited for, and nothing believed that another user owns."""
        manifest = put(store, clock)
        file = store.directory / f"{manifest.backup_id}{suffix}"
        aside = file.rename(store.directory.parent / "aside")
        make: dict[str, Callable[[], object]] = {
            "link": lambda: file.symlink_to(aside),
            "fifo": lambda: os.mkfifo(file),
            "folder": file.mkdir,
            "foreign": lambda: os.chown(shutil.copy(aside, file), 65532, 65532),
        }
        if kind == "foreign" and os.geteuid():
            pytest.skip("only root can give a file away")
        make[kind]()
        with pytest.raises(BadBackup, match=r"is a link|not a file of our own"):
            store.manifest(manifest.backup_id)


class TestDirectory:
    @pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
    def test_one_that_others_can_enter_is_refused(self, store: Store, clock: Now, mode: int) -> None:
        """For everything, before anything is written or read."""
        manifest = put(store, clock)
        store.directory.chmod(mode)
        for use in (store.ids, store.sweep, lambda: store.verify(manifest.backup_id), lambda: put(store, clock)):
            with pytest.raises(PermissionError, match="0700"):
                use()

    def test_a_link_is_refused(self, store: Store, tmp_path: Path) -> None:
        """When the backup directory is a symbolic link, it is refused, whatever it points to."""
        (tmp_path / "link").symlink_to(store.directory)
        with pytest.raises(NotADirectoryError):
            Store(tmp_path / "link").ids()


class TestPruning:
    def keep(self, store: Store, clock: Now, ages: list[int], keep: int, keep_days: int) -> list[int]:
        """The ages in days of the backups that stay."""
        days, today = {}, START.replace(microsecond=0)
        for age in ages:
            clock.time = today - dt.timedelta(days=age)
            days[put(store, clock).backup_id] = age
        clock.time = today
        gone = prune(store, HOME, keep, keep_days, clock)
        left = [days[one.backup_id] for one in store.of(HOME)]
        assert sorted(left + [days[one.backup_id] for one in gone]) == sorted(ages)
        return left

    def test_only_what_is_old_and_not_among_the_newest_goes(self, store: Store, clock: Now) -> None:
        """Three stay however old they are, and what is young stays however many there are."""
        assert self.keep(store, clock, [40, 35, 33, 31, 2, 1], keep=3, keep_days=30) == [31, 2, 1]

    def test_the_day_itself_still_counts(self, store: Store, clock: Now) -> None:
        """What was promised for 30 days is there on the thirtieth."""
        assert self.keep(store, clock, [31, 30, 29, 0], keep=1, keep_days=30) == [30, 29, 0]

    def test_many_young_ones_all_stay(self, store: Store, clock: Now) -> None:
        """Or a few resets of an empty home would push out the one backup that matters."""
        assert self.keep(store, clock, [9, 0, 0, 0, 0], keep=1, keep_days=30) == [9, 0, 0, 0, 0]

    def test_old_ones_stay_when_there_are_no_others(self, store: Store, clock: Now) -> None:
        """The last copy of a home never goes with time."""
        assert self.keep(store, clock, [400, 300], keep=3, keep_days=30) == [400, 300]

    def test_a_clock_that_was_set_back_prunes_nothing(self, store: Store, clock: Now) -> None:
        """When the clock was set back, backups with a time in the future are not pruned."""
        assert self.keep(store, clock, [-50, -40, -1], keep=1, keep_days=30) == [-1, -40, -50]

    def test_what_is_broken_neither_counts_nor_goes(self, store: Store, clock: Now) -> None:
        """A newer one without its tar does not cost an older one that is whole."""
        clock.time = START - dt.timedelta(days=90)
        good = put(store, clock)
        clock.time = START - dt.timedelta(days=60)
        broken = put(store, clock)
        (store.directory / f"{broken.backup_id}.tar.zst").unlink()
        clock.time = START
        assert prune(store, HOME, 1, 30, clock) == []
        assert store.of(HOME) == [good]
        assert broken.backup_id in store.ids()

    def test_a_volume_whose_name_has_the_same_hash_stays(self, store: Store, clock: Now) -> None:
        """The part of an id that stands for the volume is short, and only finds; the manifest says."""
        one, other = VolumeName("home-13169"), VolumeName("home-18499")
        assert volume_part(one) == volume_part(other)
        kept = put(store, clock, volume=one)
        assert store.of(other) == []
        assert store.of(one) == [kept]

    def test_other_volumes_stay(self, store: Store, clock: Now) -> None:
        """When one user's backups are pruned, those of other users stay."""
        clock.time = START - dt.timedelta(days=90)
        bobs = put(store, clock, volume=VolumeName("jupyterlab-bob_home"))
        put(store, clock)
        clock.time = START
        assert len(prune(store, HOME, 0, 30, clock)) == 1
        assert store.all() == [bobs]


def prune(store: Store, volume: VolumeName, keep: int, keep_days: int, clock: Now) -> list[Manifest]:
    """As a prune does it."""
    gone = expired(store.of(volume), keep, keep_days, clock.now())
    for manifest in gone:
        store.remove(manifest.backup_id)
    return list(gone)


class TestSweeping:
    def test_only_what_was_never_finished_goes(self, store: Store, clock: Now) -> None:
        """Parts, and a tar whose manifest never came; backups and whatever else lies there stay."""
        manifest = put(store, clock)
        keep = [*names(store), "notes.txt", "lost.part", f"{manifest.backup_id}.tar.zst.asc"]
        lost = put(store, clock, b"x").backup_id
        (store.directory / f"{lost}.json").unlink()
        unfinished = store.begin(subject(), clock)
        for name in ("notes.txt", "lost.part", f"{manifest.backup_id}.tar.zst.asc"):
            (store.directory / name).touch()
        (store.directory / f"{uuid.uuid4()}.json.part").touch()
        assert len(store.sweep()) == 3
        assert names(store) == sorted(keep)
        unfinished.abort()

    def test_a_broken_backup_is_not_swept(self, store: Store, clock: Now) -> None:
        """Its manifest stays, so that it is listed and somebody looks."""
        manifest = put(store, clock)
        (store.directory / f"{manifest.backup_id}.tar.zst").unlink()
        assert store.sweep() == []
        assert store.ids() == [manifest.backup_id]


class _Killed(BaseException):
    """The end of a process, as far as one can play it."""


def _killing(real: Callable[..., Any], done: list[str], number: int) -> Callable[..., Any]:
    """The call itself, but for the end before the one of that number."""

    def call(*arguments: Any, **named: Any) -> Any:
        if len(done) == number:
            raise _Killed
        done.append(real.__name__)
        return real(*arguments, **named)

    return call


def _spelt(fields: object) -> bytes:
    return json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _tar(store: Store, manifest: Manifest) -> bytes:
    return (store.directory / f"{manifest.backup_id}.tar.zst").read_bytes()


def test_a_writer_holds_its_directory(store: Store, clock: Now, tmp_path: Path) -> None:
    """A directory that is moved away meanwhile still gets the backup, and what took its place does not."""
    writer: Writer = store.begin(subject(), clock)
    moved = store.directory.rename(tmp_path / "moved")
    store.directory.mkdir(mode=0o700)
    writer.commit(0)
    assert names(store) == []
    assert len(names(Store(moved))) == 2
