"""Restarts by the real agent on the real engine: what changed, what did not, and what is on the record."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from support.agent.client import PATIENCE, client, refusal_of, restart_request
from support.agent.harness import STUBBORN, Bed
from support.agent.process import Place, serving
from support.docker.private_engine import Workbench
from support.waiting.conditions import until, wait_for


class TestRestart:
    @pytest.mark.parametrize("auto_remove", [False, True])
    async def test_the_same_container_runs_again(self, bed: Bed, *, auto_remove: bool) -> None:
        """Same id, a later start, its files, the addresses and ports that it has now; AutoRemove or not."""
        made = bed.bench.container(bed.container, auto_remove=auto_remove, ports={"8888/tcp": ("127.0.0.1", None)})
        made.exec_run(["touch", "/root-file"])
        before = made.attrs["State"]["StartedAt"]
        answer = await bed.restart()
        made.reload()
        assert (answer.container, answer.container_id) == (bed.container, made.id)
        assert made.attrs["State"]["Running"]
        assert made.attrs["State"]["StartedAt"] > before
        assert made.exec_run(["test", "-e", "/root-file"]).exit_code == 0
        networks = made.attrs["NetworkSettings"]["Networks"]
        assert dict(answer.addresses) == {name: network["IPAddress"] for name, network in networks.items()}
        (binding,) = made.attrs["NetworkSettings"]["Ports"]["8888/tcp"]
        assert [(port.host_ip, str(port.host_port)) for port in answer.ports] == [
            (binding["HostIp"], binding["HostPort"])
        ]
        assert bed.records() == [("intent", ""), ("outcome", "")]

    @pytest.mark.parametrize("labelled", [True, False])
    @pytest.mark.parametrize(("target", "reason"), [("/home/jovyan", ""), ("/home/jovyan/a/dev", "NAME_MISMATCH")])
    async def test_one_that_an_older_policy_allowed(
        self, place: Place, bench: Workbench, target: str, reason: str, *, labelled: bool
    ) -> None:
        """When a server mounts its home elsewhere than the policy, it is refused and runs on, labelled or not."""
        place.write("", f'gateway = "unix://{place.directory}/docker.sock"')
        with serving(place) as agent:
            async with client(place.socket) as stub:
                bed = Bed(agent, bench, stub, bench.username())
                owner = {
                    "hubwarden.owner": bed.user,
                    "hubwarden.server": "",
                    "hubwarden.agent": "jupyterlab-{username}",
                }
                bench.volume(bed.home)
                made = bench.container(bed.container, mounts={bed.home: target}, labels=owner if labelled else {})
                before = made.attrs["State"]["StartedAt"]
                if reason:
                    assert (await refusal_of(bed.restart())).reason == reason
                else:
                    await bed.restart()
        made.reload()
        assert (made.attrs["State"]["StartedAt"] == before) is bool(reason)
        assert made.attrs["State"]["Running"]

    async def test_one_that_ignores_sigterm_is_killed(self, bed: Bed) -> None:
        """When a server ignores SIGTERM, it is killed after the stop timeout and runs again."""
        made = bed.bench.container(bed.container, STUBBORN)
        answer = await bed.restart(stop_timeout=1)
        made.reload()
        assert (made.attrs["State"]["Running"], made.id) == (True, answer.container_id)

    async def test_a_paused_one(self, bed: Bed) -> None:
        """Paused counts as running, and runs afterwards."""
        made = bed.bench.container(bed.container)
        made.pause()
        await bed.restart(stop_timeout=1)
        made.reload()
        assert made.status == "running"

    @pytest.mark.parametrize("state", ["created", "exited", "missing"])
    async def test_one_that_does_not_run_is_not_started(self, bed: Bed, state: str) -> None:
        """SERVER_NOT_RUNNING or CONTAINER_NOT_FOUND, and it is as it was."""
        made = None if state == "missing" else bed.bench.container(bed.container, start=state == "exited")
        if made is not None and state == "exited":
            made.kill()
            made.wait()
        refusal = await refusal_of(bed.restart())
        assert refusal.reason == ("CONTAINER_NOT_FOUND" if made is None else "SERVER_NOT_RUNNING")
        if made is not None:
            made.reload()
            assert made.status == state
        assert bed.records() == [("denied", refusal.reason)]

    async def test_somebody_elses(self, bed: Bed) -> None:
        """The right name with another owner's label: NOT_OWNED, untouched."""
        made = bed.bench.container(bed.container, labels={"hubwarden.owner": "mallory"})
        assert (await refusal_of(bed.restart())).reason == "NOT_OWNED"
        started = made.attrs["State"]["StartedAt"]
        made.reload()
        assert made.attrs["State"]["StartedAt"] == started

    async def test_a_swarm_tasks_container(self, bed: Bed) -> None:
        """When the user's container belongs to a Swarm task, MANAGED_ELSEWHERE, also if only validated; it runs on."""
        made = bed.bench.container(bed.container, labels={"com.docker.swarm.task.id": "q9v1mb5k2h0c"})
        started = made.attrs["State"]["StartedAt"]
        for validate_only in (True, False):
            refusal = await refusal_of(bed.restart(validate_only=validate_only))
            assert (refusal.reason, refusal.metadata["container"]) == ("MANAGED_ELSEWHERE", bed.container)
        made.reload()
        assert made.attrs["State"]["StartedAt"] == started

    @pytest.mark.parametrize("auto_remove", [False, True])
    async def test_one_that_cannot_start_again(self, bed: Bed, *, auto_remove: bool) -> None:
        """RESTART_FAILED: an AutoRemove container is deleted by Docker then, another one is left stopped."""
        vanishes = "mv /bin/sh /bin/gone; trap 'exit 0' TERM; while :; do :; done"
        made = bed.bench.container(bed.container, vanishes, auto_remove=auto_remove)
        wait_for(lambda: made.exec_run(["busybox", "test", "-e", "/bin/gone"]).exit_code == 0, "the shell is gone")
        refusal = await refusal_of(bed.restart(stop_timeout=1))
        assert (refusal.reason, refusal.metadata["container"]) == ("RESTART_FAILED", bed.container)
        assert "/bin/sh" not in refusal.everything
        assert bed.records() == [("intent", ""), ("outcome", "RESTART_FAILED")]

    async def test_a_name_is_not_the_beginning_of_an_id(self, bed: Bed) -> None:
        """Docker finds a container by a few digits of its id; the agent must not, whatever the template."""
        victim = bed.bench.container(f"victim-{bed.user}")
        place = bed.agent.place
        place.write(f'[names]\ncontainer = "{victim.id[0]}{{username}}"\nnamed_container = ""\n')
        bed.agent.terminate()
        bed.agent.process.wait(PATIENCE)
        with serving(place, "second"):
            async with client(place.socket) as stub:
                request = restart_request(victim.id[1:20])
                assert (
                    await refusal_of(stub.RestartContainer(request, timeout=PATIENCE))
                ).reason == "CONTAINER_NOT_FOUND"

    async def test_six_stubborn_ones_hold_nobody_up(self, bed: Bed) -> None:
        """While six restarts wait for SIGKILL, a validation is answered: all six are still under way then."""
        users = [bed.bench.username() for _ in range(6)]
        made = [bed.bench.container(f"jupyterlab-{user}", STUBBORN) for user in users]
        started = [container.attrs["State"]["StartedAt"] for container in made]
        bed.bench.container(bed.container)
        slow = [
            asyncio.ensure_future(bed.stub.RestartContainer(restart_request(user, stop_timeout=15), timeout=PATIENCE))
            for user in users
        ]
        await until(lambda: len(bed.agent.place.audit()) == 6, "six intents")
        answer = await bed.restart(validate_only=True)
        assert answer.container == bed.container
        for container in made:  # what Docker shows, since an answer that waited its turn could overtake theirs
            container.reload()
        assert [container.attrs["State"]["StartedAt"] for container in made] == started
        assert not any(call.done() for call in slow)
        for container in made:  # SIGKILL from outside ends the wait
            container.kill()
        await asyncio.gather(*slow)

    async def test_a_replay(self, bed: Bed) -> None:
        """The same id: the same answer, and one restart."""
        made = bed.bench.container(bed.container)
        identifier = str(uuid.uuid4())
        first = await bed.restart(request_id=identifier)
        made.reload()
        started = made.attrs["State"]["StartedAt"]
        assert await bed.restart(request_id=identifier) == first
        made.reload()
        assert made.attrs["State"]["StartedAt"] == started
