"""The retry policy's arithmetic, for any numbers."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core.errors import LONGEST_S, ConfigError
from surefoot.core.retry import Retry

spans = st.floats(0, LONGEST_S)
shares = st.floats(0, 1)
chances = st.floats(0, 1, exclude_max=True)
policies = st.builds(Retry, base=spans, factor=st.floats(1, 1e300), cap=spans, jitter=shares)
counts = st.integers(1, 10**9)


def test_the_defaults_are_those_of_the_interface() -> None:
    policy = Retry()
    assert (policy.max_attempts, policy.base, policy.factor, policy.cap, policy.jitter) == (3, 2, 2, 600, 0.5)
    assert (policy.retry_on, policy.give_up_on, policy.within, policy.max_crashes) == ((Exception,), (), None, 3)


@given(policies, counts, chances)
def test_a_delay_lies_between_its_bounds(policy: Retry, failures: int, chance: float) -> None:
    delay = policy.delay(failures, chance)
    assert 0 <= delay <= policy.cap
    most = policy.delay(failures, 0.0)
    assert most * (1 - policy.jitter) <= delay * (1 + 1e-12) + 1e-300
    assert delay <= most


@given(policies, st.integers(1, 2_000), chances)
def test_delays_grow_until_the_cap_and_stay_there(policy: Retry, failures: int, chance: float) -> None:
    now, later = policy.delay(failures, chance), policy.delay(failures + 1, chance)
    assert now <= later
    if policy.delay(failures, 0.0) == policy.cap:
        assert later == now


@given(st.integers(1, 40), chances)
def test_without_jitter_a_delay_is_the_formula(failures: int, chance: float) -> None:
    policy = Retry(base=1.5, factor=3, cap=1e9, jitter=0)
    assert policy.delay(failures, chance) == min(1e9, 1.5 * 3.0 ** (failures - 1))


@pytest.mark.parametrize("failures", [1, 2, 1_100, 10**9])
def test_no_number_of_failures_overflows(failures: int) -> None:
    assert Retry().delay(failures, 0.0) <= 600
    assert Retry(base=0, factor=10).delay(failures, 0.5) == 0
    assert Retry(base=1e9, factor=1e300, cap=1e9, jitter=0).delay(failures, 0.5) == 1e9


def test_D7_jitter_spreads_an_outage_over_its_whole_share() -> None:
    policy = Retry(base=100, cap=100, jitter=0.5)
    seconds = [0] * 100
    for number in range(10_000):
        seconds[min(99, int(policy.delay(1, number / 10_000)))] += 1
    assert sum(seconds[:50]) == 0
    assert max(seconds[50:]) <= 201


def test_delays_lists_least_and_most_before_each_next_attempt() -> None:
    assert Retry(max_attempts=4, base=2, factor=2, cap=5, jitter=0.5).delays() == [(1, 2), (2, 4), (2.5, 5)]
    assert Retry(max_attempts=1).delays() == []
    assert Retry.forever(base=1, factor=2, cap=8, jitter=0).delays() == [(1, 1), (2, 2), (4, 4), (8, 8)]
    assert len(Retry.forever(base=1, factor=1).delays()) == 1
    assert 1 <= len(Retry.forever(base=0, factor=2).delays()) <= 64


@given(policies, st.integers(1, 12), chances)
def test_what_delays_promises_is_what_delay_keeps(policy: Retry, failures: int, chance: float) -> None:
    shown = Retry(
        max_attempts=13, base=policy.base, factor=policy.factor, cap=policy.cap, jitter=policy.jitter
    ).delays()
    least, most = shown[failures - 1]
    delay = policy.delay(failures, chance)
    assert delay <= most
    assert delay >= least * (1 - 1e-12) - 1e-300


def test_forever_has_no_limit_of_attempts_and_keeps_the_rest() -> None:
    policy = Retry.forever(base=3, cap=timedelta(minutes=1), give_up_on=KeyError, within=60, max_crashes=1)
    assert policy.max_attempts is None
    assert (policy.base, policy.cap, policy.give_up_on, policy.within, policy.max_crashes) == (
        3,
        60,
        (KeyError,),
        60,
        1,
    )


def test_give_up_on_wins_over_retry_on() -> None:
    policy = Retry(retry_on=(OSError, ValueError), give_up_on=FileNotFoundError)
    assert policy.tries(ConnectionResetError())
    assert not policy.tries(FileNotFoundError())
    assert not policy.tries(KeyError())


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()])
def test_W16_W17_what_is_no_exception_is_tried_again(error: BaseException) -> None:
    assert Retry().tries(error)
    assert Retry(retry_on=OSError).tries(error)
    assert not Retry(give_up_on=type(error)).tries(error)


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"max_attempts": -1},
        {"max_attempts": True},
        {"max_attempts": 2.5},
        {"max_attempts": None},
        {"max_attempts": math.inf},
        {"base": -1},
        {"base": math.nan},
        {"base": math.inf},
        {"base": "2"},
        {"factor": 0.5},
        {"factor": math.nan},
        {"factor": math.inf},
        {"factor": True},
        {"cap": -1},
        {"cap": math.inf},
        {"jitter": 1.1},
        {"jitter": -0.1},
        {"jitter": math.nan},
        {"jitter": "0"},
        {"retry_on": "Exception"},
        {"retry_on": (OSError, 5)},
        {"give_up_on": int},
        {"within": 0},
        {"within": -1},
        {"within": math.inf},
        {"max_crashes": 0},
        {"max_crashes": 1.0},
    ],
)
def test_a_bad_number_is_refused_with_its_name(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ConfigError, match=rf"Retry\({name}\)"):
        Retry(**options)


def test_a_policy_is_a_value_and_does_not_change() -> None:
    assert Retry(base=2.0) == Retry(base=2)
    assert hash(Retry()) == hash(Retry())
    with pytest.raises(AttributeError):
        Retry().base = 5  # type: ignore[misc]
