"""Calls that do not fit: refused at enqueue and at the worker, naming the thing, the value and the way out."""

from __future__ import annotations

import collections
import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core import declared as d
from tests.unit.core.ends import equal, refusal, signature, through, unreadable

from surefoot.core.errors import InvalidArguments
from surefoot.core.signature import OPTION_NAMES

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9)
)
anything = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=3), scalars, max_size=3)


# What does not fit.


@pytest.mark.parametrize(
    ("sentence", "call"),
    [
        ("welcome() got 42 for 'address', which is a str.", lambda: refusal(d.welcome, 42)),
        ("welcome() is missing 'address'.", lambda: refusal(d.welcome)),
        (
            "welcome() has no parameter 'langage'; did you mean 'language'?",
            lambda: refusal(d.welcome, "a", langage="fr"),
        ),
        (
            "welcome() has no parameter 'delay'; it is an option: welcome.options(delay=5).enqueue(...).",
            lambda: refusal(d.welcome, "a", delay=5),
        ),
        (
            "report() got a Decimal128 inside 'rows[3].price': that type cannot travel as JSON; send a str or a float.",
            lambda: refusal(d.report, [{}, {}, {}, {"price": d.Decimal128()}]),
        ),
        (
            "rates() got 'x' inside 'rows[3].price', which is a float.",
            lambda: refusal(d.rates, [{}, {}, {}, {"name": 1.0, "price": "x", "z": 2.0}]),
        ),
        (
            "prices() got 'x' inside 'rows[1].price', which is a float.",
            lambda: refusal(d.prices, [{"name": "a", "price": 1.0}, {"name": "b", "price": "x"}]),
        ),
        ("resize() got '5' for 'width', which is an int.", lambda: refusal(d.resize, "a", "5")),
        ("resize() got True for 'width', which is an int.", lambda: refusal(d.resize, "a", True)),
        ("resize() got 5.0 for 'width', which is an int.", lambda: refusal(d.resize, "a", 5.0)),
        ("resize() got None for 'width', which is an int.", lambda: refusal(d.resize, "a", None)),
        ("rates() got '1' for 'limit', which is a float or None.", lambda: refusal(d.rates, [], "1")),
        ("resize() takes 2 by position and got 3; give the others by name.", lambda: refusal(d.resize, "a", 1, 2)),
        ("welcome() takes 1 by position and got 2; give the others by name.", lambda: refusal(d.welcome, "a", "fr")),
        ("resize() got 'path' twice: by position and by name.", lambda: refusal(d.resize, "a", path="b")),
        ("positional() takes 'first' by position only.", lambda: refusal(d.positional, first=1)),
        ("containers() is missing 'i' and 'j'.", lambda: refusal(d.containers, 1, 2, 3, 4, 5, 6, 7, 8)),
        ("resize() has no parameter 'zzz'.", lambda: refusal(d.resize, "a", zzz=1)),
        ("number() got 0.1 for 'value', which is a Decimal.", lambda: refusal(d.number, 0.1)),
    ],
)
def test_the_sentences_name_the_parameter_the_value_and_the_way_out(sentence: str, call: Callable[[], str]) -> None:
    assert call() == sentence


@pytest.mark.parametrize("option", sorted(OPTION_NAMES))
def test_every_option_given_as_an_argument_is_told_where_it_goes(option: str) -> None:
    assert f"it is an option: welcome.options({option}=1).enqueue(...)." in refusal(d.welcome, "a", **{option: 1})


def test_a_refusal_carries_the_parameter_and_is_a_type_error() -> None:
    with pytest.raises(TypeError) as told:
        signature(d.resize).bind(("a", "b"), {})
    assert isinstance(told.value, InvalidArguments)
    assert (told.value.task, told.value.parameter) == ("resize", "width")


@pytest.mark.parametrize(
    ("function", "value", "place"),
    [
        (d.welcome, UUID(int=5), "'address'"),
        (d.welcome, datetime(2026, 1, 1), "'address'"),
        (d.welcome, d.Colour.RED, "'address'"),
        (d.welcome, b"a", "'address'"),
        (d.welcome, Decimal(1), "'address'"),
        (d.number, "1", "'value'"),
        (d.number, 0.1, "'value'"),
        (d.moments, "2026-01-01T00:00:00", "'at'"),
        (d.moments, date(2026, 1, 1), "'at'"),
        (d.moments, 5, "'at'"),
        (d.plain, {"items": []}, "'record'"),
        (d.sets, iter([1]), "'numbers'"),
        (d.sets, {"a": 1}, "'numbers'"),
        (d.plain, d.Plain([1, "2"]), "'record.items[1]'"),  # type: ignore[list-item]
        (d.plain, d.Plain([1], anything=(1,)), "'record.anything'"),
        (d.plain, d.Plain([1], name=UUID(int=1)), "'record.name'"),  # type: ignore[arg-type]
        (d.prices, [{"name": UUID(int=1), "price": 1.0}], "'rows[0].name'"),
        (d.prices, [{"name": "a", "price": 1.0, "more": 1}], "'rows[0]'"),
        (d.prices, [d.Point(1)], "'rows[0]'"),
        (d.report, object(), "'rows'"),
        (d.report, [print], "'rows[0]'"),
        (d.report, 1j, "'rows'"),
        (d.report, collections.UserDict(), "'rows'"),
        (d.report, [msgspec.UNSET], "'rows[0]'"),
        (d.report, msgspec.UNSET, "'rows'"),
    ],
)
def test_another_kind_of_value_is_refused_with_its_place(function: Callable[..., Any], value: Any, place: str) -> None:
    assert place in refusal(function, value)


def test_a_sequence_of_another_kind_is_fine_where_the_type_says_which() -> None:
    ends = signature(d.sets)
    arrived: Any = ends.load(ends.bind(((1, 2), [2, 3, 3]), {"fixed": [5]}))
    assert (arrived.numbers, arrived.unique, arrived.fixed) == ([1, 2], {2, 3}, (5,))


def test_the_parts_of_a_sequence_of_another_kind_are_looked_at() -> None:
    rest: tuple[Any, ...] = (set(), frozenset())
    assert "for 'd', which is a set[str]" in refusal(d.nested, [], {}, (1, ""), [UUID(int=1)], frozenset())
    assert "'b.k[1]'" in refusal(d.nested, [], {"k": (1, "x")}, (1, ""), *rest)


def test_records_without_equality_are_compared_by_their_parts() -> None:
    record = through(d.plain, d.Plain([1, 2], anything={"a": [1.5, None]}, name="n"))
    assert (record.items, record.anything, record.name) == ([1, 2], {"a": [1.5, None]}, "n")
    assert through(d.plain, d.Plain((1, 2))).items == [1, 2]  # type: ignore[arg-type]
    assert signature(d.blind).bind((d.Blind(0.5, d.Point(1)), [d.Blind(None)]), {})


def test_moments_that_are_never_equal_to_anything_are_compared_by_what_they_say() -> None:
    paris = ZoneInfo("Europe/Paris")
    for fold in (0, 1):
        at = datetime(2026, 10, 25, 2, 30, tzinfo=paris, fold=fold)
        assert through(d.moments, at).timestamp() == at.timestamp()
    assert through(d.number, Decimal("NaN")).is_nan()
    assert through(d.number, Decimal("sNaN")).is_snan()
    early = datetime(1900, 1, 1, tzinfo=paris)  # Paris was 9 minutes and 21 seconds ahead: JSON has no seconds there
    assert "which is a datetime" in refusal(d.moments, early)


class Spiteful:
    """Its own code raises, whoever asks."""

    def __eq__(self, other: object) -> bool:
        raise KeyError

    def __hash__(self) -> int:
        return 1

    def __repr__(self) -> str:
        raise KeyError


def test_a_value_whose_own_code_raises_is_refused_like_any_other() -> None:
    assert "got a Spiteful for 'rows'" in refusal(d.report, Spiteful())
    assert "has no parameter 'delay'" in refusal(d.welcome, "a", delay=Spiteful())


def test_values_in_sentences_are_cut() -> None:
    assert len(refusal(d.resize, "a", "x" * 1_000_000)) < 300
    assert len(refusal(d.welcome, list(range(100_000)))) < 300
    assert len(refusal(d.welcome, "a", **{"x" * 100_000: 1})) < 300


# At the worker.


def nested(**fields: Any) -> bytes:
    return json.dumps({"a": [], "b": {}, "c": [1, "x"], "d": [], "e": []} | fields).encode()


@pytest.mark.parametrize(
    ("function", "payload", "sentence"),
    [
        (d.welcome, b'{"address":42}', "welcome() got 42 (an int) for 'address', which is a str."),
        (d.resize, b'{"path":"a","width":"5"}', "resize() got '5' (a str) for 'width', which is an int."),
        (d.resize, b'{"path":"a","width":null}', "resize() got None (a NoneType) for 'width', which is an int."),
        (d.rates, b'{"rows":[{},{"p":"x"}]}', "rates() got 'x' (a str) inside 'rows[1].p', which is a float."),
        (
            d.number,
            b'{"value":"x"}',
            "number() got 'x' (a str) for 'value', which is a Decimal: invalid decimal string.",
        ),
        (
            d.nested,
            nested(a=[{"x": 1}, {"y": 1}]),
            "nested() got {'y': 1} (a dict) inside 'a[1]': object missing required field x.",
        ),
        (d.nested, nested(b={"k": [1], "l": [1, "x"]}), "nested() got 'x' (a str) inside 'b.l[1]', which is an int."),
        (
            d.nested,
            nested(c=[1]),
            "nested() got [1] (a list) for 'c', which is a tuple[int, str]: expected list of length 2.",
        ),
        (d.nested, nested(d=["a", 1]), "nested() got 1 (an int) inside 'd[1]', which is a str."),
        (
            d.nested,
            nested(f={"1": "green"}),
            "nested() got 'green' (a str) inside 'f['1']': invalid enum value 'green'.",
        ),
        (
            d.nested,
            nested(f={"a": "red"}),
            "nested() got {'a': 'red'} for 'f', which has a key that does not fit: Expected int, got str.",
        ),
        (d.welcome, b"{}", "welcome() is missing 'address'."),
        (d.welcome, b'{"address":"a","x":1}', "welcome() has no parameter 'x'."),
        (d.welcome, b'{"address":"a","langage":1}', "welcome() has no parameter 'langage'; did you mean 'language'?"),
        (d.welcome, b'{"address":"a","delay":1}', "welcome() has no parameter 'delay'."),
    ],
)
def test_D4_arguments_that_do_not_fit_name_the_parameter_and_both_types(
    function: Callable[..., Any], payload: bytes, sentence: str
) -> None:
    assert unreadable(function, payload) == sentence


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"null",
        b"5",
        b"nope",
        b'{"rows":1e999}',
        b'{"rows":"\xff"}',
        b'{"rows":"\\ud800"}',
        b'{"rows":' + b"9" * 10_000 + b"}",
        b'{"rows":1,}',
    ],
)
def test_D2_a_payload_that_is_none_is_refused_in_one_way(payload: bytes) -> None:
    assert unreadable(d.report, payload).startswith("report() got")


@given(st.binary(max_size=60))
def test_D2_random_bytes_as_arguments_are_refused_in_one_way(payload: bytes) -> None:
    assert unreadable(d.resize, payload)


@given(st.dictionaries(st.sampled_from(["path", "width", "x"]), anything))
def test_D4_any_object_loads_or_is_refused_in_one_way(payload: dict[str, Any]) -> None:
    ends = signature(d.resize)
    try:
        arguments: Any = ends.load(json.dumps(payload).encode())
    except InvalidArguments:
        return
    arrived = msgspec.structs.asdict(arguments)
    assert equal(payload, {name: arrived.pop(name) for name in payload})
    assert set(arrived.values()) <= {msgspec.UNSET}


def test_a_payload_is_also_read_out_of_an_envelope() -> None:
    assert signature(d.resize).load(msgspec.Raw(b'{"path":"a"}')).path == "a"  # type: ignore[attr-defined]


def test_times_of_day_and_spans_come_back() -> None:
    ends = signature(d.moments)
    arrived: Any = ends.load(ends.bind((datetime(2026, 1, 1),), {"span": timedelta(microseconds=-1)}))
    assert (arrived.at, arrived.span) == (datetime(2026, 1, 1), timedelta(microseconds=-1))
