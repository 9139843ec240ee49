"""A start that the agent's policy refuses: a plain sentence for the user, and an id to find the rest by."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import jupyterhub
import pytest
from support.jupyterhub.people import Person
from support.jupyterhub.stack import Agent, Hub

pytestmark = pytest.mark.every_hub

SENTENCE = "This server cannot be started with these settings. Ask an administrator for help. (Request "


def test_a_refused_start_is_explained(
    agent: Agent, make_hub: Callable[..., Hub], make_person: Callable[..., Person]
) -> None:
    """On the spawn page, in the progress and in the API's answer; field, key and value are in the logs only."""
    hub = make_hub(agent, lines_before=['c.DockerSpawner.extra_create_kwargs = {"user": "4242"}'])
    hub.start()
    person = make_person(hub)
    answer = person.operator.post(f"{person.path}/server")
    browser = hub.browser(person.name)
    page = browser.get(f"hub/spawn-pending/{person.name}")
    told = [page.text, person.operator.get(f"{person.path}/server/progress").text]
    if jupyterhub.__version__.startswith("6."):  # before, the answer says "error", whatever the exception says
        told.append(answer.text)
    for text in told:
        assert SENTENCE in text
        assert "spawn.allow" not in text
    request_id = re.findall(r"\(Request ([0-9a-f-]{36})\)", page.text)[0]
    assert "User (text) is not one that the policy lists (spawn.allow)" in hub.process.log.read_text()
    lines = [json.loads(line) for line in agent.process.log.read_text().splitlines() if request_id in line]
    (refused,) = [line for line in lines if line.get("value")]
    assert "4242" in refused["value"]
    assert not person.bench.client.containers.list(all=True, filters={"name": person.container_name})
