"""What the handlers and the Spawners share: one settings object, one client of the agent, one set of turns.

Invariants: there is one `Plugin` in a Hub, in its tornado settings under the key `hubwarden`, from before the
first Spawner is made. It must never decide anything.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from logging import Logger
from typing import Any

from hubwarden_hub.agent import Agent, AgentClient
from hubwarden_hub.batch_store import BatchStore
from hubwarden_hub.batches import Batches
from hubwarden_hub.history import History
from hubwarden_hub.looks import Looks
from hubwarden_hub.operation_queue import OperationQueue
from hubwarden_hub.operations import Turns
from hubwarden_hub.records import Records
from hubwarden_hub.reset import Resets
from hubwarden_hub.settings import Hubwarden
from hubwarden_hub.stops import Stops
from hubwarden_hub.witnesses import EventWitness, LogWitness, MetricsWitness


@dataclass(frozen=True, slots=True)
class Plugin:
    """The parts, wired.

    Attributes:
        commits: held by whichever restart writes to the Hub's database now.
    """

    settings: Hubwarden
    agent: Agent
    turns: Turns
    queue: OperationQueue
    resets: Resets
    records: Records
    history: History
    stops: Stops
    batches: Batches
    looks: Looks = field(default_factory=Looks)
    commits: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    def of(cls, settings: Hubwarden, log: Logger, eventlog: Any) -> Plugin:
        """Wire the parts. Connects nothing yet: the channel belongs to the Hub's event loop.

        Raises:
            TraitError: TCP without TLS files that can be used.
        """
        agent = AgentClient(settings.agent_address, settings.deadlines, settings.tls_files, log)
        turns = Turns()
        history = History(settings.history_url, settings.history_entries, log)
        looks = Looks()
        records = Records([LogWitness(log), MetricsWitness(), EventWitness(eventlog), history, looks], log)
        queue = OperationQueue(settings.max_operations, records, log)
        batches = Batches(BatchStore(settings.history_url, log), settings.batch_concurrency, log)
        resets = Resets(agent, turns, settings.turn_wait, log, queue)
        stops = Stops(settings.shutdown_wait)
        return cls(settings, agent, turns, queue, resets, records, history, stops, batches, looks)
