"""HTTP as the gateway takes it: declared, bounded, in time, and answered as Docker would."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any

import pytest
from hubwarden_agent.denials import MAX_SHOWN
from hubwarden_agent.engine.port import EngineError
from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway import app, request_reader
from support.agent.gateway import IMAGE, GatewayStage, spawner_body
from support.fakes.engine import FakeEngine

CREATE = "/v1.44/containers/create?name=jupyterlab-alice"
BODY = json.dumps(spawner_body()).encode()
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("method", "target", "headers", "body", "status"),
    [
        pytest.param("GET", "/version", {}, b"x", 400, id="body where none belongs"),
        pytest.param("POST", "/v1.44/containers/jupyterlab-alice/start", JSON, b"{}", 400, id="host config at start"),
        pytest.param("POST", CREATE, {}, BODY, 400, id="no content type"),
        pytest.param("POST", CREATE, {"Content-Type": "text/plain"}, BODY, 400, id="text"),
        pytest.param("POST", CREATE, {"Content-Type": "application/json; charset=utf-16"}, BODY, 400, id="charset"),
        pytest.param("POST", CREATE, {"Content-Type": "application/jsonp"}, BODY, 400, id="something like JSON"),
        pytest.param("POST", CREATE, {**JSON, "Content-Encoding": "gzip"}, BODY, 400, id="compressed"),
        pytest.param("POST", CREATE, {**JSON, "Upgrade": "tcp", "Connection": "upgrade"}, BODY, 400, id="upgrade"),
        pytest.param("POST", CREATE, JSON, b"", 400, id="no body"),
        pytest.param("POST", CREATE, JSON, b"{}{}", 400, id="two documents"),
        pytest.param("POST", CREATE, JSON, b" " * (app.MAX_BODY_BYTES + 1), 400, id="too large"),
    ],
)
async def test_requests_that_are_refused(
    stage: GatewayStage, fake: FakeEngine, method: str, target: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    """Nothing reaches the engine, and the answer is JSON with a message."""
    reply = await stage.request(method, target, body, headers)
    assert reply.status == status
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.message.startswith("hubwarden: ")
    assert fake.calls == []


@pytest.mark.parametrize(
    "head",
    [
        pytest.param("Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", id="chunked"),
        pytest.param("Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", id="two lengths"),
        pytest.param("Content-Length: +2\r\n\r\n{}", id="signed length"),
        pytest.param("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", id="length and chunked"),
        pytest.param("Content-Length: 2\r\nContent-Type: text/plain\r\n\r\n{}", id="two content types"),
        pytest.param("Content-Length: 2\r\nX: " + "a" * 10_000 + "\r\n\r\n{}", id="long header"),
        pytest.param("Content-Length: 2\r\n" + "X: a\r\n" * 200 + "\r\n{}", id="many headers"),
        pytest.param("Content-Length: 2\r\nX : a\r\n\r\n{}", id="space in a header's name"),
    ],
)
async def test_framing_that_is_refused(stage: GatewayStage, fake: FakeEngine, head: str) -> None:
    """Bodies have one declared length; whatever could be framed in two ways is a 400."""
    start = f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    reply = await stage.raw((start + head).encode())
    assert reply.status == 400
    assert fake.calls == []


@pytest.mark.parametrize("line", ["GARBAGE", "GET", "GET /version HTTP/9.9", "get /version HTTP/1.1"])
async def test_request_lines_that_are_refused(stage: GatewayStage, line: str) -> None:
    """When the request line is malformed, the response is 400 or 403."""
    reply = await stage.raw(f"{line}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert reply.status in (400, 403)


@pytest.mark.parametrize(
    ("method", "target"),
    [("OPTIONS", "*"), ("CONNECT", "x:80"), ("GET", "http://x/version"), ("PUT", "/"), ("PATCH", "/version")],
)
async def test_other_methods_and_targets(stage: GatewayStage, method: str, target: str) -> None:
    """None of them is in the table, or a target as it is written here."""
    reply = await stage.request(method, target)
    assert reply.status == 403
    assert "not available" in reply.message


async def test_refusals_are_on_the_record(stage: GatewayStage) -> None:
    """A refusal that came before any intent is a denied line; looking for what is not there is none."""
    await stage.request("POST", "/v1.44/containers/lab/attach", b"")
    await stage.create(spawner_body("bob"))
    await stage.request("GET", "/v1.44/containers/jupyterlab-alice/json")
    assert stage.audit.phases() == [("denied", Reason.CLIENT_NOT_ALLOWED), ("denied", Reason.NAME_MISMATCH)]
    assert [line.entry.operation for line in stage.audit.lines] == ["unknown", "create"]


async def test_a_body_that_does_not_arrive(stage: GatewayStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends half a body gets a 408 in time."""
    monkeypatch.setattr(request_reader, "BODY_SECONDS", 0.05)
    head = f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{{"
    assert (await stage.raw(head.encode())).status == 408


async def test_a_header_that_does_not_arrive(stage: GatewayStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends half a header, or nothing, is cut off in time."""
    monkeypatch.setattr(request_reader, "HEAD_SECONDS", 0.05)
    for start in (b"", b"GET /version HTTP/1.1\r\nHost"):
        reader, writer = await asyncio.open_unix_connection(str(stage.path))
        writer.write(start)
        async with asyncio.timeout(2):
            assert await _rest(reader) == b""
        writer.close()


async def test_a_connection_carries_one_request(stage: GatewayStage, fake: FakeEngine) -> None:
    """What comes behind it, whatever it is, is never looked at: nothing can be mistaken for a body or for a request."""
    reader, writer = await asyncio.open_unix_connection(str(stage.path))
    stop = b"POST /v1.44/containers/jupyterlab-alice/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    writer.write(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n" + stop)
    text = (await _rest(reader)).decode()
    assert re.findall(r"HTTP/1\.1 (\d+)", text) == ["200"]
    assert "Connection: close" in text
    assert fake.calls == []
    writer.close()


async def test_a_refusal_reaches_a_client_that_still_sends(stage: GatewayStage) -> None:
    """A body that is far too large is not read, and its sender still learns why it was refused."""
    size = 8 * app.MAX_BODY_BYTES
    reader, writer = await asyncio.open_unix_connection(str(stage.path))
    head = f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    writer.write(head.encode() + bytes(app.MAX_BODY_BYTES))
    await writer.drain()
    assert (await reader.readline()).split()[1] == b"400"
    writer.close()


async def test_an_engine_that_does_not_answer(stage: GatewayStage, fake: FakeEngine) -> None:
    """503 for everything, without a word of what the engine said."""
    fake.available = False
    calls = [("GET", "/version"), ("GET", "/v1.44/containers/lab/json"), ("POST", "/v1.44/containers/lab/start")]
    for method, target in calls:
        reply = await stage.request(method, target)
        assert reply.status == 503
        assert "SECRET" not in reply.text
    assert (await stage.create(spawner_body())).status == 503


@pytest.mark.parametrize("error", [EngineError("SECRET"), RuntimeError("SECRET"), KeyError("SECRET")])
async def test_no_500_for_an_inspect(
    stage: GatewayStage, fake: FakeEngine, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """DockerSpawner reads 500 as "gone" and the Hub drops the server: whatever happens, an inspect is a 503."""
    caplog.set_level(logging.INFO)
    fake.fail_next["container"] = error  # type: ignore[assignment] # a mistake of ours is what is being tried
    reply = await stage.request("GET", "/v1.44/containers/jupyterlab-alice/json")
    assert reply.status == 503
    assert "SECRET" not in reply.text
    assert "SECRET" in caplog.text or any("SECRET" in str(vars(record)) for record in caplog.records)


async def test_a_failure_names_the_request(stage: GatewayStage, fake: FakeEngine) -> None:
    """A 500 says nothing but the request id, under which the log says all."""
    fake.fail_next["create_container"] = EngineError("SECRET")
    reply = await stage.create(spawner_body())
    assert reply.status == 500
    assert reply.message == (f"hubwarden: The operation failed. (request id {stage.audit.lines[-1].entry.request_id})")


async def test_what_is_logged_of_a_request_is_ascii_and_bounded(
    stage: GatewayStage, caplog: pytest.LogCaptureFixture
) -> None:
    """A client can neither forge log lines nor fill the log with one request."""
    caplog.set_level(logging.INFO)
    await stage.request("GET", "/%0a" + "x" * 3000)
    await stage.request("GET", "/\u6728" + "x" * 3000)
    await stage.raw(b"\x1b" * 3000 + b"\r\n\r\n")
    assert caplog.records
    for record in caplog.records:
        assert record.exc_info is None
        line = record.getMessage() + str(vars(record).get("request"))
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 400


async def test_refusals_are_logged_at_a_bounded_rate(stage: GatewayStage, caplog: pytest.LogCaptureFixture) -> None:
    """When more than 60 requests a minute are refused, the others are counted in the next line."""
    caplog.set_level(logging.INFO, "hubwarden_agent.gateway.app")
    for _ in range(70):
        assert (await stage.request("GET", "/v1.44/networks")).status == 403
    assert len(caplog.records) == 60
    stage.clock.advance(60)
    await stage.request("GET", "/v1.44/networks")
    assert [vars(record)["suppressed"] for record in caplog.records] == [0] * 60 + [10]


async def test_missing_containers_leave_room_for_a_failure(
    stage: GatewayStage, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """When 100 inspects find no container and 100 requests are refused, a failed start is still logged."""
    fake.add_image(IMAGE)
    container = (await stage.create(spawner_body())).json["Id"]
    caplog.set_level(logging.INFO, "hubwarden_agent.gateway.app")
    for _ in range(100):
        assert (await stage.request("GET", "/v1.44/containers/jupyterlab-bob/json")).status == 404
    assert caplog.records == []
    for _ in range(100):
        assert (await stage.request("GET", "/v1.44/networks")).status == 403
    assert len(caplog.records) == 60
    fake.fail_next["start_container"] = EngineError("the cause")
    assert (await stage.request("POST", f"/v1.44/containers/{container}/start")).status == 500
    assert "the cause" in vars(caplog.records[-1])["cause"]


async def test_missing_containers_leave_room_for_a_refusal(
    stage: GatewayStage, caplog: pytest.LogCaptureFixture
) -> None:
    """When 100 inspects find no container, a refused create is still logged, and none of them counts as suppressed."""
    caplog.set_level(logging.DEBUG, "hubwarden_agent.gateway.app")
    for _ in range(100):
        await stage.request("GET", "/v1.44/containers/jupyterlab-bob/json")
    assert (await stage.create({})).status == 400
    assert [record.levelname for record in caplog.records] == ["DEBUG"] * 100 + ["INFO"]
    assert vars(caplog.records[-1])["suppressed"] == 0


async def test_a_container_that_is_not_the_hubs_is_logged(
    stage: GatewayStage, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """When an inspect answers 404 for a container that exists, the log has the cause: moving over needs it."""
    fake.add_container("jupyterlab-bob", labels={})
    caplog.set_level(logging.INFO, "hubwarden_agent.gateway.app")
    assert (await stage.request("GET", "/v1.44/containers/jupyterlab-bob/json")).status == 404
    assert "NOT_OWNED" in vars(caplog.records[0])["cause"]


async def test_a_cause_is_cut(stage: GatewayStage, fake: FakeEngine, caplog: pytest.LogCaptureFixture) -> None:
    """When Docker's words about a failure are long, the log has their beginning, in ASCII."""
    caplog.set_level(logging.INFO, "hubwarden_agent.gateway.app")
    fake.fail_next["container"] = EngineError("\u6728" * 100_000)
    await stage.request("GET", "/v1.44/containers/jupyterlab-alice/json")
    cause = vars(caplog.records[0])["cause"]
    assert (len(cause), cause.isascii()) == (MAX_SHOWN, True)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (spawner_body(host={"ShmSize": 4711}), "4711"),
        (spawner_body(User="no-such-user"), "no-such-user"),
        (spawner_body(Labels={"traefik.enable": "true"}), "traefik.enable"),
        (spawner_body(host={"Binds": ["/etc:/x"]}), "/etc"),
    ],
)
async def test_a_refused_value_is_for_the_log(
    stage: GatewayStage, caplog: pytest.LogCaptureFixture, body: dict[str, Any], value: str
) -> None:
    """The answer has the field, the sort of value, the key and an id; under that id the log has the value."""
    caplog.set_level(logging.INFO)
    reply = await stage.create(body)
    assert (reply.status, "(spawn." in reply.message, value in reply.text) == (400, True, False)
    assert reply.headers["x-request-id"] == stage.audit.lines[-1].entry.request_id
    (logged,) = [vars(record)["value"] for record in caplog.records if vars(record).get("value")]
    assert value in logged


@pytest.mark.parametrize(
    "changes",
    [
        {"env": ["JUPYTERHUB_API_TOKEN=secret"]},
        {"Env": ["JUPYTERHUB_API_TOKEN=secret"]},
        {"Env": ["=secret"]},
        {"Env": "secret"},
        {"Env": ["JUPYTERHUB_USER=alice", "A B=secret"]},
        {"Environment": {"JUPYTERHUB_API_TOKEN": "secret"}},
    ],
)
async def test_no_variable_is_ever_logged(
    stage: GatewayStage, caplog: pytest.LogCaptureFixture, changes: dict[str, Any]
) -> None:
    """Wherever it stands: the environment holds the server's token."""
    caplog.set_level(logging.DEBUG)
    reply = await stage.create({**spawner_body(), **changes})
    assert reply.status == 400
    assert "secret" not in reply.text + caplog.text + "".join(str(vars(record)) for record in caplog.records)


async def test_nothing_tells_what_we_are_made_of(stage: GatewayStage) -> None:
    """The Server header names no library and no version."""
    assert (await stage.request("GET", "/version")).headers["server"] == "hubwarden"


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """Everything until the end, which may be abrupt."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_an_answer_to_head_has_no_text(stage: GatewayStage) -> None:
    """As HTTP has it: the length that a text would have, and nothing behind the headers."""
    reader, writer = await asyncio.open_unix_connection(str(stage.path))
    writer.write(b"HEAD /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
    head, end, text = (await _rest(reader)).partition(b"\r\n\r\n")
    assert (head.split()[1], end, text) == (b"403", b"\r\n\r\n", b"")
    assert b"Content-Length: " in head
    writer.close()
