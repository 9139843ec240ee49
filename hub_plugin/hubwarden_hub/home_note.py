"""Where a reset is noted, and how the next Hub finds it: in the state of the user's default Spawner.

Invariants: a change to the database is committed before anything is awaited; a user has one note at most, and one
that was deleted meanwhile has none; a note is asked about while it is fresh, and otherwise only dropped, because the
agent does what it has not heard of. Nothing here decides or asks: `reset` does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from jupyterhub import orm

from hubwarden_hub import marker
from hubwarden_hub.commands import ResetCommand
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

    def remember(self, command: ResetCommand) -> None:
        """See `reset.Note`."""
        if not self._exists:
            return
        self._erase()
        spawner = self._user.spawner
        try:
            spawner.marker = Note(command, self._clock())
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
                orm_spawner.state = {key: value for key, value in orm_spawner.state.items() if key != marker.KEY}
                erased = True
        return erased


def _of_reset(note: Note | None) -> bool:
    return note is not None and isinstance(note.command, ResetCommand)


def resume_resets(app: Any, plugin: Plugin, clock: Callable[[], float] = time.time) -> None:
    """Have every reset that a killed Hub left behind just now asked about, and every other one forgotten.

    Args:
        app: the `JupyterHub` application, in its event loop.
        plugin: in its settings already.
        clock: seconds since the epoch.
    """
    noted = sa.type_coerce(orm.Spawner.state, sa.Text).contains(f'"{marker.KEY}"')
    for orm_spawner in app.db.query(orm.Spawner).filter(noted).all():
        note = marker.read(orm_spawner.state)
        if note is None or not isinstance(note.command, ResetCommand):
            continue
        user, command = app.users[orm_spawner.user], note.command
        if command.username == user.name and note.is_fresh(clock(), plugin.settings.note_lifetime):
            app.log.warning("Hubwarden: asking about a reset that was left behind (%s)", command.request_id)
            plugin.resets.request(user.id, command, HomeNote(user), left_behind=True)
        else:
            app.log.warning("Hubwarden: too old to ask: a reset that was left behind (%s)", command.request_id)
            plugin.resets.interrupted(user.id, command)
            HomeNote(user).forget()
