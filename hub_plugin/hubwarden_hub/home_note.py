"""Where a reset is noted, and how the next Hub finds it: in the state of the user's default Spawner.

Invariants: a change to the database is committed before anything is awaited; a user has one note at most, and one
that was deleted meanwhile has none; a note is asked about while it is fresh, and otherwise only dropped, because the
agent does what it has not heard of. Nothing here decides or asks: `reset` does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from jupyterhub import orm

from hubwarden_hub import marker
from hubwarden_hub.commands import ResetCommand
from hubwarden_hub.errors import Reason
from hubwarden_hub.marker import Note

if TYPE_CHECKING:
    from hubwarden_hub.plugin import Plugin


class HomeNote:
    """`reset.Note` for a user.

    Args:
        user: JupyterHub's `User`. Its default Spawner may be made anew at any time, so it is looked up each time.
        clock: seconds since the epoch.
    """

    def __init__(self, user: Any, clock: Callable[[], float] = time.time) -> None:
        self._user, self._clock = user, clock

    def remember(self, command: ResetCommand, *, is_waiting: bool = False) -> None:
        """See `reset.Note`."""
        if not self._exists:
            return
        self._erase()
        spawner = self._user.spawner
        try:
            spawner.marker = Note(command, self._clock(), is_waiting=is_waiting)
            spawner.orm_spawner.state = spawner.get_state()
            self._user.db.commit()
        except Exception:
            # What is not asked for must not be found by the next Hub, nor be written with the state some time later.
            spawner.marker = None
            self._user.db.rollback()
            raise

    def forget(self) -> None:
        """See `reset.Note`. Wherever it is: JupyterHub 6 makes of a renamed default server a named one."""
        if self._exists and self._erase():
            self._user.db.commit()

    @property
    def _exists(self) -> bool:
        return bool(sa.inspect(self._user.orm_user).persistent)

    def _erase(self) -> bool:
        """Whether there was a note, in memory or in the database."""
        erased = False
        for spawner in self._user.spawners.values():
            if _of_reset(spawner.marker):
                spawner.marker, erased = None, True
        for orm_spawner in self._user.orm_spawners.values():
            if _of_reset(marker.read(orm_spawner.state or {})):
                orm_spawner.state = _without_note(orm_spawner.state)
                erased = True
        return erased


def _without_note(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != marker.KEY}


def _of_reset(note: Note | None) -> bool:
    return note is not None and isinstance(note.command, ResetCommand)


def resume(app: Any, plugin: Plugin, clock: Callable[[], float] = time.time) -> None:
    """Take up what the last Hub left: resets that it began, if it was just now, and operations that were waiting.

    Args:
        app: the `JupyterHub` application, in its event loop.
        plugin: in its settings already.
        clock: seconds since the epoch.
    """
    noted = sa.type_coerce(orm.Spawner.state, sa.Text).contains(f'"{marker.KEY}"')
    for orm_spawner in app.db.query(orm.Spawner).filter(noted).all():
        note = marker.read(orm_spawner.state)
        if note is not None and note.is_waiting:
            app.log.warning("Hubwarden: was waiting when the Hub ended, and is lost: %s", note.command)
            orm_spawner.state = _without_note(orm_spawner.state)
            app.db.commit()
            plugin.queue.end(orm_spawner.user.id, note.command, Reason.LOST)
        elif note is not None and isinstance(note.command, ResetCommand):
            is_fresh = note.is_fresh(clock(), plugin.settings.note_lifetime)
            _resume_reset(app.users[orm_spawner.user], note.command, plugin, app.log, is_fresh=is_fresh)


def _resume_reset(user: Any, command: ResetCommand, plugin: Plugin, log: Any, *, is_fresh: bool) -> None:
    if command.username == user.name and is_fresh:
        log.warning("Hubwarden: asking about a reset that was left behind (%s)", command.request_id)
        plugin.resets.request(user.id, command, HomeNote(user), left_behind=True)
    else:
        log.warning("Hubwarden: too old to ask: a reset that was left behind (%s)", command.request_id)
        plugin.queue.end(user.id, command, Reason.INTERRUPTED)
        HomeNote(user).forget()
