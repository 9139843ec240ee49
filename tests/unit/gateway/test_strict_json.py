"""JSON that could be read in two ways, or that could not go on to Docker, is refused."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway import strict_json
from hubwarden_agent.gateway.refusals import GatewayRefusal
from hypothesis import given
from hypothesis import strategies as st
from support.agent.gateway import result_or_refusal


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="unfinished"),
        pytest.param(b"{}{}", id="two documents"),
        pytest.param(b"{} x", id="trailing text"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
        pytest.param(b'{"a": 1, "a": 2}', id="duplicate key"),
        pytest.param(b'{"a": 1, "\\u0061": 2}', id="duplicate key, one escaped"),
        pytest.param(b'[{"b": {"a": 1, "a": 1}}]', id="duplicate key further in"),
        pytest.param(b'{"a": NaN}', id="NaN"),
        pytest.param(b'{"a": -Infinity}', id="Infinity"),
        pytest.param(b'{"a": 1.5}', id="fraction"),
        pytest.param(b'{"a": 1e3}', id="exponent"),
        pytest.param(b'{"a": 9223372036854775808}', id="65 bits"),
        pytest.param(b'{"a": ' + b"9" * 5000 + b"}", id="5000 digits"),
        pytest.param(b'{"\\u0000": 1}', id="NUL in a key"),
        pytest.param(b'{"\\ud800": 1}', id="a lone surrogate in a key"),
        pytest.param(b'"\xff"', id="not UTF-8"),
        pytest.param('{"a": 1}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'{"a": "\n"}', id="raw control character"),
        pytest.param(b"{'a': 1}", id="single quotes"),
        pytest.param(b'{"a": 1,}', id="trailing comma"),
        pytest.param(b"[" * 9 + b"]" * 9, id="nine deep"),
        pytest.param(b"[" * 100_000, id="very deep"),
        pytest.param(b"[" + b"1," * strict_json.MAX_VALUES + b"1]", id="too many items"),
        pytest.param(b"[" + b"{}," * (strict_json.MAX_VALUES // 2) + b"1]", id="too many objects"),
        pytest.param(b'{"a":' * 50_000, id="very deep objects"),
    ],
)
def test_refused(data: bytes) -> None:
    """Each is a 400, whose message holds nothing of the document."""
    with pytest.raises(GatewayRefusal) as refused:
        strict_json.loads(data)
    assert refused.value.reason is Reason.INVALID_REQUEST
    assert refused.value.message.startswith("hubwarden: the request body ")


def test_brackets_in_text_are_no_depth() -> None:
    """When brackets are within text, they do not count as depth."""
    assert strict_json.loads(b'["' + b"[{" * 100 + b'\\"["]') == ["[{" * 100 + '"[']


def test_as_many_values_as_there_may_be() -> None:
    """The bound itself is allowed, and what is in a text does not count."""
    assert len(strict_json.loads(b"[" + b"1," * (strict_json.MAX_VALUES - 1) + b"1]")) == strict_json.MAX_VALUES
    assert strict_json.loads(b'["' + b"[,{" * strict_json.MAX_VALUES + b'"]')


def test_one_document_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many threads have one: what parsing takes does not add up. A refused one gives its turn back."""
    inside, most = list[int](), list[int]()
    parse = json.loads

    def parsed(*data: Any, **how: Any) -> Any:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.001)
        inside.pop()
        return parse(*data, **how)

    monkeypatch.setattr(json, "loads", parsed)
    with ThreadPoolExecutor(8) as threads:
        ends = list(
            threads.map(lambda data: result_or_refusal(lambda: strict_json.loads(data)), [b"[1]", b"[1", b"x"] * 8)
        )
    assert ends[0] == [1]
    assert [type(end) for end in ends] == [list, GatewayRefusal, GatewayRefusal] * 8
    assert max(most) == 1


def test_eight_deep_is_fine() -> None:
    """When a document is exactly eight deep, it is accepted."""
    assert strict_json.loads(b"[" * 8 + b"]" * 8) == [[[[[[[[]]]]]]]]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), inner)
        ),
        max_leaves=10,
    )
)
def test_what_is_accepted_is_what_was_meant(document: object) -> None:
    """Any document within the bounds means what Python's own parser says it means."""
    data = json.dumps(document).encode()
    result = result_or_refusal(lambda: strict_json.loads(data))
    if isinstance(result, GatewayRefusal):
        assert "nested deeper" in result.message
    else:
        assert result == document


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_otherwise(data: bytes) -> None:
    """Whatever arrives, it is a value or a refusal."""
    result = result_or_refusal(lambda: strict_json.loads(data))
    assert not isinstance(result, GatewayRefusal) or result.reason is Reason.INVALID_REQUEST


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", [b'\\"', b'"\\', b'"', b"\\"])
def test_a_body_that_is_made_to_take_long(piece: bytes) -> None:
    """A whole body of quotes and backslashes is refused; going back over them would take minutes, and all wait."""
    with pytest.raises(GatewayRefusal):
        strict_json.loads(piece * (256 * 1024 // len(piece)))
