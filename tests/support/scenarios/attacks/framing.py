"""Where a request begins and ends, and what it is called: lengths, line ends, targets and queries in odd spellings."""

from __future__ import annotations

import json
from typing import Any

from support.scenarios.attacks.case import BODY, TWIN, Case, Ours, Request, Says, create

SOUND = json.dumps(dict(BODY)).encode()
CLOSED = b"Host: x\r\nConnection: close\r\n"
LINE = b"POST /v1.44/containers/create?name=jupyterlab-@user@ HTTP/1.1\r\n" + CLOSED
TYPED = LINE + b"Content-Type: application/json\r\n"
HIDDEN = "a second request, hidden in the body of the first"
TWO_READINGS = "a check of one reading and an effect of the other"
REPAIRS = Ours("Go's parser refuses or repairs it in its own way")
NEVER_LISTED = Ours("needs a registry")
OWN = "/v1.44/containers/@own@"
INSPECT = (Request("GET", f"{OWN}/json"), 200)
START = (Request("POST", f"{OWN}/start"), 204)
REMOVE = (Request("DELETE", f"{OWN}?v=True"), 204)
PULL = "/v1.44/images/create?fromImage="
IMAGE = (Request("GET", "/v1.44/images/@image@/json"), 200)


def _framed(name: str, head: bytes, names: str, sent: bytes = b"{}") -> Case:
    """A create whose length is said in an odd way."""
    attack = Request(raw=TYPED + head + b"\r\n\r\n" + sent)
    return Case(f"framing: {name}", HIDDEN, attack, TWIN, REPAIRS, 400, names)


def _line(name: str, raw: bytes, names: str = "header") -> Case:
    return Case(f"lines: {name}", TWO_READINGS, Request(raw=raw), Request("GET", "/_ping"), REPAIRS, 400, names, 200)


def _target(
    method: str, target: str, control: Any, twin: tuple[Request, int] = INSPECT, status: int = 403, names: str = ""
) -> Case:
    named = names if names or method == "HEAD" else "endpoint"
    return Case(
        f"target: {method} {target}"[:90],
        TWO_READINGS,
        Request(method, target),
        twin[0],
        control,
        status,
        named,
        twin[1],
    )


def _query(query: str, control: Any, names: str) -> Case:
    target = f"/v1.44/containers/create?{query}"
    return Case(f"query: {query}"[:90], TWO_READINGS, create(target=target), TWIN, control, 400, names)


def _pull(query: str, status: int = 403, names: str = "spawn.pull") -> Case:
    gain = "a program of the attacker's as an image"
    return Case(
        f"pull: {query}"[:90], gain, Request("POST", PULL + query), IMAGE[0], NEVER_LISTED, status, names, IMAGE[1]
    )


def _typed(value: str) -> Case:
    return Case(
        f"content type: {value}", TWO_READINGS, create(Content_Type=value), TWIN, REPAIRS, 400, "application/json"
    )


FRAMING = (
    _framed("the same length twice", b"Content-Length: 2\r\nContent-Length: 2", "Content-Length"),
    _framed("a list of equal lengths", b"Content-Length: 2, 2", "length"),
    _framed("a list of three lengths", b"Content-Length: 2,2,2", "length"),
    _framed("a list that ends early", b"Content-Length: 2,", "HTTP/1.1"),
    _framed("a length with a zero in front", b"Content-Length: 02", "length"),
    _framed("a length below zero", b"Content-Length: -0", "HTTP/1.1"),
    _framed("a length with an underscore", b"Content-Length: 0_2", "HTTP/1.1"),
    _framed("a length in Arabic digits", "Content-Length: \u0662".encode(), "HTTP/1.1"),
    _framed("a length with a vertical tab", b"Content-Length: 2\x0b", "HTTP/1.1"),
    _framed("a length with a parameter", b"Content-Length: 2;x=1", "HTTP/1.1"),
    _framed("a length of 19 digits", b"Content-Length: 1000000000000000002", "length"),
    _framed("a length of 18 digits", b"Content-Length: 100000000000000002", "bytes"),
    _framed("a coding without a name", b"Content-Length: 2\r\nTransfer-Encoding:", "Transfer-Encoding"),
    _framed("the coding that changes nothing", b"Content-Length: 2\r\nTransfer-Encoding: identity",
            "Transfer-Encoding"),
    _framed("two codings in one header", b"Transfer-Encoding: gzip, chunked", "Transfer-Encoding", b"0\r\n\r\n"),
    _framed("the coding twice", b"Transfer-Encoding: chunked\r\ntransfer-encoding: chunked", "Transfer-Encoding"),
    _framed("a coding with a parameter", b"Transfer-Encoding: chunked;q=1", "Transfer-Encoding", b"0\r\n\r\n"),
    _framed("a line end in a chunk's extension", b"Transfer-Encoding: CHUNKED", "Transfer-Encoding",
            b'2;x="\r\n\r\n"\r\n{}\r\n0\r\n\r\n'),
    _framed("headers behind the body", b"Content-Length: 2\r\nTrailer: Content-Length", "Trailer"),
    _framed("a compression that changes nothing", b"Content-Length: 2\r\nContent-Encoding: identity",
            "Content-Encoding"),
    _framed("an expectation of nothing", b"Content-Length: 2\r\nExpect:", "Expect"),
    _framed("an upgrade to nothing", b"Content-Length: 2\r\nUpgrade:", "Upgrade"),
    _framed("a second content type without a value", b"Content-Length: 2\r\nContent-Type:", "Content-Type"),
    _framed("two hosts", b"Content-Length: 2\r\nHost: y", "HTTP/1.1"),
    _framed("a control character in a header", b"X: a\x1fb\r\nContent-Length: 2", "header"),
    _framed("half a line end in a header", b"X: a\x85Content-Length: 40\r\nContent-Length: 2", "header"),
    _framed("a folded header of blanks", b"X: a\r\n\t\r\nContent-Length: 2", "header"),
    _line("no host", b"GET /_ping HTTP/1.1\r\n\r\n", "HTTP/1.1"),
    _line("line feeds alone", b"GET /_ping HTTP/1.1\nHost: x\n\n"),
    _line("a line feed alone at the end", b"GET /_ping HTTP/1.1\r\nHost: x\r\n\n"),
    _line("a line feed alone before the end", b"GET /_ping HTTP/1.1\r\nHost: x\n\r\n"),
    _line("two carriage returns", b"GET /_ping HTTP/1.1\r\r\nHost: x\r\n\r\n", "HTTP/1.1"),
    _line("two empty lines first", b"\r\n\r\nGET /_ping HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1"),
    *(_typed(value) for value in (
        "application/json, text/plain", "application/json;charset=utf-8;charset=utf-16", "APPLICATION/JSON+x",
        'application/json; charset="utf-8"', "application/json;",
    )),
)  # fmt: skip

TARGETS = (
    _target("GET", f"{OWN}/json#x", REPAIRS),
    _target("GET", "/v1.44/containers\\@own@/json", Says(404)),
    _target("GET", "/v1.44/./containers/@own@/json", Says(301)),
    _target("GET", "/v1.44/images/%2e%2e/containers/@own@/json", Says(301)),
    _target("GET", f"{OWN}%00/json", Says(404)),
    _target("GET", f"{OWN}/json%0d%0aX:y", Says(404)),
    _target("GET", "/v1.44/containers/%2540/json", Says(404)),
    _target("GET", "//x/v1.44/containers/@own@/json", REPAIRS),
    _target("GET", "https://x:1/v1.44/containers/@own@/json", Says(200)),
    _target("GET", "v1.44/containers/@own@/json", Says(400)),
    _target("GET", "/V1.44/containers/@own@/json", Says(404)),
    _target("GET", "/v1.44.0/containers/@own@/json", Says(200)),
    _target("GET", "/v1.+44/containers/@own@/json", Says(404)),
    _target("GET", "/v1.44/containers/sha256:@own_id@/json", Says(404)),
    _target("GET", "/v1.44/containers/JUPYTERLAB-@user@/json", Says(404), status=404, names="No such container"),
    _target("GET", f"{OWN}./json", Says(404), status=404, names="No such container"),
    _target("OPTIONS", "*", REPAIRS),
    _target("OPTIONS", f"{OWN}/json", Says(200)),
    _target("CONNECT", "x:80", REPAIRS),
    _target("TRACE", f"{OWN}/json", Says(404)),
    _target("HEAD", f"{OWN}/json", Ours("the engine announces a body that does not come")),
    _target("HEAD", "/_ping", Says(200)),
    _target("POST", f"{OWN}/json", Says(404), START),
    _target("POST", f"{OWN}/start?detachKeys=ctrl-a", Says(204), START, 400, "parameter"),
    _target("POST", f"{OWN}/start?checkpoint=x&checkpoint-dir=/etc", Says(400), START, 400, "parameter"),
    _target("POST", f"{OWN}/stop?signal=SIGSTOP", Says(304), START, 400, "parameter"),
    _target("POST", f"{OWN}/stop?t=-1", Says(304), START, 400, "parameter"),
    _target("DELETE", f"{OWN}?v=TRUE", Ours("would take away what the attack is on"), REMOVE, 400, "parameter v"),
    _target("DELETE", f"{OWN}?v=True&force=t", Ours("would take away what the attack is on"), REMOVE, 400, "force"),
    _target("DELETE", f"{OWN}?v=True&force=False&force=True", Ours("would take away what the attack is on"), REMOVE,
            400, "duplicated"),
    _target("GET", "/v1.44/images/@image@@@/json", Says(400), IMAGE, 403, "spawn.images"),
    _target("GET", "/v1.44/images/@image@/json?platform=linux/arm64", Says(200), IMAGE, 400, "parameter"),
    _target("GET", "/v1.44/images/@victim_image_id@/json", Says(200), IMAGE, 403, "spawn.images"),
    Case("upgrade of an inspect", "a connection that is nobody's",
         Request("GET", f"{OWN}/json", headers={"Upgrade": "h2c", "Connection": "Upgrade"}), INSPECT[0], Says(200),
         400, "Upgrade", 200),
    Case("upgrade of a start", "a connection that is nobody's",
         Request("POST", f"{OWN}/start", headers={"Upgrade": "tcp", "Connection": "Upgrade"}), START[0], Says(204),
         400, "Upgrade", 204),
    Case("exec by an id in upper case", "a program that somebody else prepared",
         create(b'{"Detach":false}', f"/v1.44/exec/{'A' * 64}/start"), create(b'{"Cmd":["true"]}', f"{OWN}/exec"),
         Says(404), 403, "endpoint"),
)  # fmt: skip

QUERIES = (
    _query("Name=jupyterlab-@user@", Says(201), "parameter"),
    _query("name=jupyterlab-@user@&n%61me=hub", Says(201), "duplicated"),
    _query("name=jupyterlab-@user@&name=", Says(201), "duplicated"),
    _query("name=%256aupyterlab-@user@", Says(400), "name"),
    _query("name=jupyterlab-@user@%0a", Says(400), "name"),
    _query("name=jupyterlab-@user@%00", Says(400), "name"),
    _query("name=jupyterlab-@user@+", Says(400), "name"),
    _query("name=jupyterlab-@user@%c0%ae", Says(400), "query"),
    _query("name=jupyterlab-@user@;platform=x", REPAIRS, "name"),
    _query("name=jupyterlab-@user@&", Says(201), "query"),
    _query("name[]=jupyterlab-@user@", Says(201), "parameter"),
    _query("name=jupyterlab-@user@#x", REPAIRS, "name"),
    _query("name=jupyterlab-@user@" + "&a=b" * 20, Says(201), "query"),
    _pull("@image@&tag=latest"),
    _pull("DOCKER.IO/@image@&tag=test"),
    _pull("deadbeef&tag=latest"),
    _pull("registry.example.org:5000/x&tag=1"),
    _pull("x@sha256:" + "a" * 64 + "&tag=1"),
    _pull("x&tag=sha256:" + "a" * 64),
    _pull("x&tag=1&tag=2", 400, "duplicated"),
    _pull("x&tag=1&fromSrc=-", 400, "parameter"),
    _pull("x&tag=1&platform=linux/arm64", 400, "parameter"),
)

CASES: tuple[Case, ...] = FRAMING + TARGETS + QUERIES
