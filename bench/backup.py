"""What a backup costs against `tar | zstd` run on the volume's own folder; a reset without one against Docker's own.

Both sides of a ratio come from one run, in turns, on homes that are copies of each other and have just been read. The
agent's side is everything from the request to the manifest on disk: the helper's container made and removed, every
byte through Docker, hashed and flushed. `docker run` of the same tar, piped into zstd, is measured between the two: it
shows what of the difference is Docker's. Homes: an ordinary one (an environment of Python with its packages, a table,
and files that are compressed already), a small one of noise and repetitions, which zstd is through with at once, very
many files, and nearly all hole. Needs `tar`, `zstd`, `docker` and the right to write into volumes. Run:
`.venv/bin/python bench/backup.py [--rounds N]`.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from deployment import (
    LiveAgent,
    Workbench,
    base_image,
    built_agent_image,
    reset_request,
    running_agent,
    start,
    workbench,
)
from support.scenarios.large_homes import holes, many_files

DEADLINE = 590.0
MIB = 1024**2
HOME_FILES, LARGE_FILES = 2000, 4
TABLE_ROWS, TABLE_COLUMNS = 800_000, 12
ENVIRONMENT = Path(sys.prefix)
"""A real one, with some 600 MiB of packages: the one that this runs in."""
TAR = "tar --create --format=posix --acls --xattrs --sparse --numeric-owner --blocking-factor=128"


@dataclass(frozen=True)
class Place:
    """An agent that makes backups or none, a client of it, and where volumes are made."""

    agent: LiveAgent
    stub: Any
    bench: Workbench

    def home(self, fill: Callable[[Path], object] = lambda _: None) -> tuple[str, Path]:
        """A user with a home, filled. Returns the user's name and the home's folder."""
        username = self.bench.username()
        folder = Path(self.bench.volume(f"jupyterlab-{username}_home").attrs["Mountpoint"])
        fill(folder)
        return username, folder

    def reset(self, username: str) -> Any:
        """Reset it, as the Hub would ask."""
        return self.stub.ResetHomeVolume(reset_request(username), timeout=DEADLINE)

    def memory(self, key: str) -> int:
        """`VmRSS` or `VmHWM` of the agent, in bytes."""
        lines = Path(f"/proc/{self.agent.process.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def seconds(action: Callable[[], object]) -> float:
    """How long it took."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def furnish(folder: Path) -> None:
    """What people keep in a home: packages that they installed, data as text, and data that is compressed already."""
    noise = random.Random(1)  # noqa: S311 - not a secret
    shutil.copytree(ENVIRONMENT, folder / "environment", symlinks=True)
    with (folder / "table.csv").open("w", encoding="ascii") as table:
        for _ in range(TABLE_ROWS):
            table.write(",".join(f"{noise.gauss(0, 1):.6f}" for _ in range(TABLE_COLUMNS)) + "\n")
    for number in range(LARGE_FILES):
        (folder / f"picture-{number}").write_bytes(noise.randbytes(24 * MIB))


def furnish_with_noise(folder: Path) -> None:
    """A home of small and large files, half of them of noise, the others of repetitions."""
    noise = random.Random(1)  # noqa: S311 - not a secret
    words = (b"import numpy as np\n" * 60 + bytes(range(256))) * 50
    for number in range(HOME_FILES):
        path = folder / f"folder-{number % 50}" / f"file-{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(noise.randbytes(32_768) if number % 2 else words[:65_536])
    for number in range(LARGE_FILES):
        (folder / f"large-{number}").write_bytes(noise.randbytes(16 * MIB) + words * 256)


def direct(folder: Path, file: Path) -> str:
    """The shell's way on the volume's own folder."""
    return f"{TAR} --directory={folder} --file=- . | zstd -q -3 -T1 > {file}; sync {file}"


def by_docker(place: Place, username: str, image: str, file: Path) -> str:
    """The same tar in a container, by Docker's command line."""
    run = f"docker --host unix://{place.bench.socket} run --rm --network none --log-driver none"
    volume = f"--volume jupyterlab-{username}_home:/home-volume:ro"
    tar = f"--user 0 --entrypoint tar {image} {TAR.removeprefix('tar ')} --directory=/home-volume --file=- ."
    return f"{run} {volume} {tar} | zstd -q -3 -T1 > {file}; sync {file}"


def compare(place: Place, what: str, image: str, file: Path, makes: Callable[[], tuple[str, Path]], rounds: int) -> int:
    """One kind of home in the three ways, in turns. Returns what the agent took in memory beside what it had."""
    taken: dict[str, list[float]] = {"tar | zstd": [], "docker run tar | zstd": [], "backup": [], "reset": []}
    before = place.memory("VmRSS")
    Path(f"/proc/{place.agent.process.pid}/clear_refs").write_text("5", encoding="ascii")
    size = 0
    for _ in range(rounds):
        username, folder = makes()
        for name, command in (
            ("tar | zstd", direct(folder, file)),
            ("docker run tar | zstd", by_docker(place, username, image, file)),
        ):
            taken[name].append(seconds(partial(subprocess.run, ["bash", "-o", "pipefail", "-c", command], check=True)))
        begin = time.time()
        answer = place.reset(username)
        taken["reset"].append(time.time() - begin)
        # A backup's manifest is its last file; what follows is Docker's removal.
        manifest = place.agent.directory / "backups" / f"{answer.backup_id}.json"
        taken["backup"].append(manifest.stat().st_mtime - begin)
        size = answer.size_bytes
    said = ", ".join(
        f"{name} {statistics.median(times):.2f} s ({size / MIB / statistics.median(times):.0f} MiB/s)"
        for name, times in taken.items()
    )
    ratios = (
        statistics.median(one / other for one, other in zip(taken["backup"], taken[name], strict=True))
        for name in ("tar | zstd", "docker run tar | zstd")
    )
    print(f"{what}, a tar of {size / MIB:.0f} MiB: {said}")
    print("  the backup takes {:.2f} times the first and {:.2f} times the second".format(*ratios))
    return place.memory("VmHWM") - before


def measure_backups(place: Place, directory: Path, image: str, rounds: int) -> None:
    """An ordinary home, one of noise, very many files, and a very large hole."""
    copies = []
    for name, fill in (("ordinary", furnish), ("noise", furnish_with_noise)):
        template = directory / name
        template.mkdir()
        fill(template)
        copies.append(partial(shutil.copytree, template, symlinks=True, dirs_exist_ok=True))
    added = [
        compare(place, *what, rounds=rounds)
        for what in (
            ("an ordinary home", image, directory / "direct", partial(place.home, copies[0])),
            ("noise and repetitions", image, directory / "direct", partial(place.home, copies[1])),
            ("200,000 files", image, directory / "direct", partial(place.home, many_files)),
            ("10 GiB, nearly all holes", image, directory / "direct", partial(place.home, holes)),
        )
    ]
    print(f"resident memory added by backups: {max(added) / MIB:.1f} MiB at its highest")


def measure_removal(place: Place, rounds: int) -> None:
    """A reset without a backup, and Docker's own removal of such a volume, in turns."""
    direct, ours = list[float](), list[float]()
    for _ in range(rounds):
        plain, _ = place.home()
        username, _ = place.home()
        volume = f"jupyterlab-{plain}_home"
        direct.append(seconds(partial(place.bench.client.api.remove_volume, volume)))
        ours.append(seconds(partial(place.reset, username)))
    added = statistics.median(one - other for one, other in zip(ours, direct, strict=True))
    print(
        f"without a backup: docker volume rm {statistics.median(direct) * 1000:.1f} ms, reset "
        f"{statistics.median(ours) * 1000:.1f} ms, {added * 1000:.1f} ms more (medians of {rounds} pairs)"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--removals", type=int, default=40)
    options = parser.parse_args()
    socket = start()
    busybox = base_image("busybox", socket)
    with built_agent_image(socket) as built, workbench(socket, busybox) as bench, tempfile.TemporaryDirectory() as name:
        directory, image = Path(name), built.identifier
        for required in (True, False):
            state = directory / f"agent-{required}"
            backups = state / "backups"
            backups.mkdir(parents=True)
            backups.chmod(0o700)
            policy = f'[reset]\nbackup = "required"\nbackup_dir = "{backups}"\nhelper_image = "{image}"\n'
            with running_agent(state, socket, extra=policy if required else "") as agent:
                place = Place(agent, agent.stub(), bench)
                if required:
                    measure_backups(place, directory, image, options.rounds)
                else:
                    measure_removal(place, options.removals)
    print(f"load average at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
