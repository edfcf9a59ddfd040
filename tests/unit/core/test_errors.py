"""The error tree, the sentences that core's errors make themselves, and durations and moments as users write them."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core import errors
from surefoot.core.errors import (
    Cancel,
    ConfigError,
    ErrorInfo,
    Reject,
    RetryLater,
    Signal,
    Snooze,
    SurefootError,
    UsageError,
    aware,
    duration,
    duration_words,
)

NOON = datetime(2026, 12, 24, 18, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        ("ConfigError", (SurefootError,)),
        ("DuplicateTask", (errors.TaskDefinitionError,)),
        ("InvalidArguments", (errors.PayloadError, TypeError)),
        ("PayloadTooLarge", (errors.PayloadError,)),
        ("NotReplicated", (errors.OutcomeUnknown, errors.StoreUnavailable, ConnectionError)),
        ("StoreUnsuitable", (errors.StoreError,)),
        ("JobNotFound", (errors.JobError, LookupError)),
        ("ResultTimeout", (errors.JobError, TimeoutError)),
        ("LeaseLost", (SurefootError,)),
        ("SyncInsideLoop", (UsageError,)),
        ("NotInJob", (UsageError,)),
        ("StateMissing", (UsageError,)),
    ],
)
def test_an_error_stands_where_the_tree_draws_it(kind: str, bases: tuple[type, ...]) -> None:
    assert issubclass(getattr(errors, kind), (*bases,))
    assert all(issubclass(getattr(errors, kind), base) for base in bases)
    assert kind in (errors.__doc__ or "")


@pytest.mark.parametrize("signal", [Snooze(1), RetryLater(1), Cancel("x"), Reject("x")])
def test_a_signal_passes_except_exception(signal: Signal) -> None:
    assert isinstance(signal, BaseException)
    assert not isinstance(signal, Exception)


def test_errors_carry_their_ids_and_say_the_thing_the_value_and_the_way_out() -> None:
    large = errors.PayloadTooLarge(task="resize", size=2_097_152, limit=1_048_576)
    assert str(large) == (
        "the arguments of resize() are 2,097,152 bytes of JSON and the limit is 1,048,576; "
        "put the data elsewhere and send its address."
    )
    full = errors.QueueFull(queue="mail", length=10_000, limit=10_000, oldest=840)
    assert str(full) == "queue 'mail' is full: 10,000 of 10,000 jobs wait (the oldest for 14 min). Nothing was stored."
    some = errors.QueueFull(queue="mail", length=10_000, limit=10_000, accepted=["a"] * 400, asked=1_000)
    assert str(some).endswith("400 of 1,000 were stored.")
    assert some.accepted == ("a",) * 400
    few = errors.NotReplicated(queue="mail", job_ids=["a"], confirmed=0, wanted=1, within=5)
    assert str(few) == (
        "queue 'mail': 0 of 1 replicas confirmed within 5 s; the job is in the primary. "
        "Enqueue the same draft again, or lower durable=."
    )
    assert (few.job_ids, few.confirmed, few.wanted) == (("a",), 0, 1)
    taken = errors.DuplicateJob(queue="mail", job_id="j1", key="k")
    assert (taken.job_id, taken.key, taken.accepted) == ("j1", "k", ())
    lost = errors.LeaseLost(job_id="j1", token="t.1")
    assert (lost.job_id, lost.token) == ("j1", "t.1")


def test_an_exception_is_matched_by_the_names_of_its_classes() -> None:
    info = ErrorInfo(kind="ConnectionResetError", kinds=("ConnectionResetError", "ConnectionError", "OSError"))
    assert info.matches(OSError)
    assert info.matches(ConnectionResetError)
    assert info.matches("ConnectionError")
    assert not info.matches(ValueError)


@given(
    st.one_of(
        st.floats(0.001, 1e9), st.integers(1, 10**9), st.timedeltas(timedelta(milliseconds=1), timedelta(days=36_000))
    )
)
def test_seconds_are_a_number_or_a_timedelta(value: float | timedelta) -> None:
    expected = value.total_seconds() if isinstance(value, timedelta) else value
    assert duration(value, "timeout") == expected


@pytest.mark.parametrize("value", [-5, 0, -0.0, math.nan, -math.inf, timedelta(0), timedelta(seconds=-1)])
def test_what_is_not_above_zero_is_no_duration(value: object) -> None:
    with pytest.raises(ConfigError, match=r"is not a duration; give seconds > 0\.$"):
        duration(value, "timeout")


def test_the_sentence_for_a_bad_timeout_is_the_one_of_the_interface() -> None:
    with pytest.raises(ConfigError) as told:
        duration(-5, "timeout", infinite=True)
    assert str(told.value) == "timeout=-5 is not a duration; give seconds > 0, or math.inf for no limit."


def test_infinity_only_where_there_may_be_no_limit_and_zero_only_where_it_is_a_value() -> None:
    assert duration(math.inf, "timeout", infinite=True) == math.inf
    with pytest.raises(ConfigError):
        duration(math.inf, "delay")
    assert duration(0, "delay", least=0) == 0
    with pytest.raises(ConfigError, match="give seconds >= 0"):
        duration(-0.1, "delay", least=0)


@pytest.mark.parametrize("value", ["5", None, True, [5], 1 + 0j])
def test_other_kinds_are_no_duration(value: object) -> None:
    with pytest.raises(ConfigError, match="give seconds as a number, or a timedelta"):
        duration(value, "timeout")


def test_a_naive_moment_is_refused_with_the_way_out() -> None:
    assert aware(NOON, "options(at=...)") is NOON
    with pytest.raises(ConfigError) as told:
        aware(datetime(2026, 12, 24, 18), "options(at=...)")
    assert str(told.value) == (
        'options(at=2026-12-24 18:00) has no time zone; use datetime(..., tzinfo=ZoneInfo("Europe/Paris")).'
    )
    with pytest.raises(ConfigError, match="takes a datetime"):
        aware("tomorrow", "options(at=...)")


def test_a_snooze_takes_seconds_or_a_moment_and_exactly_one() -> None:
    assert Snooze(timedelta(minutes=1)).seconds == 60
    assert Snooze(0).seconds == 0
    assert Snooze(until=NOON).until is NOON
    with pytest.raises(UsageError):
        Snooze()
    with pytest.raises(UsageError):
        Snooze(1, until=NOON)
    with pytest.raises(ConfigError):
        Snooze(until=datetime(2026, 1, 1))
    with pytest.raises(ConfigError):
        Snooze(-1)
    with pytest.raises(ConfigError):
        RetryLater(-1)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0.2 s"), (-3, "0.0 s"), (59, "59 s"), (840, "14 min"), (3 * 3600, "3 h"), (2 * 86400, "2 d")],
)
def test_a_duration_for_people(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words
