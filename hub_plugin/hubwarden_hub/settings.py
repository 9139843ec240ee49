"""The operator's settings, `c.Hubwarden.…` in jupyterhub_config.py. The `help` texts are the manual.

Invariants: a value that cannot work is refused when the Hub starts, not when a user clicks. Nothing here may
grant anything: who may do what is JupyterHub's roles' business.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from traitlets import Bool, Float, Integer, TraitError, Unicode, validate
from traitlets.config import Config, LoggingConfigurable
from traitlets.config.loader import LazyConfigValue

from hubwarden_hub.agent import Deadlines
from hubwarden_hub.channel import TCP, Files

LONGEST_REQUEST = 20.0
"""Seconds for which a request stays open at most: below the time-outs of proxies, which begin at 30 s."""
_TCP_ADDRESS = re.compile(r"tcp://([a-zA-Z0-9.-]+|\[[0-9a-f:.]+\]):[1-9][0-9]{0,4}")


def configured(section: Config, name: str, unset: Any) -> Any:
    """A setting's value so far. `c.X.list.append(…)` on something unset leaves a recipe, which is carried out."""
    value = section[name] if name in section else unset  # noqa: SIM401 - Config.get bypasses deferred values
    return value.get_value(unset) if isinstance(value, LazyConfigValue) else value


class Hubwarden(LoggingConfigurable):
    """Restart Server and Reset Home Volume, through the Hubwarden agent."""

    agent_address = Unicode(
        "unix:///run/hubwarden/agent.sock",
        config=True,
        help="""Where the agent listens (`listen.grpc` in agent.toml).

        Either `unix://` and the absolute path of its socket, which the Hub's process must be able to connect to (mode
        0660: be in its group); or `tcp://HOST:PORT`, which needs `tls_ca`, `tls_certificate` and `tls_key`, and where
        HOST is a name in the agent's certificate. There is no TCP without TLS.

        The Hub starts, and servers keep running, while nobody listens there.
        """,
    )
    tls_ca = Unicode(
        config=True,
        help="""For `tcp://`: the PEM file of the CA that signed the agent's certificate.

        The three TLS files are noticed when they are renewed, without a restart of the Hub.
        """,
    )
    tls_certificate = Unicode(
        config=True,
        help="""For `tcp://`: the PEM file of the Hub's own certificate; agent.toml lists its name in `tls.clients`.""",
    )
    tls_key = Unicode(
        config=True,
        help="""For `tcp://`: the PEM file of that certificate's key, without a password, readable by the Hub only.""",
    )
    home_volume = Unicode(
        "jupyterlab-{username}_home",
        config=True,
        help="""The home volume's name, written as in `c.DockerSpawner.volumes`.

        It is rendered by the Spawner itself and sent along, so that the agent refuses a reset when the two sides mean
        different volumes. Keep it the same as `names.home_volume` in agent.toml and as the key in
        `c.DockerSpawner.volumes`.
        """,
    )
    restart_server = Bool(
        default_value=True,
        config=True,
        help="""Whether pages and REST API offer *Restart server*. False: its endpoints answer 404.""",
    )
    reset_home = Bool(
        default_value=True,
        config=True,
        help="""Whether pages and REST API offer *Reset home volume*. False: its endpoints answer 404.

        The Hub then starts although admins lack the scope, with SystemUserSpawner, and whatever its volumes are. Users
        do not get the scope; admins keep it, because it also lets them read the history.
        """,
    )
    users_reset_own_home = Bool(
        default_value=True,
        config=True,
        help="""Whether every user may reset their own home (scope `custom:hubwarden:reset!user` in the role `user`).

        Set it to False to grant the scope with roles of your own, for example to one group.
        """,
    )
    stop_timeout = Float(
        10,
        min=0,
        config=True,
        help="""Seconds that a server has to shut down in a restart before it is killed.

        At most `limits.max_stop_timeout` of the agent. Fractions are rounded up.
        """,
    )
    restart_wait = Float(
        15,
        min=0,
        config=True,
        help="""Seconds for which a restart's request waits until the server answers again, 20 at most.

        After that the answer is 202, and the restart goes on without the request.
        """,
    )
    reset_wait = Float(
        15,
        min=0,
        config=True,
        help="""Seconds for which a reset's request waits until the reset has ended, 20 at most.

        After that the answer is 202, and the reset goes on without the request.
        """,
    )
    turn_wait = Float(
        30,
        min=0,
        config=True,
        help="""Seconds for which a start or restart waits for another operation on the same user's servers.

        After that it is refused with 409. Keep it below `c.Spawner.start_timeout`. A stop waits until it can be done.
        """,
    )
    max_operations = Integer(
        500,
        min=1,
        config=True,
        help="""Restarts and resets of all users that may run or wait at a time.

        Each user has at most one that runs and one that waits. Beyond that a request is refused with 409, and beyond
        this number with 429.
        """,
    )
    batch_concurrency = Integer(
        5, min=1, config=True, help="""Users whose servers restart at a time in batches, of all batches together."""
    )
    shutdown_wait = Float(
        30,
        min=0,
        config=True,
        help="""Seconds for which a Hub that shuts down with `c.JupyterHub.cleanup_servers` waits for the next server to
        stop.

        After that it logs which servers may still run, and the next Hub finds them. Keep it below the time that the
        service manager grants the Hub.
        """,
    )
    check_deadline = Float(
        10, min=0.1, config=True, help="""Seconds for a question to the agent that changes nothing, 20 at most."""
    )
    restart_deadline = Float(
        60, min=1, config=True, help="""Seconds for the agent to restart a container, beyond `stop_timeout`."""
    )
    reset_deadline = Float(
        300,
        min=1,
        config=True,
        help="""Seconds for the agent to reset a home, its backup included. At most `limits.max_deadline` there.""",
    )
    backup_keep_days = Integer(
        0,
        min=0,
        max=36500,
        config=True,
        help="""Days for which the agent keeps the backup that it made before a reset: its `reset.keep_days`.

        The agent does not tell the Hub. With it, the page says until when an admin can bring the home back.
        """,
    )
    outcome_wait = Float(
        120,
        min=0,
        config=True,
        help="""Seconds for which the Hub asks the agent what became of an operation whose answer got lost.

        It asks under the same request id, so nothing is done twice.
        """,
    )

    history_url = Unicode(
        "sqlite:///hubwarden_history.sqlite",
        config=True,
        help="""The database of the history, as SQLAlchemy writes it. Never JupyterHub's own.

        By default a file in the Hub's working directory, made when it is first needed. While it cannot be written,
        operations go on, and the log and `hubwarden_hub_history_failures_total` say so.
        """,
    )
    history_entries = Integer(100_000, min=1, config=True, help="""Operations that the history keeps; the oldest go.""")

    @validate("agent_address")
    def _is_an_address(self, proposal: Any) -> str:
        address = str(proposal.value)
        if not address.startswith("unix:///") and not _TCP_ADDRESS.fullmatch(address):
            raise TraitError(
                f"c.Hubwarden.agent_address must be unix:///absolute/path or tcp://HOST:PORT, not {address!r}"
            )
        return address

    @validate("restart_wait", "reset_wait", "check_deadline")
    def _is_bounded(self, proposal: Any) -> float:
        seconds = float(proposal.value)
        if seconds > LONGEST_REQUEST:
            name = f"c.Hubwarden.{proposal.trait.name}"
            self.log.warning("%s is %g s, but no request stays open longer: using %g s", name, seconds, LONGEST_REQUEST)
        return min(seconds, LONGEST_REQUEST)

    @property
    def tls_files(self) -> Files | None:
        """What TCP needs; None for a unix socket.

        Raises:
            TraitError: they are not all set, or cannot be used.
        """
        if not self.agent_address.startswith(TCP):
            return None
        names = ("tls_ca", "tls_certificate", "tls_key")
        if unset := [f"c.Hubwarden.{name}" for name in names if not getattr(self, name)]:
            raise TraitError(f"c.Hubwarden.agent_address is tcp://, which also needs {', '.join(unset)}")
        files = Files(*(Path(getattr(self, name)) for name in names))
        try:
            files.check()
        except (OSError, ValueError) as error:
            raise TraitError(f"c.Hubwarden.tls_ca, tls_certificate, tls_key: {error}") from error
        return files

    @property
    def note_lifetime(self) -> float:
        """Seconds for which a Hub that starts still asks about an operation that a killed Hub left behind."""
        return float(max(self.restart_deadline + self.stop_timeout, self.reset_deadline) + self.outcome_wait)

    @property
    def deadlines(self) -> Deadlines:
        """The settings that bound calls."""
        return Deadlines(
            check=self.check_deadline,
            restart=self.restart_deadline,
            reset=self.reset_deadline,
            outcome=self.outcome_wait,
        )
