"""More of the machine than the policy gives: memory, processors, processes, disk, ports, and who listens to logs."""

from __future__ import annotations

from support.scenarios.attacks.case import Case, Ours, Says, host

GIB = 1024**3
STARVE = "the machine, for itself"
LISTEN = "a port of the host's choice, in front of everybody"
DIAL = "the engine as a client of any address"

CASES: tuple[Case, ...] = (
    host("Memory", 64 * GIB, STARVE, twin=GIB),
    host("Memory", GIB + 1, STARVE, name="Memory one byte over", twin=GIB),
    host("Memory", -1, "no limit at all", Says(400), twin=GIB),
    host("MemorySwap", -1, "swap without bound"),
    host("MemorySwappiness", 100, STARVE),
    host("MemoryReservation", 6 * 1024**2, STARVE),
    host("KernelMemoryTCP", 8 * GIB, STARVE),
    host("OomKillDisable", True, "a container that is never killed"),  # noqa: FBT003 - a value of the body
    host("OomScoreAdj", -1000, "another process is killed instead"),
    host("CpuQuota", 400000, STARVE, Ours("the engine asks for no more processors than it has"), twin=200000),
    host("CpuQuota", -1, "no limit at all", twin=200000),
    host("CpuPeriod", 1, STARVE, Says(400), twin=100000),
    host("NanoCpus", 2 * 10**9, "a limit where the policy does not look"),
    host("CpuShares", 262144, STARVE),
    host("CpusetCpus", "0", "the processor of others"),
    host("CpusetMems", "0", "the memory of others"),
    host("CpuRealtimeRuntime", 0, "a schedule before everybody", Ours("zero is not shown"), name="CpuRealtimeRuntime"),
    host("PidsLimit", -1, "processes without bound", Ours("shown as none")),
    host("PidsLimit", 513, "processes without bound", twin=512),
    host("PidsLimit", 4 * 10**6, "processes without bound", twin=100),
    host("BlkioWeight", 1000, "the disk, for itself", Ours("needs a kernel's scheduler")),
    host("BlkioDeviceReadBps", [{"Path": "/dev/null", "Rate": 1}], "knowledge of devices"),
    host("Ulimits", [{"Name": "nofile", "Soft": 10**6, "Hard": 10**6}], "descriptors without bound"),
    host("Ulimits", [{"Name": "core", "Soft": -1, "Hard": -1}], "core dumps on the host"),
    host("ShmSize", 64 * GIB, "memory without bound"),
    host("StorageOpt", {"size": "1000G"}, "disk without bound", Ours("needs a file system with quotas")),
    host("RestartPolicy", {"Name": "always", "MaximumRetryCount": 0}, "a container that outlives its end"),
    host(
        "RestartPolicy",
        {"Name": "unless-stopped", "MaximumRetryCount": 0},
        "a container that outlives the machine's",
    ),
    host("IOMaximumBandwidth", 1, "a setting that nobody listed", Ours("for another system")),
    host("LogConfig", {"Type": "syslog", "Config": {"syslog-address": "tcp://127.0.0.1:1"}}, DIAL),
    host("LogConfig", {"Type": "gelf", "Config": {"gelf-address": "udp://127.0.0.1:1"}}, DIAL),
    host("LogConfig", {"Type": "fluentd", "Config": {"fluentd-address": "127.0.0.1:1"}}, DIAL),
    host("LogConfig", {"Type": "none", "Config": {}}, "no log"),
    host("LogConfig", {"Type": "json-file", "Config": {"max-size": "1000g"}}, "disk without bound"),
    host("PublishAllPorts", True, LISTEN),  # noqa: FBT003 - a value of the body
    *(
        host("PortBindings", {port: [binding]}, LISTEN, twin={"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]})
        for port, binding in (
            ("8888/tcp", {"HostIp": "0.0.0.0", "HostPort": ""}),  # noqa: S104 - the attacker's
            ("8888/tcp", {"HostIp": "", "HostPort": "22"}),
            ("8888/tcp", {"HostIp": "127.0.0.1", "HostPort": "8000"}),
            ("8888/tcp", {"HostIp": "127.0.0.1", "HostPort": "8000-9000"}),
            ("8888/tcp", {"HostIp": "::", "HostPort": ""}),
            ("8888/sctp", {"HostIp": "127.0.0.1", "HostPort": ""}),
        )
    ),
)
