"""Ways to the host's files: mounts in every spelling, other people's volumes, volumes that are not what they seem."""

from __future__ import annotations

from typing import Any

from support.scenarios.attacks.case import Case, Says, Shows, body, create, host, top

HOME = "jupyterlab-@user@_home"
FILES = "the host's files"
OTHERS = "another user's files"
ESCAPE = "a mount that a link or the kernel leads elsewhere"
DAEMON = "the engine's socket, and so the host"


def _bind(spelling: str, gain: str = FILES, control: Shows | Says | None = None, **other: Any) -> Case:
    return host("Binds", [spelling], gain, control, twin=[f"{HOME}:/home/jovyan:rw"], **other)


def _mount(gain: str, control: Shows | Says | None = None, **fields: Any) -> Case:
    sound = {"Type": "volume", "Source": HOME, "Target": "/home/jovyan"}
    attacked = sound | fields
    return host(
        "Mounts",
        [attacked],
        gain,
        control or Shows(f"HostConfig.Mounts.0.{next(iter(fields))}", next(iter(fields.values()))),
        name=f"Mounts {fields}",
        twin=[sound],
        base={"Binds": []},
    )


CASES: tuple[Case, ...] = (
    _bind("/:/host"),
    _bind("/etc:/host:ro"),
    _bind("/../etc:/host"),
    _bind("//etc:/host"),
    _bind("/./:/host"),
    _bind("/var/run/docker.sock:/var/run/docker.sock", DAEMON),
    _bind("/run:/host:rw,rslave"),
    _bind("/:/host:rshared"),
    _bind("/:/host:rslave"),
    _bind("/proc/1/root:/host", "the files of the host's first process"),
    _bind("/dev:/host", "the host's devices"),
    _bind("/sys:/host", "the kernel's settings"),
    _bind("@folder@:/home/jovyan"),
    _bind("@foreign@:/data", OTHERS),
    _bind("jupyterlab-victim_home:/home/jovyan", OTHERS, name="Binds another user's home"),
    _bind("JUPYTERLAB-@user@_home:/home/jovyan", "a volume whose name is spelt otherwise", name="Binds other case"),
    _bind("a-volume-nobody-listed:/x", "volumes without number"),
    _bind("/anonymous-volume", "volumes without a name, and so without number"),
    _bind(f"{HOME}:/home/jovyan:Z", "a relabelled volume"),
    _bind(f"{HOME}:/home/jovyan:nocopy", "a mode that nobody listed"),
    _bind(f"{HOME}:/home/../proc", ESCAPE, name="Binds target with .."),
    _bind(f"{HOME}:/proc", ESCAPE, Shows("HostConfig.Binds.0", f"{HOME}:/proc"), name="Binds over /proc"),
    _bind(f"{HOME}:/sys/fs/cgroup", ESCAPE, name="Binds over the control groups"),
    _bind(f"{HOME}:/dev/shm", ESCAPE, name="Binds over /dev/shm"),
    _bind(f"{HOME}:/", ESCAPE, Says(500), name="Binds over the root"),
    _bind(f"{HOME}:/home/jovyan/a/dev", ESCAPE, name="Binds below a folder of the user"),
    _bind("jupyterlab-@user@_workspace:/home/jovyan", ESCAPE, name="Binds at another volume's target"),
    host(
        "Binds",
        [f"{HOME}:/run", "jupyterlab-@user@_workspace:/var/run/x"],
        ESCAPE,
        twin=[f"{HOME}:/home/jovyan", "jupyterlab-@user@_workspace:/workspace"],
        name="Binds that meet through a link of the image",
    ),
    host(
        "Binds",
        [f"{HOME}:/home/jovyan", "jupyterlab-@user@_workspace:/home/jovyan/link/etc"],
        "a volume at any path, through a link in the other",
        twin=[f"{HOME}:/home/jovyan", "jupyterlab-@user@_workspace:/workspace"],
        name="Binds one inside another",
    ),
    _mount(FILES, Type="bind", Source="/"),
    _mount(FILES, Type="bind", Source="/etc", ReadOnly=True),
    _mount(DAEMON, Type="bind", Source="/run", Target="/s"),
    _mount(FILES, Type="bind", Source="/", BindOptions={"Propagation": "rslave"}),
    _mount(FILES, Type="bind", Source="@folder@", BindOptions={"NonRecursive": True}),
    _mount("pipes of the host", Says(400), Type="npipe", Source="//./pipe/docker_engine"),
    _mount("volumes of a cluster", Says(400), Type="cluster"),
    _mount(OTHERS, Source="@foreign@"),
    _mount("a volume without a name", Says(201), Source=""),
    _mount(
        FILES,
        Shows("HostConfig.Mounts.0.VolumeOptions.DriverConfig.Options.o", "bind"),
        VolumeOptions={
            "DriverConfig": {"Name": "local", "Options": {"type": "none", "o": "bind", "device": "/"}},
        },
    ),
    _mount(
        "files of another machine",
        Shows("HostConfig.Mounts.0.VolumeOptions.DriverConfig.Options.type", "nfs"),
        VolumeOptions={
            "DriverConfig": {
                "Name": "local",
                "Options": {"type": "nfs", "o": "addr=127.0.0.1", "device": ":/"},
            },
        },
    ),
    _mount("labels other tools act on", VolumeOptions={"Labels": {"backup": "no"}}),
    _mount("another part of a volume", VolumeOptions={"NoCopy": True}),
    _mount(ESCAPE, Target="/proc/sys"),
    _mount(ESCAPE, Says(400), Target="/"),
    _mount(ESCAPE, Target="/workspace/../../proc"),
    _mount("a mount that is put right later", Says(400), Target="relative"),
    _mount("memory without bound", Says(400), Type="tmpfs"),
    host("VolumesFrom", ["@victim@"], OTHERS),
    host("VolumesFrom", ["@victim_id@:ro"], OTHERS, Shows("HostConfig.VolumesFrom", ["@victim_id@:ro"])),
    host("VolumeDriver", "local", "a driver that makes a volume something else", name="VolumeDriver"),
    host("Tmpfs", {"/run": "size=100g,exec,dev,suid"}, "memory without bound, with devices"),
    top("Volumes", {"/anonymous": {}}, "volumes without a name, and so without number"),
    Case(
        "volumes/create with options",
        "a volume that is the host's root",
        create(
            b'{"Name":"jupyterlab-@user@_home","DriverOpts":{"type":"none","o":"bind","device":"/"}}',
            "/v1.44/volumes/create",
        ),
        create(body()),
        Says(201),
        403,
        "endpoint",
    ),
    *(
        Case(
            f"a home that somebody made a {options['type']} mount beforehand",
            FILES,
            create(body()),
            create(body(host={"Binds": ["jupyterlab-@user@_workspace:/workspace"]})),
            Says(201),
            400,
            "HostConfig.Binds",
            prepare=create({"Name": HOME, "DriverOpts": options}, "/v1.44/volumes/create"),
        )
        for options in (
            {"type": "none", "o": "bind", "device": "@folder@"},
            {"type": "nfs", "o": "addr=127.0.0.1", "device": ":/"},
            {"type": "tmpfs", "o": "size=1g", "device": "tmpfs"},
            {"type": "overlay", "o": "lowerdir=/etc", "device": "overlay"},
        )
    ),
)
