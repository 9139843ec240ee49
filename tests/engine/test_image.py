"""The agent's image: exactly the locked packages, unchanged, and everything that the agent needs to run."""

from __future__ import annotations

import io
import json
import re
import tarfile
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.docker.images import Image
from support.docker.private_engine import ROOT

PYTHON = "/opt/hubwarden/bin/python"
RECORDS = """
import base64, csv, hashlib, importlib.metadata, json, pathlib, sys
packages, changed, recorded = {}, [], set()
for package in importlib.metadata.distributions():
    packages[package.name] = package.version
    for name, expected, _size in csv.reader(package.read_text("RECORD").splitlines()):
        path = pathlib.Path(package.locate_file(name)).resolve()
        recorded.add(path)
        digest = hashlib.sha256(path.read_bytes()).digest() if path.exists() else b""
        found = "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if not path.exists() or expected not in ("", found):
            changed.append(str(path))
files = {path for path in pathlib.Path(sys.prefix, "lib").resolve().rglob("*") if path.is_file()}
print(json.dumps({"packages": packages, "changed": changed, "unknown": sorted(map(str, files - recorded))}))
"""
MODULES = """
import importlib, os, pkgutil, sys, hubwarden_agent as agent
names = [one.name for one in pkgutil.walk_packages(agent.__path__, "hubwarden_agent.")]
for name in names:
    if not name.endswith("certs"):  # needs cryptography, which is not in the image
        importlib.import_module(name)
cached = [getattr(module, "__cached__", None) for module in list(sys.modules.values())]
assert [path for path in cached if path and not os.path.exists(path)] == [], "not compiled"
print(len(names))
"""
WRITABLE = """
import json, os
made = [os.path.join(folder, name) for folder, folders, files in os.walk("/opt/hubwarden") for name in folders + files]
writable = [path for path in made if not os.path.islink(path) and os.access(path, os.W_OK)]
print(json.dumps({"user": os.getuid(), "groups": [os.getgid(), *os.getgroups()], "writable": writable}))
"""


def ask(image: Image, script: str, **options: Any) -> Any:
    """The JSON that a Python script prints in the image, run as compose.yml runs the agent."""
    return json.loads(image.run("-c", script, entrypoint=PYTHON, **options))


@pytest.fixture(scope="module")
def records(agent_image: Image) -> Any:
    """What the packages' RECORD files say about the virtual environment."""
    return ask(agent_image, RECORDS)


def locked_packages() -> dict[str, str]:
    """Name and version of every package in the lock that Linux and Python 3.13 need."""
    environment = {"python_version": "3.13", "python_full_version": "3.13.0", "sys_platform": "linux"}
    text = (ROOT / "agent" / "requirements.lock").read_text(encoding="utf-8")
    pins = [Requirement(line) for line in re.findall(r"^(\w[^\\\n]*)", text, re.MULTILINE)]
    needed = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(environment)]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in needed}


def test_every_file_is_as_its_record_says(records: Any) -> None:
    """When a scanner compares the installed files with their RECORD, none is changed, missing or unknown."""
    assert records["changed"] == []
    assert records["unknown"] == []


def test_it_contains_the_locked_packages_and_no_other(records: Any) -> None:
    """When a scanner lists the packages, it finds the lock's versions and ours: no pip, no setuptools, no Hub."""
    found = {canonicalize_name(name): version for name, version in records["packages"].items()}
    assert found == locked_packages() | {"hubwarden-agent": "0.1.0", "hubwarden-proto": "0.1.0"}


def test_its_user_can_write_none_of_its_code(agent_image: Image) -> None:
    """When the image runs on a writable root, its user is 65532 and can change nothing of what was installed."""
    assert ask(agent_image, WRITABLE, read_only=False) == {"user": 65532, "groups": [65532, 65532], "writable": []}


def test_its_labels_name_what_it_is(agent_image: Image, records: Any) -> None:
    """When a registry shows the image, its OCI labels name the version and the base."""
    labels = agent_image.client.images.get(agent_image.tag).labels
    assert labels["org.opencontainers.image.version"] == records["packages"]["hubwarden-agent"]
    assert labels["org.opencontainers.image.base.name"].partition(":")[0].endswith("python")


def test_every_module_is_compiled_and_can_be_imported(agent_image: Image) -> None:
    """When any part of the agent starts, the modules it imports are there, and no standard module is compiled again."""
    assert int(agent_image.run("-c", MODULES, entrypoint=PYTHON)) > 30


def test_tar_keeps_what_a_home_has(agent_image: Image) -> None:
    """When a backup asks for extended attributes, access lists and holes, the image's tar supports them."""
    options = ("--xattrs", "--acls", "--sparse", "--create", "--file=-", "/etc/passwd")
    archive = agent_image.run(*options, entrypoint="/usr/bin/tar")
    with tarfile.open(fileobj=io.BytesIO(archive)) as content:
        assert content.getnames() == ["etc/passwd"]
