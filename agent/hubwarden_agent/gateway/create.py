"""Creating a container: understood, allowed, its volumes looked at, counted, recorded, and only then created.

Invariants: that order. What the engine is given is the plan's `ContainerSpec` and nothing else. That an image is
there and a name is free is the engine's to know: it is asked why only once it has refused.
"""

from __future__ import annotations

from hubwarden_agent.budgets import SlidingWindow, acquire_together
from hubwarden_agent.engine.port import Conflict, NotFound
from hubwarden_agent.engine.spawn_port import ContainerSpec, SpawnEngine
from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway import create_body, images, policy, refusals, strict_json, volume_checks
from hubwarden_agent.gateway.adoption import ContainerOwners
from hubwarden_agent.gateway.quota import Quota
from hubwarden_agent.gateway.request_context import ChangeRecorder, RequestContext, Response, json_response
from hubwarden_agent.gateway.routes import ApiRequest
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.names import ContainerId, ContainerName, Names
from hubwarden_agent.spawn_policy import SpawnPolicy

RATE_KEY = "create"


class CreateHandler:
    """Answers `POST /containers/create`.

    Args:
        engine: the container engine.
        owners: counts the containers that there are.
        names: shared with the RPCs.
        spawn: the operator's policy.
        locks: the users' locks, shared with the RPCs.
        recorder: puts what is done on the record.
        rate: `spawn.max_creates`.
    """

    def __init__(
        self,
        engine: SpawnEngine,
        owners: ContainerOwners,
        names: Names,
        spawn: SpawnPolicy,
        locks: UserLocks,
        recorder: ChangeRecorder,
        rate: SlidingWindow,
    ) -> None:
        self._engine = engine
        self._names = names
        self._spawn = spawn
        self._locks = locks
        self._recorder = recorder
        self._rate = rate
        self._room = Quota(owners.count, spawn.max_containers, "max_containers")
        self._volume_room = Quota(self._count_volumes, spawn.max_volumes, "max_volumes")

    def create(self, call: ApiRequest, context: RequestContext, body: bytes) -> Response:
        """Create what the body asks for, if the policy allows it."""
        name = ContainerName.parse(call.query["name"])
        plan = policy.plan(create_body.decode(strict_json.loads(body)), name, self._spawn, self._names)
        context.set_target(plan.username, plan.server_name, name.value)
        with self._locks.hold(plan.username):
            # Before the engine is asked anything: also a create that is refused then costs it something.
            acquire_together(charge := (self._rate, RATE_KEY))
            self._check_image(plan.spec)
            new_volumes = volume_checks.check_plain(self._engine, plan.spec.mounts)
            with self._room.reserve(), self._volume_room.reserve(new_volumes), self._recorder.change(context, charge):
                identifier = self._created(plan.spec)
        return json_response(201, {"Id": identifier.value, "Warnings": []})

    def _check_image(self, spec: ContainerSpec) -> None:
        """Check an image that a registry decides about; the others are the operator's."""
        if spec.image not in self._spawn.pull:
            return
        image = self._engine.image(spec.image)
        if image is None:
            raise refusals.no_such_image(spec.image)
        images.check_pulled(image, spec, self._spawn)

    def _count_volumes(self) -> int:
        """A volume that the policy can name counts, also if an operator made it by hand."""
        patterns = [self._names.volume_pattern(template) for template in self._spawn.volumes]
        names = self._engine.volume_names()
        return sum(any(pattern.fullmatch(name) for pattern in patterns) for name in names)

    def _created(self, spec: ContainerSpec) -> ContainerId:
        try:
            return self._engine.create_container(spec)
        except Conflict as error:
            raise refusals.name_in_use(spec.name.value) from error
        except NotFound as error:
            if self._engine.image(spec.image) is None:
                raise refusals.no_such_image(spec.image) from error
            raise refusals.GatewayRefusal("hubwarden: the image or network is not there", Reason.NOT_FOUND) from error
