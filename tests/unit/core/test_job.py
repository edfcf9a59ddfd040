"""The records of a job: keys, drafts, moments."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core.errors import ConfigError, ErrorInfo
from surefoot.core.job import Draft, Job, Key, Unique, moment, moment_ms


def test_a_key_becomes_the_store_s_words_in_the_scope_of_its_task() -> None:
    assert Key("order 17").unique("bill") == Unique("bill order 17", "done", False)
    assert Key("k", until="started", duplicate="raise").unique("bill") == Unique("bill k", "start", False)
    assert Key("k", until=86400, duplicate="replace").unique("bill") == Unique("bill k", 86_400_000, True)
    assert Key("k", until=timedelta(minutes=1)).unique("bill").until == 60_000
    assert Key("k", until=0.0001).unique("bill").until == 1


@pytest.mark.parametrize("value", ["", "a\nb", "x" * 129, "\ud800", 5, None])
def test_a_key_s_value_is_1_to_128_bytes_of_text(value: Any) -> None:
    with pytest.raises(ConfigError, match="is not a key"):
        Key(value)


@pytest.mark.parametrize("until", [0, -1, math.nan, math.inf, True, "finish", None, timedelta(0)])
def test_a_key_s_end_is_a_word_or_seconds(until: Any) -> None:
    with pytest.raises(ConfigError, match=r"Key\(until"):
        Key("k", until=until)


def test_a_key_s_duplicate_is_one_of_three_words() -> None:
    wrong: Any = "ignore"
    with pytest.raises(ConfigError, match='give "keep", "replace" or "raise"'):
        Key("k", duplicate=wrong)


def test_a_key_is_a_value_and_does_not_change() -> None:
    assert Key("k") == Key("k", until="finished", duplicate="keep")
    assert Key("k") != Key("k", duplicate="raise")
    assert len({Key("k"), Key("k"), Key("k", until=5)}) == 2
    with pytest.raises(AttributeError):
        Key("k").value = "other"
    assert repr(Key("k", until=5)) == "Key('k', until=5.0, duplicate='keep')"


def draft() -> Draft[None]:
    return Draft(id="j", queue="mail", task="welcome", payload=b'{"address":"a","tags":[]}', headers={"tenant": "a"})


def test_a_draft_shows_its_arguments_and_gets_headers_without_changing() -> None:
    first = draft()
    second = first.with_headers(trace="t1")
    assert first.arguments == {"address": "a", "tags": []}
    assert (first.headers, second.headers) == ({"tenant": "a"}, {"tenant": "a", "trace": "t1"})
    assert second.id == first.id
    with pytest.raises(AttributeError):
        first.task = "other"  # type: ignore[misc]
    number: Any = 5
    with pytest.raises(ConfigError, match="headers are text"):
        first.with_headers(trace=number)


@given(st.integers(-(10**13), 10**14))
def test_a_moment_and_its_milliseconds_are_the_same(ms: int) -> None:
    assert moment_ms(moment(ms)) == ms
    assert moment(ms).tzinfo is UTC


def test_a_moment_of_another_zone_is_the_same_moment() -> None:
    assert moment_ms(datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == 0


# What is printed is one line, and tells no argument.


def job_of(**facts: Any) -> Job:
    said: dict[str, Any] = {
        "id": "0193f8a4", "queue": "mail", "task": "welcome", "arguments": {"password": "secret"}, "headers": {},
        "state": "pending", "priority": 5, "key": None, "group": None, "runs": 0, "failures": 0, "crashes": 0,
        "interruptions": 0, "snoozes": 0, "max_attempts": 3, "enqueued_at": moment(0), "due_at": moment(0),
        "started_at": None, "finished_at": None, "worker": None, "progress": None, "error": None, "reason": None,
    }  # fmt: skip
    return Job(**{**said, **facts})


def test_a_job_is_printed_as_one_line_without_arguments_and_traceback() -> None:
    error = ErrorInfo(kind="ValueError", message="secret", traceback="Traceback ...\n  secret\n")
    dead = job_of(
        state="dead", runs=7, failures=3, crashes=1, interruptions=2, snoozes=1, reason="exhausted", error=error
    )
    assert repr(job_of()) == str(job_of()) == "<Job 0193f8a4 welcome on mail: pending>"
    assert repr(dead) == (
        "<Job 0193f8a4 welcome on mail: dead (exhausted), 7 runs, 3 failures, 1 crash, 2 interruptions, 1 snooze>"
    )
    assert repr(job_of(crashes=2, runs=1)).endswith(": pending, 1 run, 2 crashes>")
    assert msgspec.to_builtins(dead)["arguments"] == {"password": "secret"}, "all of it is there for whoever asks"


def test_a_draft_is_printed_as_one_line_without_arguments() -> None:
    draft = Draft[None](id="0193f8a4", queue="mail", task="welcome", payload=b'{"password":"secret"}')
    assert repr(draft) == str(draft) == "<Draft 0193f8a4 welcome for mail>"


def test_an_error_is_printed_as_python_prints_one() -> None:
    error = ErrorInfo(kind="ValueError", kinds=("ValueError",), message="no such address", traceback="...")
    assert f"{error}" == str(error) == "ValueError: no such address"
    assert str(ErrorInfo(kind="CancelledError")) == "CancelledError"
    assert "traceback" in repr(error), "the whole record is there for whoever asks"
