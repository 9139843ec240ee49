"""The images that the policy lists: looking at one, and pulling one.

What holds here: a reference in a request is only ever compared with the policy's own spellings, and it is the policy's
text that goes to the engine. All other images do not exist.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from hubwarden_agent.budgets import Window
from hubwarden_agent.engine.port import BlockingEngine, NotFound
from hubwarden_agent.gateway import refusals, views
from hubwarden_agent.gateway.deeds import Answer, Deed, Recorder, json_answer
from hubwarden_agent.gateway.routes import Call

RATE_KEY = "pull"


class Images:
    """Answers calls about images.

    Args:
        engine: the container engine.
        allowed: `spawn.images`.
        recorder: puts what is done on the record.
        rate: pulls count like creates, but apart from them.
    """

    def __init__(self, engine: BlockingEngine, allowed: tuple[str, ...], recorder: Recorder, rate: Window) -> None:
        self._engine = engine
        self._recorder = recorder
        self._rate = rate
        self._inspected = {quote(image, safe="/:"): image for image in allowed}
        self._pulled = {as_pulled(image): image for image in allowed}

    def inspect(self, call: Call, deed: Deed) -> Answer:
        """`GET /images/{reference}/json`, the reference spelt as docker-py quotes it."""
        image = deed.object = self._inspected.get(call.reference, "")
        if not image:
            raise refusals.image_not_listed()
        found = self._engine.image(image)
        if found is None:
            raise refusals.no_such_image(image)
        return json_answer(200, views.image(found, image))

    def pull(self, call: Call, deed: Deed) -> Answer:
        """`POST /images/create`. Answers when it is done, so that a failure still has a status."""
        image = deed.object = self._pulled.get((call.query["fromImage"], call.query["tag"]), "")
        if not image:
            raise refusals.image_not_listed()
        self._rate.spend(RATE_KEY)
        with self._recorder.acting(deed):
            try:
                self._engine.pull_image(image)
            except NotFound as error:
                raise refusals.no_such_image(image) from error
        return Answer(200, "".join(json.dumps(line) + "\r\n" for line in views.pulled(image)))


def as_pulled(image: str) -> tuple[str, str]:
    """What DockerSpawner 14 and docker-py make of an image's reference: `fromImage` and `tag`."""
    repository, colon, tag = image.rpartition(":")
    if not colon or "/" in tag:
        return image, "latest"
    return repository.removesuffix("@sha256"), tag
