"""Which credentials at a server end with a restart, and which do not."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from support.jupyterhub.people import Person
from support.jupyterhub.stack import Hub

pytestmark = pytest.mark.every_hub


def environment(person: Person) -> dict[str, str]:
    """The environment of the user's container."""
    return dict(line.split("=", 1) for line in person.container().attrs["Config"]["Env"])


def browser_session(hub: Hub, person: Person) -> str:
    """Go through the server's OAuth login as a browser and the server do; the session's token."""
    server = environment(person)
    redirect_uri = server["JUPYTERHUB_OAUTH_CALLBACK_URL"]
    client_id = server["JUPYTERHUB_CLIENT_ID"]
    browser = hub.browser(person.name)
    browser.follow_redirects = False
    query = {"client_id": client_id, "redirect_uri": redirect_uri, "response_type": "code", "state": "s"}
    redirected = browser.get("hub/api/oauth2/authorize", params=query)
    code = parse_qs(urlsplit(redirected.headers["Location"]).query)["code"][0]
    form = {
        "client_id": client_id,
        "client_secret": server["JUPYTERHUB_API_TOKEN"],
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
    }
    answer = httpx.post(f"{hub.address}hub/api/oauth2/token", data=form)
    answer.raise_for_status()
    return str(answer.json()["access_token"])


def test_old_sessions_end_and_the_servers_own_token_stays(hub: Hub, person: Person) -> None:
    """A session from before the restart is nobody's; the server still is who it was, and sessions begin anew."""
    person.start()
    session = browser_session(hub, person)
    own = environment(person)["JUPYTERHUB_API_TOKEN"]
    assert hub.client(session).get("user").json()["name"] == person.name
    assert person.restart().status_code == 200
    assert hub.client(session).get("user").status_code == 403
    assert environment(person)["JUPYTERHUB_API_TOKEN"] == own
    assert hub.client(own).get("user").json()["name"] == person.name
    assert hub.client(browser_session(hub, person)).get("user").json()["name"] == person.name


def test_a_refused_restart_ends_no_session(hub: Hub, person: Person) -> None:
    """Somebody who may not restart the server logs nobody out."""
    person.start()
    session = browser_session(hub, person)
    assert person.restart(person.client("read:users!user")).status_code == 403
    assert hub.client(session).get("user").status_code == 200
