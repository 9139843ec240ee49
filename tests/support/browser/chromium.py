"""Debian's Chromium, as the browser tests and the benchmarks launch it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

# Chromium's own sandbox does not start for root, which tests in a container are.
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-background-networking"]


@contextmanager
def launched_chromium() -> Iterator[Browser]:
    """Debian's Chromium, or the one that HUBWARDEN_CHROMIUM names."""
    chromium = os.environ.get("HUBWARDEN_CHROMIUM") or shutil.which("chromium")
    assert chromium, "the browser tests need Chromium (on Debian: apt-get install chromium), or HUBWARDEN_CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()
