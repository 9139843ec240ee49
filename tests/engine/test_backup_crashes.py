"""An agent that is killed at any step of a backup and the removal after it loses nothing.

At every moment either the volume or a verified backup holds every byte. The kill is exact: a relay between the agent
and Docker makes it before, during or after a request (`support.docker.relay`).
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hubwarden_agent.names import ImageId
from hubwarden_agent.tools.audit import verify
from support.docker.private_engine import Workbench
from support.docker.relay import Point
from support.scenarios.backed_up_home import THESIS, Backed, backed

HELPER, ATTACH, REMOVE = "/containers/create", "/attach", "DELETE /.*/containers/"
DELETE, CREATE = "DELETE /.*/volumes/", "/volumes/create"
POINTS = [
    Point("during", HELPER),  # there is a helper that the agent never heard of
    Point("before", ATTACH),
    Point("during", ATTACH),  # some of the tar was read
    Point("after", ATTACH),  # all of it was, and its end was not seen
    Point("after", REMOVE),  # the helper's: the backup is not in place
    Point("before", REMOVE, 2),  # the server's: it is
    Point("before", DELETE),
    Point("during", DELETE),
    Point("before", CREATE),
    None,
]


@pytest.fixture
async def case(tmp_path: Path, bench: Workbench, helper_image: ImageId) -> AsyncIterator[Backed]:
    """A home, and an agent that requires backups."""
    async with backed(tmp_path, bench, helper_image.value) as case:
        yield case


@pytest.mark.parametrize("point", POINTS, ids=str)
async def test_a_reset_with_a_backup_that_is_cut_off(case: Backed, point: Point | None) -> None:
    """Nothing is lost, the record is true, and the next start leaves no helper and no part of a backup."""
    assert await case.killed_at(point, case.reset()) == ("UNREACHABLE" if point else "ok")
    kept = [case.in_backup(backup_id) for backup_id in case.store.ids()]
    assert case.in_volume() == THESIS or kept == [THESIS]
    assert case.relay.unrecorded == []

    await case.agent.start()

    assert case.helpers() == []
    assert all(path.suffix in {".zst", ".json"} for path in case.store.directory.iterdir())
    assert len(list(case.store.directory.iterdir())) == 2 * len(kept)
    reason, answer = await case.reset()
    if point is None:
        assert (reason, [answer.backup_id]) == ("ok", [one.value for one in case.store.ids()])
    else:
        assert reason == "INTERRUPTED"
    assert len(case.recorded("outcome")) == 1
    assert list(verify(case.agent.audit, []))[-1].startswith("whole from 1 ")
    there = case.in_volume() == THESIS
    reason, answer = await case.reset(str(uuid.uuid4()))
    assert reason in ("ok", "VOLUME_NOT_FOUND")
    assert THESIS in [case.in_backup(backup_id) for backup_id in case.store.ids()]
    assert not there or (reason == "ok" and answer.backup_id)
