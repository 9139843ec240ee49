"""The two methods as a client sees them, over a real gRPC connection to a fake engine."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import threading
import uuid
from pathlib import Path
from typing import Any

import grpc
import pytest
from hubwarden.v1 import agent_pb2
from hubwarden_agent.config import ResetPolicy
from hubwarden_agent.engine.port import ContainerState, EngineError, PublishedPort
from hubwarden_agent.errors import ERROR_TABLE, ErrorDetails, Reason, RequestRefused
from hubwarden_agent.grpc_limits import MAX_MESSAGE_BYTES
from hubwarden_agent.operations.requests import ResetResult, RestartRequest
from hubwarden_agent.service import reset_message, status
from support.agent.client import PATIENCE, refusal_of, restart_request
from support.agent.core import CONTAINER, HOME, SECRET, AgentStage
from support.agent.in_process import Served, serving
from support.fakes.engine import home_of
from support.waiting.conditions import until


class TestRefusals:
    @pytest.mark.parametrize("reason", Reason)
    async def test_every_reason_arrives(self, tmp_path: Path, reason: Reason) -> None:
        """Code, sentence, domain, reason, request id, and a RetryInfo where waiting helps."""

        class Refuses:
            def restart(self, command: RestartRequest) -> Any:
                raise RequestRefused(
                    reason, detail=ErrorDetails(container=str(command.username)), retry_after=1.2
                ) from None

        stage = AgentStage()
        stage.service._restarter = Refuses()  # noqa: SLF001 - an operation that raises what no real one raises
        request = restart_request()
        async with serving(stage, tmp_path) as served:
            refusal = await refusal_of(served.stub.RestartContainer(request, timeout=PATIENCE))
        assert refusal.code.name == ERROR_TABLE[reason][0].name
        assert (refusal.reason, refusal.message) == (reason.value, ERROR_TABLE[reason][1])
        assert refusal.metadata == {"container": "alice", "request_id": request.request_id}
        assert refusal.retry_after == 2

    def test_no_retry_info_where_waiting_does_not_help(self) -> None:
        """When waiting does not help, the refusal has an ErrorInfo and no RetryInfo."""
        assert len(status(RequestRefused(Reason.NOT_OWNED), "").details) == 1

    async def test_dockers_words_stay_inside(self, served: Served, caplog: pytest.LogCaptureFixture) -> None:
        """Unavailable or failing, before and after the intent: our sentence to the client, Docker's to the log."""
        caplog.set_level(logging.INFO)
        served.stage.engine.add_container(CONTAINER)
        served.stage.engine.fail_next["restart_container"] = EngineError(SECRET)
        failing = await refusal_of(served.restart())
        served.stage.engine.available = False
        away = [await refusal_of(served.restart()), await refusal_of(served.reset())]
        assert [refusal.reason for refusal in (failing, *away)] == ["DOCKER_ERROR", *["DOCKER_UNAVAILABLE"] * 2]
        assert all(SECRET not in refusal.everything for refusal in (failing, *away))
        assert SECRET not in str(served.stage.audit.lines)
        assert any(SECRET in str(vars(record)) for record in caplog.records)

    @pytest.mark.parametrize("where", ["container", "restart_container"])
    async def test_a_bug_says_nothing(self, served: Served, where: str) -> None:
        """An uncaught exception is DOCKER_ERROR with our sentence, whether before or after the intent."""
        served.stage.engine.add_container(CONTAINER)

        def bug() -> None:
            raise RuntimeError("SECRET of a bug")

        served.stage.engine.before[where] = bug
        refusal = await refusal_of(served.restart())
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.INTERNAL, "DOCKER_ERROR")
        assert "SECRET" not in refusal.everything
        served.stage.engine.before.clear()
        await served.restart()

    async def test_holders_are_named(self, served: Served) -> None:
        """VOLUME_IN_USE says by whom, and still arrives when there are hundreds."""
        served.stage.engine.add_volume(HOME)
        for number in range(300):
            served.stage.engine.add_container(f"backup-job-{number:04}", mounts=(home_of("alice"),))
        refusal = await refusal_of(served.reset())
        assert refusal.reason == "VOLUME_IN_USE"
        assert refusal.metadata["volume"] == HOME
        assert refusal.metadata["holders"].startswith("backup-job-0000,backup-job-0001,")

    async def test_a_kept_container_is_named(self, tmp_path: Path) -> None:
        """When the policy keeps a stopped container, the reset is CONTAINER_KEPT and names it."""
        stage = AgentStage(policy=ResetPolicy(stopped_container="refuse"))
        stage.engine.add_volume(HOME)
        stage.engine.add_container(CONTAINER, ContainerState.EXITED, mounts=(home_of("alice"),))
        async with serving(stage, tmp_path) as served:
            refusal = await refusal_of(served.reset())
        assert (refusal.reason, refusal.metadata["holders"]) == ("CONTAINER_KEPT", CONTAINER)


class TestAnswers:
    async def test_a_restart(self, served: Served) -> None:
        """Name, id, start, addresses and ports as they are now."""
        before = served.stage.engine.add_container(CONTAINER, exposed_ports=("8888/tcp",))
        answer = await served.restart(expected_container=CONTAINER)
        after = served.stage.engine.containers[before.id]
        assert (answer.container, answer.container_id) == (CONTAINER, before.id.value)
        assert after.started is not None
        assert answer.started_at.ToDatetime(tzinfo=after.started.tzinfo) == after.started
        assert dict(answer.addresses) == after.addresses
        (port,) = answer.ports
        assert PublishedPort(port.container_port, port.protocol, port.host_ip, port.host_port) == after.ports[0]

    async def test_a_reset(self, served: Served) -> None:
        """Volume, containers, no backup, size not known, and when."""
        served.stage.engine.add_volume(HOME)
        served.stage.engine.add_container(CONTAINER, ContainerState.EXITED, mounts=(home_of("alice"),))
        answer = await served.reset(expected_volume=HOME)
        assert (answer.volume, list(answer.removed_containers)) == (HOME, [CONTAINER])
        assert (answer.backup_id, answer.size_bytes) == ("", -1)
        assert answer.completed_at.ToDatetime(tzinfo=served.stage.clock.time.tzinfo) == served.stage.clock.now()

    def test_a_reset_with_many_containers_can_be_sent(self) -> None:
        """When 100 containers with long names went with a home, the answer has the first, and gRPC can send it."""
        names = tuple(f"{number:03}{'x' * 252}" for number in range(100))
        answer = reset_message(ResetResult(HOME, names, dt.datetime.now(dt.UTC)))
        assert answer.ByteSize() < MAX_MESSAGE_BYTES
        assert tuple(answer.removed_containers) == names[:8]
        assert list(reset_message(ResetResult(HOME, (), dt.datetime.now(dt.UTC))).removed_containers) == []

    @pytest.mark.parametrize(("seconds", "asked"), [(None, 10), (0, 0), (0.001, 1), (9.5, 10), (60, 60)])
    async def test_the_stop_timeout(self, served: Served, seconds: float | None, asked: int) -> None:
        """When the stop timeout is unset, it is 10 s; otherwise it is rounded up to whole seconds."""
        served.stage.engine.add_container(CONTAINER)
        timeouts: list[int] = []
        restart = served.stage.engine.restart_container

        def spy(container: Any, stop_timeout: int) -> None:
            timeouts.append(stop_timeout)
            restart(container, stop_timeout)

        served.stage.engine.restart_container = spy  # looks on, does the same
        await (served.restart() if seconds is None else served.restart(stop_timeout=seconds))
        assert timeouts == [asked]

    async def test_a_replay_is_the_same_answer(self, served: Served) -> None:
        """When an id is repeated, the response is the same to the byte and Docker is asked once."""
        served.stage.engine.add_container(CONTAINER)
        identifier = str(uuid.uuid4())
        answers = [await served.restart(request_id=identifier) for _ in range(3)]
        assert answers[0] == answers[1] == answers[2]
        assert len(served.stage.touched) == 1
        other = await refusal_of(served.restart(request_id=identifier, stop_timeout=1))
        assert other.reason == "INVALID_REQUEST"


class TestClientsThatGoAway:
    async def test_at_the_deadline(self, served: Served) -> None:
        """The client gets DEADLINE_EXCEEDED, the restart goes on, and its id tells what came of it."""
        served.stage.engine.add_container(CONTAINER)
        released = served.stage.engine.hold["restart_container"] = threading.Event()
        request = restart_request()
        refusal = await refusal_of(served.stub.RestartContainer(request, timeout=0.7))
        assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert (await refusal_of(served.restart())).reason == "OPERATION_IN_PROGRESS"
        released.set()
        answer = await served.stub.RestartContainer(request, timeout=PATIENCE)
        assert answer.container == CONTAINER
        assert served.stage.audit.phases()[-1] == ("outcome", None)
        assert len(served.stage.touched) == 1

    async def test_in_the_middle(self, served: Served) -> None:
        """A call that is cancelled after Docker was asked: the operation ends on the record."""
        served.stage.engine.add_volume(HOME)
        released = served.stage.engine.hold["remove_volume"] = threading.Event()
        call = served.reset()
        await until(lambda: served.stage.touched)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        released.set()
        await until(lambda: ("outcome", None) in served.stage.audit.phases())
        assert served.stage.engine.volumes == {}


def test_only_two_methods_are_served() -> None:
    """The service is closed: a third method needs a change here, and a second look."""
    service = agent_pb2.DESCRIPTOR.services_by_name["DockerAgentService"]
    assert set(service.methods_by_name) == {"ResetHomeVolume", "RestartContainer"}
    assert set(agent_pb2.DESCRIPTOR.services_by_name) == {"DockerAgentService"}
