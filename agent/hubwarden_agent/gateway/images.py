"""The images that the policy lists: looking at one, pulling one, and checking one that was pulled.

Invariants:
- A reference in a request is only compared with the policy's own spellings; the policy's text goes to the engine. Other
  images do not exist.
- A pull fetches an image that the engine does not have, and so never replaces one. One pull runs at a time: two of the
  same tag could otherwise replace each other's image after it was checked.
"""

from __future__ import annotations

import json
import posixpath
import threading
from collections.abc import Mapping
from urllib.parse import quote

from hubwarden_agent.budgets import SlidingWindow, acquire_together
from hubwarden_agent.engine.port import NotFound
from hubwarden_agent.engine.spawn_port import ContainerSpec, DiskFull, Image, PullDenied, SpawnEngine
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.gateway import refusals, responses
from hubwarden_agent.gateway.refusals import GatewayRefusal, not_listed
from hubwarden_agent.gateway.request_context import ChangeRecorder, RequestContext, Response, json_response
from hubwarden_agent.gateway.routes import ApiRequest
from hubwarden_agent.spawn_allow import listed, working_dir
from hubwarden_agent.spawn_policy import SpawnPolicy

RATE_KEY = "pull"
RETRY_SECONDS = 5.0
"""After which a client may ask again while another pull runs."""

DESCRIPTIVE_LABELS = ("org.opencontainers.image.", "org.label-schema.")
"""Beginnings of labels that only describe an image, and change with each build: no tool on a host acts on them."""


class Images:
    """Answers calls about images.

    Args:
        engine: the container engine.
        spawn: the operator's policy.
        recorder: puts what is done on the record.
        rate: pulls count like creates, but apart from them.
    """

    def __init__(self, engine: SpawnEngine, spawn: SpawnPolicy, recorder: ChangeRecorder, rate: SlidingWindow) -> None:
        self._engine = engine
        self._recorder = recorder
        self._rate = rate
        self._may_pull = frozenset(spawn.pull)
        self._inspected = {quote(image, safe="/:"): image for image in spawn.images}
        self._pulled = {as_pulled(image): image for image in spawn.images}
        self._pulling = threading.Lock()

    def inspect(self, call: ApiRequest, context: RequestContext) -> Response:
        """`GET /images/{reference}/json`, the reference spelt as docker-py quotes it."""
        image = context.object = self._inspected.get(call.reference, "")
        if not image:
            raise refusals.image_not_listed()
        found = self._engine.image(image)
        if found is None:
            raise refusals.no_such_image(image)
        return json_response(200, responses.image(found, image))

    def pull(self, call: ApiRequest, context: RequestContext) -> Response:
        """`POST /images/create`. Answers when it is done, so that a failure still has a status.

        An image that the engine has is up to date, whatever its registry has now.
        """
        image = context.object = self._pulled.get((call.query["fromImage"], call.query["tag"]), "")
        if not image:
            raise refusals.pull_denied()
        if not self._pulling.acquire(blocking=False):
            message = "hubwarden: another image is being pulled"
            raise GatewayRefusal(message, Reason.TOO_BUSY, retry_after=RETRY_SECONDS)
        try:
            new = self._engine.image(image) is None
            if new:
                self._fetch(image, context)
        finally:
            self._pulling.release()
        return Response(200, "".join(json.dumps(line) + "\r\n" for line in responses.pulled(image, new=new)))

    def _fetch(self, image: str, context: RequestContext) -> None:
        if image not in self._may_pull:
            raise refusals.pull_denied()
        acquire_together(charge := (self._rate, RATE_KEY))
        with self._recorder.change(context, charge):
            try:
                self._engine.pull_image(image)
            except NotFound as error:
                raise refusals.no_such_image(image) from error
            except PullDenied as error:
                raise RequestRefused(Reason.PULL_DENIED) from error
            except DiskFull as error:
                raise RequestRefused(Reason.DISK_FULL) from error


def check_pulled(image: Image, spec: ContainerSpec, spawn: SpawnPolicy) -> None:
    """Check what an image from a registry would bring into a container.

    Raises:
        GatewayRefusal: 400: its user, labels or volumes are not within the policy, it has a health check, or it works
            in a folder of the kernel's.
    """
    user = spec.options.get("User") or image.user or "root"
    if user not in listed(spawn.allow, "User").values():
        raise not_listed("Image", user, "allow", "has a user")
    labels = _acted_on(image.labels)
    if not labels.items() <= spawn.labels.items():
        raise not_listed("Image", labels, "labels", "has labels")
    if not set(image.volumes) <= {mount.target for mount in spec.mounts}:
        raise not_listed("Image", image.volumes, "volumes", "declares volumes at paths")
    try:
        working_dir(posixpath.normpath("/" + image.working_dir.lstrip("/")))
    except ValueError as error:
        raise refusals.field_refused("Image", f"has a working directory, which {error} (spawn.pull)") from error
    if image.healthcheck:  # Docker runs it as often as the image says, down to every millisecond
        raise refusals.field_refused("Image", "has a health check, which no pulled image may have (spawn.pull)")


def _acted_on(labels: Mapping[str, str]) -> dict[str, str]:
    return {
        key: value for key, value in labels.items() if key != "maintainer" and not key.startswith(DESCRIPTIVE_LABELS)
    }


def as_pulled(image: str) -> tuple[str, str]:
    """What DockerSpawner 14 and docker-py make of an image's reference: `fromImage` and `tag`."""
    repository, colon, tag = image.rpartition(":")
    if not colon or "/" in tag:
        return image, "latest"
    return repository.removesuffix("@sha256"), tag
