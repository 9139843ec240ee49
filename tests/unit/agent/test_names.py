"""Names: what is refused before anything looks at it, DockerSpawner's own escaping, and no name for two users."""

from __future__ import annotations

import itertools
import re
import string

import pytest
from dockerspawner import DockerSpawner
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.names import (
    Actor,
    ContainerId,
    ContainerName,
    EscapeRule,
    Names,
    RequestId,
    ServerName,
    Templates,
    Username,
    VolumeName,
    template_mistakes,
)
from hypothesis import given
from hypothesis import strategies as st

# Docker's own rule (daemon/names.RestrictedNamePattern), for containers and volumes.
DOCKER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
LEGACY = Templates(named_container="", escape="legacy")
# White space that an HTTP header or a TOML file may well hold, and what no name may.
ODD = ["", "\x00", "a\x00", "a\n", "a\nb", "\x7f", "a\x9b", "a\u2028b", "x" * 256]
Parser = type[Username | ServerName | Actor | RequestId | ContainerName | ContainerId | VolumeName]


class TestParsing:
    @pytest.mark.parametrize(
        ("kind", "text"),
        [
            *((Username, text) for text in [*ODD, " a", "a ", "a/b", "/", "\u3000a", "a\u2003"]),
            *((ServerName, text) for text in [*ODD[1:], "a/b"]),
            *(
                (Actor, text)
                for text in [*ODD, "alice", "user:", "User:alice", "admin:x", "user:a\nb", "user:" + "x" * 256]
            ),
            *((ContainerName, text) for text in [*ODD, "a", "-a", "_a", ".a", "a b", "a/b", "é" * 2, "../a", "ab\n"]),
            *((VolumeName, text) for text in [*ODD, "a", "-a", "/srv", "a/b", "..", "ab\n"]),
            *((ContainerId, text) for text in [*ODD, "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n"]),
            *(
                (RequestId, text)
                for text in [
                    *ODD,
                    "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
                    "6BA7B810-9DAD-41D1-80B4-00C04FD430C8",
                    "6ba7b8109dad41d180b400c04fd430c8",
                    "{6ba7b810-9dad-41d1-80b4-00c04fd430c8}",
                    "6ba7b810-9dad-41d1-c0b4-00c04fd430c8",
                    "6ba7b810-9dad-41d1-80b4-00c04fd430c8\n",
                ]
            ),
        ],
    )
    def test_refused(self, kind: Parser, text: str) -> None:
        """INVALID_REQUEST, in words that say which kind and do not repeat the text."""
        with pytest.raises(RequestRefused) as refused:
            kind.parse(text)
        assert refused.value.reason is Reason.INVALID_REQUEST
        assert refused.value.message.startswith("That is not a valid ")
        if len(text) > 3:
            assert text not in str(refused.value)

    @pytest.mark.parametrize("text", ["a", "john.doe-x", "Ana@Example.org", "木村", "a b", "--", "..", "😀", "x" * 255])
    def test_what_jupyterhub_accepts_is_a_username(self, text: str) -> None:
        """Everything that JupyterHub would take as a name is taken."""
        assert str(Username.parse(text)) == text

    @given(st.text(string.ascii_letters + string.digits + "_.-", max_size=300).filter(ContainerName.pattern.fullmatch))
    def test_what_parses_is_accepted_by_docker(self, text: str) -> None:
        """Container and volume names alike follow Docker's rule and fit into a file name."""
        for name in (ContainerName(text), VolumeName(text)):
            assert DOCKER_NAME.fullmatch(name.value)
            assert len(name.value.encode()) <= 255

    def test_kinds_are_not_equal(self) -> None:
        """A user name is not a server name of the same text."""
        assert len({Username("alice"), ServerName("alice")}) == 2


CHARACTERS = st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"], exclude_characters="/")
usernames = st.text(CHARACTERS, min_size=1, max_size=12).filter(lambda text: text == text.strip()).map(Username)
server_names = st.text(CHARACTERS, max_size=6).map(ServerName)


class TestDerived:
    @pytest.mark.parametrize(
        ("username", "container", "volume"),
        [
            ("alice", "jupyterlab-alice", "jupyterlab-alice_home"),
            ("john.doe-x", "jupyterlab-john-2edoe-2dx", "jupyterlab-john-2edoe-2dx_home"),
            ("Ana@Example.org", "jupyterlab--41na-40-45xample-2eorg", "jupyterlab--41na-40-45xample-2eorg_home"),
            ("木村", "jupyterlab--e6-9c-a8-e6-9d-91", "jupyterlab--e6-9c-a8-e6-9d-91_home"),
        ],
    )
    def test_the_people_of_the_issue(self, username: str, container: str, volume: str) -> None:
        """Names that were seen with DockerSpawner 14."""
        names = Names(Templates())
        assert names.container(Username(username), ServerName("")).value == container
        assert names.home_volume(Username(username)).value == volume

    @given(usernames, server_names)
    def test_as_dockerspawner_escapes(self, username: Username, server_name: ServerName) -> None:
        """The same name as DockerSpawner 14 gives, by both of its rules."""
        escaped = DockerSpawner._escape(username.value)  # noqa: SLF001 - DockerSpawner's own escape is the reference
        assert Names(Templates()).home_volume(username).value == f"jupyterlab-{escaped}_home"
        legacy = DockerSpawner._legacy_escape(username.value)  # noqa: SLF001 - DockerSpawner's own escape is the reference
        assert Names(LEGACY).home_volume(username).value == f"jupyterlab-{legacy}_home"
        if server_name.value:
            server = DockerSpawner._escape(server_name.value.lower())  # noqa: SLF001 - DockerSpawner's own escape is the reference
            assert Names(Templates()).container(username, server_name).value == f"jupyterlab-{escaped}--{server}"

    @pytest.mark.parametrize("templates", [Templates(), LEGACY])
    @given(first=usernames, second=usernames)
    def test_two_users_never_share_a_name(self, templates: Templates, first: Username, second: Username) -> None:
        """Different users, different container and volume."""
        if first != second:
            names = Names(templates)
            assert names.home_volume(first) != names.home_volume(second)
            assert names.container(first, ServerName("")) != names.container(second, ServerName(""))

    @given(usernames, server_names, usernames, server_names)
    def test_two_servers_never_share_a_name(
        self, user: Username, server: ServerName, other_user: Username, other: ServerName
    ) -> None:
        """Another user's server is another container, whatever the servers are called."""
        names = Names(Templates())
        same = (user, server.value.lower()) == (other_user, other.value.lower())
        assert (names.container(user, server) == names.container(other_user, other)) is same

    @given(usernames, server_names)
    def test_what_is_derived_is_docker_s(self, username: Username, server_name: ServerName) -> None:
        """When a name is derived, Docker accepts it."""
        assert DOCKER_NAME.fullmatch(Names(Templates()).container(username, server_name).value)

    def test_as_long_as_docker_can_hold_it(self) -> None:
        """255 bytes with everything around: one more is refused."""
        names = Names(Templates())
        room = 255 - len("jupyterlab-_home")
        assert len(names.home_volume(Username("a" * room)).value) == 255
        for name in ("a" * (room + 1), "木" * 80):
            with pytest.raises(RequestRefused):
                names.home_volume(Username(name))


# Small enough to try everything: a letter, a hexadecimal digit of an escape, and what has to be escaped.
SMALL = [Username("".join(text)) for size in (1, 2, 3) for text in itertools.product("a2-d_", repeat=size)]
PARTS = ["", "-", "--", "_", "-2d", "_2D", "a", "2", ".", "--a", "-x", "_-"]


def _share(templates: Templates, volumes: tuple[str, ...] = ()) -> bool:
    """The oracle: whether any two of the small users (and their servers) get one container, or one volume, in fact."""
    names = Names(templates)
    servers = [ServerName("")]
    if templates.named_container:
        servers += [ServerName(text) for text in ("a", "2", "2d", "-", "a-", "d_")]
    containers = [names.container(user, server) for user in SMALL for server in servers]
    volume_names = [names.volume(template, user) for user in SMALL for template in {templates.home_volume, *volumes}]
    return len(set(containers)) < len(containers) or len(set(volume_names)) < len(volume_names)


class TestTemplates:
    @pytest.mark.parametrize("suffix", PARTS)
    @pytest.mark.parametrize("separator", PARTS)
    def test_what_passes_is_never_shared(self, separator: str, suffix: str) -> None:
        """Every container template of a small alphabet that is let through gives no two servers one name."""
        for tail in ("", "_x", "a"):
            templates = Templates(f"j-{{username}}{suffix}", f"j-{{username}}{separator}{{servername}}{tail}")
            if not template_mistakes(templates):
                assert not _share(templates), templates

    @pytest.mark.parametrize("escape", ["dockerspawner", "legacy"])
    @pytest.mark.parametrize("first", PARTS)
    @pytest.mark.parametrize("second", PARTS)
    def test_volumes_that_pass_are_never_shared(self, escape: EscapeRule, first: str, second: str) -> None:
        """Two volume templates that are let through give no two users one volume, under either escape."""
        home, other = f"j-{{username}}{first}", f"j-{{username}}{second}"
        templates = Templates(named_container="", home_volume=home, escape=escape)
        if not template_mistakes(templates, (other,)):
            assert not _share(templates, (other,)), (home, other)

    @pytest.mark.parametrize(
        ("templates", "volumes", "key"),
        [
            (Templates("{username}", ""), (), "names.container"),
            (Templates("-{username}", ""), (), "names.container"),
            (Templates("j-{username}{username}", ""), (), "names.container"),
            (Templates("j", ""), (), "names.container"),
            (Templates("j-{username}/x", ""), (), "names.container"),
            (Templates("j-{username!r}", ""), (), "names.container"),
            (Templates("j-{username.value}", ""), (), "names.container"),
            (Templates(home_volume="j-{username}-{servername}"), (), "names.home_volume"),
            (Templates(home_volume="j-{}"), (), "names.home_volume"),
            (Templates(named_container="jupyterlab-{username}"), (), "names.named_container"),
            (Templates(named_container="jupyterlab-{servername}--{username}"), (), "names.named_container"),
            (Templates(named_container="jupyterlab-{username}{servername}"), (), "names.named_container"),
            (Templates(named_container="jupyterlab-{username}-{servername}"), (), "names.named_container"),
            (Templates(named_container="jupyterlab-{username}a{servername}"), (), "names.named_container"),
            (Templates(named_container="jl-{username}--{servername}"), (), "names.named_container"),
            (Templates(container="jupyterlab-{username}--x"), (), "names.named_container"),
            (Templates(escape="legacy"), (), "names.named_container"),
            (Templates(), ("jupyterlab-{username}",), ""),
            (Templates(), ("jupyterlab-{username}a_home",), "spawn.volumes"),
            (Templates(), ("jupyterlab-x{username}_home",), "spawn.volumes"),
        ],
    )
    def test_the_key_that_is_wrong_is_named(self, templates: Templates, volumes: tuple[str, ...], key: str) -> None:
        """A template that is malformed, or could be read two ways, is refused under its own key."""
        mistakes = template_mistakes(templates, volumes)
        assert list(mistakes) == ([key] if key else [])
        if key.startswith("names."):
            with pytest.raises(ValueError, match="unusable"):
                Names(templates)

    def test_a_share_is_refused(self) -> None:
        """The oracle finds what would be shared without the refusal: user `a--b` and `a`'s server `b`."""
        assert template_mistakes(Templates(escape="legacy"))
        assert not template_mistakes(Templates())
