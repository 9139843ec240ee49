"""Resets by the real agent on the real engine: what is gone, what stays, and what is on the record."""

from __future__ import annotations

import asyncio

import pytest
from support.agent.client import client, refusal_of
from support.agent.harness import STUBBORN, Bed
from support.agent.process import Place, serving
from support.docker.private_engine import Workbench
from support.waiting.conditions import until


class TestReset:
    async def test_only_the_home_and_own_stopped_containers_go(self, bed: Bed) -> None:
        """Home and stopped container are gone; workspace, cache, and another user's things are as they were."""
        mounts = {f"{bed.container}_{kind}": f"/{kind}" for kind in ("home", "workspace", "cache")}
        for volume in mounts:
            bed.bench.volume(volume)
        other = f"{bed.container}x"
        bed.bench.volume(f"{other}_home")
        bed.bench.container(other, mounts={f"{other}_home": "/home"})
        made = bed.bench.container(bed.container, mounts=mounts)
        made.kill()
        made.wait()
        answer = await bed.reset(expected_volume=bed.home)
        assert (answer.volume, list(answer.removed_containers)) == (bed.home, [bed.container])
        assert not bed.exists(bed.home)
        assert bed.exists(f"{bed.container}_workspace")
        assert bed.exists(f"{bed.container}_cache")
        assert bed.exists(f"{other}_home")
        assert {one.name for one in bed.bench.client.containers.list(all=True)} & {bed.container, other} == {other}
        assert bed.records() == [("intent", ""), ("outcome", "")]

    @pytest.mark.parametrize("paused", [False, True])
    async def test_a_running_server_keeps_its_home(self, bed: Bed, *, paused: bool) -> None:
        """SERVER_RUNNING, also when paused, and even when somebody else holds the volume too."""
        bed.bench.volume(bed.home)
        bed.bench.container(f"job-{bed.user}", mounts={bed.home: "/data"})
        made = bed.bench.container(bed.container, mounts={bed.home: "/home"})
        if paused:
            made.pause()
        assert (await refusal_of(bed.reset())).reason == "SERVER_RUNNING"
        made.reload()
        assert made.status == ("paused" if paused else "running")
        if paused:
            made.unpause()

    @pytest.mark.parametrize("start", [False, True])
    async def test_a_foreign_holder_is_named(self, bed: Bed, *, start: bool) -> None:
        """VOLUME_IN_USE with its name, running or only created; nothing of either is removed."""
        bed.bench.volume(bed.home)
        job = bed.bench.container(f"job-{bed.user}", mounts={bed.home: "/data"}, start=start)
        refusal = await refusal_of(bed.reset())
        assert (refusal.reason, refusal.metadata["holders"]) == ("VOLUME_IN_USE", job.name)
        assert bed.exists(bed.home)
        job.reload()

    @pytest.mark.parametrize("start", [False, True])
    async def test_a_swarm_task_holds_the_home(self, bed: Bed, *, start: bool) -> None:
        """When the user's container belongs to a Swarm task it is foreign in any state: VOLUME_IN_USE, and it stays."""
        bed.bench.volume(bed.home)
        labels = {"com.docker.swarm.task.id": "q9v1mb5k2h0c"}
        task = bed.bench.container(bed.container, mounts={bed.home: "/home"}, labels=labels, start=start)
        refusal = await refusal_of(bed.reset())
        assert (refusal.reason, refusal.metadata["holders"]) == ("VOLUME_IN_USE", bed.container)
        task.reload()
        assert bed.exists(bed.home)

    async def test_no_volume(self, bed: Bed) -> None:
        """When the user has no home volume, a reset is VOLUME_NOT_FOUND."""
        assert (await refusal_of(bed.reset())).reason == "VOLUME_NOT_FOUND"

    async def test_a_host_folder_that_calls_itself_a_volume(self, bed: Bed) -> None:
        """VOLUME_NOT_LOCAL: removing it would erase nothing."""
        options = {"type": "none", "o": "bind", "device": "/srv"}
        bed.bench.volume(bed.home, driver_opts=options)
        assert (await refusal_of(bed.reset())).reason == "VOLUME_NOT_LOCAL"
        assert bed.exists(bed.home)

    async def test_labels_come_back(self, bed: Bed) -> None:
        """What an operator gave the volume is there again; it is another volume, empty."""
        bed.bench.volume(bed.home, labels={"quota": "5g"})
        bed.bench.container(bed.container, "touch /home/file", mounts={bed.home: "/home"}).wait()
        await bed.reset()
        assert bed.bench.client.volumes.get(bed.home).attrs["Labels"] == {"quota": "5g"}
        look = bed.bench.container(f"look-{bed.user}", "test ! -e /home/file", mounts={bed.home: "/home"})
        assert look.wait()["StatusCode"] == 0

    async def test_driver_and_options_come_back(self, place: Place, bench: Workbench) -> None:
        """Also of a volume that is more than a folder of Docker's, where policy lets one be reset."""
        options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
        place.write("[reset]\nallow_non_local = true\n")
        with serving(place) as agent:
            async with client(place.socket) as stub:
                bed = Bed(agent, bench, stub, bench.username())
                before = bench.volume(bed.home, driver_opts=options, labels={"quota": "1m"}).attrs
                await bed.reset()
        after = bench.client.volumes.get(bed.home).attrs
        for what in ("Driver", "Options", "Labels"):
            assert after[what] == before[what]
        assert after["Options"] == options

    async def test_validate_only(self, bed: Bed) -> None:
        """Says what would go, and nothing goes and nothing is written."""
        bed.bench.volume(bed.home)
        bed.bench.container(bed.container, "true", mounts={bed.home: "/home"}).wait()
        answer = await bed.reset(validate_only=True)
        assert (answer.volume, list(answer.removed_containers)) == (bed.home, [bed.container])
        assert bed.exists(bed.home)
        assert bed.records() == []

    async def test_a_reset_during_a_restart(self, bed: Bed) -> None:
        """OPERATION_IN_PROGRESS while the container is between stop and start; the home is whole."""
        bed.bench.volume(bed.home)
        bed.bench.container(bed.container, STUBBORN, mounts={bed.home: "/home"})
        restarting = asyncio.ensure_future(bed.restart(stop_timeout=3))
        await until(bed.agent.place.audit, "the intent is written")
        while not restarting.done():
            refusal = await refusal_of(bed.reset())
            assert refusal.reason in {"OPERATION_IN_PROGRESS", "SERVER_RUNNING"}
        await restarting
        assert bed.exists(bed.home)
