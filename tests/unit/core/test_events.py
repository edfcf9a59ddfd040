"""What is told about jobs and workers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest

from surefoot.core.events import Event, EventKind, Explanation

AT = datetime(2026, 11, 24, tzinfo=UTC)


def test_an_event_is_a_frozen_record_whose_details_cannot_be_shared_by_accident() -> None:
    first = Event(kind="completed", at=AT, queue="mail", job_id="j", task="welcome")
    assert (first.worker, dict(first.details)) == (None, {})
    with pytest.raises(AttributeError):
        first.kind = "failed"  # type: ignore[misc]
    with pytest.raises(TypeError):
        first.details["x"] = 1  # type: ignore[index]


def test_the_kinds_are_those_of_the_interface() -> None:
    assert set(get_args(EventKind)) == set(
        "enqueued started progress completed failed retrying snoozed timed_out interrupted crashed lease_lost dead "
        "cancelled expired paused resumed worker_started worker_draining worker_stopped loop_blocked "
        "thread_stuck".split()
    )


def test_an_explanation_carries_a_sentence_and_its_facts() -> None:
    told = Explanation(job_id="j", state="pending", sentence="Pending.", reasons=("paused",), details={"since": 1.0})
    assert (told.reasons, told.details["since"]) == (("paused",), 1.0)
