"""The body of a helper container, which copies the content of one volume out or in.

Invariants: one fixed command, one volume, no network, and no more rights than the command needs. Nothing in it
comes from a request but which volume it is; how much of that may be read is said by the agent.
"""

from __future__ import annotations

from typing import Any

from hubwarden_agent.engine.docker_json import mount_body
from hubwarden_agent.engine.port import HELPER_LABEL, Helper, Mount
from hubwarden_agent.names import VolumeName

HOME = "/home-volume"
"""Where a helper sees the one volume that it is given."""
_TAR = (
    "/usr/bin/tar",
    f"--directory={HOME}",
    "--file=-",
    "--blocking-factor=128",  # 64 KiB, what a pipe holds
    "--totals",
    "--numeric-owner",
    "--acls",
    "--xattrs",
    "--xattrs-include=*",
)
_ARCHIVE = (
    *_TAR,
    "--create",
    "--format=posix",
    "--pax-option=delete=atime,delete=ctime",  # reading would make every backup another one, and neither comes back
    "--sparse",
    ".",
)
_COMPRESS = ("/opt/hubwarden/bin/python3", "-I", "-m", "hubwarden_agent.helper")
"""In front of it: how much it may write, and the command. See `hubwarden_agent.helper`."""
_EXTRACT = (*_TAR, "--extract", "--same-owner", "--same-permissions", "--delay-directory-restore")
_READS = ("DAC_READ_SEARCH",)
_WRITES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP")
_HELPER_MEMORY = 256 * 1024**2
_HELPER_PIDS = 8


def reading_body(volume: VolumeName, helper: Helper, max_bytes: int) -> dict[str, Any]:
    """The body of a helper that reads a volume: a tar of at most `max_bytes`, compressed by it."""
    return _body(volume, helper, [*_COMPRESS, str(max_bytes), *_ARCHIVE], writes=False)


def writing_body(volume: VolumeName, helper: Helper) -> dict[str, Any]:
    """The body of a helper that fills a volume from a tar."""
    return _body(volume, helper, list(_EXTRACT), writes=True)


def _body(volume: VolumeName, helper: Helper, command: list[str], *, writes: bool) -> dict[str, Any]:
    """Nothing of it is logged by Docker: its output is the user's files."""
    mount = mount_body(Mount("volume", HOME, read_only=not writes, volume=volume.value))
    return {
        "Image": helper.image.value,
        "Entrypoint": command,
        "Cmd": [],
        "Env": ["LC_ALL=C"],
        "User": "0:0",
        "WorkingDir": "/",
        "Labels": {HELPER_LABEL: helper.scheme},
        "Healthcheck": {"Test": ["NONE"]},
        "OpenStdin": writes,
        "StdinOnce": writes,
        "HostConfig": {
            "NetworkMode": "none",
            "IpcMode": "none",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "CapAdd": list(_WRITES if writes else _READS),
            "SecurityOpt": ["no-new-privileges"],
            "Mounts": [mount | {"VolumeOptions": {"NoCopy": True}}],
            "Memory": _HELPER_MEMORY,
            "MemorySwap": _HELPER_MEMORY,
            "PidsLimit": _HELPER_PIDS,
            "LogConfig": {"Type": "none"},
        },
    }
