"""What a restore is, step by step: a verified backup into the volume that it came from, or another.

What holds here: the whole backup was read and found sound before anything is changed, and nothing here ever removes or
changes a backup. A volume that holds anything is only replaced when told to, and after its content became a backup of
its own. The intent is in the audit, and what is about to be filled in the state directory (`unfinished`), before the
first change. What fails is undone; what is killed is found, said and begun anew by the next run, and until then the
agent does nothing for that user.
"""

from __future__ import annotations

import io
import logging
import tarfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hubwarden_agent import unfinished
from hubwarden_agent.audit import AuditTrail, Entry
from hubwarden_agent.backup_file import Reader
from hubwarden_agent.backup_manifest import Manifest
from hubwarden_agent.clock import Clock
from hubwarden_agent.config import ResetPolicy
from hubwarden_agent.engine.port import Conflict, Container, Engine, EngineError, Helper, NotFound, Volume
from hubwarden_agent.errors import Detail, Reason, Refusal
from hubwarden_agent.names import Names, RequestId, Username, VolumeName
from hubwarden_agent.operations.holders import Holder, Removing, removable
from hubwarden_agent.operations.reset import in_use, is_local
from hubwarden_agent.ownership import owns
from hubwarden_agent.recording import engine_errors_refused, recorded
from hubwarden_agent.unfinished import Unfinished

EMPTY_TAR_BYTES = 512 * 1024
"""No empty folder's tar is longer: its attributes have room for 64 KiB each, and are few."""

SetAside = Callable[[Username, Volume, RequestId], Awaitable[Manifest]]
_log = logging.getLogger(__name__)


class NotRestored(Exception):  # noqa: N818 - that is what it says
    """Why a restore was not begun, or not ended, in a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator asks for: the backup of a user into a volume, setting aside what is there or not."""

    request_id: RequestId
    operator: str
    username: Username
    volume: VolumeName
    aside: bool


@dataclass(slots=True)
class Target:
    """The volume as it was found, and the user's own stopped containers that hold it."""

    volume: Volume | None = None
    containers: tuple[Container, ...] = ()
    holds_something: bool = False
    is_half_filled: bool = False
    """By an earlier restore, which was killed."""
    made: Volume | None = field(default=None, init=False)
    """The volume that took its place."""


@dataclass(frozen=True, slots=True)
class Restorer:
    """Restores, with everything that it needs to do so.

    Args:
        engine: where the volume is.
        helper: what reads and writes volumes.
        names: whose a container is.
        audit: of the agent whose state directory this holds.
        state: that directory.
        policy: what a reset may remove, which is what a restore may.
        clock: for records.
        set_aside: makes a backup of a volume for a request, and returns its manifest; raises `Refusal`.
        say: tells the operator.
    """

    engine: Engine
    helper: Helper
    names: Names
    audit: AuditTrail
    state: Path
    policy: ResetPolicy
    clock: Clock
    set_aside: SetAside
    say: Callable[[str], None]

    async def restore(self, order: Order, backup: Reader) -> Mapping[str, Any]:
        """Restore a backup. Returns what the audit says of it.

        Raises:
            NotRestored: with what to do; nothing was changed, or it was undone, or the next run does it.
            Refusal: the same, in the words that a reset has for it.
            BadBackup, OSError: the backup is not sound or cannot be read; nothing was changed.
        """
        check_fits(order, backup.manifest, self.policy)
        self.say(f"checking {backup.manifest.backup_id}")
        backup.verify()
        if earlier := unfinished.of(self.state, order.volume):
            self.say(f"a restore of {earlier.backup_id} into {order.volume} was interrupted: beginning anew")
        with engine_errors_refused():
            target = await self._look(order)
        if target.holds_something and not order.aside:
            raise NotRestored(
                f"{order.volume} is not empty: restore with --aside, which first makes a backup of what is in it"
            )
        async with recorded(self.audit, _entry(order, backup.manifest, target), self.clock) as outcome:
            answer = {"backup_id": backup.manifest.backup_id.value, "volume": order.volume.value, "set_aside": ""}
            if target.volume and target.holds_something:
                self.say(f"setting aside what is in {order.volume}")
                aside = await self.set_aside(order.username, target.volume, order.request_id)
                answer["set_aside"] = aside.backup_id.value
                self.say(f"set aside as {aside.backup_id}")
            await self._replace(order, backup, target)
            outcome.answer = answer
        return answer

    async def _look(self, order: Order) -> Target:
        await self.engine.remove_helpers(self.names.scheme)
        volume = await self.engine.volume(order.volume)
        if volume is None:
            return Target()
        if not (is_local(volume) or self.policy.allow_non_local):
            raise Refusal(Reason.VOLUME_NOT_LOCAL, detail=Detail(volume=order.volume.value))
        containers = await self.engine.containers_holding(order.volume)
        holders = [Holder(container, owns(order.username, container, self.names)) for container in containers]
        keep = self.policy.stopped_container == "refuse"
        try:
            stopped = removable(order.volume.value, holders, self.clock.now(), keep=keep)
        except Removing:
            raise Refusal(Reason.OPERATION_IN_PROGRESS, "The server's container is being removed.") from None
        earlier = unfinished.of(self.state, order.volume)
        if earlier is not None and earlier.created == volume.created:
            return Target(volume, stopped, is_half_filled=True)
        return Target(volume, stopped, holds_something=not await self._is_empty(volume.name))

    async def _is_empty(self, volume: VolumeName) -> bool:
        held = bytearray()

        def take(piece: bytes) -> None:
            held.extend(piece)
            if len(held) > EMPTY_TAR_BYTES:
                raise _HoldsSomething

        try:
            await self.engine.archive_volume(volume, self.helper, take)
        except _HoldsSomething:
            return False
        with tarfile.open(fileobj=io.BytesIO(held)) as tar:
            return all(member.name == "." for member in tar)

    async def _replace(self, order: Order, backup: Reader, target: Target) -> None:
        """Everything that changes the volume; what fails half way is undone."""
        found = target.volume.created if target.volume and target.is_half_filled else ""
        mark = Unfinished(order.request_id, order.username, order.volume, backup.manifest.backup_id, found)
        unfinished.note(self.state, mark)
        try:
            await self._remove(order.volume, target)
            target.made = await self._create(order.volume, backup)
            unfinished.note(self.state, replace(mark, created=target.made.created))
            self.say(f"restoring into {order.volume}")
            await self.engine.extract_volume(order.volume, self.helper, backup.chunks())
        except BaseException:
            await self._undo(order.volume, target)
            raise
        unfinished.forget(self.state, order.volume)

    async def _remove(self, name: VolumeName, target: Target) -> None:
        for container in target.containers:
            try:
                await self.engine.remove_container(container.id, anonymous_volumes=False)
                self.say(f"removed the stopped container {container.name}")
            except NotFound:
                pass
            except Conflict as error:
                raise in_use(name, container.name) from error
        if target.volume is None:
            return
        if not _is_same(target.volume, await self.engine.volume(name)):
            raise NotRestored(f"{name} changed meanwhile")
        try:
            await self.engine.remove_volume(name)
        except Conflict as error:
            raise in_use(name) from error

    async def _create(self, name: VolumeName, backup: Reader) -> Volume:
        asked = backup.manifest
        if await self.engine.volume(name) is not None:
            raise NotRestored(f"somebody else created {name} meanwhile")
        made = await self.engine.create_volume(name, asked.driver, asked.options, asked.labels)
        if (made.driver, made.options, made.labels) != (asked.driver, asked.options, asked.labels):
            raise NotRestored(f"{name} was created with other labels or options than were asked for")
        return made

    async def _undo(self, name: VolumeName, target: Target) -> None:
        """Back to an empty volume, or none, as it was; where that fails, the next run finds what is noted."""
        try:
            untouched = target.volume is not None and _is_same(target.volume, await self.engine.volume(name))
            if untouched and target.is_half_filled:
                return
            if target.made is not None:
                await self.engine.remove_volume(name)
            if target.volume is not None and not untouched:
                old = target.volume
                await self.engine.create_volume(name, old.driver, old.options, old.labels)
        except EngineError as error:
            _log.error("a restore that failed could not be undone: repeat it", extra={"cause": str(error)})  # noqa: TRY400 - the failure itself follows
            return
        unfinished.forget(self.state, name)


class _HoldsSomething(Exception):  # noqa: N818 - that is what it says
    """Enough was read of a volume to know."""


def check_fits(order: Order, manifest: Manifest, policy: ResetPolicy) -> None:
    """Refuse a backup that is another user's, or whose volume would be a pointer to somewhere else.

    Raises:
        NotRestored: it is.
    """
    if manifest.username != order.username:
        raise NotRestored(f"{manifest.backup_id} is a backup of {manifest.username}, not of {order.username}")
    volume = Volume(manifest.volume, manifest.driver, "local", "", manifest.labels, manifest.options)
    if not (is_local(volume) or policy.allow_non_local):
        raise NotRestored("its volume would only point to files elsewhere; see reset.allow_non_local")


def _is_same(volume: Volume, found: Volume | None) -> bool:
    return found is not None and found.created == volume.created


def _entry(order: Order, manifest: Manifest, target: Target) -> Entry:
    """Names and ids of everything that will be replaced or removed, as a reset has them."""
    names = [order.volume.value, *(container.name for container in target.containers)]
    created = target.volume.created if target.volume else ""
    ids = [created, *(container.id.value for container in target.containers)]
    return Entry(
        operation="restore",
        username=order.username.value,
        server_name="",
        client="tool",
        actor=f"operator:{order.operator}",
        request_id=order.request_id.value,
        object=" ".join(names),
        object_id=" ".join(ids),
        backup_id=manifest.backup_id.value,
    )
