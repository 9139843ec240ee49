"""Which container runtimes the agent warns of, and where it shows that."""

from __future__ import annotations

import logging

import pytest
from hubwarden_agent.engine import docker_json
from hubwarden_agent.metrics import Metrics
from hubwarden_agent.runtime_check import RuntimeCheck, weakness
from prometheus_client import generate_latest
from support.fakes.edges import FakeClock
from support.fakes.engine import FakeEngine

OLD, UNKNOWN = "runtime_outdated", "runtime_unknown"


@pytest.mark.parametrize(
    ("version", "warned"),
    [
        *((fixed, None) for fixed in ("1.2.8", "1.2.10", "1.3.3", "v1.3.4", "1.3.3-0ubuntu1~24.04.3", "1.3.3+ds1-2")),
        *((fixed, None) for fixed in ("1.4.0-rc.3", "1.4.0~rc3+ds1", "1.4.0", "1.5.0-rc.1", "1.10.0", "2.0.0")),
        *((old, OLD) for old in ("1.1.5+ds1", "1.1.15", "1.2.7", "1.2.8-rc.1", "1.3.2", "1.3.0-rc.2", "1.0.0-rc95")),
        *((old, OLD) for old in ("1.4.0-rc.2", "1.4.0-rc1", "0.1.1", "v1.2.0")),
        *((unknown, UNKNOWN) for unknown in (None, "", "1.3", "unknown", "spec: 1.0", "<unknown>", "1.x.3")),
        *((unclear, UNKNOWN) for unclear in ("1.4.0-beta.1", "1.3.3-alpha", "1.4.0~alpha1", "1.4.0-rc", "1.4.0beta1")),
        *((built, None) for built in ("1.3.3+dev", "1.4.0-rc.3+dev", "1.4.0-rc.10", "1.3.3\ncommit: v1.3.3-0")),
    ],
)
def test_which_versions_are_warned_of(version: str | None, warned: str | None) -> None:
    """When a version is older than the first release with the fixes, or cannot be compared, there is a warning."""
    found = weakness(version)
    assert (found[0] if found else None) == warned


@pytest.mark.parametrize(
    ("data", "version"),
    [
        ({"Components": [{"Name": "Engine", "Version": "26"}, {"Name": "runc", "Version": "1.3.3"}]}, "1.3.3"),
        ({"Components": [{"Name": "crun", "Version": "1.3.3"}]}, None),
        ({"Components": [{"Name": "runc"}]}, None),
        ({"Components": None}, None),
        ({"ApiVersion": "1.45"}, None),
    ],
)
def test_where_docker_reports_it(data: dict[str, object], version: str | None) -> None:
    """When Docker lists runc as its runtime, that is the version; another runtime is none."""
    assert docker_json.runtime_version(data) == version


def test_each_change_is_logged_once_and_shown(caplog: pytest.LogCaptureFixture) -> None:
    """When the version changes, the log and the metric follow; when Docker is away, the last answer stays."""
    caplog.set_level(logging.WARNING)
    fake, metrics = FakeEngine(), Metrics(FakeClock())
    check = RuntimeCheck(fake, metrics)

    def shown(version: str | None) -> tuple[int, dict[str, bool]]:
        fake.runtime = version
        check.check()
        text = generate_latest(metrics.registry).decode()
        return len(caplog.records), {kind: f'{{warning="{kind}"}} 1.0' in text for kind in (OLD, UNKNOWN)}

    assert shown("1.3.3") == (0, {OLD: False, UNKNOWN: False})
    assert shown("1.1.5+ds1") == (1, {OLD: True, UNKNOWN: False})
    assert shown("1.1.5+ds1") == (1, {OLD: True, UNKNOWN: False})
    assert "CVE-2025-31133" in caplog.text
    fake.available = False
    assert shown("1.3.3") == (1, {OLD: True, UNKNOWN: False})
    fake.available = True
    assert shown(None) == (2, {OLD: False, UNKNOWN: True})
    assert shown("1.3.3") == (2, {OLD: False, UNKNOWN: False})
