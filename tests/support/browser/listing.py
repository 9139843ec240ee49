"""The admin page's list with one user in it, as the Hub would answer."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import expect
from support.browser import stubs
from support.browser.admin import Admin

NAME = "somebody"


def listing_of(server: dict[str, Any], reset: dict[str, Any] | None = None) -> dict[str, Any]:
    """A listing of one user with one server."""
    user = {
        "name": NAME,
        "last_activity": None,
        "may_reset": True,
        "reset": reset,
        "servers": {"": {**server, "may_restart": True, "may_forget": True}},
        "last_operation": None,
    }
    return {"total": 1, "offset": 0, "limit": 50, "history_readable": True, "users": [user]}


def list_user(admin: Admin, server: dict[str, Any]) -> None:
    """Open the page, and have it believe in one user with one server."""
    stubs.answer(admin.person, "hubwarden/users?*", listing_of(server))
    stubs.show_home(admin.person)
    admin.open()
    expect(admin.row(NAME)).to_be_visible()
