"""What a client may not ask of the two methods: refused as a whole, before anything else looks at it."""

from __future__ import annotations

import logging
import uuid

import grpc
import pytest
from support.agent.client import refusal_of, restart_request
from support.agent.core import CONTAINER
from support.agent.in_process import Served


class TestRequestsThatAreNotValid:
    """INVALID_REQUEST before anything else looks at them."""

    @pytest.mark.parametrize(
        "fields",
        [
            {"username": ""},
            {"username": "a\x00"},
            {"username": "a/b"},
            {"username": " a"},
            {"username": "a" * 256},
            {"username": "木" * 100},
            {"actor": ""},
            {"actor": "alice"},
            {"actor": "user:a\nb"},
            {"request_id": ""},
            {"request_id": "not-an-id"},
            {"request_id": str(uuid.uuid1())},
            {"request_id": str(uuid.uuid4()).upper()},
        ],
    )
    async def test_in_both_methods(self, served: Served, fields: dict[str, str]) -> None:
        """The text is not repeated, Docker is not asked, nothing is written."""
        served.stage.engine.available = False
        values = {"username": "alice"} | fields
        for refusal in (await refusal_of(served.restart(**values)), await refusal_of(served.reset(**values))):
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
            assert all(len(text) < 3 or text not in refusal.message for text in fields.values())
        assert served.stage.audit.lines == []

    @pytest.mark.parametrize("server_name", ["a/b", "a\x07", "a" * 256])
    async def test_a_servers_name(self, served: Served, server_name: str) -> None:
        """When a server name is malformed, the request is INVALID_REQUEST."""
        assert (await refusal_of(served.restart(server_name=server_name))).reason == "INVALID_REQUEST"

    @pytest.mark.parametrize("seconds", [-1, -0.001, 60.001, 61, 1e8])
    async def test_a_stop_timeout_out_of_bounds(self, served: Served, seconds: float) -> None:
        """Negative (Docker would wait for ever) or above the policy's maximum."""
        served.stage.engine.add_container(CONTAINER)
        assert (await refusal_of(served.restart(stop_timeout=seconds))).reason == "INVALID_REQUEST"
        assert served.stage.touched == []

    @pytest.mark.parametrize("deadline", [None, 601, 1e8])
    async def test_a_deadline_that_is_missing_or_too_long(self, served: Served, deadline: float | None) -> None:
        """When the deadline is missing or too long, `validate_only` is INVALID_REQUEST, too."""
        served.stage.engine.add_container(CONTAINER)
        for validate_only in (False, True):
            request = restart_request(validate_only=validate_only)
            refusal = await refusal_of(served.stub.RestartContainer(request, timeout=deadline))
            assert refusal.reason == "INVALID_REQUEST"
            assert "deadline" in refusal.message
        assert served.stage.touched == []

    async def test_validate_only_needs_no_id(self, served: Served) -> None:
        """And ignores the one it gets: the same may act afterwards."""
        served.stage.engine.add_container(CONTAINER)
        await served.restart(validate_only=True, request_id="")
        identifier = str(uuid.uuid4())
        await served.restart(validate_only=True, request_id=identifier)
        await served.restart("alice", request_id=identifier)
        assert len(served.stage.touched) == 1

    async def test_odd_ids_are_not_logged(self, served: Served, caplog: pytest.LogCaptureFixture) -> None:
        """A request id that is not one is anybody's text."""
        caplog.set_level(logging.INFO)
        refusal = await refusal_of(served.restart(request_id="x" * 5000))
        assert "xxxx" not in caplog.text + refusal.everything
