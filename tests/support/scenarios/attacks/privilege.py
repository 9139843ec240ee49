"""More rights than a container has: capabilities, devices, profiles, kernel settings, runtimes."""

from __future__ import annotations

from support.scenarios.attacks.case import Case, Ours, Says, Shows, host, top

ROOT = "root on the host"
DEVICE = "the host's devices"
PROFILE = "system calls and files that the profile keeps away"
DISK = {"PathOnHost": "/dev/null", "PathInContainer": "/dev/disk", "CgroupPermissions": "rwm"}
GPU = {"Driver": "", "Count": -1, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}

CASES: tuple[Case, ...] = (
    host("Privileged", True, ROOT),  # noqa: FBT003 - a value of the body
    *(
        host("CapAdd", [capability], ROOT)
        for capability in ("ALL", "SYS_ADMIN", "CAP_SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "DAC_READ_SEARCH")
    ),
    host("CapDrop", ["NET_RAW"], "capabilities that nobody listed"),
    host("Devices", [DISK], DEVICE),
    host("DeviceCgroupRules", ["a *:* rwm"], DEVICE),
    host("DeviceCgroupRules", ["b 8:* rwm"], DEVICE, name="DeviceCgroupRules disks"),
    host("DeviceRequests", [GPU], "the host's graphics processors"),
    *(
        host("SecurityOpt", [option], PROFILE)
        for option in (
            "seccomp=unconfined",
            "apparmor=unconfined",
            "apparmor:unconfined",
            "label=disable",
            "no-new-privileges=false",
        )
    ),
    host("SecurityOpt", ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}'], PROFILE, name="SecurityOpt own profile"),
    host("MaskedPaths", [], "the kernel's memory and keys"),
    host("ReadonlyPaths", [], "the kernel's settings, to write"),
    host("Runtime", "runc", "a runtime that nobody listed"),
    host("Runtime", "kata", "a runtime that nobody listed", Says(400)),
    top("Runtime", "runc", "a runtime, where old clients say it", Says(201)),
    host("Sysctls", {"net.ipv4.ip_forward": "1"}, "kernel settings"),
    host("Sysctls", {"kernel.shmmax": "1"}, "kernel settings", name="Sysctls shared memory"),
    host("GroupAdd", ["0"], "the host's groups"),
    host("GroupAdd", ["docker"], "the group of the engine's socket"),
    top("User", "0", "root inside, where the image has another"),
    top("User", "0:0", "root and its group inside"),
    top("Entrypoint", ["/bin/sh"], "another program than the image's"),
    top("WorkingDir", "/proc/self/fd/8", "a folder of the host, through what a runtime left open"),
    top("StopSignal", "SIGSTOP", "a container that does not stop"),
    top("StopTimeout", 100000, "a stop that takes a day"),
    top("Shell", ["/bin/sh"], "another program"),
    top("OnBuild", ["RUN true"], "a command in somebody's build"),
    top("ArgsEscaped", True, "another reading of the command", Says(201)),  # noqa: FBT003 - a value of the body
    top("Tty", True, "a terminal that somebody attaches to"),  # noqa: FBT003 - a value of the body
    top("OpenStdin", True, "an input that somebody attaches to"),  # noqa: FBT003 - a value of the body
    top("AttachStdin", True, "an input that somebody attaches to"),  # noqa: FBT003 - a value of the body
    host("Annotations", {"run.oci.keep_original_groups": "1"}, "what a runtime reads from annotations"),
    host("ReadonlyRootfs", True, "a setting that nobody listed"),  # noqa: FBT003 - a value of the body
    host("Init", True, "a program of the host's in the container"),  # noqa: FBT003 - a value of the body
    host("Isolation", "default", "another isolation"),
    host("ContainerIDFile", "/tmp/id", "a file on the host, with a client that writes it"),
    host("ConsoleSize", [24, 80], "a setting that nobody listed"),
    top(
        "Healthcheck",
        {"Test": ["CMD", "/bin/true"], "Interval": 1000000},
        "a program that the engine runs a thousand times a second",
    ),
    top(
        "HostConfig",
        {"Binds": ["/:/host"], "Privileged": True},
        ROOT,
        Shows("HostConfig.Privileged", value=True),
        name="HostConfig whole",
        names="HostConfig",
        twin={"NetworkMode": "bridge"},
    ),
    top("Privileged", True, "a key one level up", Ours("Docker ignores it there")),  # noqa: FBT003 - a value of the body
)
