"""The attack corpus as a whole: every family, and the selections that the suites run.

Invariants: `FIRST` and `REST` of a family together are the family. `FIRST` has one case for each field that the family
attacks, so each refusal of the gateway is shown by effect in `make test`; `REST` has the variants.
"""

from __future__ import annotations

from collections.abc import Mapping

from support.scenarios.attacks import (
    confusion,
    endpoints,
    framing,
    host_mounts,
    identity,
    namespaces,
    options,
    parsing,
    privilege,
    resources,
)
from support.scenarios.attacks.case import Case

Families = Mapping[str, tuple[Case, ...]]

FAMILIES: Families = {
    family.__name__.rpartition(".")[2]: family.CASES
    for family in (
        *(host_mounts, namespaces, privilege, resources, options, identity, endpoints, parsing),
        *(framing, confusion),
    )
}
CORPUS: tuple[Case, ...] = tuple(case for cases in FAMILIES.values() for case in cases)


def one_for_each_field(cases: tuple[Case, ...]) -> tuple[Case, ...]:
    """The first case for each field and status that a refusal names."""
    return tuple({(case.names, case.status): case for case in reversed(cases)}.values())[::-1]


FIRST: Families = {name: one_for_each_field(cases) for name, cases in FAMILIES.items()}
REST: Families = {name: tuple(one for one in cases if one not in FIRST[name]) for name, cases in FAMILIES.items()}
