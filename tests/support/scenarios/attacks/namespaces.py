"""Ways out of the container's namespaces: the host's own, or another container's."""

from __future__ import annotations

from support.scenarios.attacks.case import Case, Says, Shows, host, top

HOSTS = "the host's processes, memory, network or names"
ANOTHERS = "another container's processes, memory or network"
NETWORK = "HostConfig.NetworkMode"

CASES: tuple[Case, ...] = (
    host("PidMode", "host", HOSTS),
    host("PidMode", "container:@victim_id@", ANOTHERS, Shows("HostConfig.PidMode", "container:@victim_id@")),
    host("PidMode", "container:@victim@", ANOTHERS, Shows("HostConfig.PidMode", "container:@victim_id@")),
    host("IpcMode", "host", HOSTS),
    host("IpcMode", "shareable", "memory that others join"),
    host("IpcMode", "container:@victim_id@", ANOTHERS, Shows("HostConfig.IpcMode", "container:@victim_id@")),
    host("UTSMode", "host", HOSTS),
    host("UsernsMode", "host", "root that is the host's root"),
    host("CgroupnsMode", "host", "the host's tree of control groups"),
    host("Cgroup", "container:@victim_id@", ANOTHERS, Says(201)),
    host("CgroupParent", "/", "control groups without our limits"),
    host("NetworkMode", "host", HOSTS, twin="bridge"),
    host("NetworkMode", "container:@victim_id@", ANOTHERS, Shows(NETWORK, "container:@victim_id@"), twin="bridge"),
    host("NetworkMode", "container:@victim@", ANOTHERS, Shows(NETWORK, "container:@victim_id@"), twin="bridge"),
    host("NetworkMode", "none", "a network that is not listed", twin="bridge"),
    host("NetworkMode", "a-network-of-others", "other people's networks", twin="bridge"),
    host("NetworkMode", "default", "the engine's own choice of network", Shows(NETWORK, "bridge"), twin="bridge"),
    host("NetworkMode", "", "the engine's own choice of network", Shows(NETWORK, "bridge"), twin="bridge"),
    host("NetworkMode", "Host", "the host's network, spelt otherwise", twin="bridge"),
    host("NetworkMode", "host ", "the host's network, spelt otherwise", twin="bridge"),
    host(
        "Links",
        ["@victim@:db"],
        "another container's environment and address",
        Shows("HostConfig.Links.0", "/hubwarden-attacked:/jupyterlab-@user@/db"),
    ),
    host("ExtraHosts", ["hub:127.0.0.1"], "names that lead to the host"),
    host("Dns", ["127.0.0.1"], "a resolver of the attacker's"),
    host("DnsSearch", ["attacker.example"], "names that lead elsewhere"),
    host("DnsOptions", ["use-vc"], "a resolver's options"),
    top(
        "NetworkingConfig",
        {"EndpointsConfig": {"bridge": {"MacAddress": "02:42:ac:11:00:99"}}},
        "another's address on the network",
        Shows("NetworkSettings.Networks.bridge.MacAddress", "02:42:ac:11:00:99"),
    ),
    top(
        "NetworkingConfig",
        {"EndpointsConfig": {"host": {}}},
        HOSTS,
        Says(201),
        name="NetworkingConfig host",
    ),
    top("MacAddress", "02:42:ac:11:00:98", "another's address on the network"),
    top("Hostname", "hub", "another's name on the network"),
    top("Domainname", "example.org", "another's name on the network"),
)
