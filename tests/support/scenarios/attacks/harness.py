"""The field that an attack is run on: a gateway, the real engine behind it, a user, and others who must not notice.

What holds here: a case passes only if all of it holds. The engine itself does what the attack asks for, so the attack
is one; through the gateway it is refused with the status and the field that the case names, in Docker's shape; the
engine shows the very same before and after; and the twin goes through. Anything else is an `AttackError`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from support.agent.gateway import HOME, WORKSPACE, GatewayStage, Reply
from support.scenarios.attacks.case import TWIN, Case, Ours, Request, Says, Shows, replaced

DEADLINE = 20.0


class AttackError(AssertionError):
    """A case does not hold; what exactly is in the text."""


@dataclass
class Field:
    """Where one case runs.

    Args:
        stage: a gateway in front of the engine.
        socket: the engine's own.
        tokens: what the cases' tokens stand for.
    """

    stage: GatewayStage
    socket: str
    tokens: Mapping[str, str]
    _own: str = field(default="", init=False)

    async def run(self, case: Case) -> None:
        """Control, attack, effect and twin of one case.

        Raises:
            AttackError: something of it does not hold.
        """
        if case.prepare:
            await self._prepare(case)
        await self._prove(case)
        await self._prepare(case)
        own = await self._own_container(case)
        before = await self._snapshot()
        reply = await self._through(case.attack, own)
        self._judge(case, reply)
        if await self._snapshot() != before:
            raise AttackError(f"{case.name}: refused, and yet the engine is not what it was")
        twin = await self._through(case.twin, own)
        if twin.status != case.twin_status:
            raise AttackError(f"{case.name}: the twin got {twin.status} {twin.text!r}, not {case.twin_status}")
        await self._remove(f"jupyterlab-{self.tokens['user']}")

    async def _prepare(self, case: Case) -> None:
        """The user has no volumes but what the case says was there before."""
        for template in (HOME, WORKSPACE):
            await self.ask("DELETE", f"/volumes/{template.format(username=self.tokens['user'])}")
        if case.prepare:
            status, document = await self.engine(case.prepare.encoded(self.tokens))
            if status != 201:
                raise AttackError(f"{case.name}: nothing to attack: {status} {document}")

    def _judge(self, case: Case, reply: Reply) -> None:
        """The answer is the refusal that the case names."""
        if reply.status != case.status:
            raise AttackError(f"{case.name}: got {reply.status} {reply.text!r}, not {case.status}")
        if case.attack.method == "HEAD" and not case.names:  # whose answers have no text
            return
        if not reply.headers["content-type"].startswith("application/json") or set(reply.json) != {"message"}:
            raise AttackError(f"{case.name}: the answer is not shaped as Docker's: {reply.text!r}")
        if case.names not in reply.message:
            raise AttackError(f"{case.name}: {reply.message!r} does not name {case.names!r}")

    async def _prove(self, case: Case) -> None:
        """Straight to the engine, the attack is what it says it is."""
        if isinstance(case.control, Ours):
            return
        own = await self._own_container(case)
        status, document = await self.engine(case.attack.encoded({**self.tokens, "own_id": own}))
        if isinstance(case.control, Says):
            if status != case.control.status:
                raise AttackError(f"{case.name}: the engine itself says {status} {document}, not {case.control.status}")
        elif status != 201:
            raise AttackError(f"{case.name}: the engine itself does not do it: {status} {document}")
        if isinstance(document, dict) and "Id" in document and status == 201:
            identifier = document["Id"]
            if isinstance(case.control, Shows):
                _, shown = await self.ask("GET", f"/containers/{identifier}/json")
                _hold(case.name, shown, case.control, self.tokens)
            await self._remove(identifier)

    async def _own_container(self, case: Case) -> str:
        """The id of a container that the user has through the gateway, if the case is about one."""
        mentioned = b"@own" in case.attack.encoded({}) + case.twin.encoded({})
        if mentioned and not self._own:
            reply = await self._through(TWIN, "")
            if reply.status != 201:
                raise AttackError(f"{case.name}: there is no container of one's own: {reply.text}")
            self._own = reply.json["Id"]
        return self._own

    async def _through(self, request: Request, own: str) -> Reply:
        async with asyncio.timeout(DEADLINE):
            return await self.stage.raw(request.encoded({**self.tokens, "own_id": own}))

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
        if reference == f"jupyterlab-{self.tokens['user']}":
            self._own = ""

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
