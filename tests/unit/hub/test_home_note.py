"""Where a reset is noted, in a database of JupyterHub's: how a note ends, and what the next Hub does with one."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from hubwarden_hub import marker
from hubwarden_hub.commands import RequestId, ResetCommand, RestartCommand
from hubwarden_hub.errors import Reason
from hubwarden_hub.home_note import HomeNote, resume
from hubwarden_hub.marker import Note
from hubwarden_hub.settings import Hubwarden
from jupyterhub import orm

pytestmark = pytest.mark.filterwarnings("ignore:TypeDecorator JSONDict")  # JupyterHub's own type
LIFETIME = Hubwarden().note_lifetime
NOW = 1_000_000.0
RESET = ResetCommand("alice", "user:alice", RequestId.new(), "volume")
RESTART = RestartCommand("alice", "lab", "user:alice", RequestId.new(), "container", 10)


class Spawner:
    """What a note needs of one."""

    def __init__(self, orm_spawner: Any) -> None:
        self.orm_spawner = orm_spawner
        self.marker = marker.read(orm_spawner.state)

    def get_state(self) -> dict[str, Any]:
        """See the mixin."""
        return {"object_id": "id"} | ({marker.KEY: marker.written(self.marker)} if self.marker else {})


class Resets:
    """What the next Hub asks about, and what it puts on the record only."""

    def __init__(self) -> None:
        self.asked: list[ResetCommand] = []
        self.dropped: list[tuple[marker.Command, Reason]] = []

    def request(self, _user_id: int, command: ResetCommand, _note: HomeNote, *, left_behind: bool) -> None:
        """See `reset.Resets`."""
        assert left_behind
        self.asked.append(command)

    def end(self, _user_id: int, command: marker.Command, reason: Reason) -> None:
        """See `OperationQueue`."""
        self.dropped.append((command, reason))


@pytest.fixture
def user() -> Any:
    """alice, with a default server and the named one `lab`."""
    db = orm.new_session_factory("sqlite:///:memory:")()
    orm_user = orm.User(name="alice")
    db.add(orm_user)
    for name in ("", "lab"):
        db.add(orm.Spawner(name=name, user=orm_user, state={"object_id": "id"}))
    db.commit()
    return user_of(orm_user, db)


def user_of(orm_user: Any, db: Any) -> Any:
    """JupyterHub's User, its Spawners made anew from the database."""
    spawners = {name: Spawner(orm_spawner) for name, orm_spawner in orm_user.orm_spawners.items()}
    return SimpleNamespace(
        id=orm_user.id,
        name=orm_user.name,
        orm_user=orm_user,
        orm_spawners=orm_user.orm_spawners,
        spawners=spawners,
        spawner=spawners[""],
        db=db,
    )


def write(user: Any, name: str, note: dict[str, Any]) -> None:
    """Have a note in the state of one of the user's Spawners."""
    user.orm_spawners[name].state = {"object_id": "id", marker.KEY: note}
    user.db.commit()


def noted(user: Any) -> dict[str, Note]:
    """The notes in the database."""
    user.db.rollback()
    notes = {name: marker.read(orm_spawner.state) for name, orm_spawner in user.orm_spawners.items()}
    return {name: note for name, note in notes.items() if note}


def next_hub(user: Any) -> Resets:
    """What the next Hub makes of the notes."""
    resets = Resets()
    anew = user_of(user.orm_user, user.db)
    app = SimpleNamespace(db=user.db, users={user.orm_user: anew}, log=logging.getLogger("test"))
    plugin: Any = SimpleNamespace(settings=Hubwarden(), resets=resets, queue=resets)
    resume(app, plugin, lambda: NOW)
    return resets


def test_a_note_says_when(user: Any) -> None:
    """By the clock, in the default Spawner's state; a second one takes the place of the first, wherever that is."""
    write(user, "lab", marker.written(Note(RESET, 1.0)))
    HomeNote(user, lambda: NOW).remember(RESET)
    assert noted(user) == {"": Note(RESET, NOW)}


def test_a_note_is_forgotten_wherever_it_is(user: Any) -> None:
    """Also with the named server that a default server became; a restart's note is another matter."""
    write(user, "", marker.written(Note(RESTART, 1.0)))
    write(user, "lab", marker.written(Note(RESET, 1.0)))
    HomeNote(user).forget()
    assert noted(user) == {"": Note(RESTART, 1.0)}
    assert user.orm_spawners["lab"].state == {"object_id": "id"}


def test_a_note_that_cannot_be_written_is_none(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not written some time later either, with the Spawner's state: the agent was never asked."""

    def locked() -> None:
        raise OSError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(user.db, "commit", locked)
        with pytest.raises(OSError, match="locked"):
            HomeNote(user).remember(RESET)
    assert marker.KEY not in user.spawner.get_state()
    assert user.orm_spawners[""].state == {"object_id": "id"}
    assert noted(user) == {}


@pytest.mark.parametrize("name", ["", "lab"])
@pytest.mark.parametrize("asked_at", [NOW - LIFETIME - 1, NOW + 60, 0.0, float("nan"), None])
def test_an_old_note_is_dropped_and_not_asked_about(user: Any, name: str, asked_at: float | None) -> None:
    """The agent may never have heard of it, or no longer, and would empty the home that is worked in since."""
    note = marker.written(Note(RESET, asked_at or 0.0))
    write(user, name, note if asked_at is not None else {key: note[key] for key in note if key != "asked_at"})
    resets = next_hub(user)
    assert (resets.asked, resets.dropped) == ([], [(RESET, Reason.INTERRUPTED)])
    assert noted(user) == {}


def test_the_note_of_a_user_who_has_another_name_now_is_dropped(user: Any) -> None:
    """The old name's home may be somebody else's by now."""
    write(user, "", marker.written(Note(RESET, NOW)))
    user.orm_user.name = "alicia"
    user.db.commit()
    assert next_hub(user).asked == []
    assert noted(user) == {}


def test_a_fresh_note_is_asked_about_and_kept(user: Any) -> None:
    """With the time it had: a Hub that is killed again and again does not make it younger."""
    write(user, "", marker.written(Note(RESET, NOW - LIFETIME)))
    write(user, "lab", marker.written(Note(RESTART, NOW)))
    resets = next_hub(user)
    assert (resets.asked, resets.dropped) == ([RESET], [])
    assert noted(user)[""].asked_at == NOW - LIFETIME


@pytest.mark.parametrize(("name", "command"), [("", RESET), ("lab", RESTART)])
def test_what_was_waiting_is_lost(user: Any, name: str, command: marker.Command) -> None:
    """When an operation waited in the queue of a Hub that ended, the next one reports it as lost, and asks nobody."""
    write(user, name, marker.written(Note(command, NOW, is_waiting=True)))
    resets = next_hub(user)
    assert (resets.asked, resets.dropped) == ([], [(command, Reason.LOST)])
    assert noted(user) == {}
