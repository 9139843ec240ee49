"""Attacks by effect: a gateway, the real engine behind it, a user for each case, and others who must not notice.

Invariants: a case holds only if all of it does. The engine itself does what the attack asks for, so the attack is one;
through the gateway it is refused as the case says; the engine shows the very same before and after; the twin goes
through. One snapshot before and one after stand for all attacks of a run; if they differ, the run is repeated by halves
until the attacks that changed something are known.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from support.agent.gateway import HOME, WORKSPACE, GatewayStage, Reply
from support.scenarios.attacks.case import TWIN, Case, Ours, Request, Says, Shows, replaced
from support.scenarios.attacks.judge import AttackError, judge_attack, judge_twin, needs_own_container

DEADLINE = 20.0
VOLUMES = (HOME, WORKSPACE, "jupyterlab-{username}_cache")
REFILL_SECONDS = 60.0
"""After this long every rate of the gateway's policy has room again."""


@dataclass
class AttackHarness:
    """Where attacks run.

    Args:
        stage: a gateway in front of the engine.
        socket: the engine's own.
        tokens: what the cases' tokens stand for; each case gets a user of its own on top.
    """

    stage: GatewayStage
    socket: str
    tokens: Mapping[str, str]
    _users: list[str] = field(default_factory=list)

    async def run(self, *cases: Case) -> None:
        """Control, attack, effect and twin of each case.

        Raises:
            AttackError: something does not hold; all that was found is in the text.
        """
        problems = list[str]()
        arranged = list[tuple[Case, Mapping[str, str]]]()
        for case in cases:
            with _collected(problems):
                tokens = await self._arrange(case)
                await self._prove(case, tokens)
                await self._clear_volumes(case, tokens)
                arranged.append((case, tokens))
        before = await self._settled()
        for case, tokens in arranged:
            with _collected(problems):
                judge_attack(case, await self._through(case.attack, tokens))
        if (after := await self._snapshot()) != before:
            culprits = await self._changing([case for case, _ in arranged])
            problems += [f"{case.name}: refused, and yet the engine is not what it was" for case in culprits]
            changed = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
            problems += [] if culprits else [f"the engine changed during the attacks, by none of them alone: {changed}"]
        for case, tokens in arranged:
            self.stage.clock.advance(REFILL_SECONDS)
            with _collected(problems):
                judge_twin(case, await self._through(case.twin, tokens))
            await self._remove(f"jupyterlab-{tokens['user']}")
        if problems:
            raise AttackError("\n".join(problems))

    async def clean(self) -> None:
        """Remove what the users of all cases have."""
        for user in self._users:
            await self._remove(f"jupyterlab-{user}")
            for template in VOLUMES:
                await self.ask("DELETE", f"/volumes/{template.format(username=user)}")

    async def _arrange(self, case: Case) -> Mapping[str, str]:
        """A user with what the case says was there before; the tokens that stand for it."""
        user = f"user{uuid.uuid4().hex[:10]}"
        self._users.append(user)
        self.stage.clock.advance(REFILL_SECONDS)
        tokens = {**self.tokens, "user": user, "own": f"jupyterlab-{user}", "own_id": ""}
        await self._clear_volumes(case, tokens)
        if needs_own_container(case):
            reply = await self._through(TWIN, tokens)
            if reply.status != 201:
                raise AttackError(f"{case.name}: there is no container of one's own: {reply.text}")
            tokens["own_id"] = reply.json["Id"]
        return tokens

    async def _clear_volumes(self, case: Case, tokens: Mapping[str, str]) -> None:
        """The user has no volumes but what the case says was there before."""
        for template in (HOME, WORKSPACE):
            await self.ask("DELETE", f"/volumes/{template.format(username=tokens['user'])}")
        if case.prepare:
            status, document = await self.engine(case.prepare.encoded(tokens))
            if status != 201:
                raise AttackError(f"{case.name}: nothing to attack: {status} {document}")

    async def _prove(self, case: Case, tokens: Mapping[str, str]) -> None:
        """Straight to the engine, the attack is what it says it is."""
        if isinstance(case.control, Ours):
            return
        status, document = await self.engine(case.attack.encoded(tokens))
        if isinstance(case.control, Says):
            if status != case.control.status:
                raise AttackError(f"{case.name}: the engine itself says {status} {document}, not {case.control.status}")
        elif status != 201:
            raise AttackError(f"{case.name}: the engine itself does not do it: {status} {document}")
        if isinstance(document, dict) and "Id" in document and status == 201:
            identifier = document["Id"]
            if isinstance(case.control, Shows):
                _, shown = await self.ask("GET", f"/containers/{identifier}/json")
                _hold(case.name, shown, case.control, tokens)
            await self._remove(identifier)

    async def _changing(self, cases: Sequence[Case]) -> list[Case]:
        """The cases whose attack changes the engine, found by halves, with new users each time."""
        arranged = [(case, await self._arrange(case)) for case in cases]
        before = await self._settled()
        for case, tokens in arranged:
            await self._through(case.attack, tokens)
        if await self._snapshot() == before:
            return []
        if len(cases) == 1:
            return list(cases)
        half = len(cases) // 2
        return [*await self._changing(cases[:half]), *await self._changing(cases[half:])]

    async def _through(self, request: Request, tokens: Mapping[str, str]) -> Reply:
        async with asyncio.timeout(DEADLINE):
            return await self.stage.raw(request.encoded(tokens))

    async def ask(self, method: str, path: str) -> tuple[int, Any]:
        """Ask the engine something behind the gateway's back."""
        return await self.engine(Request(method, f"/v1.44{path}").encoded({}))

    async def engine(self, data: bytes) -> tuple[int, Any]:
        """Send bytes to the engine itself; the status, and the JSON that came with it if it was some."""
        reader, writer = await asyncio.open_unix_connection(self.socket)
        try:
            writer.write(data)
            async with asyncio.timeout(DEADLINE):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                status = int(head.split()[1])
                if "application/json" not in head:
                    return status, None
                return status, json.loads(await _content(reader, head.lower()) or b"null")
        finally:
            writer.close()

    async def _remove(self, reference: str) -> None:
        await self.ask("DELETE", f"/containers/{reference}?force=1&v=1")

    async def _settled(self) -> dict[str, Any]:
        """A snapshot that is the same twice: Docker's list shows a change a moment late."""
        async with asyncio.timeout(DEADLINE):
            last = await self._snapshot()
            while (shown := await self._snapshot()) != last:
                last = shown
            return last

    async def _snapshot(self) -> dict[str, Any]:
        """Everything that the engine has, as far as an attack could change it."""
        victim = f"/containers/{self.tokens['victim_id']}"
        paths = (
            "/containers/json?all=1",
            "/volumes",
            "/images/json",
            "/networks",
            f"{victim}/json",
            f"{victim}/changes",
        )
        answers = await asyncio.gather(*(self.ask("GET", path) for path in (*paths, "/swarm")))
        containers, volumes, images, networks, shown, changed, swarm = (document for _, document in answers)
        listed = sorted((one["Id"], *one["Names"], one["State"]) for one in containers)
        return {
            "containers": listed,
            "volumes": sorted(json.dumps(one, sort_keys=True) for one in volumes["Volumes"] or ()),
            "images": sorted((one["Id"], *one["RepoTags"]) for one in images),
            "networks": sorted(one["Id"] for one in networks),
            "victim": [shown[key] for key in ("State", "HostConfig", "Config", "ExecIDs", "Mounts", "RestartCount")],
            "victim's files": changed,
            "swarm": swarm,
        }


@contextmanager
def _collected(problems: list[str]) -> Iterator[None]:
    """Note what does not hold, and go on with the next case."""
    try:
        yield
    except AttackError as error:
        problems.append(str(error))


def _hold(name: str, shown: Any, control: Shows, tokens: Mapping[str, str]) -> None:
    """The engine shows at the path what the case says."""
    found, expected = shown, json.loads(replaced(json.dumps(control.value).encode(), tokens))
    for key in control.path.split("."):
        found = found[int(key)] if isinstance(found, list) else found.get(key)
    if found != expected:
        raise AttackError(f"{name}: the engine itself shows {control.path} as {found!r}, not {expected!r}")


async def _content(reader: asyncio.StreamReader, head: str) -> bytes:
    if "transfer-encoding: chunked" not in head:
        length = head.partition("content-length: ")[2].partition("\r\n")[0]
        return await reader.readexactly(int(length or 0))
    content = b""
    while size := int(await reader.readline(), 16):
        content += await reader.readexactly(size)
        await reader.readline()
    return content
