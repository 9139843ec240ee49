"""The options that a container may have beside what every container has: the closed table of their fields.

Invariants: only values that the operator wrote down are sent for these fields (`[[spawn.allow]]`), and no field that is
missing here can be sent. None of them opens the host by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

HOST = "HostConfig."
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "User": "",
        "Hostname": "",
        "WorkingDir": "",
        "Entrypoint": [],
        "Healthcheck": {"Test": [], "Interval": 0, "Timeout": 0, "Retries": 0, "StartPeriod": 0},
        "HostConfig.ShmSize": 0,
        "HostConfig.Ulimits": [{"Name": "", "Soft": 0, "Hard": 0}],
        "HostConfig.RestartPolicy": {"Name": "", "MaximumRetryCount": 0},
        "HostConfig.LogConfig": {"Type": "", "Config": {}},
        "HostConfig.DeviceRequests": [{"Driver": "", "Count": 0, "DeviceIDs": [], "Capabilities": [], "Options": {}}],
    }
)
"""What Docker takes for "not asked for", by field. Where it is a list of one, each entry of a request is compared."""
