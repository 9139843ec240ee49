"""`hubwarden-agent restore`: bring a home back, while the agent is stopped. Wiring only; see `restore_service`.

Invariants: it does not start beside an agent that serves. What the engine said is shown to the operator, who may
see it, and is in no record.
"""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Sequence

from hubwarden_agent.audit import Audit
from hubwarden_agent.clock import SystemClock
from hubwarden_agent.config import Config
from hubwarden_agent.engine.docker_engine import DockerEngine
from hubwarden_agent.engine.port import EngineError
from hubwarden_agent.errors import RequestRefused
from hubwarden_agent.home_content import pending_restores
from hubwarden_agent.home_content.backup_manifest import BadBackup
from hubwarden_agent.home_content.backup_service import Backups
from hubwarden_agent.home_content.backup_store import Store
from hubwarden_agent.home_content.helper_image import helper, own_container
from hubwarden_agent.home_content.volume_content import VolumeContent
from hubwarden_agent.names import BackupId, Names, RequestId, Username, VolumeName
from hubwarden_agent.operations.volume_removal import Removal
from hubwarden_agent.state_lock import AlreadyRunning
from hubwarden_agent.tools.offline_access import add_operator, argument, complain, exclusive_audit, say
from hubwarden_agent.tools.restore_service import NotRestored, Restorer, RestoreRequest

HELPER_SECONDS = 600
"""In which a helper has to take or give something."""


def main(arguments: Sequence[str], settings: Config) -> int:
    """Run `restore`. Returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        with exclusive_audit(settings, SystemClock()) as audit:
            _restore(options, settings, audit)
    except AlreadyRunning as error:
        complain(f"{error}: stop the agent first")
        return 1
    except RequestRefused as refusal:
        holders = f" ({', '.join(refusal.detail.holders)})" if refusal.detail.holders else ""
        complain(f"{refusal.message}{holders}{_cause(refusal)}")
    except (BadBackup, NotRestored, EngineError, OSError) as error:
        complain(str(error))
    except KeyboardInterrupt:
        complain("interrupted")
    else:
        return 0
    _complain_of_rest(options, settings)
    return 1


def _complain_of_rest(options: argparse.Namespace, settings: Config) -> None:
    """Say if something is left half done, by this run or an earlier one."""
    try:
        volume = options.volume or Names(settings.names).home_volume(options.user)
        if pending_restores.of(settings.state_directory, volume):
            complain(f"{volume} may be half filled: restore again")
    except (RequestRefused, OSError) as error:
        complain(f"whether anything is left half done is not known: {error}")


def _restore(options: argparse.Namespace, settings: Config, audit: Audit) -> None:
    clock, names, docker = SystemClock(), Names(settings.names), settings.docker
    policy = settings.reset
    home = names.home_volume(options.user)
    order = RestoreRequest(
        request_id=RequestId(str(uuid.uuid4())),
        operator=options.operator,
        username=options.user,
        volume=options.volume or home,
        aside=options.aside,
    )
    if order.volume != home:
        complain(f"warning: {order.volume} is not {order.username}'s home: whose it is can read what is restored there")
    engine = DockerEngine(docker.host, docker.timeout, HELPER_SECONDS)
    backups = Backups(engine, names, policy, clock)
    try:
        engine.remove_helpers(names.scheme)
        backups.sweep()
        made_of = helper(engine, names, policy.helper_image, own_container())
        removal = Removal(engine, names, policy, clock)
        content, state = VolumeContent(engine), settings.state_directory
        restorer = Restorer(engine, content, made_of, removal, backups, audit, state, clock, say)
        with Store(policy.backup_dir).open(options.backup) as backup:
            restorer.restore(order, backup)
    finally:
        engine.close()
    say(f"restored {options.backup} into {order.volume}; the agent can be started again")


def _cause(error: BaseException) -> str:
    return f": {error.__cause__}" if error.__cause__ else ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hubwarden-agent restore", description=__doc__.splitlines()[0])
    parser.add_argument("backup", type=argument(BackupId), metavar="BACKUP", help="its id, as `backups list` shows it")
    parser.add_argument("--user", type=argument(Username), required=True, metavar="NAME", help="whose backup it is")
    parser.add_argument(
        "--as", dest="volume", type=argument(VolumeName), metavar="VOLUME", help="into this volume, not the user's home"
    )
    parser.add_argument(
        "--aside", action="store_true", help="if the volume holds anything, make a backup of that first, and replace it"
    )
    add_operator(parser)
    return parser
