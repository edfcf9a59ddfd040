"""Results: JSON by the return annotation, or a sentence that says what could not be sent."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core import declared as d
from tests.unit.core.ends import equal, signature
from tests.unit.core.test_signature import anything, points

from surefoot.core.codec import RESULT_LIMIT


@given(anything)
def test_without_an_annotation_a_result_is_plain_json(value: Any) -> None:
    ends = signature(d.loose)
    assert equal(value, ends.decode_result(ends.encode_result(value)))


@given(points)
def test_a_dataclass_comes_back_as_one(value: d.Point) -> None:
    ends = signature(d.point)
    assert ends.decode_result(ends.encode_result(value)) == value


def test_a_result_comes_back_by_its_annotation() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    ends = signature(d.moments)
    assert ends.decode_result(ends.encode_result(at)) == at
    ends = signature(d.containers)
    assert ends.decode_result(ends.encode_result((1, "a"))) == (1, "a")
    assert signature(d.resize).decode_result(signature(d.resize).encode_result(None)) is None


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (d.Decimal128(), "a Decimal128 that cannot travel as JSON"),
        ([{"a": object()}], "a list that cannot travel as JSON"),
        (math.nan, "a number that JSON does not have (NaN or infinity)"),
        ({"a": [None, -math.inf]}, "a number that JSON does not have (NaN or infinity)"),
        ("\ud800", "text with half of a surrogate pair"),
        ("x" * (RESULT_LIMIT + 1), "1,048,579 bytes of JSON, and the limit is 1,048,576"),
        ([10**5_000], "a list that cannot travel as JSON"),
        (iter([1]), "a list_iterator that cannot travel as JSON"),
    ],
)
def test_D5_a_result_that_cannot_travel_says_what_it_was(value: Any, what: str) -> None:
    ends = signature(d.report)
    raw = ends.encode_result(value)
    sentence = f"report() returned {what}; the job is completed without its result."
    assert msgspec.json.decode(raw) == {"surefoot:unsendable": sentence}
    with pytest.raises(ValueError) as told:
        ends.decode_result(raw)
    assert str(told.value) == sentence


def test_D5_a_result_nested_in_itself_or_too_deep_says_so() -> None:
    loop: list[Any] = []
    loop.append(loop)
    deep: list[Any] = []
    for _ in range(250):
        deep = [deep]
    ends = signature(d.report)
    for value in (loop, deep):
        assert b"nested" in ends.encode_result(value)


class Cruel:
    """Its class tells lies, and its own code raises."""

    def __getattr__(self, name: str) -> Any:
        raise KeyboardInterrupt

    def __repr__(self) -> str:
        raise SystemExit


@pytest.mark.parametrize("function", [d.report, d.resize, d.moments, d.rates])
def test_D5_encoding_a_result_never_raises(function: Callable[..., Any]) -> None:
    ends = signature(function)
    for value in (Cruel(), [Cruel()], Cruel, ValueError("x"), print, {None: 1}, d.Blind(math.nan)):
        assert ends.encode_result(value).startswith(b'{"surefoot:unsendable":')
    assert ends.encode_result({1: {2: {3}}}) == b'{"1":{"2":[3]}}'


def test_a_result_that_does_not_fit_its_annotation_is_a_sentence() -> None:
    ends = signature(d.point)
    with pytest.raises(ValueError) as told:
        ends.decode_result(b'{"x":"1"}')
    assert str(told.value).startswith("the result of point() is not a Point, as annotated: ")


@given(st.binary(max_size=60))
def test_random_bytes_as_a_result_raise_value_error_at_most(raw: bytes) -> None:
    try:
        signature(d.point).decode_result(raw)
    except ValueError:
        return
    assert isinstance(msgspec.json.decode(raw, type=d.Point), d.Point)


def test_a_null_in_a_result_is_no_missing_number() -> None:
    assert signature(d.report).encode_result({"a": None, "b": [1.5]}) == b'{"a":null,"b":[1.5]}'
