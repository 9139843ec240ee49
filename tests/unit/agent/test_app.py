"""How an agent ends."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from hubwarden_agent import app, config, logging_setup


@pytest.mark.parametrize("failure", [None, OSError("no socket")])
def test_docker_is_closed_before_the_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: OSError | None
) -> None:
    """When the agent ends, no request can reach Docker once the audit takes no more records."""
    closed: list[str] = []

    def serve(_: threading.Event) -> None:
        if failure:
            raise failure

    agent = SimpleNamespace(serve=serve, audit=SimpleNamespace(close=lambda: closed.append("audit")))
    monkeypatch.setattr(logging_setup, "configure", lambda: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(app, "_docker", lambda *_: SimpleNamespace(close=lambda: closed.append("Docker")))
    monkeypatch.setattr(app, "build", lambda *_: agent)
    settings = config.parse(f'[state]\ndirectory = "{tmp_path}"\n')
    assert app.serve(settings, lambda: settings.tls) == (1 if failure else 0)
    assert closed == ["Docker", "audit"]


def test_a_change_gets_ten_minutes() -> None:
    """When operations may take 20 seconds, Docker still gets ten minutes for a change; a longer bound counts."""
    assert [
        app.change_timeout(config.parse(f"[limits]\nmax_deadline = {seconds}").limits) for seconds in (20, 3600)
    ] == [600, 3600]
