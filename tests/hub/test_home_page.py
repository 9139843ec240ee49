"""The home page as each supported JupyterHub renders it: our part is in it, beside what the script looks for."""

from __future__ import annotations

import re

import pytest
from support.jupyterhub.people import Person
from support.jupyterhub.stack import Hub

pytestmark = pytest.mark.every_hub


def test_the_home_page_has_our_part_and_what_it_needs(hub: Hub, person: Person) -> None:
    """Dialogs, buttons, script and style; JupyterHub's Start button, its page data and a named server's row."""
    person.bench.forget_container(f"{person.container_name}--lab")
    person.operator.post(f"{person.path}/servers/lab").raise_for_status()
    browser = hub.browser(person.name)
    page = browser.get("hub/home").text
    for name in ("restart-dialog", "reset-dialog", "buttons", "messages", "hint", "notice"):
        assert f'id="hubwarden-{name}"' in page
    assert "data-may-restart" in page
    assert "data-may-reset" in page
    assert "data-type-name" not in page
    assert 'id="start"' in page
    assert "xsrf_token" in page
    assert 'data-server-name="lab"' in page
    for address in re.findall(r'"(/hub/hubwarden/static/[^"]+)"', page):
        assert browser.get(address.removeprefix("/")).is_success
    person.operator.request("DELETE", f"{person.path}/servers/lab").raise_for_status()


def test_an_admin_is_asked_to_type_the_name(hub: Hub) -> None:
    """On an admin's own page the dialog is told to ask for it."""
    assert "data-type-name" in hub.browser("root-admin").get("hub/home").text
