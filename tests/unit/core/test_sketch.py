"""Sketches of times: every quantile within 5 %, any order, any split, and nothing unreadable is trusted."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core import sketch

HUNDRED_YEARS_MS = 100 * 366 * 86_400_000

times_ms = st.lists(st.integers(0, HUNDRED_YEARS_MS) | st.integers(0, 5_000), min_size=1, max_size=200)
shares = st.sampled_from((0.0, 0.5, 0.95, 0.99, 1.0))


def of(values: list[int], word: sketch.Of = "waiting") -> sketch.Times:
    times: sketch.Times = {}
    for ms in values:
        sketch.add(times, word, ms)
    return times


@given(times_ms, shares)
def test_a_quantile_is_within_five_percent(values: list[int], share: float) -> None:
    true_ms = sorted(values)[math.floor(share * (len(values) - 1))]
    found = sketch.quantile(of(values), "waiting", share)
    assert found is not None
    assert abs(found * 1_000 - true_ms) <= 0.05 * true_ms


@given(times_ms, times_ms)
def test_two_halves_merged_are_the_whole(one: list[int], two: list[int]) -> None:
    times = of(one)
    sketch.merge(times, of(two))
    assert times == of(one + two)
    assert sketch.total(times, "waiting") == len(one) + len(two)


@given(times_ms, times_ms)
def test_waiting_and_running_do_not_mix(waited: list[int], ran: list[int]) -> None:
    times = of(waited)
    sketch.merge(times, of(ran, "running"))
    for share in (0.5, 0.99):
        assert sketch.quantile(times, "waiting", share) == sketch.quantile(of(waited), "waiting", share)
        assert sketch.quantile(times, "running", share) == sketch.quantile(of(ran, "running"), "running", share)


def test_nothing_has_no_quantile() -> None:
    assert sketch.quantile({}, "running", 0.5) is None
    assert sketch.quantile(of([7]), "running", 0.5) is None
    assert (sketch.encode({}), sketch.decode(b"")) == (b"", {})


@given(times_ms)
def test_it_travels(values: list[int]) -> None:
    assert sketch.decode(sketch.encode(of(values))) == of(values)


def test_all_times_have_room() -> None:
    for ms in (-5, 0, 1, HUNDRED_YEARS_MS):
        assert 0 <= sketch.bucket("running", ms) - sketch.BASES["running"] < sketch.MOST - 1
    assert sketch.bucket("waiting", 10**30) - sketch.BASES["waiting"] < sketch.MOST
    assert sketch.BASES["running"] - sketch.BASES["waiting"] > sketch.MOST


@pytest.mark.parametrize("raw", [b"\x00", b"\xff", b"{}", b"\x81\xa1a\x01", b"\x91\x01", b"\x81\x01\xcb" + b"\x7f" * 8])
def test_what_nobody_can_read_counts_nothing(raw: bytes) -> None:
    assert sketch.decode(raw) == {}
