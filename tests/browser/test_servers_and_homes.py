"""The page "Servers and homes": finding users, acting on one and on many, and what was done."""

from __future__ import annotations

import pytest
from playwright.sync_api import Request, expect
from support.browser.accessibility import DESKTOP, assert_accessible
from support.browser.admin import OURS, Admin, Held
from support.browser.person import SERVER_STARTS_MILLISECONDS, Person, PersonFactory


@pytest.fixture
def admin(make_person: PersonFactory) -> Admin:
    """An admin at the page."""
    admin = Admin(make_person)
    admin.open()
    return admin


def assert_accessible_here(admin: Admin, phase: str) -> None:
    """As everywhere; then at a desk again, where rows are in view."""
    assert_accessible(admin.page, phase, OURS)
    admin.page.set_viewport_size(DESKTOP)


def test_a_user_sees_neither_the_link_nor_the_page(person: Person) -> None:
    """For somebody who may act on nobody else there is no such page."""
    expect(person.page.get_by_role("link", name="Token")).to_be_visible()
    expect(person.page.get_by_role("link", name="Servers and homes")).to_have_count(0)
    answer = person.page.goto(f"{person.stack.url}/hub/servers-and-homes")
    assert answer is not None
    assert answer.status == 404
    expect(person.page.locator("#hubwarden-others")).to_have_count(0)


def test_users_are_searched_filtered_sorted_and_paged(admin: Admin) -> None:
    """All by one request each, kept in the address; homes are asked for the rows in view only."""
    names = admin.make_users(60)
    homes: list[Request] = []
    admin.page.on("request", lambda request: homes.append(request) if request.url.endswith("/home-volume") else None)
    admin.search(names[0].partition("-")[0], found=50)
    expect(admin.count).to_have_text("Users 1 to 50 of 60")
    expect(admin.row(names[0])).to_contain_text("none yet")
    expect(admin.row(names[49])).to_contain_text("…")
    assert 0 < len(homes) < 50
    admin.row(names[49]).scroll_into_view_if_needed()
    expect(admin.row(names[49])).to_contain_text("none yet")
    admin.page.get_by_role("button", name="Next page").click()
    expect(admin.count).to_have_text("Users 51 to 60 of 60")
    expect(admin.page.get_by_role("button", name="Next page")).to_be_disabled()
    admin.person.reload()
    expect(admin.count).to_have_text("Users 51 to 60 of 60")
    admin.page.get_by_label("Sort by").select_option("Name, Z to A")
    expect(admin.count).to_have_text("Users 1 to 50 of 60")
    expect(admin.rows.first).to_contain_text(names[-1])
    admin.page.get_by_label("Servers", exact=True).select_option("Running")
    expect(admin.count).to_have_text("No matching users.")
    expect(admin.rows).to_have_count(0)


def test_one_server_is_restarted_and_one_home_reset(admin: Admin, person_with_server: Person) -> None:
    """The user's name is typed before a reset; the row follows; the history tells both, and is filtered."""
    name = person_with_server.name
    row = admin.find(name)
    expect(row).to_contain_text("running")
    expect(row.get_by_role("button", name="Reset home")).to_be_hidden()
    assert_accessible_here(admin, "list")
    before = person_with_server.identity()
    row.get_by_role("button", name="Restart").click()
    expect(admin.dialog).to_contain_text(name)
    assert_accessible_here(admin, "question of a restart")
    admin.dialog.get_by_role("button", name="Restart server").click()
    expect(admin.notice).to_contain_text("was restarted and is ready", timeout=SERVER_STARTS_MILLISECONDS)
    after = person_with_server.identity()
    assert (after[0], after[1] != before[1]) == (before[0], True)
    assert admin.person.call("DELETE", f"{person_with_server.path}/server")["status"] in {202, 204}
    row.get_by_role("button", name="Reset home").click(timeout=SERVER_STARTS_MILLISECONDS)
    confirm = admin.dialog.get_by_role("button", name="Delete this home volume")
    admin.dialog.get_by_label(f"Type {name} to confirm").fill("admin")
    expect(confirm).to_be_disabled()
    assert person_with_server.stack.volume_exists(person_with_server.volume("home"))
    assert_accessible_here(admin, "question of a reset")
    admin.dialog.get_by_label(f"Type {name} to confirm").fill(name)
    confirm.click()
    expect(admin.notice).to_contain_text(f"{person_with_server.volume('home')} of {name} was deleted", timeout=60_000)
    assert not person_with_server.stack.volume_exists(person_with_server.volume("home"))
    expect(row).to_contain_text("Reset of home, done")
    expect(row).to_contain_text("none yet")
    row.get_by_role("button", name=f"History of {name}").click()
    expect(admin.history).to_have_count(2)
    expect(admin.history.first).to_contain_text("user:admin")
    assert_accessible_here(admin, "history")
    admin.page.get_by_label("What").select_option("Restarts")
    expect(admin.history).to_have_count(1)
    expect(admin.history).to_contain_text("Restart")
    admin.page.get_by_label("Done by").fill(name)
    admin.page.get_by_role("button", name="Show", exact=True).click()
    expect(admin.history).to_have_count(0)
    expect(admin.page.get_by_text("No matching operations.")).to_be_visible()


def test_many_servers_are_restarted_a_few_at_a_time_until_stopped(admin: Admin) -> None:
    """Stop begins no more and waits for those under way; what was left out can be gone on with; failures are listed."""
    held = Held()
    with admin.running_servers(4) as names:
        before = {name: admin.started_at(name) for name in names}
        admin.page.route("**/restart-server", held.hold)
        admin.page.get_by_role("button", name="Select all running servers that match").click()
        admin.page.get_by_role("button", name="Restart selected (4)").click()
        expect(admin.dialog).to_contain_text(names[0])
        assert_accessible_here(admin, "question of many")
        admin.dialog.get_by_role("button", name="Restart them").click()
        expect(admin.many).to_contain_text("0 of 4 restarted, 0 failed, 4 left.")
        expect(admin.row(names[3])).to_contain_text("waiting for another operation")
        assert_accessible_here(admin, "restarting many")
        assert len(held.routes) == 3
        admin.many.get_by_role("button", name="Stop after current restarts").click()
        expect(admin.many).to_contain_text("Stopping: 3 are still under way.")
        held.let_go()
        finished = "Finished: 3 of 4 restarted, 0 failed, 1 skipped."
        expect(admin.many).to_contain_text(finished, timeout=SERVER_STARTS_MILLISECONDS)
        assert [admin.started_at(name) != before[name] for name in names] == [True, True, True, False]
        expect(admin.row(names[3])).to_contain_text("skipped")
        assert_accessible_here(admin, "summary of many")
        admin.page.unroute("**/restart-server")
        refusal = {"status": 503, "message": "Nothing was changed.", "reason": "AGENT_UNREACHABLE", "request_id": "r-1"}
        admin.page.route("**/restart-server", lambda route: route.fulfill(status=503, json=refusal))
        admin.many.get_by_role("button", name="Retry failed and skipped servers").click()
        admin.dialog.get_by_role("button", name="Restart them").click()
        expect(admin.many).to_contain_text("Finished: 0 of 1 restarted, 1 failed, 0 skipped.")
        expect(admin.many.get_by_role("listitem")).to_contain_text(f"{names[3]}: Nothing was changed. Reference")
        assert_accessible_here(admin, "failures of many")
