"""axe-core over our markup, at the sizes and in the themes in which people see it."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import Page, ViewportSize
from support.browser.stack import ROOT

AXE = ROOT / ".node" / "node_modules" / "axe-core" / "axe.min.js"
PHONE: ViewportSize = {"width": 320, "height": 640}
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
ZOOMED: ViewportSize = {"width": 640, "height": 400}
OURS = ["#hubwarden", "#hubwarden-buttons", "#hubwarden-messages", ".hubwarden-restart-named"]
THEMES = ("light", "dark")
TOO_WIDE = """ours => [...document.querySelectorAll(ours.map((one) => `${one} *`).join())]
    .filter((element) => element.getBoundingClientRect().right > window.innerWidth + 1)
    .map((element) => element.outerHTML)"""
# The spinner never ends; a colour that is still changing has no contrast to speak of.
ANIMATIONS_END = """() => Promise.allSettled(document.getAnimations()
    .filter((animation) => Number.isFinite(animation.effect.getComputedTiming().endTime))
    .map((animation) => animation.finished))"""


def violations(page: Page, ours: list[str]) -> list[dict[str, Any]]:
    """What axe-core has to say about our markup, in both themes."""
    found = []
    for theme in THEMES:
        page.evaluate("theme => document.documentElement.setAttribute('data-bs-theme', theme)", theme)
        page.evaluate(ANIMATIONS_END)
        there = "ours.filter((one) => document.querySelector(one)).map((one) => [one])"
        result = page.evaluate(f"ours => axe.run({{ include: {there} }})", ours)
        found += [
            {"theme": theme, "rule": violation["id"], "nodes": [node["html"] for node in violation["nodes"]]}
            for violation in result["violations"]
        ]
    return found


def assert_accessible(page: Page, phase: str, ours: list[str] = OURS) -> None:
    """No violation on a desktop; no element of Hubwarden overflows the page there, at 200 % zoom, and on a phone."""
    if not page.evaluate("() => 'axe' in window"):
        # A script of the test's own: the Hub's content policy does not apply to what the debugger evaluates.
        page.evaluate(AXE.read_text())
    for size in (PHONE, ZOOMED, DESKTOP):
        page.set_viewport_size(size)
        assert not page.evaluate(TOO_WIDE, ours), f"{phase} at {size}"
    found = violations(page, ours)
    assert not found, f"{phase}:\n{json.dumps(found, indent=2)}"
