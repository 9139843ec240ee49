"""The attack corpus by effect: the engine itself would do it, and through the gateway nothing comes of it.

The unit suite runs every case against decoding and policy; here each field is shown once, and all variants in full.
"""

from __future__ import annotations

import pytest
from support.scenarios.attacks.corpus import FIRST, REST
from support.scenarios.attacks.harness import AttackHarness


@pytest.mark.parametrize("family", FIRST)
async def test_one_attack_for_each_field(attacks: AttackHarness, family: str) -> None:
    """The engine would do it; through the gateway it is refused by name, changes nothing, and its twin goes through."""
    await attacks.run(*FIRST[family])


@pytest.mark.full
@pytest.mark.slow("proves each of up to 80 attacks on the engine itself, one after the other")
@pytest.mark.parametrize("family", REST)
async def test_every_other_attack(attacks: AttackHarness, family: str) -> None:
    """When any further attack on the same fields is sent, it is refused and nothing changes in Docker."""
    await attacks.run(*REST[family])
