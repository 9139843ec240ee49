"""Being somebody else, or somewhere else: images, names, labels, and other people's containers."""

from __future__ import annotations

from typing import Any

from support.scenarios.attacks.case import BODY, CREATE, JSON, TWIN, Case, Ours, Request, Says, Shows, body, create, top

FORGED = "another user's server, by our own labels"
STEERED = "another tool on the host, which acts on labels"
ANOTHERS = "another's container"
OWN = "/v1.44/containers/@own@"
NOT_FOUND = "No such container: "


def _label(key: str, value: str, gain: str = STEERED) -> Case:
    return top(
        "Labels", {key: value}, gain, Shows(f"Config.Labels.{key}", value) if "." not in key else Says(201),
        name=f"label {key}={value}", twin={"team": "physics"},
    )  # fmt: skip


def _image(reference: str, control: Shows | Says | None = None) -> Case:
    return top(
        "Image", reference, "a program of the attacker's", control or Shows("Config.Image", reference), twin="@image@"
    )


def _name(
    name: str, gain: str = "a container that is nobody's, or another's", control: Any = None, names: str = "name"
) -> Case:
    target = f"/v1.44/containers/create?name={name}"
    return Case(f"name {name}", gain, create(target=target), TWIN, control or Says(201), 400, names)


def _env(name: str, lines: list[str], gain: str, names: str, control: Any = None) -> Case:
    return Case(f"Env {name}", gain, create(body(Env=lines)), TWIN, control or Says(201), 400, names)


def _reference(method: str, suffix: str, reference: str, control: Any, query: str = "") -> Case:
    """A call for another's container beside the same call for one's own."""
    status = {"GET": 200, "POST": 204, "DELETE": 204}[method]
    return Case(
        f"{method} {reference}{suffix}",
        ANOTHERS,
        Request(method, f"/v1.44/containers/{reference}{suffix}{query}"),
        Request(method, f"{OWN}{suffix}{query}"),
        control,
        404,
        NOT_FOUND,
        status,
    )


SPOILS = Ours("would change the others that all cases share; the inspect beside it proves the reference")
GONE = Ours("would take away what the attack is on; test_numbers shows which volumes are meant")

CASES: tuple[Case, ...] = (
    _image("@victim_image_id@"),
    _image("hubwarden-standin/python:3.13-trixie"),
    _image("hubwarden-standin/busybox", Says(404)),
    _image("@image@@sha256:0000000000000000000000000000000000000000000000000000000000000000", Says(404)),
    _image("docker.io/@image@", Shows("Config.Image", "docker.io/@image@")),
    _image("@image@ ", Says(400)),
    _image("", Says(201)),
    _label("hubwarden.owner", "victim", FORGED),
    _label("hubwarden.server", "", FORGED),
    _label("hubwarden.agent", "jupyterlab-{username}", FORGED),
    _label("Hubwarden.owner", "victim", FORGED),
    _label("hubwarden.", "x", FORGED),
    _label("traefik.enable", "true"),
    _label("com.centurylinklabs.watchtower.enable", "true"),
    _label("ofelia.enabled", "true"),
    _label("com.docker.compose.project", "hubwarden-demo"),
    _label("team", "chemistry"),
    _label("Team", "physics"),
    _name("hub"),
    _name("jupyterlab-victim"),
    _name("jupyterlab-@user@--x"),
    _name("jupyterlab-@user@x"),
    _name("@user@"),
    _name("jupyterlab-@user@&name=hub", names="parameter"),
    _name("%2Fjupyterlab-@user@"),
    Case("no name", "a container that is nobody's", create(target=CREATE.partition("?")[0]), TWIN, Says(201), 400,
         "name"),
    Case("platform", "another machine's image", create(target=f"{CREATE}&platform=linux/amd64"), TWIN, Says(201),
         400, "parameter"),
    _env("another user", ["JUPYTERHUB_USER=victim", "JUPYTERHUB_SERVER_NAME="], "another user's volumes", "name"),
    _env("another server", ["JUPYTERHUB_USER=@user@", "JUPYTERHUB_SERVER_NAME=x"], "another's name", "name"),
    _env("nobody", ["A=b"], "a container without an owner", "Env"),
    _env("two users", ["JUPYTERHUB_USER=victim", *BODY["Env"]], "two readings of one body", "Env"),
    _env("user unset", ["JUPYTERHUB_USER", "JUPYTERHUB_SERVER_NAME="], "a container without an owner", "Env"),
    _env("a path for a user", ["JUPYTERHUB_USER=../@user@", "JUPYTERHUB_SERVER_NAME="], "a name with a path", "name"),
    _env("a line in a name", ["JUPYTERHUB_USER=@user@\nx", "JUPYTERHUB_SERVER_NAME="], "a line in a log", "Env"),
    _env("no name", ["=x", *BODY["Env"]], "a variable that is read two ways", "Env", Says(400)),
    _reference("GET", "/json", "@victim@", Says(200)),
    _reference("GET", "/json", "@victim_id@", Says(200)),
    _reference("GET", "/json", "hubwarden-attacke", Says(404)),
    _reference("POST", "/start", "@victim@", Says(304)),
    _reference("POST", "/start", "@victim_id@", Says(304)),
    _reference("POST", "/stop", "@victim@", SPOILS),
    _reference("POST", "/stop", "@victim_id@", SPOILS),
    _reference("DELETE", "", "@victim@", Says(409), "?v=True"),
    _reference("DELETE", "", "@victim_id@", Says(409), "?v=True&link=False&force=False"),
    Case("remove with force", "a running container, gone", Request("DELETE", f"{OWN}?v=True&force=True"),
         Request("DELETE", f"{OWN}?v=True&force=False"), SPOILS, 400, "force", 204),
    Case("remove a link", "another's link", Request("DELETE", f"{OWN}?v=True&link=True"),
         Request("DELETE", f"{OWN}?v=True&link=False"), Says(500), 400, "link", 204),
    *(Case(f"remove{query}", "volumes without a name, which nothing counts", Request("DELETE", f"{OWN}{query}"),
           Request("DELETE", f"{OWN}?v=True"), GONE, 400, "parameter v", 204) for query in ("", "?v=False", "?v=0")),
    Case("rename", "another's name", Request("POST", f"{OWN}/rename?name=hub-@user@"), Request("POST", f"{OWN}/start"),
         SPOILS, 403, "endpoint", 204),
    Case("update", "no limits, after the fact",
         Request("POST", f"{OWN}/update", b'{"Memory":0,"PidsLimit":-1,"RestartPolicy":{"Name":"always"}}', JSON),
         Request("POST", f"{OWN}/start"), Says(200), 403, "endpoint", 204),
)  # fmt: skip
