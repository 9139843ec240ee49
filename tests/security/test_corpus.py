"""Every attack of the corpus, by what the engine shows of it as well as by the answer."""

from __future__ import annotations

from collections import Counter

import pytest
from support.scenarios.attacks import (
    endpoints,
    host_mounts,
    identity,
    namespaces,
    options,
    parsing,
    privilege,
    resources,
)
from support.scenarios.attacks.case import Case
from support.scenarios.attacks.harness import Field

FAMILIES = (host_mounts, namespaces, privilege, resources, options, identity, endpoints, parsing)
CORPUS: tuple[Case, ...] = tuple(case for family in FAMILIES for case in family.CASES)


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
async def test_attack(ground: Field, case: Case) -> None:
    """The engine would do it; through the gateway it is refused by name, changes nothing, and its twin goes through."""
    await ground.run(case)


def test_the_corpus_is_large_and_its_names_are_its_own() -> None:
    """At least four hundred attacks, no two with one name, and each says what it would have gained."""
    assert len(CORPUS) >= 400
    assert [name for name, times in Counter(case.name for case in CORPUS).items() if times > 1] == []
    assert all(case.gain for case in CORPUS)
    assert all(case.attack != case.twin for case in CORPUS)
