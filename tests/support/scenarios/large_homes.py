"""Homes that are large, each in its own way: very many files, or a very large file that is nearly all hole."""

from __future__ import annotations

import os
from pathlib import Path


def many_files(folder: Path, files: int = 200_000) -> None:
    """Put so many small files into a folder, a thousand to a folder of its own."""
    for number in range(files):
        if number % 1000 == 0:
            inner = folder / str(number)
            inner.mkdir()
        with open(f"{inner}/{number}", "wb", buffering=0) as file:  # noqa: PTH123 - a Path for each takes as long again
            file.write(b"%d" % number)


def holes(folder: Path, size: int = 10 * 2**30) -> None:
    """Put one file into a folder, which has 100 blocks of noise and else nothing."""
    with (folder / "sparse").open("wb") as file:
        file.truncate(size)
        for at in range(0, size, size // 100):
            file.seek(at)
            file.write(os.urandom(4096))
