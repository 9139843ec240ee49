"""Puts together everything that the agent's image holds, from the stage of Dockerfile.agent that built it.

What holds here: the interpreter, its library, what was installed in VENV, GNU tar, and the shared libraries that those
name; every file is where it was, so it does not matter whether Python is Debian's or the official image's own. Which
packages the files are of is noted where scanners look in an image without a package manager.
Never: a shell, pip, a compiler, or a file that only a person at a terminal would use.
"""

from __future__ import annotations

import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

VENV = Path("/opt/hubwarden")
PROGRAMS = ("tar",)
"""What the agent runs in a container of its own image: a home is kept and brought back by tar."""
USER = 65532
ACCOUNTS = {"root": 0, "hubwarden": USER}

NOT_SERVING = (
    # For people and for building.
    *("__pycache__", "_pyrepl", "config-*", "doctest.py", "ensurepip", "idlelib", "lib2to3", "pdb.py", "pydoc.py"),
    *("pydoc_data", "site-packages", "test", "tests", "tkinter", "turtle.py", "turtledemo", "unittest", "venv"),
    # What nothing here imports, and most of which needs a shared library of its own.
    *("curses", "dbm", "sqlite3", "xmlrpc"),
    *("_curses*.so", "_dbm*.so", "_gdbm*.so", "_sqlite3*.so", "_test*.so", "_tkinter*.so", "readline*.so", "xx*.so"),
)
"""Patterns of names in the standard library that stay behind."""
NOT_SERVING_EITHER = (
    *("__pycache__", "*.pyi", "*.pyx", "*-stubs", "testdata", "tests"),
    # zstandard's other form, for interpreters that are not this one.
    *("backend_cffi.py", "_cffi.*.so"),
)
"""The same in VENV."""


def main(root: Path) -> None:
    """Fill the directory `root`."""
    for name in ("bin", "lib", "lib64", "sbin"):
        if (link := Path("/", name)).is_symlink():
            (root / "usr" / name).mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(link.readlink())
    interpreter = Path(sys.executable).resolve()
    programs = [interpreter, *(Path(str(shutil.which(name))).resolve() for name in PROGRAMS)]
    for program in programs:
        copy(program, root)
    Path(under(root, interpreter)).with_name("python3").symlink_to(interpreter.name)
    library = Path(sysconfig.get_path("stdlib"))
    left_out = shutil.ignore_patterns(*NOT_SERVING)
    shutil.copytree(library, under(root, library), ignore=left_out, ignore_dangling_symlinks=True)
    left_out = shutil.ignore_patterns(*NOT_SERVING_EITHER)
    shutil.copytree(VENV, under(root, VENV), symlinks=True, ignore=left_out)
    for script in under(root, VENV / "bin").iterdir():
        if script.name != "hubwarden-agent" and not script.is_symlink():
            script.unlink()
    extensions = [Path("/", file.relative_to(root)) for file in root.rglob("*.so*") if file.is_file()]
    libraries = shared_libraries([*programs, *extensions])
    for file in libraries:
        copy(file, root)
    for extension in extensions:  # wheels come with what a debugger wants, up to ten times their size
        subprocess.run(["strip", "--strip-unneeded", under(root, extension)], check=True)  # noqa: S603, S607 - a program of this stage
    ldconfig(root)
    # No time stamps in it: whatever becomes of the files' own, the code is compiled once and for all.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(
        root, maxlevels=20, quiet=1, stripdir=str(root), prependdir="/", invalidation_mode=mode
    ):
        raise SystemExit("agent_root: something cannot be compiled")
    make_accounts(root)
    note_packages(root, [*programs, *libraries])


def under(root: Path, path: Path) -> Path:
    """Where a path of this stage is in the image."""
    return root / path.relative_to("/")


def copy(file: Path, root: Path) -> None:
    """Copy one file, or what a symbolic link leads to, to the same path."""
    target = under(root, file)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(file, target)


def shared_libraries(files: Iterable[Path]) -> list[Path]:
    """Every library that the files name, and those name, and the program that loads them.

    Raises:
        SystemExit: one is not here.
    """
    found: set[Path] = set()
    for file in files:
        listed = subprocess.run(["ldd", file], capture_output=True, text=True, check=False).stdout  # noqa: S603, S607 - a program of this stage
        if "not found" in listed:
            raise SystemExit(f"agent_root: {file} needs a library that is not here:\n{listed}")
        found.update(Path(path) for path in re.findall(r"^\t(?:\S+ => )?(/\S+) \(0x", listed, re.MULTILINE))
    return sorted(path for path in found if not path.is_relative_to(VENV))


def ldconfig(root: Path) -> None:
    """Have the loader find libraries where this stage has it look, /usr/local/lib for one."""
    copy(Path("/etc/ld.so.conf"), root)
    shutil.copytree("/etc/ld.so.conf.d", root / "etc/ld.so.conf.d")
    subprocess.run(["ldconfig", "-r", root], check=True)  # noqa: S603, S607 - as above


def make_accounts(root: Path) -> None:
    """Who there is, and the directories that are theirs."""
    users = [f"{name}:x:{number}:{number}:{name}:/nonexistent:/nonexistent\n" for name, number in ACCOUNTS.items()]
    groups = [f"{name}:x:{number}:\n" for name, number in ACCOUNTS.items()]
    (root / "etc/passwd").write_text("".join(users), encoding="ascii")
    (root / "etc/group").write_text("".join(groups), encoding="ascii")
    for directory, mode, owner in (
        ("tmp", 0o1777, 0),
        ("run/hubwarden", 0o750, USER),
        ("var/lib/hubwarden", 0o700, USER),
        ("var/lib/hubwarden-backups", 0o700, USER),
    ):
        path = root / directory
        path.mkdir(parents=True)
        os.chown(path, owner, owner)
        path.chmod(mode)
    (root / "var/run").symlink_to("../run")


def note_packages(root: Path, files: Iterable[Path]) -> None:
    """Describe each Debian package that a file is of, in the place that scanners of such images know."""
    command = ["dpkg-query", "--search", *sorted({str(file.resolve()) for file in files})]
    owned = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 - as above
    notes = root / "var/lib/dpkg/status.d"
    notes.mkdir(parents=True)
    for package in {line.partition(": ")[0] for line in owned.splitlines()}:
        status = subprocess.run(["dpkg-query", "--status", package], capture_output=True, text=True, check=True)  # noqa: S603, S607 - as above
        (notes / package.partition(":")[0]).write_text(status.stdout, encoding="utf-8")
        terms = Path("/usr/share/doc", package.partition(":")[0], "copyright")
        if terms.exists():
            copy(terms, root)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
