"""Arguments through both ends: what was given arrives equal, or it is refused at enqueue with a kind sentence."""

from __future__ import annotations

import collections
import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core import declared as d
from tests.unit.core.ends import equal, refusal, signature, through, unreadable

numbers = st.integers(-(2**70), 2**70)
floats = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
aware = st.datetimes(
    datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC) | st.just(timezone(timedelta(hours=5.5)))
)
points = st.builds(d.Point, numbers, floats)
decimals = st.decimals(allow_nan=False, allow_infinity=False)
trees = st.recursive(
    st.builds(d.Tree, numbers), lambda inner: st.builds(d.Tree, numbers, st.lists(inner, max_size=3)), max_leaves=6
)
scalars = st.none() | st.booleans() | numbers | floats | words
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=12
)
rows = st.fixed_dictionaries({"name": words, "price": floats})
spans = st.timedeltas(timedelta(days=-999_999), timedelta(days=999_999))


# What travels.


def test_only_what_the_caller_gave_travels_and_defaults_are_the_worker_s() -> None:
    ends = signature(d.resize)
    assert ends.bind(("a.png",), {}) == b'{"path":"a.png"}'
    assert ends.bind((), {"width": 5, "path": "a.png"}) == b'{"path":"a.png","width":5}'
    newer: Callable[..., Any] = lambda path, width=1_000: (path, width)  # noqa: E731
    assert ends.call(newer, ends.load(b'{"path":"a.png"}')) == ("a.png", 1_000)
    assert signature(d.welcome).bind(("a",), {"language": "fr"}) == b'{"address":"a","language":"fr"}'


@given(
    st.tuples(
        numbers, floats, st.booleans(), words, st.binary(max_size=9), aware, st.dates(), st.times(), spans, st.uuids()
    )
)
def test_every_plain_type_comes_back(values: Any) -> None:
    assert equal(list(values), list(through(d.everything, *values)))


@given(
    st.tuples(
        decimals,
        st.sampled_from(d.Colour),
        st.sampled_from(d.Level),
        points,
        st.builds(d.Pair, words, numbers),
        rows,
        st.builds(d.Size, numbers, st.lists(words, max_size=3)),
        st.builds(d.Account, numbers, words),
        trees,
        st.sampled_from(["x", 1]),
    )
)
def test_every_composed_type_comes_back(values: Any) -> None:
    *by_position, by_name = values
    assert equal(list(values), list(through(d.containers, *by_position, j=by_name)))


@given(
    st.tuples(
        st.lists(points, max_size=3),
        st.dictionaries(words, st.lists(numbers, max_size=3), max_size=3),
        st.tuples(numbers, words),
        st.sets(words, max_size=3),
        st.frozensets(numbers, max_size=3),
        st.none() | st.dictionaries(numbers, st.sampled_from(d.Colour), max_size=3),
        st.lists(anything, max_size=3),
        st.none() | numbers,
        anything,
    )
)
def test_containers_of_them_come_back(values: Any) -> None:
    by_name = dict(zip("fghi", values[5:], strict=True))
    assert equal(list(values), list(through(d.nested, *values[:5], **by_name)))


@given(numbers, st.lists(floats, max_size=3), st.booleans(), st.dictionaries(words, points, max_size=3))
def test_position_only_and_gathering_parameters_come_back(
    first: int, rest: list[float], flag: bool, named: Any
) -> None:
    arrived = through(d.spread, first, "x", *rest, flag=flag, **{f"k{key}": value for key, value in named.items()})
    assert equal(arrived, (first, "x", tuple(rest), flag, {f"k{key}": value for key, value in named.items()}))


def test_gathering_parameters_travel_under_their_own_names() -> None:
    ends = signature(d.spread)
    assert json.loads(ends.bind((1, "x", 2.0, 3), {"flag": True, "home": d.Point(1)})) == {
        "first": 1,
        "second": "x",
        "rest": [2.0, 3],
        "flag": True,
        "named": {"home": {"x": 1, "y": 0.0}},
    }
    assert ends.bind((1,), {}) == b'{"first":1}'
    assert through(d.spread, 1) == (1, "s", (), False, {})
    assert through(d.spread, 1, delay=d.Point(2)) == (1, "s", (), False, {"delay": d.Point(2)})


def test_a_payload_of_another_producer_may_leave_out_what_has_a_default() -> None:
    ends = signature(d.spread)
    assert ends.call(d.spread, ends.load(b'{"first":1,"rest":[2]}')) == (1, "s", (2.0,), False, {})
    ends = signature(d.middle)
    assert ends.call(d.middle, ends.load(b'{"b":7,"rest":[8]}')) == (1, 7, 8)


# D8: numbers, lists, nesting, surrogates and NaN, under Any and without an annotation.


@pytest.mark.parametrize("function", [d.report, d.loose])
@given(value=anything)
def test_D8_any_json_comes_back_equal_and_of_the_same_kind(function: Callable[..., Any], value: Any) -> None:
    ends = signature(function)
    arrived = ends.load(ends.bind((value,), {}))
    assert equal(value, arrived.rows)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "value",
    [
        2**63 - 1,
        2**63,
        -(2**63),
        2**64,
        2**70,
        -(2**200),
        10**300,
        0.1,
        -0.0,
        1e308,
        5e-324,
        1.0,
        True,
        0,
        [],
        {},
        [[]],
        {"": {}},
        "\u2028\x00é😀",
    ],
)
def test_D8_numbers_and_empty_things_keep_their_value_and_kind(value: Any) -> None:
    ends = signature(d.report)
    arrived: Any = ends.load(ends.bind((value,), {"note": [value]}))
    assert equal([value, [value]], [arrived.rows, arrived.note])
    assert math.copysign(1, arrived.rows) == math.copysign(1, value) if isinstance(value, float) else True


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_D8_nan_and_infinity_are_refused_wherever_they_hide(value: float) -> None:
    tail = "JSON has no NaN and no infinity; send None or a str."
    assert refusal(d.report, value) == f"report() got {value} for 'rows': {tail}"
    assert refusal(d.loose, [{"a": (value)}]) == f"loose() got {value} inside 'rows[0].a': {tail}"
    assert refusal(d.rates, [{}], value) == f"rates() got {value} for 'limit': {tail}"
    assert refusal(d.rates, [{"x": value}]) == f"rates() got {value} inside 'rows[0].x': {tail}"
    assert refusal(d.blind, d.Blind(value)) == f"blind() got {value} inside 'record.ratio': {tail}"
    assert "JSON has no NaN" in refusal(d.blind, d.Blind(None, d.Point(1, value)))
    assert "JSON has no NaN" in refusal(d.spread, 1, "s", value)


def test_D8_half_a_surrogate_pair_is_refused() -> None:
    tail = "half of a surrogate pair cannot travel; send whole characters."
    assert refusal(d.welcome, "a\ud800") == f"welcome() got 'a\\ud800' for 'address': {tail}"
    assert refusal(d.report, {"k": ["\udc00"]}) == f"report() got '\\udc00' inside 'rows.k[0]': {tail}"
    assert refusal(d.report, {"\udc00": 1}) == f"report() got '\\udc00' for 'rows': {tail}"


def nest(depth: int, make: Callable[[Any], Any], inner: Any = None) -> Any:
    for _ in range(depth):
        inner = make(inner)
    return inner


@pytest.mark.parametrize(
    "make", [lambda inner: [inner], lambda inner: {"a": inner}, lambda inner: [{"[": inner}, "]}"]]
)
def test_D8_deep_nesting_arrives_or_is_refused(make: Callable[[Any], Any]) -> None:
    ends = signature(d.report)
    for depth in (50, 90, 98, 99):
        value = nest(depth, make)
        assert ends.load(ends.bind((value,), {})).rows == value  # type: ignore[attr-defined]
    for depth in (200, 500, 5_000):
        assert "nested" in refusal(d.report, nest(depth, make))
    assert "nested" in unreadable(d.report, b'{"rows":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


@pytest.mark.parametrize("bottom", [object(), float("nan")], ids=["unknown", "nan"])
def test_D8_what_cannot_travel_far_down_is_refused(bottom: object) -> None:
    assert "nested too deep" in refusal(d.report, nest(3_000, lambda inner: [inner], bottom))


def test_D8_many_brackets_are_not_deep() -> None:
    wide = [{"a": [number]} for number in range(1_000)] + ["[" * 500, '\\"[[[']
    ends = signature(d.report)
    assert ends.load(ends.bind((wide,), {})).rows == wide  # type: ignore[attr-defined]


def test_D8_a_list_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert "nested too deep, or in itself" in refusal(d.report, loop)


def test_D8_more_digits_than_python_writes_are_refused() -> None:
    assert refusal(d.report, [10**5_000]) == (
        "report() got a number inside 'rows[0]' that has more digits than can travel; send a str."
    )


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ((1, 2), "got a tuple for 'rows', which would come out as a list; send a list, or give it a type."),
        ([1, (2,)], "got a tuple inside 'rows[1]', which would come out as a list; send a list, or give it a type."),
        ({"a": {1}}, "got a set inside 'rows.a', which would come out as a list; send a list, or give it a type."),
        (date(2026, 1, 2), "got a date for 'rows', which would come out as a str; send a str, or give it a type."),
        ([UUID(int=1)], "got a UUID inside 'rows[0]', which would come out as a str; send a str, or give it a type."),
        (b"x", "got a bytes for 'rows', which would come out as a str; send a str, or give it a type."),
        (Decimal(1), "got a Decimal for 'rows', which would come out as a str; send a str, or give it a type."),
        (d.Colour.RED, "got a Colour for 'rows', which would come out as a str; send a str, or give it a type."),
        (d.Point(1), "got a Point for 'rows', which would come out as a dict; send a dict, or give it a type."),
        ({1: 2}, "got the key 1 for 'rows': JSON has only text as keys; send str keys."),
        ([{1.5: 2}], "got the key 1.5 inside 'rows[0]': JSON has only text as keys; send str keys."),
        ({"a": {True: 2}}, "got the key True inside 'rows.a': JSON has only text as keys; send str keys."),
        ({(1, 2): 3}, "got the key (1, 2) for 'rows': JSON has only text as keys; send str keys."),
        ({1: "a", "1": "b"}, "got the key 1 for 'rows': JSON has only text as keys; send str keys."),
    ],
)
def test_D8_what_would_come_out_as_something_else_is_refused_under_any(value: Any, sentence: str) -> None:
    assert refusal(d.report, value) == f"report() {sentence}"
    assert refusal(d.loose, value) == f"loose() {sentence}"


def test_subclasses_of_list_and_dict_come_out_as_these() -> None:
    assert through(d.nested, [], {}, (1, ""), set(), frozenset(), i=collections.OrderedDict(a=1))[8] == {"a": 1}


@given(st.lists(st.dictionaries(words, anything, max_size=3), max_size=3))
def test_object_is_any_json_also_inside_a_container(value: Any) -> None:
    assert equal(value, through(d.objects, value))
    assert "'rows[0].a', which would come out as a list" in refusal(d.objects, [{"a": (1,)}])


def gaps(a: int, b: int = 2, c: int = 3, d: int = 4) -> tuple[int, ...]:
    return a, b, c, d


@pytest.mark.parametrize(
    ("given", "arrived"),
    [
        ({}, (1, 2, 3, 4)),
        ({"b": 9}, (1, 9, 3, 4)),
        ({"c": 9}, (1, 2, 9, 4)),
        ({"d": 9}, (1, 2, 3, 9)),
        ({"b": 9, "d": 9}, (1, 9, 3, 9)),
        ({"b": 9, "c": 9, "d": 9}, (1, 9, 9, 9)),
    ],
)
def test_defaults_fill_every_gap(given: dict[str, int], arrived: tuple[int, ...]) -> None:
    assert through(gaps, 1, **given) == arrived
