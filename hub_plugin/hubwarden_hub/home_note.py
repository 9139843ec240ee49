"""Where a reset is noted, and how the next Hub finds it: in the state of the user's default Spawner.

What holds here: a change to the database is committed before anything is awaited; a user who was deleted meanwhile has
nothing left to note. Nothing here decides or asks: `reset` does.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from jupyterhub import orm

from hubwarden_hub import marker
from hubwarden_hub.commands import ResetCommand
from hubwarden_hub.plugin import Plugin


class HomeNote:
    """`reset.Note` for a user.

    Args:
        user: JupyterHub's `User`. Its default Spawner may be made anew at any time, so it is looked up each time.
    """

    def __init__(self, user: Any) -> None:
        self._user = user

    def remember(self, command: ResetCommand) -> None:
        """See `reset.Note`."""
        self._write(command)

    def forget(self) -> None:
        """See `reset.Note`."""
        self._write(None)

    def _write(self, command: ResetCommand | None) -> None:
        if not sa.inspect(self._user.orm_user).persistent:
            return
        spawner = self._user.spawner
        spawner.marker = command
        spawner.orm_spawner.state = spawner.get_state()
        self._user.db.commit()


def resume_resets(app: Any, plugin: Plugin) -> None:
    """Have every reset that a killed Hub left behind asked about.

    Args:
        app: the `JupyterHub` application, in its event loop.
        plugin: in its settings already.
    """
    noted = sa.type_coerce(orm.Spawner.state, sa.Text).contains(f'"{marker.KEY}"')
    for orm_spawner in app.db.query(orm.Spawner).filter(noted):
        command = marker.read(orm_spawner.state)
        if isinstance(command, ResetCommand):
            app.log.warning("Hubwarden: asking about a reset that was left behind (%s)", command.request_id)
            user = app.users[orm_spawner.user]
            plugin.resets.request(user.id, command, HomeNote(user), left_behind=True)
