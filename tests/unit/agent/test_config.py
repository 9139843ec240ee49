"""The configuration: DESIGN's defaults, every mistake at once with its key, and nothing that is not listed."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hubwarden_agent import config
from hubwarden_agent.rates import parse_rate
from support.agent.gateway import allow

# DESIGN's block, comments left out, with [tls], which has none there, and reset.start_timeout, which is newer.
DESIGN = """
[tls]
certificate = ""
key         = ""
client_ca   = ""
clients     = []
gateway_clients = []
minimum     = "1.2"
[listen]
grpc         = ["unix:///run/hubwarden/agent.sock"]
gateway      = ""
metrics      = ""
socket_mode  = "0660"
socket_group = ""
metrics_group = ""
[docker]
host    = "unix:///var/run/docker.sock"
timeout = 30
[names]
container       = "jupyterlab-{username}"
named_container = "jupyterlab-{username}--{servername}"
home_volume     = "jupyterlab-{username}_home"
escape          = "dockerspawner"
[limits]
restarts_per_user = "6/10 minutes"
resets_per_user   = "3/hour"
resets_total      = "60/hour"
max_stop_timeout  = 60
max_deadline      = 600
[reset]
stopped_container = "remove"
allow_non_local   = false
start_timeout     = 60
backup            = "off"
backup_dir        = "/var/lib/hubwarden-backups"
keep              = 3
keep_days         = 30
max_bytes         = 1000000000000
protect_labels    = []
helper_image      = ""
sizes_interval    = 0
[state]
directory = "/var/lib/hubwarden"
[audit]
max_bytes   = 67108864
keep        = 20
[spawn]
images         = []
networks       = []
pull           = []
host_paths     = []
max_memory     = "4g"
max_cpus       = 2.0
max_pids       = 1024
max_containers = 200
max_volumes    = 1000
max_creates    = "60/minute"
labels         = {}
publish        = ""
adopt          = "off"
exec           = []
allow          = []
[spawn.volumes]
"jupyterlab-{username}_home"      = "/home/jovyan"
"jupyterlab-{username}_workspace" = "/workspace"
"jupyterlab-{username}_cache"     = "/cache"
"""


def _mistakes(text: str) -> list[str]:
    with pytest.raises(config.ConfigurationError) as refused:
        config.parse(text)
    return refused.value.mistakes


def _toml(name: str, value: Any) -> str:
    """A key with a value of `DESIGN`."""
    if isinstance(value, dict):
        return f"{name} = {{" + ", ".join(f'"{key}" = "{item}"' for key, item in value.items()) + "}"
    return f"{name} = {json.dumps(value)}"


def _keys(document: dict[str, Any]) -> dict[str, Any]:
    return {f"{table}.{key}": value for table, keys in document.items() for key, value in keys.items()}


class TestDefaults:
    def test_every_key_has_designs_default(self) -> None:
        """The same keys and the same defaults, in both directions."""
        settings = config.parse("")
        tables = {table.name: getattr(settings, table.name) for table in dataclasses.fields(settings)}
        keys = {f"{name}.{key.name}" for name, table in tables.items() for key in dataclasses.fields(table)}
        assert keys == _keys(tomllib.loads(DESIGN)).keys()
        for key, value in _keys(tomllib.loads(DESIGN)).items():
            table, _, name = key.partition(".")
            others = dataclasses.replace(tables[table], **{name: object()})
            read = getattr(config.parse(f"[{table}]\n" + _toml(name, value)), table)
            assert read != others
            assert read == tables[table], key

    def test_designs_block_is_what_an_empty_file_means(self) -> None:
        """Saying all defaults and saying nothing is one configuration."""
        assert config.parse(DESIGN) == config.parse("")

    def test_every_value_arrives(self) -> None:
        """The values are the ones of the file, under their own names."""
        settings = config.parse("")
        assert settings.listen.grpc == ("unix:///run/hubwarden/agent.sock",)
        assert (settings.listen.socket_mode, settings.listen.gateway) == (0o660, "")
        assert settings.limits.restarts_per_user == parse_rate("6/10 minutes")
        assert (settings.limits.max_stop_timeout, settings.limits.max_deadline) == (60, 600)
        assert settings.state_directory == Path("/var/lib/hubwarden")
        assert settings.spawn.max_memory == 4 * 1024**3
        assert settings.spawn.images == ()

    def test_a_configuration_cannot_be_changed(self) -> None:
        """When a field of a checked configuration is assigned to, an error is raised."""
        with pytest.raises(dataclasses.FrozenInstanceError):
            config.parse("").docker.timeout = 1  # type: ignore[misc] # that is the point


# key -> values that it must not take
WRONG: dict[str, list[str]] = {
    "listen.grpc": [
        "[]",
        '"unix:///a"',
        '["tcp://0.0.0.0"]',
        '["unix://relative"]',
        '["unix:///a b"]',
        '["unix:///a", "unix:///a"]',
        f'["unix:///{"a" * 101}"]',
    ],
    "listen.gateway": ['"tcp://127.0.0.1"', '"127.0.0.1:7444"', "1"],
    "listen.metrics": ['":9464"', '"0.0.0.0"', '"localhost:9464"', '"tcp://127.0.0.1:9464"'],
    "listen.socket_mode": ['"0666"', '"0661"', '"660"', '"1660"', "432", '"0o660"'],
    "listen.socket_group": ['"a b"', "5", '"-1"'],
    "listen.metrics_group": ['"a b"', "5", '"-1"'],
    "docker.host": ['"tcp://127.0.0.1:2375"', '""', '"ssh://root@host"'],
    "docker.timeout": ["0", "601", "1.5", '"30"', "true"],
    "limits.restarts_per_user": ['""', '"0/hour"', '"3/0 hour"', '"3/fortnight"', '"-1/hour"', '"3/hour;9/day"', "3"],
    "limits.max_stop_timeout": ["-1", "76"],
    "limits.max_deadline": ["0", "inf"],
    "reset.stopped_container": ['"keep"', "true"],
    "reset.allow_non_local": ['"yes"', "1"],
    "reset.start_timeout": ["0", "86401", "true"],
    "reset.backup": ['"on"', "true"],
    "reset.backup_dir": ['"backups"', '""', "1"],
    "reset.keep": ["0", "1.5"],
    "reset.keep_days": ["-1", "true"],
    "reset.max_bytes": ["0", '"1g"'],
    "reset.protect_labels": ['"backup"', '[""]', '["a b"]', '["a", "a"]'],
    "reset.helper_image": ['"hubwarden/agent:latest"', '"sha256:1"'],
    "reset.sizes_interval": ["-1", "86401"],
    "state.directory": ['"var/lib"', '""', "1"],
    "audit.max_bytes": ["1", "-1"],
    "audit.keep": ["0"],
    "spawn.images": ['"a"', '["-a"]', '["a b"]', "[1]", '["lab", "lab"]'],
    "spawn.pull": [
        *(
            f'["{name}"]'
            for name in ("lab", "lab:1", "jupyter/lab:1", "localhost", "a.b", "a:5000", "lab@sha256:0", "")
        ),
        '"registry.example.org/lab:1"',
        '["registry.example.org/lab:1"]',  # which `images` does not list
    ],
    "spawn.networks": ['["a/b"]', '["host"]', '["cafe"]', '["2026"]'],
    "spawn.volumes": [
        *("true", '"jupyterlab-{username}_home"', "{home = '/x'}", '{"{username}_{username}" = "/x"}', "[1]", "[]"),
        *(f'{{"jupyterlab-{{username}}_home" = {target}}}' for target in ('""', '"/"', '"x"', '"/x/"', '"/x:ro"', "1")),
        *(
            f'{{"x-{{username}}" = "{target}"}}'
            for target in ("/dev", "/dev/shm", "/proc/x", "/sys/fs", "/etc", "/run")
        ),
        *(f'{{"x-{{username}}" = "{target}"}}' for target in ("/var/run/x", "/var", "/usr/lib/x", "/bin", "/lib64/x")),
        '{"x-{username}" = "/same", "y-{username}" = "/same"}',
        '{"x-{username}" = "/home/jovyan", "y-{username}" = "/home/jovyan/work"}',
        '["jupyterlab-{username}_home"]',
    ],
    "spawn.host_paths": [
        *(
            f'[{{source = "{source}", target = "/shared", mode = "ro"}}]'
            for source in (
                *("/", "/proc", "/sys/fs", "/dev/shm", "/run", "/run/docker.sock", "/var/run", "/var/run/docker.sock"),
                *("/var", "/var/lib/docker/volumes", "/var/lib", "/etc", "/root", "/root/.ssh", "/boot", "/usr"),
                *("/var/spool/cron", "/var/lib/hubwarden", "srv/shared", "/srv/../etc", "/srv/", "//srv", ""),
            )
        ),
        *(
            f'[{{source = "{source}", target = "/shared", mode = "rw"}}]'
            for source in ("/etc/cron.d", "/usr/local/bin", "/lib64/x", "/var/lib/other")
        ),
        *(
            f'[{{source = "/srv/shared", target = "/shared", mode = "{mode}"}}]'
            for mode in ("", "RO", "z", "ro,z", "ro:rslave")
        ),
        *(f'[{{source = "/srv/shared", target = "{target}", mode = "ro"}}]' for target in ("", "x", "/usr/x", "/x/..")),
        '[{source = "/srv/shared", target = "/shared"}]',
        '[{source = "/srv/shared", target = "/shared", mode = "ro", nocopy = true}]',
        '[{source = "/srv/a", target = "/a", mode = "rw"}, {source = "/srv/a/b", target = "/b", mode = "ro"}]',
        '[{source = "/srv/a", target = "/a", mode = "rw"}, {source = "/srv/a", target = "/b", mode = "ro"}]',
        '[{source = "/srv/a", target = "/a", mode = "rw"}, {source = "/srv/b", target = "/a/b", mode = "ro"}]',
        '[{source = "/srv/a", target = "/workspace/a", mode = "ro"}]',
        '["/srv/shared:ro"]',
        "[1]",
    ],
    "spawn.max_volumes": ["0", "true"],
    "spawn.exec": ['["true"]', "[[]]", '[[""]]', '[["a\\u0000"]]'],
    "spawn.allow": [
        *('"User"', '["User"]', "[{}]", '[{field = "User"}]', '[{value = "1000:100"}]'),
        '[{field = "User", value = "1000:100", key = 1}]',
        '[{field = "User", value = "1000:100"}, {field = "User", value = "1000:100"}]',
        *(f'[{{field = "User", value = {value}}}]' for value in ('"a b"', '"1000:100:1"', '""', "1000", "[]")),
        *(f'[{{field = "Hostname", value = {value}}}]' for value in ('"a b"', '"-a"', '""', f'"{"a" * 64}"', "1")),
        *(f'[{{field = "WorkingDir", value = "{path}"}}]' for path in ("/", "/proc/self/fd/8", "/a/../b", "a", "")),
        *(f'[{{field = "Entrypoint", value = {value}}}]' for value in ('"tini"', "[]", "[1]", '[""]', '["a\\u0000"]')),
        *(
            f'[{{field = "Healthcheck", value = {value}}}]'
            for value in (
                "{}",
                '{Test = "true"}',
                '{Test = ["CMD"], Interval = 1}',
                '{Test = ["CMD"], test = ["CMD"]}',
                '["CMD"]',
            )
        ),
        *(f'[{{field = "HostConfig.ShmSize", value = {value}}}]' for value in ('"1g"', "0", "-1", "true", "1.0")),
        *(
            f'[{{field = "HostConfig.Ulimits", value = {value}}}]'
            for value in (
                *('"nofile=1:2"', '{Name = "NOFILE", Soft = 1, Hard = 1}', '{Name = "nofile", Soft = -2, Hard = 1}'),
                *('{Name = "nofile", Soft = 1}', '{Name = "nofile", Soft = true, Hard = 1}', "[]"),
                '[{Name = "nofile", Soft = 1, Hard = 1}]',
            )
        ),
        *(
            f'[{{field = "HostConfig.RestartPolicy", value = {value}}}]'
            for value in ('"always"', '{Name = "no"}', '{Name = "always", MaximumRetryCount = -1}')
        ),
        *(
            f'[{{field = "HostConfig.LogConfig", value = {value}}}]'
            for value in ('"json-file"', "{Config = {}}", '{Type = "json-file", Config = {a = 1}}')
        ),
        *(
            f'[{{field = "HostConfig.DeviceRequests", value = {value}}}]'
            for value in (
                *('"all"', "{Count = -1}", '{Count = -2, Capabilities = [["gpu"]]}', '{Capabilities = ["gpu"]}'),
                '{Capabilities = [["gpu"]], Options = {a = "b"}}',
            )
        ),
        *(
            f'[{{field = "HostConfig.Mounts", value = {{Type = "{kind}", Target = "{target}", {rest}}}}}]'
            for kind, target, rest in (
                ("tmpfs", "/fast", "TmpfsOptions = {}"),
                ("tmpfs", "/fast", "TmpfsOptions = {SizeBytes = 1}"),
                ("tmpfs", "/fast", "TmpfsOptions = {SizeBytes = 1048576, Mode = 0o7777}"),
                ("tmpfs", "/fast", 'TmpfsOptions = {SizeBytes = 1048576, Options = [["exec"]]}'),
                ("tmpfs", "fast", "TmpfsOptions = {SizeBytes = 1048576}"),
                ("tmpfs", "/proc/x", "TmpfsOptions = {SizeBytes = 1048576}"),
                ("tmpfs", "/workspace/x", "TmpfsOptions = {SizeBytes = 1048576}"),
                ("bind", "/fast", "TmpfsOptions = {SizeBytes = 1048576}"),
                ("volume", "/fast", "TmpfsOptions = {SizeBytes = 1048576}"),
                ("tmpfs", "/fast", 'TmpfsOptions = {SizeBytes = 1048576}, Source = "/"'),
            )
        ),
        *(
            f'[{{field = "{field}", value = {value}}}]'
            for field, value in (
                *(("Privileged", "true"), ("HostConfig.Privileged", "true"), ("HostConfig.PidMode", '"host"')),
                *(("HostConfig.CapAdd", '["SYS_ADMIN"]'), ("HostConfig.Binds", '["/:/host"]'), ("user", '"1000"')),
                *(("HostConfig.SecurityOpt", '["seccomp=unconfined"]'), ("HostConfig.NetworkMode", '"host"')),
                *(("HostConfig.Devices", "[]"), ("HostConfig.Runtime", '"x"'), ("hostconfig.ShmSize", "1")),
                *(("HostConfig.Sysctls", "{}"), ("HostConfig.IpcMode", '"host"'), ("ShmSize", "1"), ("Image", '"x"')),
                *(("HostConfig", "{}"), ("HostConfig.GroupAdd", '["0"]'), ("HostConfig.UsernsMode", '"host"')),
                *(("HostConfig.CgroupParent", '"/"'), ("HostConfig.VolumesFrom", '["x"]'), ("Labels", "{}")),
            )
        ),
    ],
    "spawn.max_memory": ["4", '"0g"', '"4gb"', '"-1m"'],
    "spawn.max_cpus": ["0", "nan", "inf", "-1", "true"],
    "spawn.max_pids": ["0", "-1"],
    "spawn.labels": ['{"hubwarden.owner" = "bob"}', "{a = 1}", "[]"],
    "spawn.publish": ['"localhost"', '"127.0.0.1:80"'],
    "spawn.adopt": ['"by-label"', '""', "true"],
}


class TestMistakes:
    @pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
    def test_a_wrong_value_is_named_by_its_key(self, key: str, value: str) -> None:
        """One mistake, beginning with the key, saying what would be right."""
        table, _, name = key.partition(".")
        (mistake,) = _mistakes(f"[{table}]\n{name} = {value}\n")
        assert mistake.startswith(f"{key}: ")

    @pytest.mark.parametrize("key", sorted(WRONG.keys() - {"spawn.volumes", "spawn.host_paths"}))
    def test_a_mistake_does_not_hold_the_value(self, key: str) -> None:
        """When a value is wrong, its mistake names the key and never the value."""
        table, _, name = key.partition(".")
        for value in ('"a secret\\u0000"', '["a secret\\u0000"]', '[["a secret\\u0000"]]', '[{x = "a secret"}]'):
            assert "secret" not in " ".join(_mistakes(f"[{table}]\n{name} = {value}\n"))

    @pytest.mark.parametrize("key", WRONG)
    def test_what_toml_has_beside_json_is_refused(self, key: str) -> None:
        """When a value is a date or a time, it is a mistake at its key."""
        table, _, name = key.partition(".")
        for value in ("1979-05-27", "[1979-05-27]", "07:32:00"):
            assert _mistakes(f"[{table}]\n{name} = {value}\n")[0].startswith(f"{key}: ")

    def test_a_wrong_entry_does_not_hide_another(self) -> None:
        """When several entries of a list are wrong, each is reported, and what depends on the list is not blamed."""
        mistakes = _mistakes(
            """
            [spawn]
            images     = ["lab 1", "registry.example.org/lab:1", "lab 2"]
            pull       = ["registry.example.org/lab:1"]
            host_paths = [{source = "/proc", target = "/a", mode = "ro"}, {source = "/srv", target = "/b", mode = "x"}]
            """
        )
        assert [mistake.rpartition(": ")[0] for mistake in mistakes] == [
            *("spawn.images: entry 1", "spawn.images: entry 3"),
            *("spawn.host_paths: entry 1", "spawn.host_paths: entry 2, mode"),
        ]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("[metrics]\nport = 1", "metrics: unknown table or key"),
            ("debug = true", "debug: unknown table or key"),
            ("[docker]\nHost = 'unix:///a'", "docker.Host: unknown key"),
            ("[limits]\nresets_per_users = '3/hour'", "limits.resets_per_users: unknown key"),
            ("docker = 1", "docker: must be a table"),
            ("[docker.host]\na = 1", "docker.host: "),
            ("[docker", "not TOML"),
            ("[docker]\ntimeout=1\ntimeout=2", "not TOML"),
        ],
    )
    def test_what_is_not_listed_is_refused(self, text: str, expected: str) -> None:
        """Unknown tables and keys, also in another case, are mistakes; so is what is not TOML."""
        assert _mistakes(text)[0].startswith(expected)

    def test_every_mistake_at_once(self) -> None:
        """Unknown keys, wrong values and templates that could be read two ways: one run shows them all."""
        mistakes = _mistakes(
            """
            unknown = 1
            [docker]
            timeout = 0
            [names]
            container = "{username}"
            named_container = "x-{username}{servername}"
            [limits]
            max_deadlines = 5
            """
        )
        assert [mistake.partition(":")[0] for mistake in mistakes] == [
            "docker.timeout",
            "limits.max_deadlines",
            "unknown",
            "names.container",
            "names.named_container",
        ]

    @pytest.mark.parametrize(
        ("text", "key", "other"),
        [
            ('grpc = ["unix:///a"]\ngateway = "unix:///a"', "listen.gateway", "listen.grpc"),
            ('grpc = ["unix:///a"]\nmetrics = "unix:///a"', "listen.metrics", "listen.grpc"),
            ('gateway = "unix:///a"\nmetrics = "unix:///b/../a"', "listen.metrics", "listen.gateway"),
            ('grpc = ["unix:///var/run//docker.sock"]', "listen.grpc", "docker.host"),
            ('gateway = "unix:///var/run/docker.sock"', "listen.gateway", "docker.host"),
            ('gateway = "unix:///var/lib/hubwarden/health.sock"', "listen.gateway", "the health socket"),
            ('grpc = ["tcp://127.0.0.1:9464"]\nmetrics = "127.0.0.1:9464"', "listen.metrics", "listen.grpc"),
        ],
    )
    def test_two_things_at_one_address(self, text: str, key: str, other: str) -> None:
        """However the path is spelt, and whatever the two are: the later one is named, with the one that it meets."""
        tls = '[tls]\ncertificate = "/c"\nkey = "/k"\nclient_ca = "/a"\nclients = ["dns:hub.example.org"]\n'
        (mistake,) = _mistakes(f"{tls}[listen]\n{text}\n")
        assert mistake.startswith(f"{key}: must not be the address of {other}")

    def test_volumes_are_looked_at_with_the_gateway_only(self) -> None:
        """When the gateway is off, its volume templates are not checked."""
        text = '[spawn]\nvolumes = {"jupyterlab-{username}a_home" = "/home/jovyan"}\n'
        assert config.parse(text).spawn.volumes
        assert "spawn.volumes" in _mistakes(text + '[listen]\ngateway = "unix:///run/docker.sock"\n')[0]

    @pytest.mark.parametrize("content", [None, b"\xff"])
    def test_a_file_that_cannot_be_read(self, tmp_path: Path, content: bytes | None) -> None:
        """A missing file, or one that is not UTF-8, is a mistake like any other."""
        path = tmp_path / "agent.toml"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(config.ConfigurationError, match=r"agent\.toml"):
            config.load(path)

    @pytest.mark.parametrize("rate", ["3/hour", "6/10 minutes", "1/second", "3 per hour", "100 per 2 days"])
    def test_rates(self, rate: str) -> None:
        """When a limit is written in the notation of rates, it is parsed as one."""
        assert config.parse(f'[limits]\nresets_per_user = "{rate}"').limits.resets_per_user == parse_rate(rate)


@pytest.mark.parametrize(
    "path",
    [
        *("/srv", "/srv/docker", "/srv/docker/docker.sock", "/data/state", "/data/state/x", "/data"),
        *("/kept/homes", "/kept", "/kept/homes/x", "/scraped", "/scraped/metrics.sock"),
        *("/certs", "/certs/key.pem", "/own/agent.pem", "/own", "/ca/hubs.pem", "/ca"),
    ],
)
def test_host_paths_stay_away_from_our_own_files(path: str) -> None:
    """Wherever sockets, state, backups and the files of `[tls]` are: neither they, nor what holds them."""
    text = (
        '[docker]\nhost = "unix:///srv/docker/docker.sock"\n[state]\ndirectory = "/data/state"\n'
        '[reset]\nbackup_dir = "/kept/homes"\n[listen]\nmetrics = "unix:///scraped/metrics.sock"\n'
        '[tls]\nkey = "/certs/key.pem"\ncertificate = "/own/agent.pem"\nclient_ca = "/ca/hubs.pem"\n'
        f'[spawn]\nhost_paths = [{{source = "{path}", target = "/shared", mode = "ro"}}]\n'
    )
    assert _mistakes(text)[0].startswith("spawn.host_paths: ")
    assert config.parse(text.replace(f'source = "{path}"', 'source = "/mnt/other"')).spawn.host_paths


def test_mount_mistakes_all_at_once() -> None:
    """When several mounts are wrong, one start shows every one, each with its key."""
    mistakes = _mistakes(
        """
        [spawn]
        volumes    = {"a-{username}" = "/etc/a", "b-{username}" = "/home/b", "c-{username}" = "/home/b/c"}
        host_paths = [{source = "/srv/x", target = "/home/b", mode = "ro"}]
        [[spawn.allow]]
        field = "HostConfig.Mounts"
        value = {Type = "tmpfs", Target = "/dev/shm", TmpfsOptions = {SizeBytes = 1048576}}
        """
    )
    assert [mistake.partition(": ")[0] for mistake in mistakes] == [
        *("spawn.volumes", "spawn.allow"),  # in system folders
        *("spawn.volumes", "spawn.host_paths", "spawn.volumes"),  # inside one another, or equal
    ]
    assert len(_mistakes('[spawn]\nvolumes = {"a" = "x", "b-{username}" = "y"}')) == 3


OLD_VOLUMES = 'volumes = ["jupyterlab-{username}_home", "lab-{username}-work", "lab-{username}-etc", "x{username}"]'
NEW_VOLUMES = (
    'volumes = {"jupyterlab-{username}_home" = "/home/jovyan", "lab-{username}-work" = "/work", '
    '"lab-{username}-etc" = "/mnt/etc-2", "x{username}" = "/volume"}'
)
OLD_PATHS = 'host_paths = ["/srv/shared:ro", "/data/scratch:rw"]'
NEW_PATHS = (
    'host_paths = [{source = "/srv/shared", target = "/mnt/shared", mode = "ro"}, '
    '{source = "/data/scratch", target = "/mnt/scratch", mode = "rw"}]'
)


@pytest.mark.parametrize(("old", "new"), [(OLD_VOLUMES, NEW_VOLUMES), (OLD_PATHS, NEW_PATHS)])
def test_the_old_lists_of_mounts(old: str, new: str) -> None:
    """When a list of an earlier version is read, the mistake holds the new form of these values, which is accepted."""
    (mistake,) = _mistakes(f"[spawn]\n{old}\n")
    assert mistake.endswith(f": {new}")
    assert config.parse(f"[spawn]\n{new}\n")


OLD_OPTIONS = (
    ('users = ["1000:100", "0"]', [("User", "1000:100"), ("User", "0")]),
    ('hostnames = ["lab"]', [("Hostname", "lab")]),
    ('working_dirs = ["/home/jovyan"]', [("WorkingDir", "/home/jovyan")]),
    ('entrypoints = [["tini", "-g", "--"]]', [("Entrypoint", ["tini", "-g", "--"])]),
    (
        'healthchecks = [{ test = ["CMD", "a\\"b"], interval = 30_000_000_000, retries = 2 }]',
        [("Healthcheck", {"Test": ["CMD", 'a"b'], "Interval": 30 * 10**9, "Retries": 2})],
    ),
    ('shm_sizes = ["1g", "64m"]', [("HostConfig.ShmSize", 1024**3), ("HostConfig.ShmSize", 64 * 1024**2)]),
    (
        'ulimits = [{ name = "nofile", soft = 65536, hard = -1 }]',
        [("HostConfig.Ulimits", {"Name": "nofile", "Soft": 65536, "Hard": -1})],
    ),
    (
        'restart_policies = [{ name = "on-failure", maximum_retry_count = 3 }, { name = "always" }]',
        [
            ("HostConfig.RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": 3}),
            ("HostConfig.RestartPolicy", {"Name": "always"}),
        ],
    ),
    (
        'log_configs = [{ type = "json-file", config = { max-size = "10m", "a b" = "c" } }]',
        [("HostConfig.LogConfig", {"Type": "json-file", "Config": {"max-size": "10m", "a b": "c"}})],
    ),
    (
        'device_requests = [{ count = 1, capabilities = [["gpu"]], driver = "x", device_ids = ["0"] }]',
        [
            (
                "HostConfig.DeviceRequests",
                {"Count": 1, "Capabilities": [["gpu"]], "Driver": "x", "DeviceIDs": ["0"]},
            )
        ],
    ),
    (
        'tmpfs = [{ target = "/scratch", size = "1g", mode = 0o1777 }, { target = "/other", size = "1m" }]',
        [
            (
                "HostConfig.Mounts",
                {"Type": "tmpfs", "Target": "/scratch", "TmpfsOptions": {"SizeBytes": 1024**3, "Mode": 0o1777}},
            ),
            ("HostConfig.Mounts", {"Type": "tmpfs", "Target": "/other", "TmpfsOptions": {"SizeBytes": 1024**2}}),
        ],
    ),
)


@pytest.mark.parametrize(("old", "new"), OLD_OPTIONS)
def test_the_old_keys_of_options(old: str, new: list[tuple[str, Any]]) -> None:
    """When a key of an earlier version is read, the mistake holds the operator's own values as entries to copy."""
    (mistake,) = _mistakes(f"[spawn]\n{old}\n")
    first, _, entries = mistake.partition("\n")
    assert first == f"spawn.{old.partition(' ')[0]}: has been replaced; write instead:"
    assert config.parse(entries).spawn.allow == allow(*new)


@pytest.mark.parametrize("value", ["[]", '"lab"', "[1]", "[{}]", "1", '[{ name = "x", size = "1q", extra = 1.5 }]'])
def test_an_old_key_that_has_no_value_to_convert(value: str) -> None:
    """When a key of an earlier version is empty or malformed, it is refused all the same, naming the new one."""
    for key in ("shm_sizes", "ulimits", "tmpfs", "log_configs"):
        (mistake,) = _mistakes(f"[spawn]\n{key} = {value}\n")
        assert mistake.startswith(f"spawn.{key}: has been replaced")
        assert "[[spawn.allow]]" in mistake


def test_old_keys_beside_other_mistakes() -> None:
    """When old keys and other mistakes are in one file, each is reported."""
    mistakes = _mistakes('[docker]\ntimeout = 0\n[spawn]\nusers = ["0"]\nshm_sizes = ["1g"]\nmax_pids = 0\n')
    assert [mistake.partition(":")[0] for mistake in mistakes] == [
        *("spawn.users", "spawn.shm_sizes", "docker.timeout", "spawn.max_pids"),
    ]


@pytest.mark.parametrize(
    ("target", "warned"),
    [
        *((safe, False) for safe in ("/work", "/home/jovyan", "/mnt/shared", "/srv/shared", "/opt/shared")),
        *((doubtful, True) for doubtful in ("/home/jovyan/work", "/tmp/x", "/opt/conda/share", "/data/a/b")),
    ],
)
def test_a_target_below_a_folder_that_may_be_the_users(target: str, warned: bool) -> None:  # noqa: FBT001 - a table
    """When the folder above a target may belong to the user, the configuration is accepted with a warning."""
    text = f'[spawn]\nvolumes = {{"x-{{username}}" = "{target}"}}\n'
    assert config.parse(text).warnings == []
    warnings = config.parse(f'[listen]\ngateway = "unix:///run/docker.sock"\n{text}').warnings
    assert [warning.startswith(f"spawn.volumes: the target {target} is safe only if") for warning in warnings] == (
        [True] * warned
    )


@pytest.mark.parametrize(
    "image",
    [
        *("registry.example.org/lab:1", "localhost/lab", "hub:5000/lab:1", "docker.io/jupyter/lab:1"),
        *(f"lab@sha256:{'0' * 64}", f"jupyter/lab@sha256:{'0' * 64}"),
    ],
)
def test_what_may_be_pulled(image: str) -> None:
    """When a reference of `spawn.images` names its registry's host or a digest, it may be pulled."""
    assert config.parse(f'[spawn]\nimages = ["{image}"]\npull = ["{image}"]\n').spawn.pull == (image,)
