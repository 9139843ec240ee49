"""`hubwarden-agent backups`: what it says of sound and broken backups, and what it removes, on the record."""

from __future__ import annotations

import datetime as dt
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hubwarden_agent import cli
from hubwarden_agent.home_content.backup_manifest import BackupSource, Manifest
from hubwarden_agent.home_content.backup_store import Store
from hubwarden_agent.names import RequestId, Username, VolumeName
from hubwarden_agent.state_lock import locked
from support.fakes.edges import FakeClock
from support.scenarios.zstd_tar import compressed

Command = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty one, of the configuration that `command` uses."""
    (tmp_path / "backups").mkdir(mode=0o700)
    return Store(tmp_path / "backups")


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `hubwarden-agent`: its exit status, lines of output, and errors."""
    (tmp_path / "agent.toml").write_text(
        f'[state]\ndirectory = "{tmp_path}"\n[reset]\nbackup_dir = "{tmp_path}/backups"\nkeep = 1\nkeep_days = 30\n',
        encoding="utf-8",
    )

    def command(*arguments: str) -> tuple[int, list[str], str]:
        capsys.readouterr()
        status = cli.main([*arguments, "--config", str(tmp_path / "agent.toml")])
        out, err = capsys.readouterr()
        return status, out.splitlines(), err

    return command


def put(store: Store, user: str = "alice", days: int = 0) -> Manifest:
    """A backup of a home, so many days old."""
    clock = FakeClock()
    clock.time = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
    volume, labels = VolumeName(f"jupyterlab-{user}_home"), {"kept\x1b[2J": "yés"}
    writer = store.begin(BackupSource(Username(user), volume, "local", {}, labels, RequestId(str(uuid.uuid4()))), clock)
    writer.write(compressed(b"x" * 1000))
    return writer.commit(1000)


def spoil(store: Store, manifest: Manifest) -> None:
    """Change one bit of a backup's tar."""
    file = store.directory / f"{manifest.backup_id}.tar.zst"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def audit(tmp_path: Path) -> list[dict[str, str]]:
    """The audit's lines."""
    file = tmp_path / "audit.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def test_the_list(store: Store, command: Command) -> None:
    """A line a backup, the oldest first: what it is of, how large, and until when it is kept for sure."""
    old, new = put(store, days=3), put(store, "bob")
    status, lines, _ = command("backups", "list")
    assert status == 0
    assert [line.split("  ")[0] for line in lines] == [old.backup_id.value, new.backup_id.value]
    until = f"{old.created + dt.timedelta(days=30):%Y-%m-%d}"
    assert lines[0].endswith(f"  alice  jupyterlab-alice_home  1000  {old.file_bytes}  kept until {until}")
    assert [one["username"] for one in map(json.loads, command("backups", "list", "--json")[1])] == ["alice", "bob"]
    assert command("backups", "list", "--user", "bob")[1] == lines[1:]


def test_a_broken_one_is_in_every_list(store: Store, command: Command) -> None:
    """It is listed for every user, and the exit status is 1: it may belong to any of them."""
    put(store)
    broken = put(store, "bob")
    (store.directory / f"{broken.backup_id}.tar.zst").unlink()
    status, lines, _ = command("backups", "list", "--user", "alice")
    assert status == 1
    assert [line for line in lines if f"{broken.backup_id}  NOT SOUND: " in line]
    problems = [json.loads(line).get("problem") for line in command("backups", "list", "--json")[1]]
    assert sum(problem is not None for problem in problems) == 1


def test_everything_about_one(store: Store, command: Command) -> None:
    """All of the manifest, and nothing that moves a terminal's cursor."""
    manifest = put(store)
    _, lines, _ = command("backups", "show", manifest.backup_id.value)
    said = dict(line.split(maxsplit=1) for line in lines)
    assert said["request_id"] == manifest.request_id.value
    assert said["sha256"] == manifest.sha256
    _, as_json, _ = command("backups", "show", manifest.backup_id.value, "--json")
    assert json.loads(as_json[0]) == json.loads(manifest.line())
    assert "\x1b" not in "".join(lines + as_json)


def test_verify_names_what_is_not_sound(store: Store, command: Command) -> None:
    """All of them, or the ones named; exit 1 if one is not."""
    good, bad = put(store), put(store, "bob")
    assert command("backups", "verify") == (0, [f"{good.backup_id}  sound", f"{bad.backup_id}  sound"], "")
    spoil(store, bad)
    status, lines, _ = command("backups", "verify")
    assert (status, lines[0]) == (1, f"{good.backup_id}  sound")
    assert lines[1].startswith(f"{bad.backup_id}  NOT SOUND: ")
    assert command("backups", "verify", good.backup_id.value)[0] == 0
    _, as_json, _ = command("backups", "verify", "--json")
    assert [json.loads(line)["problem"] is None for line in as_json] == [True, False]


def test_prune_removes_what_policy_does_not_keep(store: Store, command: Command, tmp_path: Path) -> None:
    """Of every volume; also what was never finished; each with an intent and an outcome."""
    gone, kept, bobs = put(store, days=50), put(store, days=40), put(store, "bob", days=90)
    (store.directory / f"{uuid.uuid4()}.json.part").touch()
    assert command("backups", "prune", "--dry-run") == (0, [f"{gone.backup_id}  would be removed"], "")
    assert len(store.all()) == 3
    status, lines, _ = command("backups", "prune", "--operator", "me")
    assert (status, lines[1:]) == (0, [f"{gone.backup_id}  removed"])
    assert "never finished" in lines[0]
    assert store.all() == [bobs, kept]
    keys = ("operation", "phase", "actor", "username", "backup_id")
    assert [tuple(line[key] for key in keys) for line in audit(tmp_path)] == [
        ("prune", phase, "operator:me", "alice", gone.backup_id.value) for phase in ("intent", "outcome")
    ]


def test_prune_removes_what_is_named(store: Store, command: Command) -> None:
    """When backups are named for pruning, they are removed at any age."""
    named, other = put(store), put(store)
    assert command("backups", "prune", named.backup_id.value)[0] == 0
    assert store.all() == [other]


def test_prune_is_nothing_without_a_record(store: Store, command: Command, tmp_path: Path) -> None:
    """An audit that cannot be written keeps every backup."""
    manifest = put(store)
    (tmp_path / "audit.jsonl").mkdir()
    status, _, err = command("backups", "prune", manifest.backup_id.value)
    assert (status, err != "") == (1, True)
    assert store.all() == [manifest]


@pytest.mark.parametrize("arguments", [("backups", "prune"), ("restore", "ID", "--user", "alice")])
def test_what_changes_something_does_not_run_beside_an_agent(
    store: Store, command: Command, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """The state directory's lock says whether one serves; looking needs none."""
    manifest = put(store, days=50)
    put(store, days=40)
    named = [manifest.backup_id.value if argument == "ID" else argument for argument in arguments]
    with locked(tmp_path):
        status, lines, err = command(*named)
        assert (status, lines) == (1, [])
        assert "another agent or tool is using" in err
        assert command("backups", "verify")[0] == 0
    assert manifest in store.all()


def test_a_directory_that_others_can_enter(store: Store, command: Command) -> None:
    """When others can enter the backup directory, the tool refuses it and names the mode."""
    store.directory.chmod(0o755)
    status, _, err = command("backups", "list")
    assert status == 1
    assert f"must belong to uid {os.geteuid()} and have mode 0700" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("backups",),
        ("backups", "show", "../../etc/passwd"),
        ("backups", "verify", "x"),
        ("restore", "x", "--user", "alice"),
        ("restore", "20261124T080000Z-01234567-0123456789abcdef"),
        ("restore", "20261124T080000Z-01234567-0123456789abcdef", "--user", "alice", "--as", "/etc"),
        ("restore", "20261124T080000Z-01234567-0123456789abcdef", "--user", "a/b"),
    ],
)
def test_wrong_usage_is_2(command: Command, arguments: tuple[str, ...]) -> None:
    """Ids, users and volumes that are none are refused before anything is looked at."""
    with pytest.raises(SystemExit) as end:
        command(*arguments)
    assert end.value.code == 2
