"""`hubwarden-agent backups`: which backups there are, what each is of, whether they are whole, and which may go.

Invariants: `list`, `show` and `verify` write nothing and take no lock, so they may run beside an agent that
serves; `prune` does not start beside one, and each backup that it removes is in the audit before it is gone. A backup
that is not sound is always named, never passed over.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
from collections.abc import Iterator, Sequence

from hubwarden_agent.audit import Audit
from hubwarden_agent.audit_scope import audited
from hubwarden_agent.clock import Clock, SystemClock
from hubwarden_agent.config import Config
from hubwarden_agent.errors import RequestRefused
from hubwarden_agent.home_content.backup_manifest import BadBackup, Manifest, expired
from hubwarden_agent.home_content.backup_service import pruning
from hubwarden_agent.home_content.backup_store import Store
from hubwarden_agent.names import BackupId, Username
from hubwarden_agent.state_lock import AlreadyRunning
from hubwarden_agent.tools.offline_access import add_operator, argument, complain, exclusive_audit, say

_SHOWN = ("created", "username", "volume", "tar_bytes", "file_bytes")


def main(arguments: Sequence[str], settings: Config) -> int:
    """Run `backups`. Returns the exit status."""
    options = _parser().parse_args(arguments)
    store = Store(settings.reset.backup_dir)
    try:
        if options.action == "prune":
            return _prune(options, settings, store)
        return _ACTIONS[options.action](options, settings, store)
    except (AlreadyRunning, BadBackup, OSError, RequestRefused) as error:
        complain(getattr(error, "message", "") or str(error))
        return 1


def _list(options: argparse.Namespace, settings: Config, store: Store) -> int:
    sound = True
    for backup_id in store.ids():
        try:
            manifest = store.manifest(backup_id)
        except BadBackup as error:
            sound = False
            say(_problem(backup_id, error, as_json=options.json))
            continue
        if options.user in (None, manifest.username):
            say(_json(manifest) if options.json else _row(manifest, settings.reset.keep_days))
    return 0 if sound else 1


def _show(options: argparse.Namespace, settings: Config, store: Store) -> int:
    manifest = store.manifest(options.backup)
    if options.json:
        say(_json(manifest))
        return 0
    for key, value in json.loads(manifest.line()).items():
        say(f"{key:14} {value}")
    say(f"{'kept until':14} {_kept_until(manifest, settings.reset.keep_days)}")
    return 0


def _verify(options: argparse.Namespace, settings: Config, store: Store) -> int:
    del settings
    sound = True
    for backup_id in options.backups or store.ids():
        try:
            store.verify(backup_id)
        except BadBackup as error:
            sound = False
            say(_problem(backup_id, error, as_json=options.json))
        else:
            say(json.dumps({"backup_id": backup_id.value, "problem": None}) if options.json else f"{backup_id}  sound")
    return 0 if sound else 1


_ACTIONS = {"list": _list, "show": _show, "verify": _verify}


def _prune(options: argparse.Namespace, settings: Config, store: Store) -> int:
    clock = SystemClock()
    if options.dry_run:
        for manifest in _gone(options, settings, store, clock):
            say(f"{manifest.backup_id}  would be removed")
        return 0
    with exclusive_audit(settings, clock) as audit:
        for name in store.sweep():
            say(f"{name}  was never finished: removed")
        for manifest in _gone(options, settings, store, clock):
            _remove(store, manifest, audit, clock, options.operator)
            say(f"{manifest.backup_id}  removed")
    return 0


def _gone(options: argparse.Namespace, settings: Config, store: Store, clock: Clock) -> Iterator[Manifest]:
    """The named ones; or, when none is named, what the policy no longer keeps of any volume."""
    if options.backups:
        yield from map(store.manifest, options.backups)
        return
    kept = store.all()
    for volume in sorted({one.volume.value for one in kept}):
        of_volume = [one for one in kept if one.volume.value == volume]
        yield from expired(of_volume, settings.reset.keep, settings.reset.keep_days, clock.now())


def _remove(store: Store, manifest: Manifest, audit: Audit, clock: Clock, operator: Username) -> None:
    with audited(audit, pruning(manifest, "tool", f"operator:{operator}"), clock):
        store.remove(manifest.backup_id)


def _row(manifest: Manifest, keep_days: int) -> str:
    fields = json.loads(manifest.line())
    shown = "  ".join(str(fields[key]) for key in _SHOWN)
    return f"{manifest.backup_id}  {shown}  kept until {_kept_until(manifest, keep_days)}"


def _json(manifest: Manifest) -> str:
    """Its manifest, spelt so that any terminal can show it."""
    return json.dumps(json.loads(manifest.line()))


def _kept_until(manifest: Manifest, keep_days: int) -> str:
    return f"{manifest.created + dt.timedelta(days=keep_days):%Y-%m-%d}"


def _problem(backup_id: BackupId, error: BadBackup, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({"backup_id": backup_id.value, "problem": str(error)})
    return f"{backup_id}  NOT SOUND: {error}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hubwarden-agent backups", description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="list the backups, the oldest first")
    listing.add_argument("--user", type=argument(Username), metavar="NAME", help="of this user")
    showing = actions.add_parser("show", help="say everything about one")
    showing.add_argument("backup", type=argument(BackupId), metavar="BACKUP")
    verifying = actions.add_parser("verify", help="read all of them, or the ones named, and say whether they are whole")
    pruning = actions.add_parser("prune", help="remove what reset.keep and keep_days no longer keep, or the ones named")
    for action in (verifying, pruning):
        action.add_argument("backups", type=argument(BackupId), nargs="*", metavar="BACKUP")
    for action in (listing, showing, verifying):
        action.add_argument("--json", action="store_true", help="an object a line")
    pruning.add_argument("--dry-run", action="store_true", help="only say what would go")
    add_operator(pruning)
    return parser
