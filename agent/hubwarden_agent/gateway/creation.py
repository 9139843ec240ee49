"""Creating a container: understood, allowed, checked against the engine, counted, recorded, and only then created.

What holds here: that order. What the engine is given is the plan's `ContainerSpec` and nothing else.
"""

from __future__ import annotations

from hubwarden_agent import ownership
from hubwarden_agent.budgets import Window
from hubwarden_agent.config import SpawnPolicy
from hubwarden_agent.engine.port import Conflict, ContainerSpec, Engine, NotFound
from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway import create_body, policy, refusals, strict_json
from hubwarden_agent.gateway.deeds import Answer, Deed, Recorder, json_answer
from hubwarden_agent.gateway.room import Room
from hubwarden_agent.gateway.routes import Call
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.names import ContainerId, ContainerName, Names, VolumeName

RATE_KEY = "create"


class Creation:
    """Answers `POST /containers/create`.

    Args:
        engine: the container engine.
        names: shared with the RPCs.
        spawn: the operator's policy.
        locks: the users' locks, shared with the RPCs.
        recorder: puts what is done on the record.
        rate: `spawn.max_creates`.
    """

    def __init__(
        self, engine: Engine, names: Names, spawn: SpawnPolicy, locks: UserLocks, recorder: Recorder, rate: Window
    ) -> None:
        self._engine = engine
        self._names = names
        self._spawn = spawn
        self._locks = locks
        self._recorder = recorder
        self._rate = rate
        self._room = Room(self._count, spawn.max_containers)

    async def create(self, call: Call, deed: Deed, body: bytes) -> Answer:
        """Create what the body asks for, if the policy allows it."""
        name = ContainerName.parse(call.query["name"])
        plan = policy.plan(create_body.decode(strict_json.loads(body)), name, self._spawn, self._names)
        deed.concerns(plan.username, plan.server_name, name.value)
        with self._locks.hold(plan.username):
            # Before the engine is asked anything: also a create that is refused then costs it something.
            self._rate.spend(RATE_KEY)
            await self._check(plan.spec)
            async with self._room.for_one_more(), self._recorder.acting(deed):
                identifier = await self._created(plan.spec)
        return json_answer(201, {"Id": identifier.value, "Warnings": []})

    async def _count(self) -> int:
        return len(await self._engine.containers_labelled({ownership.AGENT_LABEL: self._names.scheme}))

    async def _check(self, spec: ContainerSpec) -> None:
        """What the policy cannot know: the image is there, the name is free, and the volumes are what they seem.

        Raises:
            GatewayRefusal: 404 for the image, 409 for the name, 400 for a volume that leads elsewhere.
        """
        if await self._engine.image(spec.image) is None:
            raise refusals.no_such_image(spec.image)
        if await self._engine.container(spec.name) is not None:
            raise refusals.name_in_use(spec.name.value)
        for name in {mount.volume for mount in spec.mounts}:
            volume = await self._engine.volume(VolumeName(name))
            if volume is not None and not ownership.is_local(volume):
                message = "hubwarden: HostConfig.Binds or Mounts names a volume that is not a plain local one"
                raise refusals.GatewayRefusal(message, Reason.VOLUME_NOT_LOCAL)

    async def _created(self, spec: ContainerSpec) -> ContainerId:
        try:
            return await self._engine.create_container(spec)
        except Conflict as error:
            raise refusals.name_in_use(spec.name.value) from error
        except NotFound as error:
            message = "hubwarden: the image or the network is not there"
            raise refusals.GatewayRefusal(message, status=refusals.NOT_FOUND) from error
