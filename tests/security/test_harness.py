"""The corpus can fail: a case with a typo, a twin that does not go through, an attack that is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from support.agent.gateway import Reply
from support.scenarios.attacks.case import TWIN, Case, Request, Says, body, create, host, top
from support.scenarios.attacks.endpoints import CASES as ENDPOINTS
from support.scenarios.attacks.harness import AttackHarness
from support.scenarios.attacks.judge import AttackError

PRIVILEGED = host("Privileged", value=True, gain="root on the host")
LOGS = next(case for case in ENDPOINTS if "/logs" in case.name)
MISTAKES: tuple[tuple[str, Case, str], ...] = (
    ("a key that Docker does not know", host("Privilegd", value=True, gain="-"), "the engine itself shows"),
    ("a value of no effect", top("User", value="", gain="-", control=PRIVILEGED.control), "the engine itself shows"),
    ("a path that Docker does not have", replace(LOGS, attack=Request("GET", "/v1.44/log")), "the engine itself says"),
    ("an attack that goes through", replace(PRIVILEGED, attack=TWIN, control=Says(201)), "got 201"),
    ("another status", replace(PRIVILEGED, status=403), "got 400"),
    ("another field", replace(PRIVILEGED, names="HostConfig.Binds"), "does not name"),
    ("a twin that is refused", replace(PRIVILEGED, twin=PRIVILEGED.attack), "the twin got 400"),
    ("a preparation that fails", replace(PRIVILEGED, prepare=Request("POST", "/v1.44/x")), "nothing to attack"),
)


@pytest.mark.parametrize(("case", "noticed"), [(case, noticed) for _, case, noticed in MISTAKES],
                         ids=[name for name, _, _ in MISTAKES])  # fmt: skip
async def test_a_mistake_in_a_case_is_noticed(attacks: AttackHarness, case: Case, noticed: str) -> None:
    """When a case would pass for the wrong reason, it does not pass."""
    with pytest.raises(AttackError, match=noticed):
        await attacks.run(case)


async def test_the_mistakes_of_all_cases_are_in_one_error(attacks: AttackHarness) -> None:
    """When two of three cases do not hold, both are named and the third is not."""
    first, second = (replace(PRIVILEGED, name=name, status=403) for name in ("first", "second"))
    with pytest.raises(AttackError) as raised:
        await attacks.run(first, PRIVILEGED, second)
    assert [line.partition(":")[0] for line in str(raised.value).splitlines()] == ["first", "second"]


async def test_a_change_behind_a_refusal_is_noticed(attacks: AttackHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """When one attack of five is refused and done all the same, the snapshots differ and bisection names that one."""
    leaking = replace(PRIVILEGED, name="leaking", attack=create(body(host={"Privileged": True, "Memory": 0})))
    through = attacks._through  # noqa: SLF001 - the harness is what is tested

    async def leaky(request: Request, tokens: Mapping[str, str]) -> Reply:
        if request is leaking.attack:
            await attacks.engine(request.encoded(tokens))
        return await through(request, tokens)

    monkeypatch.setattr(attacks, "_through", leaky)
    harmless = [replace(PRIVILEGED, name=f"harmless {number}") for number in range(4)]
    with pytest.raises(AttackError) as raised:
        await attacks.run(*harmless[:3], leaking, harmless[3])
    assert "leaking: refused, and yet the engine is not what it was" in str(raised.value)
    assert "harmless" not in str(raised.value)
