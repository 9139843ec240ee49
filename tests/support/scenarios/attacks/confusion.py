"""Values of another type or spelling than they seem, in every field, which a lenient reader would take for listed."""

from __future__ import annotations

import json
from typing import Any

from support.scenarios.attacks.case import BODY, TWIN, Case, Says, Shows, body, create, host, top
from support.scenarios.attacks.options import FAST, GPU, HEALTH, LIMIT, LOG, RETRIES, SHARED

SOUND = json.dumps(dict(BODY)).encode()
TWO_READINGS = "a check of one reading and an effect of the other"
LENIENT = "a value that a lenient comparison would take for the listed one"
HOLD_UP = "an agent that is busy reading, or keeps what it read"
SHOWN = "a terminal on which an operator looks at commands"
HOME = "jupyterlab-@user@_home"
BINDING = {"HostIp": "127.0.0.1", "HostPort": ""}
PUBLISHED = {"8888/tcp": [BINDING]}
CALLED = "JUPYTERHUB_USER=@user@"
MADE = Says(201)
REFUSED = Says(400)
STOPPED = Says(409)
FAILS = Says(500)


def _text(name: str, before: bytes, after: bytes, names: str, control: Any = REFUSED) -> Case:
    """The sound body with something put in place of something else."""
    assert before in SOUND
    return Case(f"text: {name}", TWO_READINGS, create(SOUND.replace(before, after, 1)), TWIN, control, 400, names)


def _option(name: str, key: str, value: Any, twin: Any, control: Any = REFUSED, **other: Any) -> Case:
    """A near miss of what `[[spawn.allow]]` lists."""
    kind = host if key in ("Ulimits", "RestartPolicy", "LogConfig", "DeviceRequests", "ShmSize", "Mounts") else top
    return kind(key, value, LENIENT, control, name=f"option: {name}", twin=twin, **other)


def _top(name: str, key: str, value: Any, control: Any = REFUSED, **other: Any) -> Case:
    return top(key, value, other.pop("gain", LENIENT), control, name=f"value: {name}", **other)


def _host(name: str, key: str, value: Any, control: Any = REFUSED, **other: Any) -> Case:
    return host(key, value, other.pop("gain", LENIENT), control, name=f"value: {name}", **other)


def _env(name: str, lines: Any, names: str = "Env", control: Any = MADE, gain: str = TWO_READINGS) -> Case:
    return Case(f"variables: {name}", gain, create(body(Env=lines)), TWIN, control, 400, names)


def _exec(name: str, sent: bytes, names: str, control: Any = STOPPED) -> Case:
    target = "/v1.44/containers/@own@/exec"
    gain = "a program that nobody listed, in one's own container"
    return Case(f"exec: {name}", gain, create(sent, target), create(b'{"Cmd":["true"]}', target), control, 400, names)


TEXTS = (
    _text("a key twice, far down", b'"Env"', b'"Healthcheck": {"Test": ["CMD", "true"], "Test": ["CMD", "id"]}, "Env"',
          "same key twice", Shows("Config.Healthcheck.Test", ["CMD", "id"])),
    _text("a label twice", b'"Env"', b'"Labels": {"team": "chemistry", "team": "physics"}, "Env"', "same key twice",
          MADE),
    _text("a port twice, once escaped", b'"Env"', b'"ExposedPorts": {"8888/tcp": {}, "8888\\/tcp": {}}, "Env"',
          "same key twice", MADE),
    _text("lone surrogate in a key", b'"Env"', b'"Labels": {"\\udc00": ""}, "Env"', "lone surrogate", MADE),
    _text("NUL in a key", b'"Env"', b'"Labels": {"team\\u0000": "physics"}, "Env"', "NUL", MADE),
    _text("a line end in a text", b"secret", b"sec\nret", "JSON"),
    _text("an escape of two digits", b"secret", b"\\x41", "JSON"),
    _text("an overlong slash", b"secret", b"\xc0\xaf", "JSON", MADE),
    _text("a surrogate in UTF-8", b"secret", b"\xed\xa0\x80", "JSON", MADE),
    _text("a form feed between tokens", b'"Cmd"', b'\x0c"Cmd"', "JSON"),
    _text("a no-break space between tokens", b'"Cmd"', b'\xc2\xa0"Cmd"', "JSON"),
    _text("NUL behind the document", b"]}}", b"]}}\x00", "JSON"),
    _text("a record separator first", b'{"Image"', b'\x1e{"Image"', "JSON"),
    _text("single quotes", b'"Cmd"', b"'Cmd'", "JSON"),
    _text("brackets that close too often", b"]}}", b"]}}" + b"}" * 50 + b"{" * 50, "JSON", MADE),
    _text("a hexadecimal number", b"67108864", b"0x4000000", "JSON"),
    _text("a number with a zero in front", b"67108864", b"067108864", "JSON"),
    _text("a number with a plus", b"67108864", b"+67108864", "JSON"),
    _text("a number with an underscore", b"67108864", b"67_108_864", "JSON"),
    _text("a number of 64 bits without a sign", b"67108864", b"9223372036854775808", "64 bits"),
    _text("an exponent of nothing", b"67108864", b"67108864e0", "not an integer"),
    _text("a fraction of nothing", b"67108864", b"67108864.", "JSON"),
    _text("a number in Arabic digits", b"67108864", "\u0666\u0667".encode(), "JSON"),
)  # fmt: skip

OPTIONS = (
    _option("health check, a key in another case", "Healthcheck", HEALTH | {"test": ["CMD", "id"]}, HEALTH,
            Shows("Config.Healthcheck.Test", ["CMD", "id"])),
    _option("health check with a further key", "Healthcheck", HEALTH | {"StartInterval": 10**6}, HEALTH,
            Shows("Config.Healthcheck.StartInterval", 10**6)),
    _option("health check, a null in another case", "Healthcheck", HEALTH | {"test": None}, HEALTH, MADE),
    _option("health check of one unknown null", "Healthcheck", {"x": None}, HEALTH, MADE),
    _option("restart policy, an unknown null", "RestartPolicy", RETRIES | {"x": None}, RETRIES, MADE),
    _option("log, an unknown null", "LogConfig", LOG | {"x": None}, LOG, MADE),
    _option("limit, an unknown null", "Ulimits", [LIMIT | {"x": None}], [LIMIT], MADE),
    _option("device, an unknown null", "DeviceRequests", [GPU | {"x": None}], [GPU], MADE),
    _option("health check, a flag for a number", "Healthcheck", HEALTH | {"Retries": False}, HEALTH),
    _option("health check, a text for a list", "Healthcheck", HEALTH | {"Test": "CMD true"}, HEALTH),
    _option("health check as a list", "Healthcheck", [HEALTH], HEALTH),
    _option("program, other order", "Entrypoint", ["-c", "/bin/sh"], ["/bin/sh", "-c"], MADE),
    _option("program as a text", "Entrypoint", "/bin/sh -c", ["/bin/sh", "-c"], MADE),
    _option("program, an empty word more", "Entrypoint", ["/bin/sh", "-c", ""], ["/bin/sh", "-c"], MADE),
    _option("user in wide digits", "User", "\uff11\uff10\uff10\uff10:100", "1000:100", MADE),
    _option("user as a number", "User", 1000, "1000:100"),
    _option("user with a space", "User", "1000:100 ", "1000:100", MADE),
    _option("user with a zero in front", "User", "01000:100", "1000:100", MADE),
    _option("host name in another alphabet", "Hostname", "l\u0430b", "lab", MADE),
    _option("host name with NUL", "Hostname", "lab\x00", "lab", MADE),
    _option("host name with a lone surrogate", "Hostname", "lab\ud800", "lab", MADE),
    _option("folder with a slash behind", "WorkingDir", "/tmp/", "/tmp", Shows("Config.WorkingDir", "/tmp")),
    _option("shared memory as a text", "ShmSize", "134217728", 128 * 1024**2),
    _option("shared memory below zero", "ShmSize", -1, 128 * 1024**2),
    _option("limit twice", "Ulimits", [LIMIT, LIMIT], [LIMIT], MADE, names="twice"),
    _option("limit of null", "Ulimits", [None], [LIMIT], MADE),
    _option("limit in another case", "Ulimits", [LIMIT | {"hard": 10**6}], [LIMIT], MADE),
    _option("limits as an object", "Ulimits", LIMIT, [LIMIT]),
    _option("restart policy, number left out", "RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": None},
            RETRIES, MADE),
    _option("restart policy in capitals", "RestartPolicy", RETRIES | {"Name": "ALWAYS"}, RETRIES),
    _option("restart policy as a text", "RestartPolicy", "on-failure:3", RETRIES),
    _option("log, a further option", "LogConfig", LOG | {"Config": LOG["Config"] | {"mode": "non-blocking"}}, LOG,  # type: ignore[operator] # a table
            Shows("HostConfig.LogConfig.Config.mode", "non-blocking")),
    _option("log, an option of null", "LogConfig", LOG | {"Config": {"max-size": "10m", "max-file": None}}, LOG, MADE),
    _option("log, a number for a text", "LogConfig", LOG | {"Config": {"max-size": "10m", "max-file": 3}}, LOG),
    _option("device, a flag for one", "DeviceRequests", [GPU | {"Count": True}], [GPU]),
    _option("device, capabilities once more", "DeviceRequests", [GPU | {"Capabilities": [["gpu"], ["gpu"]]}], [GPU],
            MADE),
    _option("device, capabilities one list less deep", "DeviceRequests", [GPU | {"Capabilities": ["gpu"]}], [GPU]),
    _option("device, a null among ids", "DeviceRequests", [GPU | {"DeviceIDs": [None]}], [GPU], MADE),
    _option("tmpfs with a slash behind", "Mounts", [FAST | {"Target": "/fast/"}], [FAST], MADE),
    _option("tmpfs with a second size", "Mounts", [FAST | {"TmpfsOptions": {"SizeBytes": 1024**2, "sizebytes": 2**40}}],
            [FAST], MADE),
    _option("tmpfs, a flag for a mode", "Mounts", [FAST | {"TmpfsOptions": {"SizeBytes": 1024**2, "Mode": True}}],
            [FAST]),
    _option("host path with a slash behind", "Mounts", [SHARED | {"Source": "@folder@/"}], [SHARED], MADE),
    _option("host path, read-only as a number", "Mounts", [SHARED | {"ReadOnly": 1}], [SHARED]),
    _option("host path, read-only unsaid", "Mounts", [SHARED | {"ReadOnly": None}], [SHARED], MADE),
    _option("host path, other submounts to write", "Mounts",
            [SHARED | {"BindOptions": {"ReadOnlyNonRecursive": True}}], [SHARED], MADE),
    _option("mount of a type in capitals", "Mounts", [SHARED | {"Type": "BIND"}], [SHARED]),
)  # fmt: skip

VALUES = (
    _top("command as a text", "Cmd", "id", MADE),
    _top("command with a list in it", "Cmd", ["/bin/sh", ["-c"]]),
    _top("command with an escape sequence", "Cmd", ["/bin/echo", "\x1b]0;x\x07"], MADE, gain=SHOWN),
    _top("command with a control of eight bits", "Cmd", ["/bin/echo", "\x9b2J"], MADE, gain=SHOWN),
    _top("command of 8 KiB and more", "Cmd", ["/bin/echo", "\u6728" * 1400], MADE, gain=HOLD_UP),
    _top("a command of 1025 words", "Cmd", ["x"] * 1025, MADE, gain=HOLD_UP),
    _top("image as a list", "Image", ["@image@"]),
    _top("image with a zero-width space", "Image", "@image@\u200b", twin="@image@"),
    _top("labels as a list", "Labels", [["team", "physics"]], twin={"team": "physics"}),
    _top("label of null", "Labels", {"team": None}, MADE, twin={"team": "physics"}),
    _top("label as a number", "Labels", {"team": 1}, twin={"team": "physics"}),
    _top("label in capitals", "Labels", {"HUBWARDEN.OWNER": "victim"}, MADE, twin={"team": "physics"}),
    _top("label with a space behind", "Labels", {"team": "physics "}, Shows("Config.Labels.team", "physics "),
         twin={"team": "physics"}),
    _top("ports as a list", "ExposedPorts", ["8888/tcp"], twin={"8888/tcp": {}}),
    _top("a range of ports", "ExposedPorts", {"1-65535/tcp": {}}, MADE, twin={"8888/tcp": {}}),
    _top("a port in Arabic digits", "ExposedPorts", {"\u0668\u0668/tcp": {}}, MADE, twin={"88/tcp": {}}),
    _top("a port over 65535", "ExposedPorts", {"65536/tcp": {}}, MADE, twin={"65535/tcp": {}}),
    _top("17 ports", "ExposedPorts", {f"{port}/tcp": {} for port in range(1, 18)}, MADE, gain=HOLD_UP),
    _top("a port with a value", "ExposedPorts", {"8888/tcp": {"x": 1}}, MADE, twin={"8888/tcp": {}}),
    _top("a volume's path with a slash behind", "Volumes", {"/home/jovyan/": {}}, MADE,
         twin={"/home/jovyan": {}}),
    _top("a volume's path with options", "Volumes", {"/home/jovyan": {"device": "/"}}, MADE,
         twin={"/home/jovyan": {}}),
    _top("a host configuration as a list", "HostConfig", [], gain=TWO_READINGS, twin={"NetworkMode": "bridge"}),
    _top("a key that would fill a log", "x" * 10_000, 1, MADE, gain=HOLD_UP, names="x" * 50),
    _top("a key that would forge a line", "x\r\ny\x1b", 1, MADE, gain="a line in a log", names="\\r\\n"),
    _host("binds as a text", "Binds", f"{HOME}:/home/jovyan"),
    _host("binds as an object", "Binds", {HOME: "/home/jovyan"}),
    _host("a bind with four parts", "Binds", [f"{HOME}:/home/jovyan:ro:rw"], FAILS),
    _host("a bind without a source", "Binds", [":/home/jovyan"], FAILS),
    _host("a bind with two modes", "Binds", [f"{HOME}:/home/jovyan:ro,rw"], FAILS, twin=[f"{HOME}:/home/jovyan:ro"]),
    _host("a bind in capitals", "Binds", [f"{HOME}:/home/jovyan:RO"], FAILS, twin=[f"{HOME}:/home/jovyan:ro"]),
    _host("a bind whose target ends in a slash", "Binds", [f"{HOME}:/home/jovyan/"], MADE),
    _host("the same bind twice", "Binds", [f"{HOME}:/home/jovyan"] * 2),
    _host("17 binds", "Binds", [f"{HOME}:/{number}" for number in range(17)], MADE, gain=HOLD_UP),
    _host("memory in a list", "Memory", [64 * 1024**2]),
    _host("the most that memory can be", "Memory", 2**63 - 1, MADE, gain="the machine, for itself", twin=1024**3),
    _host("memory below Docker's least", "Memory", 4096, twin=6 * 1024**2),
    _host("processors over the largest number", "CpuQuota", 2**63 - 1, MADE, gain="the machine, for itself"),
    _host("a period that is too long", "CpuPeriod", 1_000_001, twin=1_000_000),
    _host("a period that makes a quota large", "CpuPeriod", 1_000, MADE, gain="the machine, for itself",
          base={"CpuQuota": 3_000}, twin=100_000, names="CpuQuota"),
    _host("processes as a text", "PidsLimit", "512", twin=512),
    _host("removal as a number", "AutoRemove", 1, twin=True),
    _host("removal as a text", "AutoRemove", "true", twin=True),
    _host("a network as a list", "NetworkMode", ["bridge"], twin="bridge"),
    _host("a network in another alphabet", "NetworkMode", "br\u0456dge", MADE, twin="bridge"),
    _host("a network with NUL", "NetworkMode", "bridge\x00", MADE, twin="bridge"),
    _host("a port bound as an object", "PortBindings", {"8888/tcp": BINDING}, twin=PUBLISHED),
    _host("a port bound twice", "PortBindings", {"8888/tcp": [BINDING, BINDING]}, MADE, twin=PUBLISHED),
    _host("a port bound at an address cut short", "PortBindings", {"8888/tcp": [BINDING | {"HostIp": "127.1"}]},
          MADE, twin=PUBLISHED),
    _host("a port bound at an address with a space", "PortBindings",
          {"8888/tcp": [BINDING | {"HostIp": "127.0.0.1 "}]}, MADE, twin=PUBLISHED),
    _host("a host port as a number", "PortBindings", {"8888/tcp": [BINDING | {"HostPort": 0}]}, twin=PUBLISHED),
    _host("a host port of two zeros", "PortBindings", {"8888/tcp": [BINDING | {"HostPort": "00"}]}, MADE,
          twin=PUBLISHED),
    _host("a port bound in another case", "PortBindings", {"8888/tcp": [BINDING | {"hostip": "0.0.0.0"}]},  # noqa: S104 - the attacker's
          MADE, twin=PUBLISHED),
)  # fmt: skip

IDENTITIES = (
    _env("as an object", {"JUPYTERHUB_USER": "@user@"}, control=REFUSED),
    _env("as a text", CALLED, control=REFUSED),
    _env("a list in the list", [[CALLED]], control=REFUSED),
    _env("a user and its absence", [CALLED, "JUPYTERHUB_USER"]),
    _env("a user with a space behind", [f"{CALLED} "]),
    _env("a user with a line separator", [f"{CALLED}\u2028"]),
    _env("a user with a no-break space", [f"{CALLED}\u00a0"]),
    _env("a user with a zero-width space", [f"{CALLED}\u200b"], "name"),
    _env("a user in wide letters", ["JUPYTERHUB_USER=\uff55@user@"], "name"),
    _env("a user with a combining mark", [f"{CALLED}\u0301"], "name"),
    _env("a user in quotes", ['JUPYTERHUB_USER="@user@"'], "name"),
    _env("a variable in another case", ["jupyterhub_user=@user@"]),
    _env("a variable behind a space", [f" {CALLED}"]),
    _env("a server of white space", [CALLED, "JUPYTERHUB_SERVER_NAME= "], "name"),
    _env("a server with a slash", [CALLED, "JUPYTERHUB_SERVER_NAME=a/b"]),
    _env("a server of 300 characters", [CALLED, f"JUPYTERHUB_SERVER_NAME={'x' * 300}"]),
    _env("a user whose name fits no volume", [f"JUPYTERHUB_USER={'-' * 200}"], "name"),
    _env("1025 of them", [*BODY["Env"], *(f"A{number}=" for number in range(1025))], gain=HOLD_UP),
    _env("64 KiB and more", [*BODY["Env"], f"A={'x' * 64 * 1024}"], gain=HOLD_UP),
)

EXECS = (
    _exec("a command as a text", b'{"Cmd":"true"}', "Cmd", REFUSED),
    _exec("a command twice", b'{"Cmd":["true"],"Cmd":["id"]}', "twice"),
    _exec("a command in another case", b'{"Cmd":["true"],"cmd":["id"]}', "cmd"),
    _exec("an empty word more", b'{"Cmd":["true",""]}', "spawn.exec"),
    _exec("no command", b"{}", "spawn.exec", REFUSED),
    _exec("a list in the command", b'{"Cmd":[["true"]]}', "Cmd", REFUSED),
    _exec("keys to leave with", b'{"Cmd":["true"],"DetachKeys":"ctrl-a"}', "DetachKeys"),
    _exec("a terminal's size", b'{"Cmd":["true"],"ConsoleSize":[1,1]}', "ConsoleSize"),
)

CASES: tuple[Case, ...] = TEXTS + OPTIONS + VALUES + IDENTITIES + EXECS
