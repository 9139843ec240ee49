"""Fixtures and markers of the whole suite: every slow test states its reason.

Invariants: `slow` always carries a reason; a run names each unmarked test whose body took more than 15 s.
Must not: fail a run for its durations unless `--fail-on-slow` is given. A loaded machine makes every test slow, so only
the nightly run, which has a machine of its own, gives it.
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest

if find_spec("hypothesis"):  # the older JupyterHubs' environments do not have it
    from hypothesis import settings

    # On a loaded machine any example can take longer than Hypothesis' 200 ms; pytest-timeout bounds each test.
    settings.register_profile("no-deadline", deadline=None)
    settings.load_profile("no-deadline")

# Once for all suites: a fixture for the session that two conftests import is set up twice, and taken down twice.
pytest_plugins = ["support.docker.fixtures"]
# What fails in shared assertions says what was compared.
pytest.register_assert_rewrite("contract.engine_contract", "support")

SLOW_SECONDS = 15.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the nightly run."""
    parser.addoption("--fail-on-slow", action="store_true", help="fail if a test over 15 s has no `slow` marker")


def pytest_configure(config: pytest.Config) -> None:
    """Watch the durations of this run."""
    config.pluginmanager.register(_Durations(fail=config.getoption("--fail-on-slow")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a `slow` marker without a reason.

    Raises:
        UsageError: a marker has no reason.
    """
    for item in items:
        for marker in item.iter_markers("slow"):
            if not (marker.args and str(marker.args[0]).strip()):
                raise pytest.UsageError(f"{item.nodeid}: slow needs a reason: @pytest.mark.slow('...')")


class _Durations:
    """Collects the durations, also those of pytest-xdist's workers, and reports them at the end."""

    def __init__(self, *, fail: bool) -> None:
        self._fail = fail
        self._unmarked: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.duration > SLOW_SECONDS and "slow" not in report.keywords:
            self._unmarked[report.nodeid] = report.duration

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._fail and self._unmarked and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for nodeid, seconds in self._unmarked.items():
            terminalreporter.write_line(f"{nodeid}: {seconds:.0f} s without a `slow` marker", yellow=True)
