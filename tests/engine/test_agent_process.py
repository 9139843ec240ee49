"""The real agent on the real engine: how it starts, what it lets in, what it says of its health, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hubwarden_agent import runtime_check
from hubwarden_agent.engine import docker_json
from support.agent import process as agent_process
from support.agent.client import PATIENCE, channel, client, raw_call, restart_request
from support.agent.harness import STUBBORN
from support.agent.process import AgentProcess, Place
from support.docker.private_engine import Workbench
from support.waiting.conditions import until, wait_for


def _scraped(path: Path) -> str:
    """What Prometheus gets from a metrics socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(path))
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        return b"".join(iter(partial(client.recv, 65536), b"")).decode()


class TestStarting:
    def test_a_second_agent_on_the_same_state_does_not_start(self, agent: AgentProcess) -> None:
        """Exit 1 with a reason, and the first serves on, on its own socket."""
        before = agent.place.socket.stat().st_ino
        second = agent_process.run("serve", "--config", str(agent.place.configuration))
        assert second.returncode == 1
        assert "another agent" in second.stderr
        assert "Traceback" not in second.stderr
        assert agent.place.socket.stat().st_ino == before

    def test_an_agent_whose_socket_another_one_serves_does_not_start(self, agent: AgentProcess, tmp_path: Path) -> None:
        """With a state directory of its own it still may not take the place of the first."""
        (tmp_path / "state").mkdir()
        configuration = tmp_path / "agent.toml"
        text = agent.place.configuration.read_text(encoding="utf-8")
        configuration.write_text(text.replace(f'"{agent.place.state}"', f'"{tmp_path}/state"'), encoding="utf-8")
        second = agent_process.run("serve", "--config", str(configuration))
        assert (second.returncode, "serves it" in second.stderr) == (1, True)

    def test_after_a_kill_it_starts_again(self, place: Place) -> None:
        """When the agent was killed with SIGKILL, it starts again over the sockets and locks that were left behind."""
        with agent_process.serving(place) as first:
            first.process.kill()
            first.process.wait()
            assert place.socket.is_socket()
            with agent_process.serving(place, "second"):
                wait_for(place.healthy, "the second agent is healthy")

    def test_a_configuration_with_mistakes(self, place: Place) -> None:
        """check-config lists each with its key and ends with 2; serve does not start."""
        place.write("[limits]\nmax_deadline = 0\nmax_speed = 1\n[spawn]\npublish = 'localhost'")
        for command in ("check-config", "serve"):
            result = agent_process.run(command, "--config", str(place.configuration))
            assert result.returncode == 2
            for key in ("limits.max_deadline", "limits.max_speed", "spawn.publish"):
                assert key in result.stderr
            assert not place.socket.exists()
        place.write()
        assert agent_process.run("check-config", "--config", str(place.configuration)).returncode == 0

    def test_warnings_at_the_start(self, place: Place, bench: Workbench) -> None:
        """When a target or the engine's runc may be unsafe, the agent serves; log, metric and check-config warn."""
        metrics = place.directory / "metrics.sock"
        listen = f'gateway = "unix://{place.directory}/docker.sock"\nmetrics = "unix://{metrics}"'
        place.write('[spawn.volumes]\n"jupyterlab-{username}_home" = "/home/jovyan/work"', listen)
        found = runtime_check.weakness(docker_json.runtime_version(bench.client.version()))
        warnings = ["the target /home/jovyan/work is safe only if", *([found[1]] if found else [])]
        with agent_process.serving(place) as agent:
            for warning in warnings:
                wait_for(partial(agent.logged, warning), "the warning is in the log")
            shown = _scraped(metrics)
        checked = agent_process.run("check-config", "--config", str(place.configuration))
        assert checked.returncode == 0
        assert [warning in line for warning, line in zip(warnings, checked.stderr.splitlines(), strict=True)] == (
            [True] * len(warnings)
        )
        for kind in ("mount_target", *([found[0]] if found else [])):
            assert f'hubwarden_warning{{warning="{kind}"}} 1.0' in shown


class TestSockets:
    def test_modes(self, agent: AgentProcess) -> None:
        """0660 for the Hub's group, 0600 for health and audit."""
        state = agent.place.state
        modes = [
            path.stat().st_mode & 0o777 for path in (agent.place.socket, state / "health.sock", state / "audit.jsonl")
        ]
        assert modes == [0o660, 0o600, 0o600]

    def test_the_policys_mode_and_group(self, place: Place) -> None:
        """When mode and group are configured, the socket has them under any umask."""
        place.write(listen='socket_mode = "0600"\nsocket_group = "65375"')
        before = os.umask(0)
        try:
            with agent_process.serving(place):
                seen = place.socket.stat()
        finally:
            os.umask(before)
        assert (seen.st_mode & 0o777, seen.st_gid) == (0o600, 65375)

    @pytest.mark.parametrize(
        "method",
        ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"],
    )
    async def test_the_public_socket_has_the_two_methods_only(self, agent: AgentProcess, method: str) -> None:
        """When health or reflection is asked for on the public socket, it is unimplemented."""
        async with channel(agent.place.socket) as opened:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await raw_call(opened, method)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    async def test_messages_are_bounded(self, agent: AgentProcess) -> None:
        """More than 16 KiB is refused by gRPC, without an ErrorInfo."""
        async with client(agent.place.socket) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.RestartContainer(restart_request("a" * 16 * 1024), timeout=PATIENCE)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert not caught.value.trailing_metadata()


@contextmanager
def _relay(path: Path, target: str) -> Iterator[None]:
    """A socket that passes everything on to the engine, until the body ends: then nobody is there any more."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    opened: list[socket.socket] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def accept() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(target)
            opened.extend((near, far))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        path.unlink()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()
        for one in opened:
            with suppress(OSError):  # the other side may have gone first
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class TestHealth:
    @pytest.mark.slow("the agent looks at Docker every 5 s, and Docker comes or goes four times")
    def test_it_follows_docker(self, place: Place) -> None:
        """When Docker comes and goes, health follows, and `healthcheck` exits with 0 or 1."""
        engine, place.docker = place.docker, str(place.directory / "relay.sock")
        place.write()
        with agent_process.serving(place):
            assert not place.healthy()
            assert place.healthcheck() == 1
            for _ in range(2):
                with _relay(Path(place.docker), engine):
                    wait_for(place.healthy, "healthy with Docker")
                    assert place.healthcheck() == 0
                wait_for(lambda: not place.healthy(), "not healthy without Docker")

    async def test_docker_away_is_said_in_our_words(self, place: Place) -> None:
        """DOCKER_UNAVAILABLE without the socket's path; the agent stays up."""
        place.docker = str(place.directory / "not-there.sock")
        place.write()
        with agent_process.serving(place) as agent:
            async with client(place.socket) as stub:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.RestartContainer(restart_request(), timeout=PATIENCE)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "not-there" not in str(caught.value.debug_error_string()) + str(caught.value.trailing_metadata())
            assert agent.logged("No such file")
            assert agent.process.poll() is None


class TestEnding:
    def test_with_nothing_to_do(self, agent: AgentProcess) -> None:
        """When an idle agent gets SIGTERM, it exits with 0."""
        agent.terminate()
        assert agent.process.wait(PATIENCE) == 0
        assert not agent.place.healthy()

    async def test_a_running_restart_is_finished(self, agent: AgentProcess, bench: Workbench) -> None:
        """Health says NOT_SERVING at once, the restart ends well and on the record, then exit 0."""
        user = bench.username()
        container = bench.container(f"jupyterlab-{user}", STUBBORN)
        before = container.attrs["State"]["StartedAt"]
        async with client(agent.place.socket) as stub, channel(agent.place.state / "health.sock") as private:
            call = asyncio.ensure_future(stub.RestartContainer(restart_request(user, stop_timeout=3), timeout=PATIENCE))
            await until(agent.place.audit, "the intent is written")
            watching = health_pb2_grpc.HealthStub(private).Watch(health_pb2.HealthCheckRequest())
            agent.terminate()
            async for answer in watching:
                if answer.status == health_pb2.HealthCheckResponse.NOT_SERVING:
                    break
            assert not call.done()
            assert (await call).container == container.name
        assert await asyncio.to_thread(agent.process.wait, PATIENCE) == 0
        container.reload()
        assert container.attrs["State"]["StartedAt"] > before
        assert [line["phase"] for line in agent.place.audit()] == ["intent", "outcome"]

    async def test_a_restart_whose_client_is_gone_is_finished_too(self, agent: AgentProcess, bench: Workbench) -> None:
        """Nobody waits for it, and still it is waited for."""
        user = bench.username()
        container = bench.container(f"jupyterlab-{user}", STUBBORN)
        async with client(agent.place.socket) as stub:
            call = stub.RestartContainer(restart_request(user, stop_timeout=2), timeout=PATIENCE)
            waiting = asyncio.ensure_future(call)
            await until(agent.place.audit, "the intent is written")
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        agent.terminate()
        assert await asyncio.to_thread(agent.process.wait, PATIENCE) == 0
        container.reload()
        assert container.attrs["State"]["Running"]
        assert [line["phase"] for line in agent.place.audit()] == ["intent", "outcome"]


def test_logs_are_lines_of_json(agent: AgentProcess) -> None:
    """Every line that the agent writes can be read by a machine."""
    agent.terminate()
    agent.process.wait(PATIENCE)
    lines = agent.log.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["level"] for line in lines]
