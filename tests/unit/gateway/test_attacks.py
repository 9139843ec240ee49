"""Every attack of the corpus against a gateway over the fake engine: decoding and policy alone refuse it, by name."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from hubwarden_agent.gateway.refusals import STATUS
from hubwarden_agent.rates import parse_rate
from support.agent.gateway import IMAGE, POLICY, GatewayStage, serving_gateway
from support.fakes.engine import FakeEngine
from support.scenarios.attacks.case import TWIN, Case, Request
from support.scenarios.attacks.corpus import CORPUS
from support.scenarios.attacks.judge import judge_attack, judge_twin, needs_own_container
from support.scenarios.attacks.options import named

FOLDER, FOREIGN, VICTIM = "/srv/shared", "somebodys-data", "somebody"


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    """An engine with the policy's image, and somebody else's container and volume."""
    engine = FakeEngine()
    engine.add_image(IMAGE)
    engine.add_volume(FOREIGN)
    engine.add_container(VICTIM)
    return engine


@pytest.fixture(scope="module")
def stage(engine: FakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayStage]:
    """A gateway for all cases, with every option of the policy in use and room for many creates."""
    policy = replace(POLICY, max_containers=10_000, max_creates=parse_rate("10000/minute"), publish="127.0.0.1")
    with serving_gateway(engine, tmp_path_factory.mktemp("attacks"), spawn=named(policy, FOLDER)) as stage:
        yield stage


def _tokens(engine: FakeEngine) -> dict[str, str]:
    """What the tokens of a case stand for, with a user that no other case has."""
    user = f"user{uuid.uuid4().hex[:10]}"
    victim = next(one for one in engine.containers.values() if one.name == VICTIM)
    return {
        "user": user,
        "own": f"jupyterlab-{user}",
        "own_id": "",
        "image": IMAGE,
        "victim": VICTIM,
        "victim_id": victim.id.value,
        "victim_image_id": engine.images[IMAGE].id,
        "foreign": FOREIGN,
        "folder": FOLDER,
    }


def _prepare(engine: FakeEngine, request: Request, tokens: Mapping[str, str]) -> None:
    """Do what somebody had asked the engine for before: every preparation of the corpus makes a volume."""
    assert request.target == "/v1.44/volumes/create"
    body = json.loads(request.encoded(tokens).partition(b"\r\n\r\n")[2])
    engine.add_volume(body["Name"], options=body["DriverOpts"])


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
async def test_an_attack_is_refused(stage: GatewayStage, engine: FakeEngine, case: Case) -> None:
    """When an attack is sent it is refused as the case says, the engine is asked for no change, and its twin passes."""
    tokens = _tokens(engine)
    stage.clock.advance(60)
    if case.prepare:
        _prepare(engine, case.prepare, tokens)
    if needs_own_container(case):
        tokens["own_id"] = (await stage.raw(TWIN.encoded(tokens))).json["Id"]
    engine.calls.clear()
    stage.audit.lines.clear()
    reply = await stage.raw(case.attack.encoded(tokens))
    judge_attack(case, reply)
    assert engine.calls == []
    assert [STATUS[line.reason] for line in stage.audit.lines if line.reason] in ([], [reply.status])
    judge_twin(case, await stage.raw(case.twin.encoded(tokens)))


def test_the_corpus_is_large_and_its_names_are_its_own() -> None:
    """At least six hundred and fifty attacks, no two with one name, and each says what it would have gained."""
    assert len(CORPUS) >= 650
    assert [name for name, times in Counter(case.name for case in CORPUS).items() if times > 1] == []
    assert all(case.gain for case in CORPUS)
    assert all(case.attack != case.twin for case in CORPUS)
