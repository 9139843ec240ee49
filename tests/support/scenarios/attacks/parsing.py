"""Requests that two readers could read two ways, or that hold up their reader."""

from __future__ import annotations

import json
from typing import Any

from support.scenarios.attacks.case import (
    BODY,
    CREATE,
    JSON,
    TWIN,
    Case,
    Ours,
    Request,
    Says,
    Shows,
    body,
    create,
    host,
    top,
)

SOUND = json.dumps(dict(BODY)).encode()
TWO_READINGS = "a check of one reading and a deed of the other"
HOLD_UP = "an agent that is busy reading"
PRIVILEGED = Shows("HostConfig.Privileged", True)  # noqa: FBT003 - a value of the body
OWN = "/v1.44/containers/@own@/json"
LINE = b"POST /v1.44/containers/create?name=jupyterlab-@user@ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
TYPED = LINE + b"Content-Type: application/json\r\n"


def _put(before: bytes, after: bytes) -> bytes:
    """The sound body with something put in place of something else."""
    assert before in SOUND
    return SOUND.replace(before, after, 1)


def _text(name: str, data: bytes, names: str, control: Shows | Says | Ours, gain: str = TWO_READINGS) -> Case:
    return Case(name, gain, create(data), TWIN, control, 400, names)


def _path(name: str, target: str, names: str, control: Any, status: int = 403) -> Case:
    """A spelling of an inspect of one's own container."""
    return Case(
        name, TWO_READINGS, Request("GET", target), Request("GET", OWN), control, status, names, 200
    )  # fmt: skip


CASES: tuple[Case, ...] = (
    host("privileged", True, TWO_READINGS, PRIVILEGED, name="lower case key"),  # noqa: FBT003 - a value of the body
    host("PRIVILEGED", True, TWO_READINGS, PRIVILEGED, name="upper case key"),  # noqa: FBT003 - a value of the body
    host("networkmode", "host", TWO_READINGS, Shows("HostConfig.NetworkMode", "host"), name="a known key, other case"),
    host("Bind\u017f", ["/:/host"], TWO_READINGS, Shows("HostConfig.Binds", ["/:/host"]), name="long s in a key",
         names="Bind"),
    top("hostconfig", {"Privileged": True}, TWO_READINGS, PRIVILEGED, name="lower case object"),
    _text("duplicate key", _put(b'"Memory"', b'"Memory": 1, "Memory"'), "same key twice", Says(201)),
    _text("duplicate object", _put(b'"HostConfig"', b'"HostConfig": {"Privileged": true}, "HostConfig"'),
          "same key twice", PRIVILEGED),
    _text("escaped duplicate", _put(b'"NetworkMode"', b'"\\u004eetworkMode": "host", "NetworkMode"'), "same key twice",
          Says(201)),
    _text("byte order mark", b"\xef\xbb\xbf" + SOUND, "JSON", Says(400)),
    _text("UTF-16", SOUND.decode().encode("utf-16"), "JSON", Says(400)),
    _text("bytes that are no UTF-8", _put(b"secret", b"\xff\xfe"), "JSON", Says(201)),
    _text("NUL in a text", _put(b"secret", b"\\u0000"), "Env", Says(201)),
    _text("lone surrogate", _put(b"secret", b"\\ud800"), "Env", Says(201)),
    _text("a raw NUL", _put(b"secret", b"\x00"), "JSON", Says(400)),
    _text("NaN", _put(b"67108864", b"NaN"), "not an integer", Says(400)),
    _text("Infinity", _put(b"67108864", b"Infinity"), "not an integer", Says(400)),
    _text("a fraction", _put(b"67108864", b"67108864.0"), "not an integer", Says(400)),
    _text("an exponent", _put(b"67108864", b"1e9"), "not an integer", Says(400)),
    _text("a number of 65 bits", _put(b"67108864", b"36893488147419103232"), "64 bits", Says(400)),
    _text("a number of a million digits", _put(b"67108864", b"9" * 200_000), "64 bits", Says(400), HOLD_UP),
    _text("a text for a number", _put(b"67108864", b'"67108864"'), "HostConfig.Memory", Says(400)),
    _text("a flag for a number", _put(b"67108864", b"true"), "HostConfig.Memory", Says(400)),
    _text("a second document", SOUND + SOUND, "JSON", Says(400)),
    _text("text behind the document", SOUND + b"x", "JSON", Says(400)),
    _text("a comma too many", SOUND[:-1] + b",}", "JSON", Says(400)),
    _text("a comment", b"/* */" + SOUND, "JSON", Says(400)),
    _text("an array", b"[" + SOUND + b"]", "must be an object", Says(400)),
    _text("null", b"null", "must be an object", Says(400)),
    _text("nothing", b"", "JSON", Says(400)),
    _text("deep", _put(b'"Cmd"', b'"X": ' + b"[" * 50_000 + b"]" * 50_000 + b', "Cmd"'), "values", Says(400), HOLD_UP),
    _text("nested nine times", _put(b'"Cmd"', b'"X": ' + b"[" * 8 + b"]" * 8 + b', "Cmd"'), "nested", Says(201),
          HOLD_UP),
    _text("10,000 values", _put(b'"Cmd"', b'"X": [' + b"0," * 10_000 + b'0], "Cmd"'), "values", Says(201), HOLD_UP),
    _text("10,000 objects", _put(b'"Cmd"', b'"X": [' + b'{"":0},' * 10_000 + b'0], "Cmd"'), "values", Says(201),
          HOLD_UP),
    _text("deep objects", b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "values", Says(400), HOLD_UP),
    Case("too large", HOLD_UP, create(SOUND + b" " * 300_000), create(SOUND + b" " * 3_000), Says(201), 400, "bytes"),
    Case("text/plain", TWO_READINGS, create(Content_Type="text/plain"), TWIN, Says(400), 400, "application/json"),
    Case("no content type", TWO_READINGS, Request(body=SOUND), TWIN, Says(400), 400, "application/json"),
    Case("form", TWO_READINGS, create(Content_Type="application/x-www-form-urlencoded"), TWIN, Says(400), 400,
         "application/json"),
    Case("UTF-7", TWO_READINGS, create(Content_Type="application/json; charset=utf-7"), TWIN, Says(201), 400,
         "application/json"),
    Case("gzip", TWO_READINGS, create(Content_Encoding="gzip"), TWIN, Says(201), 400, "Content-Encoding"),
    Case("upgrade", "a connection that is nobody's", create(Upgrade="tcp", Connection="Upgrade"), TWIN, Says(201), 400,
         "Upgrade"),
    Case("h2c", "a connection that is nobody's", create(Upgrade="h2c", Connection="Upgrade, HTTP2-Settings"), TWIN,
         Says(201), 400, "Upgrade"),
    Case("Expect", HOLD_UP, create(Expect="100-continue"), TWIN, Ours("the engine says 100 first"), 400, "Expect"),
    Case("another expectation", "an answer in words that are not ours", create(Expect="200-ok"), TWIN, Says(417), 400,
         "Expect"),
    Case("HTTP/1.0", TWO_READINGS, Request(raw=b"GET /_ping HTTP/1.0\r\n\r\n"), Request("GET", "/_ping"), Says(200),
         400, "HTTP/1.1", 200),
    *(
        Case(name, TWO_READINGS, Request(raw=line + b"\r\nHost: x\r\n\r\n"), Request("GET", "/_ping"),
             Ours("Go's parser refuses or repairs it in its own way"), 400, names, 200)
        for name, line, names in (
            ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "HTTP/1.1"),
            ("HTTP/2", b"PRI * HTTP/2.0", "HTTP/1.1"),
            ("HTTP/1.1 spelt otherwise", b"GET /_ping http/1.1", "HTTP/1.1"),
            ("two spaces", b"GET  /_ping HTTP/1.1", "HTTP/1.1"),
            ("a tab", b"GET\t/_ping HTTP/1.1", "HTTP/1.1"),
            ("a method in lower case", b"get /_ping HTTP/1.1", "HTTP/1.1"),
            ("a space in the target", b"GET /_ping x HTTP/1.1", "HTTP/1.1"),
            ("a target that is not ASCII", b"GET /\xe6\x9c\xa8 HTTP/1.1", "HTTP/1.1"),
            ("a target of 5,000 bytes", b"GET /" + b"a" * 5_000 + b" HTTP/1.1", "HTTP/1.1"),
            ("a header in the first line", b"GET /_ping HTTP/1.1\nX: y", "header"),
            ("an empty line first", b"\r\nGET /_ping HTTP/1.1", "HTTP/1.1"),
        )
    ),
    Case("chunked", TWO_READINGS,
         Request(raw=TYPED + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"), TWIN,
         Ours("chunks are sound to the engine, and the body is empty"), 400, "Transfer-Encoding"),
    *(
        Case(name, TWO_READINGS, Request(raw=TYPED + head + b"\r\n\r\n{}"), TWIN,
             Ours("Go's parser refuses or repairs it in its own way"), 400, names)
        for name, head, names in (
            ("length and chunked", b"Content-Length: 2\r\nTransfer-Encoding: chunked", "Transfer-Encoding"),
            ("two lengths", b"Content-Length: 2\r\nContent-Length: 40", "HTTP/1.1"),
            ("a signed length", b"Content-Length: +2", "HTTP/1.1"),
            ("a hexadecimal length", b"Content-Length: 0x2", "HTTP/1.1"),
            ("a length of 30 digits", b"Content-Length: " + b"9" * 30, "HTTP/1.1"),
            ("a folded header", b"X: a\r\n b: c\r\nContent-Length: 2", "header"),
            ("a space in a header's name", b"X : a\r\nContent-Length: 2", "HTTP/1.1"),
            ("a header of 10,000 bytes", b"X: " + b"a" * 10_000 + b"\r\nContent-Length: 2", "header"),
            ("200 headers", b"X: a\r\n" * 200 + b"Content-Length: 2", "too many headers"),
            ("a header of 100,000 bytes", b"X: " + b"a" * 100_000 + b"\r\nContent-Length: 2", "too long"),
            ("two content types", b"Content-Type: text/plain\r\nContent-Length: 2", "Content-Type"),
            ("a length behind a lone line feed", b"X: a\nContent-Length: 2", "header"),
            ("a length behind a lone carriage return", b"X: a\rContent-Length: 2", "HTTP/1.1"),
            ("a length behind a NUL", b"X: a\x00\r\nContent-Length: 2", "HTTP/1.1"),
            ("a header that is not ASCII", b"X: \xe6\x9c\xa8\r\nContent-Length: 2", "header"),
            ("a header without a colon", b"Content-Length 2", "HTTP/1.1"),
            ("a header without a name", b": 2\r\nContent-Length: 2", "HTTP/1.1"),
            ("a name in brackets", b"(Content-Length): 40\r\nContent-Length: 2", "HTTP/1.1"),
            ("chunks in an encoding of another name", b"Transfer-Encoding: xchunked", "Transfer-Encoding"),
            ("chunks behind a tab", b"Transfer-Encoding:\tchunked", "Transfer-Encoding"),
        )
    ),
    _path("percent", "/v1.44/containers/%6aupyterlab-@user@/json", "endpoint", Says(200)),
    _path("percent slash", "/v1.44/containers%2f@own@/json", "endpoint", Says(200)),
    _path("double slash", "/v1.44//containers/@own@/json", "endpoint", Says(301)),
    _path("dots", "/v1.44/images/../containers/@own@/json", "endpoint", Says(301)),
    _path("trailing slash", f"{OWN}/", "endpoint", Says(404)),
    _path("absolute form", f"http://x{OWN}", "endpoint", Says(200)),
    _path("no version", "/containers/@own@/json", "endpoint", Says(200)),
    _path("two versions", f"/v1.44{OWN}", "endpoint", Says(404)),
    _path("an old version", "/v1.23/containers/@own@/json", "version", Says(400), 400),
    _path("a new version", "/v1.99/containers/@own@/json", "version", Says(400), 400),
    _path("a long version", "/v1.044/containers/@own@/json", "endpoint", Says(200)),
    _path("upper case", "/v1.44/Containers/@own@/json", "endpoint", Says(404)),
    _path("parameters on an inspect", f"{OWN}?size=1", "parameter", Says(200), 400),
    _path("an empty query", f"{OWN}?", "query", Says(200), 400),
    _path("a parameter of a path", f"{OWN};x=1", "endpoint", Says(404)),
    Case("body on GET", TWO_READINGS, Request("GET", OWN, b"{}", JSON), Request("GET", OWN), Says(200), 400, "body",
         200),
    Case("host configuration at the start", "root on the host",
         Request("POST", "/v1.44/containers/@own@/start", b'{"Privileged":true}', JSON),
         Request("POST", "/v1.44/containers/@own@/start"), Says(400), 400, "body", 204),
    Case("another method in a header", TWO_READINGS,
         Request("PATCH", "/v1.44/containers/@own@/json", headers={"X-HTTP-Method-Override": "GET"}),
         Request("GET", OWN), Says(404), 403, "endpoint", 200),
    _text("a path with a NUL", json.dumps(body(host={"Binds": ["jupyterlab-@user@_home:/a\x00b"]})).encode(), "Binds",
          Says(500)),
    Case("the same name twice", TWO_READINGS, create(target=f"{CREATE}&name=jupyterlab-@user@"), TWIN, Says(201), 400,
         "duplicated"),
)  # fmt: skip
