"""`audit verify` names the first line that does not fit; `audit show` shows what is asked for, and nothing unsound."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hubwarden_agent import cli
from hubwarden_agent.audit import Audit
from hubwarden_agent.audit_chain import ChainHead, link
from hubwarden_agent.audit_store import AuditStore
from hubwarden_agent.budgets import SlidingWindow
from hubwarden_agent.denials import DenialLimiter
from hubwarden_agent.rates import parse_rate
from hubwarden_agent.tools import audit
from support.fakes.edges import FakeClock

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three segments of two lines: alice's restarts and bob's resets, one an hour."""
    path = tmp_path / "audit.jsonl"
    segments = AuditStore(path, 2**20, 9)
    for number in range(6):
        user, operation = (("bob", "reset"), ("alice", "restart"))[number % 2]
        names = ("result", "reason", "server_name", "actor", "object")
        time = f"2026-11-22T0{number}:00:00.000Z"
        common = {"time": time, "username": user, "operation": operation, "phase": "intent"}
        if number in (2, 4):
            segments._begin_segment()  # noqa: SLF001 - a segment boundary without filling a segment
        segments.append([common | dict.fromkeys(names, "")])
    return path


@pytest.fixture
def command(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `hubwarden-agent audit`: its exit status, output and errors."""
    (tmp_path / "agent.toml").write_text(f'[state]\ndirectory = "{path.parent}"\n', encoding="utf-8")

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = cli.main(["audit", *arguments, "--config", str(tmp_path / "agent.toml")])
        return status, *capsys.readouterr()

    return command


def _files(path: Path) -> list[Path]:
    return [*sorted(path.parent.glob("audit-*.jsonl")), path]


def _anchor(path: Path, number: int) -> str:
    fields = json.loads(b"".join(file.read_bytes() for file in _files(path)).splitlines()[number - 1])
    return f"{fields['sequence']}:{fields['hash']}"


def _change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def _recompute(path: Path, last: int = 6) -> None:
    """What somebody who can write the file does: change a line, and every hash after it."""
    head = ChainHead()
    for file in _files(path):
        lines = []
        for line in file.read_text(encoding="utf-8").splitlines():
            fields = json.loads(line)
            for key in ("sequence", "previous", "hash"):
                fields.pop(key)
            if fields["username"] == "bob":
                fields["username"] = "mallory"
            if head.sequence < last:
                linked, head = link(fields, head)
                lines.append(linked)
        file.write_bytes(b"".join(lines))


class TestVerify:
    def test_a_whole_trail(self, command: Command, path: Path) -> None:
        """Exit 0, first and last line named, with every anchor that was kept."""
        anchors = [f"--anchor={_anchor(path, number)}" for number in (1, 2, 6)]
        assert command("verify", *anchors) == (0, f"whole from 1 to {_anchor(path, 6)}\n", "")

    def test_nothing_yet(self, command: Command, path: Path) -> None:
        """An empty trail is whole, and what was announced for it is no shortening."""
        for file in _files(path)[:-1]:
            file.unlink()
        path.write_bytes(b"")
        assert command("verify", "--anchor", f"0:{'0' * 64}")[0] == 0

    @pytest.mark.parametrize(
        ("segment", "old", "new", "place"),
        [
            (0, "bob", "eve", "audit-000001.jsonl, line 1: its hash"),
            (1, "alice", "eve", "audit-000002.jsonl, line 2: its hash"),
            (2, '"sequence":6', '"sequence":9', "audit.jsonl, line 2: its hash"),
            (1, "{", "", "audit-000002.jsonl, line 1: it is not a line"),
        ],
    )
    def test_a_changed_line_is_named(
        self, command: Command, path: Path, segment: int, old: str, new: str, place: str
    ) -> None:
        """The first that does not fit, by file and line; exit 1."""
        _change(_files(path)[segment], old, new)
        status, _, errors = command("verify")
        assert (status, place in errors) == (1, True)

    @pytest.mark.parametrize("gone", ["a segment", "a line"])
    def test_what_is_missing_in_the_middle(self, command: Command, path: Path, gone: str) -> None:
        """When lines are missing in the middle, the line after the gap is named."""
        middle = _files(path)[1]
        if gone == "a segment":
            middle.unlink()
        else:
            middle.write_bytes(middle.read_bytes().splitlines(keepends=True)[1])
        status, _, errors = command("verify")
        assert (status, "its sequence is" in errors) == (1, True)

    def test_a_line_that_a_crash_cut_off_is_a_note(self, command: Command, path: Path) -> None:
        """It is where a crash leaves it, nobody was told of it, and the chain goes on without it."""
        first = _files(path)[0]
        first.write_bytes(first.read_bytes() + b'{"time":"20')
        status, output, _ = command("verify")
        assert (status, "audit-000001.jsonl, line 3: a crash cut" in output) == (0, True)

    def test_only_an_anchor_finds_a_recomputed_file(self, command: Command, path: Path) -> None:
        """Without one it looks whole: that is what the threat model says."""
        anchor = _anchor(path, 4)
        _recompute(path)
        assert command("verify")[0] == 0
        status, _, errors = command("verify", "--anchor", anchor)
        assert (status, "recomputed" in errors) == (1, True)

    def test_only_an_anchor_finds_a_shortened_file(self, command: Command, path: Path) -> None:
        """Lines that were cut off at the end leave no gap."""
        anchor = _anchor(path, 6)
        path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
        assert command("verify")[0] == 0
        status, _, errors = command("verify", "--anchor", anchor)
        assert (status, "shortened, and ends at 5" in errors) == (1, True)

    def test_segments_that_were_not_kept(self, command: Command, path: Path) -> None:
        """Said, no fault; the anchor of the segment before still binds, an older one cannot be checked."""
        last, older = _anchor(path, 2), _anchor(path, 1)
        _files(path)[0].unlink()
        status, output, _ = command("verify", "--anchor", last)
        assert (status, output.startswith("begins at 3")) == (0, True)
        assert "recomputed" in command("verify", "--anchor", f"2:{'f' * 64}")[2]
        assert "cannot be checked" in command("verify", "--anchor", older)[2]

    def test_a_trail_that_is_not_there(self, command: Command, path: Path) -> None:
        """When there is no audit file, the check fails."""
        path.unlink()
        assert command("verify")[0] == 1


class TestShow:
    @pytest.mark.parametrize(
        ("arguments", "hours"),
        [
            ([], [0, 1, 2, 3, 4, 5]),
            (["--user", "alice"], [1, 3, 5]),
            (["--operation", "reset"], [0, 2, 4]),
            (["--since", "2026-11-22T03:00"], [3, 4, 5]),
            (["--since", "2026-11-22T05:00+02:00"], [3, 4, 5]),
            (["--user", "bob", "--since", "2026-11-22T01:00"], [2, 4]),
            (["--user", "al"], []),
            (["--since", "0m"], []),
        ],
    )
    def test_what_is_asked_for(self, command: Command, arguments: list[str], hours: list[int]) -> None:
        """By whole user name, operation and time; all that are given have to hold; the oldest first."""
        status, output, errors = command("show", "--json", *arguments)
        assert (status, errors) == (0, "")
        shown = [json.loads(line)["time"] for line in output.splitlines()]
        assert shown == [f"2026-11-22T0{hour}:00:00.000Z" for hour in hours]

    def test_json_is_what_was_written(self, command: Command, path: Path) -> None:
        """Byte for byte, so that it can be verified elsewhere."""
        assert command("show", "--json")[1].encode() == b"".join(file.read_bytes() for file in _files(path))

    def test_what_is_unsound_is_said_and_not_shown(self, command: Command, path: Path) -> None:
        """Nobody is shown a line that somebody changed."""
        _change(path, "alice", "eve")
        _, output, errors = command("show")
        assert ("eve" in output, len(output.splitlines()), "audit.jsonl, line 2" in errors) == (False, 5, True)

    def test_starts_and_ends_of_the_agent(self, command: Command, path: Path) -> None:
        """When an agent started and ended, both are shown, asked for by name and verified as part of the chain."""
        segments = AuditStore(path, 2**20, 9)
        file = Audit(segments, FakeClock(), DenialLimiter(SlidingWindow(parse_rate("1/hour"), FakeClock())))
        file.event("agent-start")
        file.event("agent-stop")
        file.close()
        assert [line.split()[2:5] for line in command("show")[1].splitlines()[6:]] == [
            ["agent-start", "event", "ok"],
            ["agent-stop", "event", "ok"],
        ]
        assert len(command("show", "--operation", "agent-stop")[1].splitlines()) == 1
        assert "whole from 1 to 8:" in command("verify")[1]

    def test_a_line_cannot_move_the_cursor(self, command: Command, path: Path) -> None:
        """When a line holds control characters and a fitting hash, they are not printed to the terminal."""
        shown = audit._SHOWN  # noqa: SLF001 - the fields that the tool shows
        line, _ = link(json.loads('{"time":"2026-11-22T00:00:00Z"}') | dict.fromkeys(shown, "\x1b[2J\r"), ChainHead())
        path.write_bytes(line)
        assert not set("\x1b\r") & set(command("show")[1])


@pytest.mark.parametrize(
    "arguments", [[], ["verify", "--anchor", "12"], ["verify", "--anchor", "1:ff"], ["show", "--since", "then"]]
)
def test_wrong_usage_is_2(command: Command, arguments: list[str]) -> None:
    """An anchor or a time that is none is said before anything is read."""
    with pytest.raises(SystemExit) as end:
        command(*arguments)
    assert end.value.code == 2
