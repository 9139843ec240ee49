"""What serves is all that is loaded while it serves."""

from __future__ import annotations

import subprocess
import sys


def test_no_tool_is_imported_by_what_serves() -> None:
    """A tool is loaded when its command is asked for, and never before."""
    served = "hubwarden_agent.cli, hubwarden_agent.serving, hubwarden_agent.gateway.app, hubwarden_agent.scrape"
    script = f"import sys, {served}; print([name for name in sys.modules if '_agent.tools' in name])"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert result.stdout == "[]\n"


def test_what_is_turned_off_is_not_loaded() -> None:
    """No HTTP server, Prometheus or compressor unless it is turned on; never what only the tests have."""
    unused = {"aiohttp", "prometheus_client", "wsgiref", "http.server", "zstandard", "importlib.metadata"}
    never = {"docker", "requests", "urllib3", "certifi", "charset_normalizer", "limits"}
    for served, absent in (("", unused | never), (", hubwarden_agent.gateway.app, hubwarden_agent.metrics", never)):
        script = (
            f"import sys, hubwarden_agent.cli, hubwarden_agent.serving{served}; print({absent!r} & set(sys.modules))"
        )
        result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
        assert result.stdout == "set()\n"
