"""`GET /hub/api/users/{name}/home-volume` and `DELETE /hub/api/users/{name}/reset-home-volume`.

Invariants: thin. Whether a home can be reset is the agent's to say; the Hub only saves it the question when it
knows that a server of the user's is active. Other users' container names are for admins only.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from jupyterhub.scopes import needs_scope

from hubwarden_hub import scopes
from hubwarden_hub.api import OperationHandler
from hubwarden_hub.commands import ResetCommand
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.home_note import HomeNote
from hubwarden_hub.reach import Asker

# These say something about the home; any other refusal is an answer to the request itself.
_ABOUT_THE_HOME = frozenset(
    {
        Reason.SERVER_RUNNING,
        Reason.VOLUME_NOT_FOUND,
        Reason.VOLUME_IN_USE,
        Reason.CONTAINER_KEPT,
        Reason.VOLUME_NOT_LOCAL,
        Reason.OPERATION_IN_PROGRESS,
        Reason.RATE_LIMITED,
        Reason.RESET_BUDGET_SPENT,
    }
)


class HomeHandler(OperationHandler):
    """What the two endpoints share."""

    feature = "reset_home"

    def command_for(self, user: Any) -> ResetCommand:
        """The reset of a user's home."""
        return ResetCommand(user.name, self.actor, self.request_id, user.spawner.home_volume())

    def refuse_while_active(self, user: Any) -> None:
        """Raises `AgentError` (`SERVER_RUNNING`) while any server of the user runs, starts or stops."""
        if user.active:
            raise AgentError(Reason.SERVER_RUNNING)


class HomeVolumeHandler(HomeHandler):
    """Look at a home."""

    @needs_scope(scopes.RESET)  # type: ignore[untyped-decorator]  # JupyterHub is not typed
    async def get(self, user_name: str) -> None:
        """Say whether the home exists and can be reset, and why not."""
        user = self.user_named(user_name)
        command = self.command_for(user)
        body: dict[str, Any] = {"volume": command.expected_volume, "exists": True, "size_bytes": None}
        refusal: dict[str, Any] = {"resettable": True, "reason": None, "message": None, "retry_after": None}
        holders: tuple[str, ...] = ()
        try:
            home = await self.plugin.agent.check_reset(command)
            body["size_bytes"] = home.size_bytes
            self.refuse_while_active(user)
        except AgentError as error:
            if error.reason not in _ABOUT_THE_HOME:
                raise
            body["exists"] = error.reason is not Reason.VOLUME_NOT_FOUND
            message = error.sentence(for_admin=self.acts_for_everybody)
            refusal = {"resettable": False, "reason": str(error.reason), "message": message}
            refusal["retry_after"] = error.retry_after and math.ceil(error.retry_after)
            holders = error.holders
        if self.acts_for_everybody:
            body["holders"] = list(holders)
        self.finish({**body, **refusal})


class ResetHomeVolumeHandler(HomeHandler):
    """Reset a home."""

    @needs_scope(scopes.RESET)  # type: ignore[untyped-decorator]  # JupyterHub is not typed
    async def delete(self, user_name: str) -> None:
        """Delete everything in the home, and answer when that is done; or before that with 202, when it takes long."""
        user = self.user_named(user_name)
        command = self.command_for(user)
        operation = self.plugin.resets.request(
            user.id,
            command,
            HomeNote(user),
            check=lambda: self.refuse_while_active(user),
            is_allowed=partial(Asker.of(self).may, scopes.RESET, user.name),
        )
        body: dict[str, Any] = {"request_id": str(self.request_id)}
        if await operation.wait(self.plugin.settings.reset_wait):
            home = operation.outcome.result()
            body |= {
                "message": "The home volume was reset. The next start begins with an empty home.",
                "volume": home.volume,
                "removed_containers": list(home.removed_containers),
                "backup_id": home.backup_id,
                "backup_until": home.backup_until(self.plugin.settings.backup_keep_days),
            }
        else:
            body |= {"message": "The home volume is being reset.", "volume": command.expected_volume}
            self.accept(user)
        self.finish(body)
