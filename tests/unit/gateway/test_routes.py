"""What is not in the table of routes, spelt exactly so, is refused."""

from __future__ import annotations

from functools import partial

import pytest
from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway.refusals import GatewayRefusal
from hubwarden_agent.gateway.routes import API_VERSION, OLDEST_API_VERSION, ROUTES, ApiRequest, Operation, resolve
from hypothesis import given
from hypothesis import strategies as st
from support.agent.gateway import result_or_refusal

ID = "0123456789abcdef" * 4

OTHER_ENDPOINTS = [
    "",
    "GET /containers/json",
    "GET /containers/lab",
    "GET /containers/lab/top",
    "GET /containers/lab/logs",
    "GET /containers/lab/changes",
    "GET /containers/lab/export",
    "GET /containers/lab/stats",
    "GET /containers/lab/archive",
    "GET /containers/lab/attach/ws",
    "HEAD /containers/lab/archive",
    "PUT /containers/lab/archive",
    "POST /containers/lab/resize",
    "POST /containers/lab/restart",
    "POST /containers/lab/kill",
    "POST /containers/lab/update",
    "POST /containers/lab/rename",
    "POST /containers/lab/pause",
    "POST /containers/lab/unpause",
    "POST /containers/lab/attach",
    "POST /containers/lab/wait",
    "GET /containers/lab/exec",
    "POST /containers/lab/exec/start",
    f"POST /exec/{'a' * 63}/start",
    f"POST /exec/{'A' * 64}/start",
    f"GET /exec/{'a' * 64}/json",
    f"POST /exec/{'a' * 64}/resize",
    "POST /containers/lab/json",
    "POST /containers/prune",
    "POST /exec/x/start",
    "GET /exec/x/json",
    "GET /images/json",
    "GET /images/x/get",
    "GET /images/x/history",
    "GET /images/search",
    "POST /images/load",
    "POST /images/x/push",
    "POST /images/x/tag",
    "POST /images/prune",
    "DELETE /images/x",
    "POST /build",
    "POST /build/prune",
    "POST /commit",
    "POST /auth",
    "POST /session",
    "GET /events",
    "GET /info",
    "GET /system/df",
    "HEAD /_ping",
    "GET /networks",
    "GET /networks/x",
    "POST /networks/create",
    "POST /networks/x/connect",
    "DELETE /networks/x",
    "GET /volumes",
    "GET /volumes/x",
    "POST /volumes/create",
    "DELETE /volumes/x",
    "POST /volumes/prune",
    "GET /plugins",
    "POST /plugins/pull",
    "GET /swarm",
    "POST /swarm/init",
    "GET /nodes",
    "GET /services",
    "POST /services/create",
    "GET /tasks",
    "GET /secrets",
    "GET /configs",
    "GET /distribution/x/json",
    "POST /grpc",
    "OPTIONS /containers/create",
    "TRACE /version",
    "",
][1:-1]


@pytest.mark.parametrize("endpoint", OTHER_ENDPOINTS)
def test_other_endpoints_are_refused(endpoint: str) -> None:
    """Everything else that Docker has is a 403, with a prefix and without one."""
    method, path = endpoint.split()
    for target in (path, f"/v1.44{path}"):
        with pytest.raises(GatewayRefusal) as refused:
            resolve(method, target)
        assert refused.value.reason is Reason.CLIENT_NOT_ALLOWED


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/containers/lab/json", id="no prefix"),
        pytest.param("/v1.44/containers/lab/json/", id="slash at the end"),
        pytest.param("/v1.44//containers/lab/json", id="two slashes"),
        pytest.param("/v1.44/containers/../containers/lab/json", id="dots"),
        pytest.param("/v1.44/containers/lab%2Fjson", id="encoded slash"),
        pytest.param("/v1.44/containers/%6cab/json", id="encoded letter"),
        pytest.param("/v1.44/containers/lab%40/json", id="the one encoding that images may have"),
        pytest.param("/v1.44/containers/lab@y/json", id="at sign in a container's name"),
        pytest.param("/v1.44/containers/lab;a=b/json", id="path parameter"),
        pytest.param("/v1.44/containers/lab#/json", id="fragment"),
        pytest.param("/v1.44/containers/lab\\json", id="backslash"),
        pytest.param("/v1.44/containers/lab/JSON", id="capitals"),
        pytest.param("/V1.44/containers/lab/json", id="capital in the prefix"),
        pytest.param("/v1.44/v1.44/containers/lab/json", id="two prefixes"),
        pytest.param("/v1.044/containers/lab/json", id="zero in the version"),
        pytest.param("/v2.44/containers/lab/json", id="another major version"),
        pytest.param("/v1/containers/lab/json", id="no minor version"),
        pytest.param("/v1.444/containers/lab/json", id="three digits"),
        pytest.param("/v1.44/containers//json", id="no name"),
        pytest.param("/v1.44/containers/-lab/json", id="a name that Docker does not take"),
        pytest.param("/v1.44/containers/lab/y/json", id="one segment more"),
        pytest.param("v1.44/containers/lab/json", id="no slash before"),
        pytest.param("http://localhost/v1.44/containers/lab/json", id="absolute form"),
        pytest.param("*", id="asterisk"),
        pytest.param("", id="nothing"),
        pytest.param("/", id="root"),
        pytest.param("/v1.44", id="only the prefix"),
        pytest.param("/v1.44/containers/lab/json\n", id="newline"),
        pytest.param("/v1.44/containers/l\u0430b/json", id="Cyrillic"),
    ],
)
def test_spellings_of_an_inspect_that_are_refused(target: str) -> None:
    """Nothing is normalised: another spelling is another path, and not in the table."""
    with pytest.raises(GatewayRefusal) as refused:
        resolve("GET", target)
    assert refused.value.reason is Reason.CLIENT_NOT_ALLOWED


@pytest.mark.parametrize("version", ["1.10", "1.23", "1.45", "1.99"])
def test_versions_out_of_range_are_refused(version: str) -> None:
    """A prefix outside the range that GET /version names is a 400, as in Docker."""
    with pytest.raises(GatewayRefusal) as refused:
        resolve("GET", f"/v{version}/containers/lab/json")
    assert refused.value.reason is Reason.INVALID_REQUEST


@pytest.mark.parametrize(
    ("method", "target"),
    [
        pytest.param("GET", "/version?a=b", id="where there are none"),
        pytest.param("GET", "/version?", id="an empty one"),
        pytest.param("GET", "/v1.44/containers/lab/json?size=1", id="inspect with size"),
        pytest.param("POST", "/v1.44/containers/create", id="no name"),
        pytest.param("POST", "/v1.44/containers/create?name=", id="empty name"),
        pytest.param("POST", "/v1.44/containers/create?name=ab&name=b", id="two names"),
        pytest.param("POST", "/v1.44/containers/create?name=ab&Name=b", id="another case"),
        pytest.param("POST", "/v1.44/containers/create?name=ab&platform=linux", id="platform"),
        pytest.param("POST", "/v1.44/containers/create?name=/ab", id="name with a slash"),
        pytest.param("POST", "/v1.44/containers/create?name=ab%00", id="name with NUL"),
        pytest.param("POST", "/v1.44/containers/create?name=ab%0a", id="name with a newline"),
        pytest.param("POST", "/v1.44/containers/create?name=%ff", id="not UTF-8"),
        pytest.param("POST", "/v1.44/containers/create?name=ab&&", id="malformed"),
        pytest.param("POST", "/v1.44/containers/create?name", id="no value"),
        pytest.param("POST", "/v1.44/containers/create?name=ab;b", id="semicolon"),
        pytest.param("POST", "/v1.44/containers/create?" + "&".join(f"a{n}=1" for n in range(20)), id="many"),
        pytest.param("POST", "/v1.44/containers/lab/stop?t=0", id="stop timeout"),
        pytest.param("POST", "/v1.44/containers/lab/stop?signal=KILL", id="stop signal"),
        pytest.param("POST", "/v1.44/containers/lab/start?detachKeys=a", id="detach keys"),
        pytest.param("POST", "/v1.44/containers/lab/start?checkpoint=a", id="checkpoint"),
        pytest.param("DELETE", "/v1.44/containers/lab?v=True&force=True", id="force"),
        pytest.param("DELETE", "/v1.44/containers/lab?v=True&force=1", id="force as a number"),
        pytest.param("DELETE", "/v1.44/containers/lab?v=True&link=True", id="link"),
        pytest.param("DELETE", "/v1.44/containers/lab?v=yes", id="another word for true"),
        pytest.param("DELETE", "/v1.44/containers/lab?v=False", id="volumes without a name left behind"),
        pytest.param("DELETE", "/v1.44/containers/lab?link=False", id="the same, without a word"),
        pytest.param("POST", "/v1.44/images/create?fromSrc=-", id="import"),
        pytest.param("POST", "/v1.44/images/create?fromImage=a&tag=b&fromSrc=-", id="import beside a pull"),
        pytest.param("POST", "/v1.44/images/create?fromImage=a", id="every tag"),
        pytest.param("POST", "/v1.44/images/create?fromImage=a&tag=", id="empty tag"),
        pytest.param("POST", "/v1.44/images/create?fromImage=a&tag=b&platform=c", id="pull for a platform"),
    ],
)
def test_queries_that_are_refused(method: str, target: str) -> None:
    """Query parameters come from a closed set, once each, with values that we understand."""
    with pytest.raises(GatewayRefusal) as refused:
        resolve(method, target)
    assert refused.value.reason is Reason.INVALID_REQUEST


@pytest.mark.parametrize(
    ("method", "target", "operation", "reference", "query"),
    [
        ("GET", "/version", Operation.VERSION, "", {}),
        ("GET", "/v1.44/version", Operation.VERSION, "", {}),
        ("GET", "/_ping", Operation.PING, "", {}),
        ("GET", "/v1.24/containers/jupyterlab-alice--a-5fb/json", Operation.INSPECT, "jupyterlab-alice--a-5fb", {}),
        ("GET", f"/v1.44/containers/{ID}/json", Operation.INSPECT, ID, {}),
        ("GET", "/v1.44/images/localhost:5000/a/b:1/json", Operation.IMAGE, "localhost:5000/a/b:1", {}),
        ("GET", "/v1.44/images/a/b%40sha256:12/json", Operation.IMAGE, "a/b%40sha256:12", {}),
        (
            "POST",
            "/v1.44/images/create?tag=1&fromImage=localhost%3A5000%2Fa",
            Operation.PULL,
            "",
            {"tag": "1", "fromImage": "localhost:5000/a"},
        ),
        ("POST", "/v1.44/containers/create?name=a-b", Operation.CREATE, "", {"name": "a-b"}),
        ("POST", f"/v1.44/containers/{ID}/start", Operation.START, ID, {}),
        ("POST", f"/v1.44/containers/{ID}/stop", Operation.STOP, ID, {}),
        (
            "DELETE",
            f"/v1.44/containers/{ID}?v=True&link=False&force=False",
            Operation.REMOVE,
            ID,
            {"v": "True", "link": "False", "force": "False"},
        ),
        ("DELETE", f"/v1.44/containers/{ID}?v=1", Operation.REMOVE, ID, {"v": "1"}),
    ],
)
def test_what_dockerspawner_asks_is_understood(
    method: str, target: str, operation: Operation, reference: str, query: dict[str, str]
) -> None:
    """Every call that DockerSpawner makes has its route."""
    call = resolve(method, target)
    assert (call.operation, call.reference, dict(call.query)) == (operation, reference, query)
    assert call.takes_body == (operation is Operation.CREATE)


def test_every_operation_has_one_route() -> None:
    """The table and the operations do not part ways."""
    assert sorted(route.operation for route in ROUTES) == sorted(Operation)


def test_the_range_of_versions_has_an_inside() -> None:
    """docker-py takes the newest from GET /version."""
    assert OLDEST_API_VERSION < API_VERSION


@given(st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD"]), st.text(max_size=80))
def test_no_target_makes_it_fail_otherwise(method: str, target: str) -> None:
    """Whatever is asked, it is a call or a refusal."""
    for start in ("", "/v1.44/", "/v1.44/containers/", "/v1.44/containers/create?", "/v1.44/images/"):
        result = result_or_refusal(partial(resolve, method, start + target))
        assert isinstance(result, ApiRequest) or (
            isinstance(result, GatewayRefusal) and result.reason in (Reason.INVALID_REQUEST, Reason.CLIENT_NOT_ALLOWED)
        )
