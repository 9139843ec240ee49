"""The corpus can fail: a case with a typo, a twin that does not go through, an attack that is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.scenarios.attacks.case import TWIN, Case, Request, Says, host, top
from support.scenarios.attacks.endpoints import CASES as ENDPOINTS
from support.scenarios.attacks.harness import AttackError, Field

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
async def test_a_mistake_in_a_case_is_noticed(ground: Field, case: Case, noticed: str) -> None:
    """A case that would pass for the wrong reason does not pass."""
    with pytest.raises(AttackError, match=noticed):
        await ground.run(case)


async def test_a_change_behind_a_refusal_is_noticed(ground: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were an attack refused and done all the same, the engine's own account of itself would tell."""
    through = ground._through  # noqa: SLF001 - the harness is what is tested

    async def leaky(request: Request, own: str) -> object:
        if request is PRIVILEGED.attack:
            await ground.engine(request.encoded(ground.tokens))
        return await through(request, own)

    monkeypatch.setattr(ground, "_through", leaky)
    with pytest.raises(AttackError, match="not what it was"):
        await ground.run(PRIVILEGED)
