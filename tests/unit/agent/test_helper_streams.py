"""What is believed of a helper: whole frames, a good end, and that its bytes add up."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hubwarden_agent.engine.docker_engine import DockerEngine
from hubwarden_agent.engine.home_port import Helper
from hubwarden_agent.engine.port import EngineError, EngineUnavailable
from hubwarden_agent.home_content.helper import OVER_LIMIT
from hubwarden_agent.home_content.helper_streams import CHUNK_BYTES, STDERR_BYTES, OpenStreams, Streams
from hubwarden_agent.home_content.volume_content import ARCHIVED, EXTRACTED, TooLarge, VolumeContent, verify_totals
from hubwarden_agent.names import ImageId, VolumeName
from support.fakes.scripted_docker import ScriptedDocker, answer, scripted
from support.waiting.threads import in_background

TOTAL = b"Total bytes written: 65536 (64KiB, 1.2MiB/s)\nCompressed: 65536 bytes to 7000\n"


def frame(stream: int, content: bytes) -> bytes:
    """As Docker frames what a container prints."""
    return bytes([stream, 0, 0, 0]) + len(content).to_bytes(4, "big") + content


@pytest.fixture
def ends() -> Iterator[tuple[Streams, socket.socket]]:
    """A helper's streams, and Docker's end of them."""
    ours, docker = socket.socketpair()
    ours.settimeout(30)
    with ours, docker:
        yield Streams(ours), docker


def sent(docker: socket.socket, content: bytes) -> None:
    """All of it, and no more."""
    docker.sendall(content)
    docker.shutdown(socket.SHUT_WR)


class TestArchive:
    @pytest.mark.parametrize("cut", [1, 7, 8, 9])
    def test_an_end_within_a_frame(self, ends: tuple[Streams, socket.socket], cut: int) -> None:
        """In its header or in its content: lost, and not the end."""
        streams, docker = ends
        sent(docker, frame(1, b"whole") + frame(1, b"not whole")[:cut])
        with pytest.raises(EngineUnavailable):
            streams.archive(lambda _: None)

    def test_a_silence_that_is_too_long(self) -> None:
        """A helper that neither gives nor ends is given up."""
        ours, docker = socket.socketpair()
        with ours, docker:
            ours.settimeout(0.01)
            with pytest.raises(EngineUnavailable):
                Streams(ours).archive(lambda _: None)

    def test_output_is_handed_on_and_errors_are_kept(self, ends: tuple[Streams, socket.socket]) -> None:
        """In pieces of a bounded size, in order; of what tar complains about, the end."""
        streams, docker = ends
        content = [bytes([number % 256]) * 32768 for number in range(40)]
        noise = b"".join(frame(1, one) + frame(2, b"x" * 1000) for one in content) + frame(2, TOTAL)
        sender = threading.Thread(target=sent, args=(docker, noise))
        sender.start()
        taken = list[bytes]()
        assert streams.archive(taken.append) == 40 * 32768
        sender.join()
        assert b"".join(taken) == b"".join(content)
        assert max(map(len, taken)) < CHUNK_BYTES + 32768
        assert len(streams.stderr) == STDERR_BYTES
        assert streams.stderr.endswith(TOTAL)


class TestExtract:
    def test_a_tar_that_complains_all_the_while(self, ends: tuple[Streams, socket.socket]) -> None:
        """It is listened to while it is fed, so that neither waits for the other."""
        streams, docker = ends
        complaint = frame(2, b"x" * 32768)

        def complain_then_read() -> None:
            for _ in range(100):
                docker.sendall(complaint)
            while docker.recv(65536):
                pass
            sent(docker, frame(2, TOTAL))

        helper = threading.Thread(target=complain_then_read)
        helper.start()
        assert streams.extract(bytes(65536) for _ in range(100)) == 100 * 65536
        helper.join()
        assert streams.stderr.endswith(TOTAL)


def test_a_transfer_that_fails_removes_the_helper_at_once(tmp_path: Path) -> None:
    """When the transfer fails or is interrupted, the helper is removed without waiting for its tar to end."""
    helper, containers = Helper(ImageId("sha256:" + "a" * 64), "scheme"), "/v1.45/containers"
    docker = ScriptedDocker(
        {
            f"GET {containers}/json": answer(b"[]"),
            f"POST {containers}/create": answer(b'{"Id": "made"}', 201),
            f"GET {containers}/made/json": answer(json.dumps({"Image": helper.image.value}).encode()),
            f"POST {containers}/made/attach": answer(status=101),
            f"POST {containers}/made/start": answer(status=204),
            f"DELETE {containers}/made": answer(status=204),
        }
    )

    def interrupt(_: int) -> bytes:
        raise KeyboardInterrupt

    engine = DockerEngine(str(tmp_path / "docker.sock"), 30, 30)
    with scripted(docker, tmp_path / "docker.sock"), pytest.raises(KeyboardInterrupt):
        VolumeContent(engine).extract(VolumeName("home"), helper, map(interrupt, [1]))
    assert docker.lines[-2:] == [
        f"POST {containers}/made/start",
        f"DELETE {containers}/made?v=True&link=False&force=True",
    ]


def test_a_shutdown_ends_a_transfer_although_no_byte_comes() -> None:
    """When the agent ends while a helper is silent, its transfer fails at once, and no other begins."""
    ours, docker = socket.socketpair()
    running = OpenStreams()

    def transfer() -> None:
        with running.held(ours):
            entered.set()
            Streams(ours).archive(lambda _: None)

    entered = threading.Event()
    with ours, docker:
        archiving = in_background(transfer)
        assert entered.wait(30)
        running.end()
        with pytest.raises(EngineError, match="shutting down"):
            archiving.result(30)
        with pytest.raises(EngineError, match="shutting down"):
            transfer()


@pytest.mark.parametrize(
    ("status", "stderr", "passed"),
    [
        (1, TOTAL, 7000),
        (137, b"", 7000),
        (0, b"", 7000),
        (0, TOTAL, 6999),
        (0, TOTAL, 65536),
        (0, TOTAL, 0),
        (0, TOTAL.replace(b"written: 65536", b"written: 65537"), 7000),
        (0, TOTAL.partition(b"Compressed")[0], 65536),
        (0, TOTAL.replace(b"written", b"read"), 7000),
        (0, b"tar: ./" + TOTAL, 7000),
        (0, TOTAL + b"tar: something after it\n", 7000),
    ],
    ids=[
        "failed",
        "killed",
        "says nothing",
        "a byte is missing",
        "the tar's length",
        "nothing came",
        "not all was compressed",
        "compressed by nobody",
        "not an archive's",
        "a file of that name",
        "not the end",
    ],
)
def test_not_the_end_of_a_whole_tar(status: int, stderr: bytes, passed: int) -> None:
    """An engine that lets go of a stream in the middle lets tar end well: the bytes have to add up."""
    with pytest.raises(EngineError):
        verify_totals(status, stderr, passed, ARCHIVED)


def test_a_tar_that_is_too_long() -> None:
    """The helper's own exit status for it, whatever it said."""
    with pytest.raises(TooLarge):
        verify_totals(OVER_LIMIT, TOTAL, 7000, ARCHIVED)


@pytest.mark.parametrize("before", [b"", b"tar: ./socket: socket ignored\n"])
def test_the_end_of_a_whole_tar(before: bytes) -> None:
    """When tar ends with a remark after a whole archive, the archive is taken."""
    assert verify_totals(0, before + TOTAL, 7000, ARCHIVED) == 65536
    assert verify_totals(0, before + b"Total bytes read: 65536 (64KiB, 1.2MiB/s)\n", 65536, EXTRACTED) == 65536


@pytest.mark.parametrize(("stderr", "passed"), [(b"Total bytes read: 10240 (10KiB, 1MiB/s)\n", 9), (TOTAL, 7000)])
def test_not_all_of_a_tar_was_read(stderr: bytes, passed: int) -> None:
    """Another number, or what only an archive says."""
    with pytest.raises(EngineError):
        verify_totals(0, stderr, passed, EXTRACTED)
