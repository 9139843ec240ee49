"""What goes to Docker, byte by byte, and what is made of whatever comes back."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hubwarden_agent.engine import docker_http
from hubwarden_agent.engine.docker_http import DockerApi, translated
from hubwarden_agent.engine.port import Conflict, EngineError, EngineUnavailable, NotFound
from hubwarden_agent.names import ContainerId
from scripted_docker import ScriptedDocker, answer, scripted
from whole_engine import WholeDockerEngine

CONTAINER = ContainerId(f"{1:064x}")
INSPECT = "GET /v1.45/containers/alice/json"
PULL = "POST /v1.45/images/create"
PROGRESS = b'{"status": "Pulling"}\r\n{"status": "Done"}\r\n'


@pytest.fixture(name="place")
def _place(tmp_path: Path) -> Path:
    return tmp_path / "docker.sock"


@pytest.fixture(name="docker")
def _docker(place: Path) -> Iterator[ScriptedDocker]:
    docker = ScriptedDocker()
    with scripted(docker, place):
        yield docker


@pytest.fixture(name="api")
def _api(place: Path) -> DockerApi:
    return DockerApi(str(place), 30, 30)


@pytest.fixture(name="engine")
def _engine(place: Path) -> Iterator[WholeDockerEngine]:
    with closing(WholeDockerEngine(f"unix://{place}", timeout=30, slow_timeout=30, slow_threads=1)) as engine:
        yield engine


def inspected(api: DockerApi) -> Any:
    """What the engine makes of an inspect."""
    with translated():
        return api.get("containers", "alice", "json")


class TestWhatIsSent:
    def test_every_part_of_a_path_is_quoted(self, docker: ScriptedDocker, api: DockerApi) -> None:
        """No text of a name begins another part, a query or a header."""
        with pytest.raises(EngineUnavailable), translated():
            api.get("containers", "a/../b?c#d e%2F\r\nX: y", "json")
        assert docker.lines == ["GET /v1.45/containers/a%2F..%2Fb%3Fc%23d%20e%252F%0D%0AX%3A%20y/json"]

    def test_every_value_of_a_query_is_quoted(self, docker: ScriptedDocker, api: DockerApi) -> None:
        """Nor does it begin another parameter."""
        with pytest.raises(EngineUnavailable), translated():
            api.delete("volumes", "home", name="a&force=1 #", v=1)
        assert docker.lines == ["DELETE /v1.45/volumes/home?name=a%26force%3D1+%23&v=1"]

    @pytest.mark.parametrize("part", ["", ".", ".."])
    def test_what_leads_elsewhere_is_not_asked_for(self, docker: ScriptedDocker, api: DockerApi, part: str) -> None:
        """Docker would take it for a question about something else."""
        with pytest.raises(EngineError), translated():
            api.delete("volumes", part)
        assert docker.asked == []

    def test_a_body_and_nothing_but_what_is_needed(self, docker: ScriptedDocker, api: DockerApi) -> None:
        """A body is JSON, and no header tells of this machine, its user or a registry's password."""
        docker.answers["POST /v1.45/volumes/create"] = answer(b'{"Name": "home"}', 201)
        assert api.post("volumes", "create", body={"Name": "h\u00f6me"}) == {"Name": "home"}
        [(_, _, headers, body)] = docker.asked
        assert json.loads(body) == {"Name": "h\u00f6me"}
        sent = dict(line.split(": ") for line in headers.strip().split("\r\n"))
        assert sent == {
            "Host": "docker",
            "Connection": "close",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }

    @pytest.mark.parametrize(
        ("theirs", "spoken"),
        [("1.40", "v1.40"), ("1.41", "v1.41"), ("1.45", "v1.45"), ("1.52", "v1.45"), ("2.0", "v1.45")],
    )
    def test_the_newest_version_that_both_know(
        self, docker: ScriptedDocker, api: DockerApi, theirs: str, spoken: str
    ) -> None:
        """A newer Docker is asked as the one that this was tested with."""
        docker.version = answer(json.dumps({"ApiVersion": theirs}).encode())
        docker.answers[f"GET /{spoken}/volumes"] = answer(b"{}")
        assert api.get("volumes") == {}

    @pytest.mark.parametrize(
        ("theirs", "oldest"),
        [(theirs, "1.12") for theirs in ("1.39", "1.5", "0.99", "one", "1", "1.45.1", None)]
        + [("1.60", oldest) for oldest in ("1.46", "2.0", "old", None)],
    )
    def test_no_version_that_we_know(
        self, docker: ScriptedDocker, api: DockerApi, theirs: str | None, oldest: str | None
    ) -> None:
        """Nothing is asked of an engine that is too old, no longer speaks as we do, or does not say what it is."""
        docker.version = answer(json.dumps({"ApiVersion": theirs, "MinAPIVersion": oldest}).encode())
        with pytest.raises(EngineError) as raised, translated():
            api.get("volumes")
        assert type(raised.value) is EngineError
        assert docker.asked == []

    async def test_a_stop_has_its_own_time_on_top(
        self, docker: ScriptedDocker, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Docker is silent for all of a stop timeout, and that is no sign of trouble."""
        connect, given = docker_http._connected, list[float]()

        def noted(path: str, timeout: float) -> socket.socket:
            given.append(timeout)
            return connect(path, timeout)

        monkeypatch.setattr(docker_http, "_connected", noted)
        for change in ("stop", "restart"):
            docker.answers[f"POST /v1.45/containers/{CONTAINER.value}/{change}"] = answer(status=204)
        with closing(WholeDockerEngine(f"unix://{place}", timeout=10, slow_timeout=100, slow_threads=1)) as engine:
            await engine.stop_container(CONTAINER, 7)
            await engine.restart_container(CONTAINER, 8)
        assert given == [10, 107, 108]
        assert [line.rpartition("?")[2] for line in docker.lines] == ["t=7", "t=8"]


class TestWhatComesBack:
    @pytest.mark.parametrize("chunks", [0, 1, 7, 1000])
    def test_a_whole_answer(self, docker: ScriptedDocker, api: DockerApi, chunks: int) -> None:
        """In one piece or in many."""
        docker.answers[INSPECT] = answer(b'{"Id": "h\xc3\xb6me"}', chunks=chunks)
        assert inspected(api) == {"Id": "h\u00f6me"}

    @pytest.mark.parametrize("status", [200, 201, 204, 304])
    def test_done_or_so_already(self, docker: ScriptedDocker, api: DockerApi, status: int) -> None:
        """Both are good."""
        docker.answers["POST /v1.45/containers/alice/start"] = answer(status=status)
        assert api.post("containers", "alice", "start") is None

    @pytest.mark.parametrize(
        ("status", "kind"),
        [(404, NotFound), (409, Conflict), *((status, EngineError) for status in (101, 301, 307, 400, 403, 500, 503))],
    )
    def test_what_docker_refuses(
        self, docker: ScriptedDocker, api: DockerApi, status: int, kind: type[EngineError]
    ) -> None:
        """The port's error, with Docker's words for the log; nobody is led to another place."""
        docker.answers[INSPECT] = answer(b'{"message": "No such container: alice"}', status)
        with pytest.raises(EngineError) as raised:
            inspected(api)
        assert type(raised.value) is kind
        assert status == 101 or "No such container: alice" in str(raised.value)

    @pytest.mark.parametrize("end", [b"\r\n", b"\r\nwhat", b"Content-Length: 9\r\n\r\n"])
    def test_a_refusal_that_is_not_whole(self, docker: ScriptedDocker, api: DockerApi, end: bytes) -> None:
        """Its status counts: what is not there is not there, whatever became of the words."""
        docker.answers[INSPECT] = b"HTTP/1.1 404 Not Found\r\n" + end
        with pytest.raises(NotFound):
            inspected(api)

    @pytest.mark.parametrize("content", [b"<html>", b'{"Id": "x"', b"\xff", b'{"Id": 1} {}'])
    def test_no_json(self, docker: ScriptedDocker, api: DockerApi, content: bytes) -> None:
        """Docker answered, but not so that we can read it."""
        docker.answers[INSPECT] = answer(content)
        with pytest.raises(EngineError) as raised:
            inspected(api)
        assert type(raised.value) is EngineError

    @pytest.mark.parametrize("content", [b"", b"null", b"[]", b"7", b'"Id"', b"{}", b'{"State": 1}'])
    async def test_json_of_another_shape(
        self, docker: ScriptedDocker, engine: WholeDockerEngine, content: bytes
    ) -> None:
        """The same."""
        docker.answers[f"GET /v1.45/containers/{CONTAINER.value}/json"] = answer(content)
        with pytest.raises(EngineError) as raised:
            await engine.container(CONTAINER)
        assert type(raised.value) is EngineError

    @pytest.mark.parametrize("chunks", [0, 5])
    @pytest.mark.parametrize(("size", "good"), [(20, True), (21, False), (5000, False)])
    def test_an_answer_that_is_too_long(
        self,
        docker: ScriptedDocker,
        api: DockerApi,
        monkeypatch: pytest.MonkeyPatch,
        chunks: int,
        size: int,
        good: bool,  # noqa: FBT001 - a parameter of the matrix
    ) -> None:
        """It is not read to its end."""
        assert api.spoken() == (1, 45)
        monkeypatch.setattr(docker_http, "ANSWER_BYTES", 20)
        docker.answers[INSPECT] = answer(b'"' + b"x" * (size - 2) + b'"', chunks=chunks)
        if good:
            assert len(inspected(api)) == size - 2
            return
        with pytest.raises(EngineError, match="too long"):
            inspected(api)

    @pytest.mark.parametrize(
        "said",
        [
            b"",
            b"HTTP/1.1 200",
            b"HTTP/1.1 200 OK\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2",
            answer(b'{"Id": "alice"}')[:-1],
            answer(b'{"Id": "alice"}', chunks=5)[:-9],
            answer(b'{"Id": "alice"}', chunks=5)[:-5],
            answer(b"{}").replace(b"Length: 2", b"Length: 20"),
            b"not HTTP\r\n\r\n",
        ],
    )
    def test_an_answer_that_ends_early(self, docker: ScriptedDocker, api: DockerApi, said: bytes) -> None:
        """Docker went away: it may be back in a moment."""
        docker.answers[INSPECT] = said
        with pytest.raises(EngineUnavailable):
            inspected(api)

    @pytest.mark.parametrize("status", [200, 204, 404, 409])
    def test_an_attach_that_is_none(self, docker: ScriptedDocker, api: DockerApi, status: int) -> None:
        """Without the switch there are no streams, whatever else Docker says."""
        docker.answers["POST /v1.45/containers/alice/attach"] = answer(b"{}", status)
        with pytest.raises(EngineError, match="does not attach"), translated():
            api.upgraded("containers", "alice", "attach")

    def test_an_attach(self, docker: ScriptedDocker, api: DockerApi) -> None:
        """What comes after the switch is the container's."""
        docker.answers["POST /v1.45/containers/alice/attach"] = b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n"
        with translated(), api.upgraded("containers", "alice", "attach", stdin=1) as connection:
            assert connection.recv(1) == b""
        [(method, target, headers, _)] = docker.asked
        assert (method, target) == ("POST", "/v1.45/containers/alice/attach?stdin=1")
        assert "\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n" in headers

    def test_docker_is_started_again(self, place: Path, api: DockerApi) -> None:
        """Between two questions, and nobody notices; while it is away, it is unavailable."""
        for _ in range(2):
            docker = ScriptedDocker({INSPECT: answer(b"{}")})
            with scripted(docker, place):
                assert inspected(api) == {}
            with pytest.raises(EngineUnavailable):
                inspected(api)


class TestPull:
    @pytest.mark.parametrize(
        ("reference", "query"),
        [
            ("lab", "fromImage=lab&tag=latest"),
            ("lab:1", "fromImage=lab&tag=1"),
            ("localhost:5000/lab", "fromImage=localhost%3A5000%2Flab&tag=latest"),
            ("localhost:5000/lab:1", "fromImage=localhost%3A5000%2Flab&tag=1"),
            ("lab@sha256:12", "fromImage=lab&tag=sha256%3A12"),
        ],
    )
    async def test_one_image(
        self, docker: ScriptedDocker, engine: WholeDockerEngine, reference: str, query: str
    ) -> None:
        """One tag, or what has the digest; without a tag Docker would pull them all."""
        docker.answers[PULL] = answer(PROGRESS, chunks=10)
        await engine.pull_image(reference)
        assert docker.lines == [f"{PULL}?{query}"]

    @pytest.mark.parametrize("chunks", [10, 1000])
    async def test_an_image_that_is_not_there(
        self, docker: ScriptedDocker, engine: WholeDockerEngine, chunks: int
    ) -> None:
        """Docker finds that out after it has begun to answer well."""
        docker.answers[PULL] = answer(PROGRESS + b'{"error": "manifest unknown"}\r\n', chunks=chunks)
        with pytest.raises(NotFound, match="manifest unknown"):
            await engine.pull_image("lab:1")

    @pytest.mark.parametrize(
        ("said", "kind"),
        [
            (answer(PROGRESS, chunks=10)[:-8], EngineUnavailable),
            (answer(PROGRESS, chunks=10)[:-5], EngineUnavailable),
            (answer(b'{"status": "' + b"x" * 100_000 + b'"}\r\n', chunks=1000), EngineError),
            (answer(b"[" + b" " * 10, chunks=1000), EngineError),
            (answer(b"7\r\n", chunks=1000), EngineError),
        ],
    )
    async def test_a_pull_that_does_not_end_well(
        self, docker: ScriptedDocker, engine: WholeDockerEngine, said: bytes, kind: type[EngineError]
    ) -> None:
        """It ends early, in a line without end, or in what is no line."""
        docker.answers[PULL] = said
        with pytest.raises(EngineError) as raised:
            await engine.pull_image("lab:1")
        assert type(raised.value) is kind


async def test_an_image_is_asked_for_part_by_part(docker: ScriptedDocker, engine: WholeDockerEngine) -> None:
    """The slashes of a reference are those of a path."""
    docker.answers["GET /v1.45/images/localhost%3A5000/lab%3A1/json"] = answer(b'{"Id": "sha256:1"}')
    found = await engine.image("localhost:5000/lab:1")
    assert found is not None
    assert found.id == "sha256:1"
