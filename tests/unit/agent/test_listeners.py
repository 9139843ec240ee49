"""Sockets with the policy's mode, one agent a state directory, and health that follows Docker."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hubwarden_agent import listeners
from hubwarden_agent.config import HEALTH_SOCKET
from hubwarden_agent.listeners import Health, bound_socket, group_id, serve_unix, socket_place
from hubwarden_agent.state_lock import AlreadyRunning, locked
from support.agent.client import channel, raw_call, restart_request
from support.agent.core import AgentStage
from support.fakes.engine import FakeEngine
from support.waiting.conditions import wait_for
from support.waiting.threads import in_background

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class TestSockets:
    @pytest.mark.parametrize("mode", [0o600, 0o660])
    def test_mode_and_group(self, tmp_path: Path, mode: int) -> None:
        """When the policy names mode and group, the socket has them under any umask."""
        before = os.umask(0)
        try:
            bound_socket(f"unix://{tmp_path}/a.sock", mode, os.getgid()).close()
        finally:
            assert os.umask(before) == 0
        assert (tmp_path / "a.sock").stat().st_mode & 0o777 == mode
        assert (tmp_path / "a.sock").stat().st_gid == os.getgid()

    def test_never_wider_not_even_for_a_moment(self, tmp_path: Path) -> None:
        """Until the mode is set only our own user can connect."""
        path = tmp_path / "a.sock"
        with socket_place(path, 0o660, None), socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
            assert path.stat().st_mode & 0o777 == 0o600

    def test_what_a_killed_agent_left_is_taken_over(self, tmp_path: Path) -> None:
        """A socket that nobody serves is in nobody's way."""
        for _ in range(2):
            bound_socket(f"unix://{tmp_path}/a.sock", 0o600, None).close()

    def test_a_socket_that_somebody_serves_stays(self, tmp_path: Path) -> None:
        """Another agent's, or Docker's own when the two addresses were mixed up: left alone, and we do not start."""
        path = tmp_path / "docker.sock"
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            other.listen(0)
            for _ in range(3):  # the third finds the backlog full
                with pytest.raises(FileExistsError, match="serves it"):
                    bound_socket(f"unix://{path}", 0o600, None)
            assert path.is_socket()

    @pytest.mark.parametrize("kind", ["file", "link"])
    def test_what_is_not_a_socket_stays(self, tmp_path: Path, kind: str) -> None:
        """A file or a link in the socket's place is not removed."""
        path, target = tmp_path / "a.sock", tmp_path / "target"
        target.write_text("precious", encoding="utf-8")
        if kind == "file":
            target.rename(path)
        else:
            path.symlink_to(target)
        with pytest.raises(FileExistsError):
            bound_socket(f"unix://{path}", 0o600, None)
        assert path.read_text(encoding="utf-8") == "precious"

    def test_an_address_that_cannot_be_bound(self, tmp_path: Path) -> None:
        """OSError, as every other trouble with a socket."""
        with pytest.raises(OSError, match="cannot listen"):
            serve_unix(AgentStage().service, [f"unix://{tmp_path}/missing/a.sock"], 0o600, None)

    def test_groups(self) -> None:
        """By name or number; none is the process's own; one that does not exist is an error."""
        assert group_id("") is None
        assert (group_id("root"), group_id("65375")) == (0, 65375)
        with pytest.raises(KeyError):
            group_id("hubwarden-nobody-has-this")


class TestLocked:
    def test_a_second_one_is_refused(self, tmp_path: Path) -> None:
        """While the first holds it; afterwards the directory is free."""
        with locked(tmp_path), pytest.raises(AlreadyRunning, match="another agent"), locked(tmp_path):
            pass
        with locked(tmp_path):
            pass

    def test_a_missing_directory(self, tmp_path: Path) -> None:
        """OSError: nobody makes a state directory by accident."""
        with pytest.raises(OSError, match=os.strerror(errno.ENOENT)), locked(tmp_path / "missing"):
            pass


class TestWhatIsServed:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Iterator[Path]:
        """The public socket of a service that runs."""
        path = tmp_path / "a.sock"
        serving = serve_unix(AgentStage().service, [f"unix://{path}"], 0o600, None)
        yield path
        serving.stop(None).wait()

    @pytest.mark.parametrize(
        "method",
        [
            "/grpc.health.v1.Health/Check",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            "/hubwarden.v1.DockerAgentService/Exec",
        ],
    )
    async def test_nothing_else(self, path: Path, method: str) -> None:
        """Health, reflection and methods that the contract does not have are UNIMPLEMENTED here."""
        async with channel(path) as opened:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await raw_call(opened, method)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    @pytest.mark.parametrize(
        ("size", "code"), [(16 * 1024 - 3000, "INVALID_ARGUMENT"), (16 * 1024, "RESOURCE_EXHAUSTED")]
    )
    async def test_messages_are_bounded(self, path: Path, size: int, code: str) -> None:
        """16 KiB: what is longer gRPC refuses before any code of ours sees it."""
        request = restart_request(username="a" * size)
        async with channel(path) as opened:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await raw_call(opened, f"/{listeners.SERVICE}/RestartContainer", request.SerializeToString())
        assert caught.value.code().name == code


class TestHealth:
    @pytest.fixture
    def engine(self) -> FakeEngine:
        """It answers, until told otherwise."""
        return FakeEngine()

    @pytest.fixture
    def health(self, engine: FakeEngine, tmp_path: Path) -> Iterator[Health]:
        """Health, served."""
        health = Health(engine, tmp_path)
        health.start()
        yield health
        health.stop()

    @pytest.fixture
    async def stub(self, health: Health, tmp_path: Path) -> AsyncIterator[health_pb2_grpc.HealthStub]:
        """A client that asks for health."""
        assert health
        async with channel(tmp_path / HEALTH_SOCKET) as opened:
            yield health_pb2_grpc.HealthStub(opened)

    async def _says(self, stub: health_pb2_grpc.HealthStub, service: str = listeners.SERVICE) -> int:
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
        return int(answer.status)

    async def test_only_its_owner_may_ask(self, stub: health_pb2_grpc.HealthStub, tmp_path: Path) -> None:
        """The socket is private, and says NOT_SERVING until Docker was seen."""
        assert (tmp_path / HEALTH_SOCKET).stat().st_mode & 0o777 == 0o600
        assert await self._says(stub) == NOT_SERVING

    async def test_it_follows_docker(
        self,
        health: Health,
        stub: health_pb2_grpc.HealthStub,
        engine: FakeEngine,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """There, away, away still (said once), and there again; for the service and for the whole."""
        caplog.set_level("INFO")
        for available, expected in ((True, SERVING), (False, NOT_SERVING), (False, NOT_SERVING), (True, SERVING)):
            engine.available = available
            health.check()
            assert await self._says(stub) == await self._says(stub, "") == expected
        said = [record.message for record in caplog.records if "Docker" in record.message]
        assert said == ["Docker does not answer", "Docker answers again"]

    async def test_a_bug_in_checking_is_not_health(
        self, health: Health, stub: health_pb2_grpc.HealthStub, engine: FakeEngine
    ) -> None:
        """When checking Docker fails in a way that nobody expected, the agent says NOT_SERVING, and checks again."""
        health.check()

        def bug() -> None:
            raise RuntimeError("a bug")

        engine.before["ping"] = bug
        health.check()
        assert await self._says(stub) == NOT_SERVING
        health.check()
        assert await self._says(stub) == SERVING

    def test_it_checks_until_it_is_stopped(
        self, health: Health, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When the agent runs, Docker is checked again and again, until the agent stops."""
        monkeypatch.setattr(listeners, "HEALTH_INTERVAL", 0.01)
        stopping = threading.Event()
        checking = in_background(lambda: health.run(stopping))
        wait_for(lambda: engine.questions.count("ping") > 1, "a second check")
        stopping.set()
        checking.result(30)

    async def test_leaving_is_for_good(
        self, health: Health, stub: health_pb2_grpc.HealthStub, engine: FakeEngine
    ) -> None:
        """Once the agent stops, a Docker that answers does not make it SERVING again."""
        health.check()
        health.set_not_serving()
        assert engine.available
        health.check()
        assert await self._says(stub) == NOT_SERVING
