"""The settings that bound how long a request stays open."""

from __future__ import annotations

import logging

import pytest
from hubwarden_hub.settings import Hubwarden

WAITS = ["restart_wait", "reset_wait", "check_deadline"]


@pytest.mark.parametrize("name", WAITS)
def test_a_longer_wait_is_clamped_with_a_warning(caplog: pytest.LogCaptureFixture, name: str) -> None:
    """When an older configuration sets more than 20 s, the Hub uses 20 s and its log names the setting."""
    with caplog.at_level(logging.WARNING):
        settings = Hubwarden(log=logging.getLogger("hub"), **{name: 60})
    assert getattr(settings, name) == 20
    assert f"c.Hubwarden.{name} is 60 s" in caplog.text


@pytest.mark.parametrize("name", WAITS)
def test_by_default_every_request_ends_before_a_proxy_ends_it(caplog: pytest.LogCaptureFixture, name: str) -> None:
    """When nothing is set, or 20 s, the setting is used without a warning."""
    assert getattr(Hubwarden(), name) <= 15
    assert getattr(Hubwarden(**{name: 20}), name) == 20
    assert caplog.text == ""
