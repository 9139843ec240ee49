"""The options of a container as Docker's JSON. Pure.

Invariants: an option that asks for nothing is not sent, so that the engine, or the image, decides.
"""

from __future__ import annotations

from typing import Any

from hubwarden_agent.engine.options import DeviceRequest, HealthCheck, Options


def asked_for(fields: dict[str, Any]) -> dict[str, Any]:
    """Without what nobody asked for: there the engine, or the image, decides."""
    return {key: value for key, value in fields.items() if value}


def of_container(options: Options) -> dict[str, Any]:
    """Those in the body itself."""
    fields = {
        "User": options.user,
        "Hostname": options.hostname,
        "WorkingDir": options.working_dir,
        "Entrypoint": list(options.entrypoint),
        "Healthcheck": _health_check(options.health_check),
    }
    return asked_for(fields)


def of_host(options: Options) -> dict[str, Any]:
    """Those in `HostConfig`."""
    restart, log = options.restart_policy, options.log_config
    fields = {
        "ShmSize": options.shm_size,
        "Ulimits": [{"Name": one.name, "Soft": one.soft, "Hard": one.hard} for one in options.ulimits],
        "RestartPolicy": restart.name and {"Name": restart.name, "MaximumRetryCount": restart.maximum_retry_count},
        "LogConfig": log.type and {"Type": log.type, "Config": dict(log.config)},
        "DeviceRequests": [_device_request(one) for one in options.device_requests],
    }
    return asked_for(fields)


def _health_check(check: HealthCheck) -> dict[str, Any]:
    return asked_for(
        {
            "Test": list(check.test),
            "Interval": check.interval,
            "Timeout": check.timeout,
            "Retries": check.retries,
            "StartPeriod": check.start_period,
        }
    )


def _device_request(request: DeviceRequest) -> dict[str, Any]:
    return {
        "Driver": request.driver,
        "Count": request.count,
        "DeviceIDs": list(request.device_ids),
        "Capabilities": [list(all_of) for all_of in request.capabilities],
        "Options": {},
    }
