"""The fence around the Docker SDK: what reaches Docker, and what becomes of anything that Docker may answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests  # noqa: TID251 - to see what the SDK asks of it
from hubwarden_agent.clock import SystemClock
from hubwarden_agent.engine import docker_client, docker_json, docker_spawn
from hubwarden_agent.engine.docker_client import FencedClient
from hubwarden_agent.engine.docker_spawn import DockerSpawnEngine
from hubwarden_agent.engine.port import Conflict, Container, EngineError, EngineUnavailable, NotFound
from hubwarden_agent.engine.spawn_port import DiskFull, PullDenied
from hubwarden_agent.names import ContainerId, VolumeName
from support.fakes.scripted_docker import ScriptedDocker, answer, scripted
from support.waiting.threads import Meeting, at_once

CONTAINER = ContainerId(f"{1:064x}")
HOME = VolumeName("home")
INSPECT = "GET /v1.45/volumes/home"
VOLUME = b'{"Name": "home", "Driver": "local", "CreatedAt": "2026-01-01T00:00:00Z"}'
PULL = "POST /v1.45/images/create"
PROGRESS = b'{"status": "Pulling"}\r\n{"status": "Done"}\r\n'


@pytest.fixture(name="place")
def _place(tmp_path: Path) -> Path:
    return tmp_path / "docker.sock"


@pytest.fixture(name="docker")
def _docker(place: Path) -> Iterator[ScriptedDocker]:
    docker = ScriptedDocker({INSPECT: answer(VOLUME)})
    with scripted(docker, place):
        yield docker


@pytest.fixture(name="engine")
def _engine(place: Path) -> Iterator[DockerSpawnEngine]:
    with closing(DockerSpawnEngine(f"unix://{place}", 30, 30, SystemClock())) as engine:
        yield engine


def headers(docker: ScriptedDocker) -> dict[str, str]:
    """The headers of the last request."""
    return dict(line.split(": ", 1) for line in docker.asked[-1][2].strip().split("\r\n"))


class TestFence:
    def test_the_docker_cli_has_no_influence(
        self, docker: ScriptedDocker, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When the CLI's configuration names headers, proxies and a credential helper, none of it is used."""
        helper = tmp_path / "docker-credential-evil"
        helper.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        helper.chmod(0o755)
        (tmp_path / "config.json").write_text(
            json.dumps(
                {
                    "HttpHeaders": {"X-Evil": "1"},
                    "credsStore": "evil",
                    "credHelpers": {"registry.example": "evil"},
                    "auths": {"registry.example": {"auth": "dXNlcjpwYXNz"}},
                    "proxies": {"default": {"httpProxy": "http://127.0.0.1:1"}},
                }
            )
        )
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        docker.answers[PULL] = answer(PROGRESS, chunks=10)
        with closing(DockerSpawnEngine(f"unix://{place}", 30, 30, SystemClock())) as engine:
            engine.pull_image("registry.example/lab:1")
        assert "X-Evil" not in headers(docker)
        assert json.loads(base64.b64decode(headers(docker)["X-Registry-Auth"])) == {}
        assert not (tmp_path / "ran").exists()

    def test_the_environment_has_no_influence(
        self, docker: ScriptedDocker, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When the environment names a proxy, another Docker or another version, the request is the same."""
        for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "DOCKER_HOST"):
            monkeypatch.setenv(variable, "http://127.0.0.1:1")
        monkeypatch.setenv("DOCKER_API_VERSION", "1.24")
        with closing(DockerSpawnEngine(f"unix://{place}", 30, 30, SystemClock())) as engine:
            assert engine.volume(HOME) is not None
        assert docker.lines == [INSPECT]

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_no_redirect_is_followed(self, docker: ScriptedDocker, engine: DockerSpawnEngine, status: int) -> None:
        """When Docker answers a redirect, it is an error, and nothing else is asked."""
        docker.answers[INSPECT] = answer(status=status).replace(
            b"\r\n\r\n", b"\r\nLocation: http+docker://localhost/v1.45/volumes/other\r\n\r\n"
        )
        with pytest.raises(EngineError):
            engine.volume(HOME)
        assert docker.lines == [INSPECT]

    def test_one_request_for_each_connection(self, docker: ScriptedDocker, engine: DockerSpawnEngine) -> None:
        """When a request ends, so does its connection: no later one meets a dockerd that was restarted."""
        engine.volume(HOME)
        assert headers(docker)["Connection"] == "close"

    @pytest.mark.parametrize(
        ("offered", "chosen"), [("1.42", "v1.42"), ("1.45", "v1.45"), ("1.52", "v1.45"), ("2.0", "v1.45")]
    )
    def test_the_newest_version_that_both_know(
        self, docker: ScriptedDocker, engine: DockerSpawnEngine, offered: str, chosen: str
    ) -> None:
        """When Docker is newer than what the tests run against, it is asked in the version of the tests."""
        docker.version = answer(json.dumps({"ApiVersion": offered}).encode())
        docker.answers[f"GET /{chosen}/volumes"] = answer(b'{"Volumes": null}')
        assert engine.volume_names() == ()

    @pytest.mark.parametrize(
        ("offered", "oldest"),
        [(offered, "1.12") for offered in ("1.41", "1.5", "0.99", "one", "1", "1.45.1", None)]
        + [("1.60", oldest) for oldest in ("1.46", "2.0", "old", None)],
    )
    def test_no_version_in_common(
        self, docker: ScriptedDocker, engine: DockerSpawnEngine, offered: str | None, oldest: str | None
    ) -> None:
        """When Docker is too old, too new or does not name its version, nothing is asked of it."""
        docker.version = answer(json.dumps({"ApiVersion": offered, "MinAPIVersion": oldest}).encode())
        with pytest.raises(EngineError) as raised:
            engine.volume(HOME)
        assert type(raised.value) is EngineError
        assert docker.asked == []

    def test_each_request_has_a_timeout(
        self, docker: ScriptedDocker, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When a stop timeout is given, Docker may be silent for that long more; a pull and an attach are bounded."""
        given: dict[str, float] = {}
        real = requests.Session.send

        def noted(session: requests.Session, request: Any, **kwargs: Any) -> requests.Response:
            given[request.path_url.partition("?")[0].rpartition("/")[2]] = kwargs["timeout"]
            return real(session, request, **kwargs)

        monkeypatch.setattr(requests.Session, "send", noted)
        for change in ("stop", "restart"):
            docker.answers[f"POST /v1.45/containers/{CONTAINER}/{change}"] = answer(status=204)
        docker.answers[PULL] = answer(PROGRESS, chunks=10)
        with closing(DockerSpawnEngine(f"unix://{place}", 10, 100, SystemClock())) as engine:
            engine.stop_container(CONTAINER, 7)
            engine.restart_container(CONTAINER, 8)
            engine.pull_image("lab:1")
        assert given == {"version": 5, "stop": 107, "restart": 108, "create": 100}
        assert [line.rpartition("?")[2] for line in docker.lines[:2]] == ["t=7", "t=8"]


LISTED = json.dumps([{"Id": "1" * 64, "Names": ["/lab"], "State": "exited", "Created": 0}]).encode()


class TestLists:
    def test_one_at_a_time(
        self, docker: ScriptedDocker, engine: DockerSpawnEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When threads list containers together, each list is parsed before Docker is asked for the next."""
        docker.answers["GET /v1.45/containers/json"] = answer(LISTED)
        real, meeting, asked = docker_json.listed_container, Meeting(), list[int]()

        def parsed(data: Mapping[str, Any]) -> Container:
            meeting.wait()
            asked.append(len(docker.asked))
            return real(data)

        monkeypatch.setattr(docker_json, "listed_container", parsed)
        at_once(4, lambda: engine.containers_labelled({}))
        assert asked == [1, 2, 3, 4]

    def test_the_wait_for_another_list_is_bounded(
        self, docker: ScriptedDocker, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When another list does not end in the time for a request, Docker counts as not answering."""
        docker.answers["GET /v1.45/containers/json"] = answer(LISTED)
        with closing(DockerSpawnEngine(f"unix://{place}", 1, 1, SystemClock())) as engine:
            monkeypatch.setattr(docker_json, "listed_container", lambda _: engine.containers_labelled({}))
            with pytest.raises(EngineUnavailable):
                engine.containers_labelled({})
            monkeypatch.undo()
            assert len(engine.containers_labelled({})) == 1


class TestAnswers:
    @pytest.mark.parametrize("chunks", [0, 1, 7, 1000])
    def test_a_whole_answer(self, docker: ScriptedDocker, engine: DockerSpawnEngine, chunks: int) -> None:
        """When the answer comes in one piece or in many, it is read whole."""
        docker.answers[INSPECT] = answer(VOLUME, chunks=chunks)
        found = engine.volume(HOME)
        assert found is not None
        assert found.driver == "local"

    @pytest.mark.parametrize("status", [204, 304])
    def test_done_or_so_already(self, docker: ScriptedDocker, engine: DockerSpawnEngine, status: int) -> None:
        """When a container runs already, Docker answers 304 to a start, which is no error."""
        docker.answers[f"POST /v1.45/containers/{CONTAINER}/start"] = answer(status=status)
        engine.start_container(CONTAINER)

    @pytest.mark.parametrize(
        ("status", "kind"),
        [(404, NotFound), (409, Conflict), *((status, EngineError) for status in (400, 403, 500, 503))],
    )
    def test_what_docker_refuses(
        self, docker: ScriptedDocker, engine: DockerSpawnEngine, status: int, kind: type[EngineError]
    ) -> None:
        """When Docker refuses, the port's error has Docker's words for the log."""
        docker.answers["DELETE /v1.45/volumes/home"] = answer(b'{"message": "because of SOMETHING"}', status)
        with pytest.raises(EngineError, match="because of SOMETHING") as raised:
            engine.remove_volume(HOME)
        assert type(raised.value) is kind

    @pytest.mark.parametrize("content", [b"<html>", b'{"Name": "x"', b"\xff", b'{"Name": 1} {}', b"", b"null"])
    def test_no_json(self, docker: ScriptedDocker, engine: DockerSpawnEngine, content: bytes) -> None:
        """When the answer is not JSON, that is an error of Docker's, not its absence."""
        docker.answers[INSPECT] = answer(content)
        with pytest.raises(EngineError) as raised:
            engine.volume(HOME)
        assert type(raised.value) is EngineError

    @pytest.mark.parametrize("content", [b"null", b"[]", b"7", b'"Id"', b"{}", b'{"State": 1}'])
    def test_json_of_another_shape(self, docker: ScriptedDocker, engine: DockerSpawnEngine, content: bytes) -> None:
        """When the answer is JSON of another shape, it is the same error."""
        docker.answers[f"GET /v1.45/containers/{CONTAINER}/json"] = answer(content)
        with pytest.raises(EngineError) as raised:
            engine.container(CONTAINER)
        assert type(raised.value) is EngineError

    @pytest.mark.parametrize("status", [200, 404])
    @pytest.mark.parametrize("chunks", [0, 5])
    def test_an_answer_that_is_too_long(
        self,
        docker: ScriptedDocker,
        engine: DockerSpawnEngine,
        monkeypatch: pytest.MonkeyPatch,
        chunks: int,
        status: int,
    ) -> None:
        """When an answer is longer than the bound, good or bad, reading ends there with an error."""
        engine.ping()
        monkeypatch.setattr(docker_client, "ANSWER_BYTES", len(VOLUME))
        assert engine.volume(HOME) is not None
        docker.answers[INSPECT] = answer(VOLUME + b" ", status, chunks=chunks)
        with pytest.raises(EngineError, match="too long"):
            engine.volume(HOME)

    @pytest.mark.parametrize(
        "said",
        [
            b"",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2",
            answer(VOLUME)[:-1],
            answer(VOLUME, chunks=5)[:-9],
            answer(b"{}").replace(b"Length: 2", b"Length: 20"),
            b"not HTTP\r\n\r\n",
        ],
    )
    def test_an_answer_that_ends_early(self, docker: ScriptedDocker, engine: DockerSpawnEngine, said: bytes) -> None:
        """When the connection ends within an answer, Docker is unavailable, and nothing counts as absent."""
        docker.answers[INSPECT] = said
        with pytest.raises(EngineUnavailable):
            engine.volume(HOME)

    def test_docker_is_started_again(self, place: Path, engine: DockerSpawnEngine) -> None:
        """When dockerd is restarted between two requests, only those in between fail."""
        for _ in range(2):
            with scripted(ScriptedDocker({INSPECT: answer(VOLUME)}), place):
                assert engine.volume(HOME) is not None
            with pytest.raises(EngineUnavailable):
                engine.volume(HOME)

    def test_an_upgraded_docker_is_asked_in_its_version(self, place: Path, engine: DockerSpawnEngine) -> None:
        """When Docker comes back in another version, the next ping settles the version anew."""
        older = answer(b'{"ApiVersion": "1.43"}')
        with scripted(ScriptedDocker({INSPECT: answer(VOLUME)}), place):
            engine.volume(HOME)
        with scripted(ScriptedDocker({"GET /v1.43/volumes/home": answer(VOLUME)}, older), place):
            engine.ping()
            assert engine.volume(HOME) is not None


class TestPull:
    @pytest.mark.parametrize(
        ("reference", "query"),
        [
            ("lab", "tag=latest&fromImage=lab"),
            ("lab:1", "tag=1&fromImage=lab"),
            ("localhost:5000/lab", "tag=latest&fromImage=localhost%3A5000%2Flab"),
            ("localhost:5000/lab:1", "tag=1&fromImage=localhost%3A5000%2Flab"),
            ("lab@sha256:12", "tag=sha256%3A12&fromImage=lab"),
        ],
    )
    def test_one_image(self, docker: ScriptedDocker, engine: DockerSpawnEngine, reference: str, query: str) -> None:
        """When a reference has no tag, `latest` is pulled: without a tag Docker would pull them all."""
        docker.answers[PULL] = answer(PROGRESS, chunks=10)
        engine.pull_image(reference)
        assert docker.lines == [f"{PULL}?{query}"]

    @pytest.mark.parametrize("chunks", [10, 1000])
    @pytest.mark.parametrize(
        ("said", "kind"),
        [
            ("manifest for lab:1 not found: manifest unknown: manifest unknown", NotFound),
            ("pull access denied for lab, repository does not exist or may require 'docker login'", PullDenied),
            ('Head "http://127.0.0.1:5000/v2/lab/manifests/1": no basic auth credentials', PullDenied),
            ('Head "https://registry.example/v2/lab/manifests/1": unauthorized: authentication required', PullDenied),
            ("write /var/lib/docker/tmp/GetImageBlob1: no space left on device", DiskFull),
            ("failed to register layer: open /a: Disk quota exceeded", DiskFull),
            ('Get "http://127.0.0.1:5000/v2/": dial tcp 127.0.0.1:5000: connect: connection refused', EngineError),
            ("toomanyrequests: You have reached your pull rate limit.", EngineError),
        ],
    )
    def test_why_a_pull_failed(
        self, docker: ScriptedDocker, engine: DockerSpawnEngine, said: str, kind: type[EngineError], chunks: int
    ) -> None:
        """When Docker reports an error in the middle of its answer or as a status, its kind is the same."""
        docker.answers[PULL] = answer(PROGRESS + json.dumps({"error": said}).encode() + b"\r\n", chunks=chunks)
        with pytest.raises(EngineError) as in_stream:
            engine.pull_image("lab:1")
        docker.answers[PULL] = answer(json.dumps({"message": said}).encode(), 500)
        with pytest.raises(EngineError) as as_status:
            engine.pull_image("lab:1")
        assert (type(in_stream.value), type(as_status.value)) == (kind, kind)
        assert said in str(in_stream.value)

    def test_the_name_of_an_image_says_nothing(self, docker: ScriptedDocker, engine: DockerSpawnEngine) -> None:
        """When an image's own name holds words of another error, they do not count."""
        said = b'{"error": "manifest for example.org/denied/unauthorized:1 not found: manifest unknown"}\r\n'
        docker.answers[PULL] = answer(said, chunks=1000)
        with pytest.raises(NotFound):
            engine.pull_image("example.org/denied/unauthorized:1")

    @pytest.mark.parametrize(
        ("said", "kind"),
        [
            (answer(PROGRESS, chunks=10)[:-8], EngineUnavailable),
            (answer(PROGRESS, chunks=10)[:-5], EngineUnavailable),
            (answer(b"[" + b" " * 10, chunks=1000), EngineError),
            (answer(b"7\r\n", chunks=1000), EngineError),
        ],
    )
    def test_a_pull_that_does_not_end_well(
        self, docker: ScriptedDocker, engine: DockerSpawnEngine, said: bytes, kind: type[EngineError]
    ) -> None:
        """When the progress ends early or is not lines of JSON objects, the pull has failed."""
        docker.answers[PULL] = said
        with pytest.raises(EngineError) as raised:
            engine.pull_image("lab:1")
        assert type(raised.value) is kind


def test_an_image_reference_keeps_its_slashes(docker: ScriptedDocker, engine: DockerSpawnEngine) -> None:
    """When an image is inspected, the slashes of its reference are those of the path."""
    docker.answers["GET /v1.45/images/localhost:5000/lab:1/json"] = answer(b'{"Id": "sha256:1"}')
    found = engine.image("localhost:5000/lab:1")
    assert found is not None
    assert found.id == "sha256:1"


def test_a_working_directory_of_an_image() -> None:
    """When an image's configuration holds a working directory, it is read; without one it is empty."""
    found = [docker_spawn.image({"Id": "sha256:1", "Config": brought}) for brought in ({"WorkingDir": "/x"}, {})]
    assert [image.working_dir for image in found] == ["/x", ""]


@pytest.mark.parametrize(
    ("brought", "healthcheck"),
    [
        ({}, False),
        ({"Healthcheck": None}, False),
        ({"Healthcheck": {"Test": ["NONE"]}}, False),
        ({"Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000}}, True),
        ({"Healthcheck": {"Test": ["NONE"], "Interval": 1_000_000}}, True),
        ({"Healthcheck": {"Interval": 1_000_000}}, True),
    ],
)
def test_whether_an_image_has_a_health_check(brought: dict[str, object], healthcheck: bool) -> None:  # noqa: FBT001 - a table
    """When an image's configuration holds a health check, or a part of one, it has one; a bare NONE is none."""
    assert docker_spawn.image({"Id": "sha256:1", "Config": brought}).healthcheck == healthcheck


@pytest.mark.parametrize("status", [404, 409])
def test_an_attach_that_is_refused(docker: ScriptedDocker, place: Path, status: int) -> None:
    """When Docker does not turn the connection into streams, attaching fails."""
    docker.answers["POST /v1.45/containers/alice/attach"] = answer(b"{}", status)
    with FencedClient(str(place), 30, (1, 45)) as client, pytest.raises(EngineError), docker_client.map_errors():
        client.attach_socket("alice", {"stream": 1})


@pytest.mark.parametrize("option", [{"Privileged": True}, {"PidMode": "host"}, {"MaskedPaths": []}])
def test_what_a_container_asks_of_the_host_is_read(
    docker: ScriptedDocker, engine: DockerSpawnEngine, option: dict[str, Any]
) -> None:
    """When a container asks the host for more than Docker gives each, the engine of a gateway sees it; else nothing."""
    kept = {key: sorted(paths) for key, paths in docker_spawn.KERNEL_PATHS.items()}
    shown = {
        "Id": CONTAINER.value,
        "Name": "/lab",
        "Created": "2026-01-01T00:00:00Z",
        "State": {"Status": "exited", "StartedAt": "2026-01-01T00:00:00Z"},
        "HostConfig": {"Memory": 1, "Runtime": "runc", **kept},
    }
    docker.answers[f"GET /v1.45/containers/{CONTAINER}/json"] = answer(json.dumps(shown).encode())
    plain = engine.container(CONTAINER)
    shown["HostConfig"] = {"Memory": 1, "Runtime": "runc", **kept, **option}
    docker.answers[f"GET /v1.45/containers/{CONTAINER}/json"] = answer(json.dumps(shown).encode())
    asking = engine.container(CONTAINER)
    assert plain is not None
    assert asking is not None
    assert (plain.host_config, asking.host_config.keys()) == ({}, option.keys())
