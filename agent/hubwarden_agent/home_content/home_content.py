"""Everything that the rest of the agent asks about the content of homes, put together.

Invariants: nothing that serves imports this package unless backups or sizes are on, or a restore was interrupted.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from hubwarden_agent.clock import Clock
from hubwarden_agent.config import ResetPolicy
from hubwarden_agent.engine.port import Engine
from hubwarden_agent.home_content.backup_service import Backups
from hubwarden_agent.home_content.sizes import Sizes
from hubwarden_agent.names import Names


@dataclass(frozen=True, slots=True)
class HomeContent:
    """`backups` are None where the policy requires none; `sizes` are unknown where it has none counted."""

    backups: Backups | None
    sizes: Sizes

    def begin(self) -> None:
        """Remove what a killed agent left unfinished, before anything is served.

        Raises:
            OSError: backups are required, and their directory cannot be used.
        """
        if self.backups:
            self.backups.sweep()

    def run(self, stopping: threading.Event) -> None:
        """Count sizes until `stopping`."""
        self.sizes.run(stopping)

    def stop(self) -> None:
        """End each backup under way, and begin no other."""
        if self.backups:
            self.backups.stop()

    @classmethod
    def by_policy(cls, engine: Engine, names: Names, policy: ResetPolicy, clock: Clock) -> HomeContent:
        """What the policy turns on."""
        backups = Backups(engine, names, policy, clock) if policy.backup == "required" else None
        return cls(backups, Sizes(engine, clock, policy.sizes_interval))
