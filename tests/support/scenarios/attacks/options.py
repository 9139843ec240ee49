"""Options that the policy names by value: near misses of the values that `NAMED` lists, each beside the listed one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hubwarden_agent.host_paths import HostPath
from hubwarden_agent.spawn_policy import SpawnPolicy
from support.agent.gateway import allow
from support.scenarios.attacks.case import JSON, Case, Ours, Request, Says, Shows, body, create, host, top


def named(policy: SpawnPolicy, folder: str) -> SpawnPolicy:
    """The policy with one value for every option, and a folder of the host's to read."""
    return replace(
        policy,
        host_paths=(HostPath(folder, "/shared", "ro"),),
        exec=(("true",),),
        allow=allow(
            ("User", "1000:100"),
            ("Hostname", "lab"),
            ("WorkingDir", "/tmp"),
            ("Entrypoint", ["/bin/sh", "-c"]),
            ("Healthcheck", HEALTH),
            ("HostConfig.ShmSize", 128 * 1024**2),
            ("HostConfig.Ulimits", LIMIT),
            ("HostConfig.Ulimits", {"Name": "memlock", "Soft": -1, "Hard": -1}),
            ("HostConfig.RestartPolicy", RETRIES),
            ("HostConfig.LogConfig", LOG),
            ("HostConfig.DeviceRequests", {"Count": 1, "Capabilities": [["gpu"]]}),
            ("HostConfig.Mounts", FAST),
        ),
    )


HEALTH = {"Test": ["CMD", "true"], "Interval": 10**9}
LIMIT = {"Name": "nofile", "Soft": 1024, "Hard": 2048}
RETRIES = {"Name": "on-failure", "MaximumRetryCount": 3}
LOG = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
GPU = {"Driver": "", "Count": 1, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}}
FAST = {"Type": "tmpfs", "Target": "/fast", "TmpfsOptions": {"SizeBytes": 1024**2, "Mode": 0o1777}}
SHARED = {"Type": "bind", "Source": "@folder@", "Target": "/shared", "ReadOnly": True}
FILES = "the host's files"
MEMORY = "memory that nobody gave"


def _mount(attacked: dict[str, Any], twin: dict[str, Any], gain: str, name: str, control: Any) -> Case:
    return host("Mounts", [attacked], gain, control, name=name, twin=[twin])


def _shared(name: str, gain: str = FILES, control: Any = None, **fields: Any) -> Case:
    shown = Shows("HostConfig.Mounts.0.Source", (SHARED | fields)["Source"])
    return _mount(SHARED | fields, SHARED, gain, f"host path {name}", control or shown)


def _exec(name: str, gain: str, names: str, **fields: Any) -> Case:
    """An exec in one's own container, which does not run, so that the engine itself says 409."""
    sound = b'{"Container":"x","Cmd":["true"],"AttachStdout":true,"AttachStderr":true}'
    target = "/v1.44/containers/@own@/exec"
    attacked = create({"Cmd": ["true"], **fields}, target)
    return Case(f"exec {name}", gain, attacked, create(sound, target), Says(409), 400, names)


CASES: tuple[Case, ...] = (
    top("User", "1000:0", "the group that owns the engine's socket", twin="1000:100"),
    top("User", "1000", "the image's groups", twin="1000:100"),
    top("Hostname", "hub", "another machine's name", twin="lab", name="Hostname another"),
    top("WorkingDir", "/tmp/..", "a folder that nobody listed", Shows("Config.WorkingDir", "/"), twin="/tmp"),
    top("WorkingDir", "/proc/self/fd/7", "a folder of the host", twin="/tmp", name="WorkingDir another descriptor"),
    top("Entrypoint", ["/bin/sh", "-c", "id"], "another program", twin=["/bin/sh", "-c"]),
    top("Healthcheck", HEALTH | {"Interval": 10**6}, "the engine's time", Says(201), twin=HEALTH,
        name="Healthcheck too often"),
    top("Healthcheck", HEALTH | {"Test": ["CMD", "id"]}, "another program", Says(201), twin=HEALTH,
        name="Healthcheck another program"),
    host("ShmSize", 128 * 1024**2 + 1, MEMORY, twin=128 * 1024**2),
    host("Ulimits", [LIMIT | {"Hard": 10**6}], "descriptors without bound", twin=[LIMIT], name="Ulimits harder"),
    host("Ulimits", [LIMIT, {"Name": "nproc", "Soft": -1, "Hard": -1}], "processes without bound", twin=[LIMIT],
         name="Ulimits one more"),
    host("RestartPolicy", RETRIES | {"MaximumRetryCount": 1000}, "a container that never ends", twin=RETRIES,
         name="RestartPolicy more often"),
    host("LogConfig", {"Type": "json-file", "Config": {"max-size": "10g", "max-file": "3"}}, "the disk", twin=LOG,
         name="LogConfig larger"),
    host("LogConfig", LOG | {"Type": "local"}, "another driver", twin=LOG, name="LogConfig another driver"),
    host("DeviceRequests", [GPU | {"Count": -1}], "all the graphics processors", twin=[GPU],
         name="DeviceRequests all"),
    host("DeviceRequests", [GPU | {"Count": 0, "DeviceIDs": ["0"]}], "another's graphics processor", twin=[GPU],
         name="DeviceRequests by id"),
    host("DeviceRequests", [GPU | {"Capabilities": [["gpu", "display"]]}], "the display", twin=[GPU],
         name="DeviceRequests display"),
    host("DeviceRequests", [GPU | {"Options": {"a": "b"}}], "what a driver reads from options", twin=[GPU],
         name="DeviceRequests options"),
    _mount(FAST | {"TmpfsOptions": {"SizeBytes": 2**40}}, FAST, MEMORY, "tmpfs larger",
           Shows("HostConfig.Mounts.0.TmpfsOptions.SizeBytes", 2**40)),
    _mount({key: FAST[key] for key in ("Type", "Target")}, FAST, MEMORY, "tmpfs without a bound",
           Shows("HostConfig.Mounts.0.Type", "tmpfs")),
    _mount(FAST | {"Target": "/etc"}, FAST, "an image without its configuration", "tmpfs elsewhere",
           Shows("HostConfig.Mounts.0.Target", "/etc")),
    _mount(FAST | {"TmpfsOptions": {"SizeBytes": 1024**2, "Mode": 0o4777}}, FAST, "programs with another's rights",
           "tmpfs with another mode", Shows("HostConfig.Mounts.0.TmpfsOptions.Mode", 0o4777)),
    _shared("to write", "the host's files, to write", ReadOnly=False),
    _shared("above", control=Says(201), Source="/tmp"),
    _shared("spelt with ..", control=Says(201), Source="@folder@/../../etc"),
    _shared("spelt with //", control=Says(201), Source="/@folder@"),
    _shared("that goes both ways", BindOptions={"Propagation": "rshared"}),
    _shared("that follows the host", BindOptions={"Propagation": "rslave"}),
    _shared("made on the way", "a folder on the host", BindOptions={"CreateMountpoint": True}),
    _shared("over /proc", "the kernel's settings", Target="/proc/sys"),
    host("Binds", ["@folder@:/shared"], "the host's files, to write", name="Binds a listed path without its mode",
         twin=["@folder@:/shared:ro"]),
    host("Binds", ["@folder@:/shared:ro,rshared"], FILES, name="Binds a listed path with propagation",
         twin=["@folder@:/shared:ro"]),
    host("Binds", ["@folder@/inner:/shared:ro"], "a folder made as root, or a link to anywhere",
         name="Binds below a listed path", twin=["@folder@:/shared:ro"]),
    _exec("of another program", "a shell, while nobody records what runs", "spawn.exec", Cmd=["id"]),
    _exec("with one word more", "another program", "spawn.exec", Cmd=["true", "x"]),
    _exec("as root", "root inside, where the image has another", "User", User="0"),
    _exec("with privileges", "root on the host", "Privileged", Privileged=True),
    _exec("with an environment", "another program, by a library", "Env", Env=["LD_PRELOAD=/tmp/x"]),
    _exec("in another folder", "a folder of the host, through what a runtime left open", "WorkingDir",
          WorkingDir="/proc/self/fd/8"),
    _exec("with a terminal", "an input that somebody attaches to", "Tty", Tty=True),
    _exec("with an input", "an input that somebody attaches to", "AttachStdin", AttachStdin=True),
    Case("exec in another's container", "a program in another's container",
         create(b'{"Cmd":["true"]}', "/v1.44/containers/@victim@/exec"),
         create(b'{"Cmd":["true"]}', "/v1.44/containers/@own@/exec"),
         Ours("would leave its exec on the victim"), 404, "No such container: "),
    Case("exec by an id of the engine's", "a program that somebody else prepared",
         Request("POST", f"/v1.44/exec/{'a' * 64}/start", b'{"Detach":false}', JSON),
         create(b'{"Cmd":["true"]}', "/v1.44/containers/@own@/exec"), Says(404), 404, "No such exec instance"),
    Case("RestartPolicy with AutoRemove", "what two options make together",
         create(body(host={"RestartPolicy": RETRIES, "AutoRemove": True})),
         create(body(host={"RestartPolicy": RETRIES})), Says(400), 400, "AutoRemove"),
)  # fmt: skip
