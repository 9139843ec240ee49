"""The command line: what it exits with and what it says, without a Docker engine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest
from hubwarden_agent import app, cli, config, tls
from hubwarden_agent.engine.docker_engine import DockerEngine
from hubwarden_agent.engine.port import EngineUnavailable


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cli.CONFIG_VARIABLE, raising=False)


def _away(_: DockerEngine) -> None:
    raise EngineUnavailable("no engine in these tests")


@pytest.fixture(autouse=True)
def _no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DockerEngine, "runtime_version", _away)


@pytest.mark.parametrize("arguments", [[], ["frobnicate"], ["serve", "--force"], ["check-config", "extra"]])
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    """When a command, option or argument is unknown, the exit status is 2."""
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2


@pytest.mark.parametrize("command", ["serve", "check-config"])
def test_a_bad_configuration_is_2(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every mistake on a line of its own, on stderr, whatever was asked for."""
    file = tmp_path / "agent.toml"
    file.write_text("[docker]\ntimeout = 0\nsocket = 1\n[spawn]\nmax_pids = 0\n", encoding="utf-8")
    assert cli.main([command, "--config", str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[1] for line in err.splitlines()] == ["docker.timeout", "docker.socket", "spawn.max_pids"]


def test_the_variable_names_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """HUBWARDEN_CONFIG counts, and --config counts more."""
    bad, good = tmp_path / "bad.toml", tmp_path / "good.toml"
    bad.write_text("x = 1", encoding="utf-8")
    good.write_text("", encoding="utf-8")
    monkeypatch.setenv(cli.CONFIG_VARIABLE, str(bad))
    assert cli.main(["check-config"]) == 2
    assert "x: unknown table or key" in capsys.readouterr().err
    assert cli.main(["check-config", "--config", str(good)]) == 0


@pytest.mark.parametrize("docker", ["away", "outdated", "fixed"])
def test_warnings_of_a_sound_configuration(
    docker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When a target may be unsafe or runc is, check-config prints a warning each and exits 0."""
    if docker != "away":
        monkeypatch.setattr(DockerEngine, "runtime_version", lambda _: "1.1.5" if docker == "outdated" else "1.3.3")
    file = tmp_path / "agent.toml"
    file.write_text(
        '[listen]\ngateway = "unix:///run/gateway.sock"\n'
        '[[spawn.allow]]\nfield = "HostConfig.Mounts"\n'
        'value = {Type = "tmpfs", Target = "/home/jovyan/x", TmpfsOptions = {SizeBytes = 1048576}}\n'
        '[spawn.volumes]\n"lab-{username}" = "/workspace"\n',
        encoding="utf-8",
    )
    assert cli.main(["check-config", "--config", str(file)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("hubwarden-agent: warning: ") for line in lines)
    expected = {"away": ["not checked"], "outdated": ["CVE-2025-31133"], "fixed": []}[docker]
    for line, words in zip(lines, ["spawn.allow: the target /home/jovyan/x", *expected], strict=True):
        assert words in line


def test_no_configuration_is_all_defaults() -> None:
    """When no configuration is given, every key has its default."""
    assert cli.main(["check-config"]) == 0


def test_a_missing_file_is_2(tmp_path: Path) -> None:
    """When the named configuration file is missing, the exit status is 2."""
    assert cli.main(["check-config", "--config", str(tmp_path / "none.toml")]) == 2


@pytest.mark.parametrize("problem", ["no directory", "no group", "no place"])
def test_what_cannot_be_served_is_1(problem: str, tmp_path: Path) -> None:
    """A state directory, group or socket that is not there: said in the log, exit 1, no traceback out of main."""
    state = tmp_path / ("missing" if problem == "no directory" else "")
    place = tmp_path / ("missing" if problem == "no place" else "") / "a.sock"
    group = "hubwarden-nobody" if problem == "no group" else ""
    file = tmp_path / "agent.toml"
    file.write_text(
        f'[state]\ndirectory = "{state}"\n[listen]\ngrpc = ["unix://{place}"]\nsocket_group = "{group}"\n'
        f'[docker]\nhost = "unix://{tmp_path}/docker.sock"\n',
        encoding="utf-8",
    )
    assert cli.main(["serve", "--config", str(file)]) == 1


def test_no_agent_is_not_healthy(tmp_path: Path) -> None:
    """When no agent answers, `healthcheck` exits with 1."""
    file = tmp_path / "agent.toml"
    file.write_text(f'[state]\ndirectory = "{tmp_path}"\n', encoding="utf-8")
    assert cli.main(["healthcheck", "--config", str(file)]) == 1


TLS = """
[listen]
grpc = ["tcp://0.0.0.0:7443"]
[tls]
certificate = "/tls/agent.crt"
key = "/tls/agent.key"
client_ca = "/tls/ca.crt"
clients = ["dns:hub.example.org"]
"""


def test_certificates_are_renewed_although_another_section_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When another section becomes invalid while the agent serves, `[tls]` is read; its own mistakes are not."""
    reads: list[Callable[[], config.Tls]] = []

    def serve(_: config.Config, read_tls: Callable[[], config.Tls]) -> int:
        reads.append(read_tls)
        return 0

    monkeypatch.setattr(tls, "mistakes", lambda *_: [])
    monkeypatch.setattr(app, "serve", serve)
    file = tmp_path / "agent.toml"
    file.write_text(TLS, encoding="utf-8")
    assert cli.main(["serve", "--config", str(file)]) == 0
    file.write_text('[limits]\nresets_total = "many"\n[unknown]\n' + TLS.replace("hub.example", "new.example"))
    assert reads[0]().clients == ("dns:new.example.org",)
    file.write_text(TLS.replace("dns:hub", "hub"), encoding="utf-8")
    with pytest.raises(config.ConfigurationError, match=r"tls\.clients"):
        reads[0]()
    file.write_text(TLS.replace('key = "/tls/agent.key"', ""), encoding="utf-8")
    with pytest.raises(config.ConfigurationError, match=r"tls\.key: must be set"):
        tls.read(reads[0](), dt.datetime.now(dt.UTC))
