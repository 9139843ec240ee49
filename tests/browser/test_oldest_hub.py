"""The pages on JupyterHub 4.1, whose templates are Bootstrap 3's: in Chromium, with agent and Hub as processes.

Invariants: what the pages do is tested on the compose stack, with the newest JupyterHub; here, that they stand on
the oldest one's markup and style too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from support.browser import stubs
from support.browser.accessibility import assert_accessible
from support.browser.admin import OURS, Admin
from support.browser.listing import NAME, list_user
from support.browser.person import Person, PersonFactory
from support.browser.stack import ROOT, Stack
from support.docker.private_engine import Workbench, start
from support.jupyterhub.stack import IMAGE, Agent, Hub, running, server_workbench
from support.waiting.ports import free_port

PYTHON = ROOT / ".venv-hub4" / "bin" / "python"


class PlainStack(Stack):
    """The same private engine; agent and Hub are somebody else's to start."""

    def __init__(self, directory: Path, hub: Hub, bench: Workbench) -> None:
        super().__init__(directory, hub.options["port"])
        self.password = "secret"
        self._bench = bench

    def remove_container(self, name: str) -> None:
        """Take it and its volumes away at the end: there are few."""
        for kind in ("home", "workspace", "cache"):
            self._bench.forget_volume(f"{name}_{kind}")
        self._bench.forget_container(name)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainStack]:
    """JupyterHub 4.1 with its proxy, and an agent."""
    engine = start()
    agent_place, hub_place = tmp_path_factory.mktemp("agent"), tmp_path_factory.mktemp("hub")
    with server_workbench(engine) as bench, running(Agent(agent_place, engine, IMAGE)) as agent:
        options = {"port": free_port(), "lines_before": ["c.Authenticator.admin_users = {'admin'}"]}
        hub = Hub(hub_place, agent.socket, agent.gateway, IMAGE, options, python=str(PYTHON))
        with running(hub):
            yield PlainStack(tmp_path_factory.mktemp("plain"), hub, bench)


@pytest.fixture
def person(make_person: PersonFactory) -> Person:
    """A user whose server runs."""
    person = make_person()
    person.start_server()
    return person


def test_a_restart_and_a_reset(person: Person) -> None:
    """Through the dialogs, which axe-core finds nothing in, to the working server and to a home that is gone."""
    before = person.identity()
    expect(person.reset_button).to_be_hidden()
    assert_accessible(person.page, "buttons")
    confirm = person.ask_to_restart()
    expect(person.dialog).to_contain_text("Running kernels and terminals will be shut down")
    assert_accessible(person.page, "question of a restart")
    person.page.emulate_media(reduced_motion="reduce")
    expect(person.dialog.locator(".progress-bar")).to_have_css("transition-duration", "0s")
    confirm.click()
    person.page.wait_for_url(f"**/user/{person.name}/**")
    expect(person.page.locator("body")).to_contain_text(f'"user": "{person.name}"')
    after = person.identity()
    assert (after[0], after[1] > before[1]) == (before[0], True)
    person.open_home()
    person.stop_server()
    confirm = person.ask_to_reset()
    expect(person.dialog).to_contain_text(person.volume("home"))
    assert_accessible(person.page, "question of a reset")
    assert person.stack.volume_exists(person.volume("home"))
    confirm.click()
    expect(person.status).to_contain_text("was deleted")
    assert_accessible(person.page, "end of a reset")
    assert not person.stack.volume_exists(person.volume("home"))


def test_the_admins_page(make_person: PersonFactory) -> None:
    """When a listed server is restarted, list, dialog and message work on the old markup, and axe-core agrees."""
    admin = Admin(make_person)
    list_user(admin, stubs.READY)
    stubs.answer(admin.person, "restart-server", stubs.RESTARTED)
    assert_accessible(admin.page, "list", OURS)
    admin.row(NAME).get_by_role("button", name="Restart").click()
    assert_accessible(admin.page, "question of a restart", OURS)
    admin.dialog.get_by_role("button", name="Restart server").click()
    expect(admin.notice).to_contain_text("was restarted and is ready")
