"""What a volume really is: driver and options can make it any folder of this or another host, whatever its name.

Invariants: a container holds its volumes from its create on, and Docker replaces none that is held. So a check
before its start sees what it will start with, whatever anybody made or replaced until its create.
"""

from __future__ import annotations

from collections.abc import Iterable

from hubwarden_agent.engine.port import Mount
from hubwarden_agent.engine.spawn_port import SpawnEngine
from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway.refusals import GatewayRefusal
from hubwarden_agent.names import VolumeName
from hubwarden_agent.ownership import is_local


def check_plain(engine: SpawnEngine, mounts: Iterable[Mount]) -> int:
    """Refuse mounts of a volume that does not lie where Docker keeps volumes; one that is not there yet will.

    Returns:
        how many are not there yet.

    Raises:
        GatewayRefusal: 400.
    """
    names = {VolumeName(mount.volume) for mount in mounts if mount.volume}
    found = [engine.volume(name) for name in names]
    for volume in found:
        if volume is not None and not is_local(volume):
            message = "hubwarden: HostConfig.Binds or Mounts names a volume that is not a plain local one"
            raise GatewayRefusal(message, Reason.VOLUME_NOT_LOCAL)
    return found.count(None)
