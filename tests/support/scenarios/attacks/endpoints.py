"""All that Docker's API has and DockerSpawner has no use for. Each twin is a call that exists, in the same style."""

from __future__ import annotations

from support.scenarios.attacks.case import JSON, TWIN, Case, Ours, Request, Says

VERSION = "/v1.44"
OWN = "/containers/@own_id@"
VICTIM = "/containers/@victim_id@"
EXISTS = Says(200)
SHARED = Ours("would end or change what all cases share")
TWINS = {
    "GET": (Request("GET", "/v1.44/containers/@own_id@/json"), 200),
    "HEAD": (Request("GET", "/v1.44/containers/@own_id@/json"), 200),
    "POST": (Request("POST", "/v1.44/containers/@own_id@/start"), 204),
    "DELETE": (Request("DELETE", "/v1.44/containers/@own_id@?v=True"), 204),
    "PUT": (Request("POST", "/v1.44/containers/@own_id@/start"), 204),
}


def _call(method: str, path: str, gain: str, control: Says | Ours = EXISTS, body: bytes = b"") -> Case:
    # A create would find the name of one's own container taken.
    twin, status = (TWIN, 201) if body and b"@own" not in path.encode() + body else TWINS[method]
    attack = Request(method, VERSION + path, body, JSON if body else {})
    # HEAD has no body to name anything in.
    names = "" if method == "HEAD" else "endpoint"
    return Case(f"{method} {path}"[:90], gain, attack, twin, control, 403, names, status)


INSIDE = "a shell in a container"
OUTPUT = "what another's server prints, secrets included"
FILES = "files of a container, in or out"
CLUSTER = "the engine as part of a cluster"
WORLD = "what else runs on the host"
SOURCE = "a program of the attacker's as an image"

CASES: tuple[Case, ...] = (
    _call("POST", "/exec/0000/start", INSIDE, Says(404), b'{"Detach":true}'),
    _call("GET", "/exec/0000/json", INSIDE, Says(404)),
    _call("POST", "/exec/0000/resize?h=1&w=1", INSIDE, Says(404)),
    _call("POST", f"{VICTIM}/attach?stdout=1&logs=1", OUTPUT),
    _call("GET", f"{VICTIM}/attach/ws?stdout=1", OUTPUT, Says(400)),
    _call("GET", f"{VICTIM}/logs?stdout=1", OUTPUT),
    _call("GET", f"{OWN}/logs?stdout=1&follow=1", OUTPUT),
    _call("GET", f"{VICTIM}/top", "another's processes and their arguments"),
    _call("GET", f"{VICTIM}/stats?stream=0&one-shot=1", WORLD),
    _call("GET", f"{VICTIM}/changes", FILES),
    _call("GET", f"{VICTIM}/export", FILES),
    _call("GET", f"{VICTIM}/archive?path=/etc", FILES),
    _call("HEAD", f"{VICTIM}/archive?path=/etc", FILES),
    _call("PUT", f"{VICTIM}/archive?path=/nowhere", FILES, Says(404)),
    _call("PUT", f"{OWN}/archive?path=/nowhere", FILES, Says(404)),
    _call("POST", f"{VICTIM}/restart", "another's work", SHARED),
    _call("POST", f"{VICTIM}/kill?signal=0", "another's work", SHARED),
    _call("POST", f"{VICTIM}/pause", "another's work", SHARED),
    _call("POST", f"{VICTIM}/unpause", "another's work", Says(500)),
    _call("POST", f"{VICTIM}/wait?condition=bogus", "a thread of the engine's", Says(400)),
    _call("POST", f"{VICTIM}/resize?h=1&w=1", "another's terminal", Ours("depends on what the container runs")),
    _call("POST", f"{VICTIM}/rename?name=x", "another's name", SHARED),
    _call("GET", "/containers/json", WORLD),
    _call("GET", "/containers/json?all=1", WORLD),
    _call("POST", "/containers/prune?until=bogus", "everybody's stopped containers", SHARED),
    _call("POST", "/commit?container=none", "an image of a container's files", Says(404)),
    _call("POST", "/build?remote=none", SOURCE, Ours("reads a context that no case has")),
    _call("POST", "/build/prune", "everybody's cache", SHARED),
    _call("POST", "/session", "a way into the builder", Says(400)),
    _call("POST", "/grpc", "a way into the builder", Says(500)),
    _call("POST", "/images/load", SOURCE, SHARED),
    _call("POST", "/images/none/tag?repo=x", "a listed name for another image", Says(404)),
    _call("POST", "/images/none/push?tag=x", "an image, carried out", Says(400)),
    _call("DELETE", "/images/none-such", "an image that others need", Says(404)),
    _call("GET", "/images/json", WORLD),
    _call("GET", "/images/@image@/history", WORLD),
    _call("GET", "/images/@image@/get", "an image's files"),
    _call("GET", "/images/get?names=@image@", "an image's files"),
    _call("GET", "/images/search?term=", "the engine as a client of any address", Ours("needs the network")),
    _call("POST", "/images/prune", "images that others need", SHARED),
    _call("GET", "/distribution/none/json", "the engine as a client of any address", Ours("needs the network")),
    _call("POST", "/auth", "the engine as a client of any address", Ours("needs the network"), b'{"username":"x"}'),
    _call("GET", "/volumes", WORLD),
    _call("GET", "/volumes/@foreign@", WORLD),
    _call("DELETE", "/volumes/@foreign@", "another's files, gone", Says(409)),
    _call("DELETE", "/volumes/@foreign@?force=1", "another's files, gone", Says(409)),
    _call("PUT", "/volumes/@foreign@", "a cluster's volume", Ours("only clusters have it")),
    _call("POST", "/volumes/prune", "everybody's files, gone", SHARED),
    _call("GET", "/networks", WORLD),
    _call("GET", "/networks/bridge", WORLD),
    _call("POST", "/networks/create", "a network of the attacker's", Says(400), b'{"Name":""}'),
    _call("POST", "/networks/no-such/connect", "other people's networks", Says(404), b'{"Container":"no-such"}'),
    _call("POST", "/networks/no-such/disconnect", "other people's networks", Says(404), b'{"Container":"@victim@"}'),
    _call("DELETE", "/networks/no-such", "other people's networks", Says(404)),
    _call("POST", "/networks/prune", "other people's networks", SHARED),
    _call("GET", "/plugins", WORLD),
    _call("GET", "/plugins/privileges?remote=none", "what a plugin asks for", Ours("needs the network")),
    _call("POST", "/plugins/none/enable?timeout=0", "a program with the host's rights", Says(404)),
    _call("DELETE", "/plugins/none", "what others rely on", Says(404)),
    _call("GET", "/swarm", CLUSTER, Says(503)),
    _call("POST", "/swarm/init", CLUSTER, SHARED, b'{"ListenAddr":"127.0.0.1"}'),
    _call("POST", "/swarm/join", CLUSTER, SHARED, b'{"RemoteAddrs":["127.0.0.1:1"]}'),
    _call("POST", "/swarm/leave", CLUSTER, Says(503)),
    _call("GET", "/nodes", CLUSTER, Says(503)),
    _call("GET", "/services", CLUSTER, Says(503)),
    _call("POST", "/services/create", CLUSTER, Says(503), b'{"Name":"x"}'),
    _call("GET", "/tasks", CLUSTER, Says(503)),
    _call("GET", "/secrets", "every secret's name", Says(503)),
    _call("POST", "/secrets/create", CLUSTER, Says(503), b'{"Name":"x"}'),
    _call("GET", "/configs", "every configuration's text", Says(503)),
    _call("GET", "/info", WORLD),
    _call("GET", "/events?since=0&until=1", WORLD),
    _call("GET", "/system/df", WORLD),
    Case("debug", "the engine's memory", Request("GET", "/debug/vars"), TWINS["GET"][0],
         Ours("only with the engine's debug switch"), 403, "endpoint", 200),
    Case("metrics", WORLD, Request("GET", "/metrics"), TWINS["GET"][0], Ours("on another port"), 403, "endpoint", 200),
    Case("an image that is not listed", "what images there are", Request("GET", "/v1.44/images/busybox/json"),
         Request("GET", "/v1.44/images/@image@/json"), Says(404), 403, "spawn.images", 200),
    Case("pull what is not listed", SOURCE, Request("POST", "/v1.44/images/create?fromImage=attacker/x&tag=1"),
         Request("GET", "/v1.44/images/@image@/json"), Ours("needs a registry"), 403, "spawn.pull", 200),
    Case("import", SOURCE, Request("POST", "/v1.44/images/create?fromSrc=-&repo=x"),
         Request("GET", "/v1.44/images/@image@/json"), SHARED, 400, "parameter", 200),
)  # fmt: skip
