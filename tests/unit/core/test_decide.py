"""`decide`: what a run's outcome means for its job. Every row of the table."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.core.cases import NOW_MS, TOKEN, body, leased, run_of, silent, spec

from surefoot.core.codec import ErrorLine, decode_envelope, decode_error
from surefoot.core.errors import ErrorInfo
from surefoot.core.job import NO_COUNTS, After, Counts
from surefoot.core.lifecycle import Run, decide, is_last_attempt, max_attempts, on_dead_job
from surefoot.core.outcome import (
    Cancelled,
    Crashed,
    Interrupted,
    Lost,
    Outcome,
    Raised,
    Rejected,
    RetriedLater,
    Returned,
    Snoozed,
    TimedOut,
)
from surefoot.core.retry import Retry
from surefoot.core.transition import KEEP_MS, Bury, Delay, Finish, Return, Transition

ERROR = ErrorInfo(kind="OSError", kinds=("OSError", "Exception"), message="gone", traceback="Traceback")
STEADY = Retry(base=10, factor=2, cap=600, jitter=0)


def job(counts: Counts = NO_COUNTS, *, due: Any = None, retry: Retry = STEADY, **options: Any) -> Run:
    task_keep = options.pop("task_keep_ms", KEEP_MS)
    return run_of(leased(body(due=due, **options), counts=counts), spec(retry=retry, keep_ms=task_keep))


def after(run: Run, outcome: Outcome, *, now_ms: int = NOW_MS, chance: float = 0.0) -> Transition:
    found = decide(run, outcome, now_ms, chance)
    assert (found.id, found.token, found.effects) == ("job-1", TOKEN, ())
    return found


def line(found: Transition) -> ErrorLine:
    assert found.error is not None
    return decode_error(found.error)


def test_returned_is_completed_with_its_result() -> None:
    found = after(job(), Returned("sent"))
    assert found == Transition("job-1", TOKEN, Finish("completed", b'"sent"'), "runs", None, KEEP_MS)


@pytest.mark.parametrize(
    ("own", "task_ms", "kept"),
    [({}, 5_000, 5_000), ({}, None, None), ({"keep_result_ms": 7}, 0, 7), ({"keep_result_ms": None}, 0, None)],
)
def test_a_result_is_kept_as_the_job_or_the_task_says(own: Any, task_ms: int | None, kept: int | None) -> None:
    assert after(job(task_keep_ms=task_ms, **own), Returned("x")).keep_ms == kept


def test_a_result_that_nobody_keeps_is_not_even_written() -> None:
    for run in (job(task_keep_ms=0), job(keep_result_ms=0)):
        found = after(run, Returned(object()))
        assert (found.to, found.keep_ms) == (Finish("completed", None), 0)
    run = run_of(leased(), spec(silent, name="welcome", keep_ms=0))
    assert after(run, Returned(None)).to == Finish("completed", None)


def test_D5_a_result_that_cannot_travel_leaves_the_job_completed() -> None:
    found = after(job(), Returned(object()))
    assert isinstance(found.to, Finish)
    assert found.to.state == "completed"
    assert b"surefoot:unsendable" in (found.to.result or b"")


@pytest.mark.parametrize("outcome", [Raised(ERROR), TimedOut(5.0)])
def test_a_failure_with_tries_left_is_tried_again(outcome: Outcome) -> None:
    found = after(job(Counts(runs=4, failures=1)), outcome)
    assert (found.to, found.bump) == (Delay(20_000, "retry"), "failures")
    told = line(found)
    assert (told.attempt, told.caller, told.reason, told.ended_ms) == (5, TOKEN.split(".")[0], None, NOW_MS)


@pytest.mark.parametrize("outcome", [Raised(ERROR), TimedOut(5.0), RetriedLater(1, "later", ERROR)])
def test_a_failure_with_no_tries_left_is_exhausted(outcome: Outcome) -> None:
    found = after(job(Counts(runs=4, failures=2)), outcome)
    assert (found.to, found.bump, line(found).reason) == (Bury("exhausted"), "failures", "exhausted")


def test_what_the_policy_gives_up_on_is_exhausted_at_once() -> None:
    found = after(job(), Raised(ERROR, retry=False))
    assert (found.to, found.bump) == (Bury("exhausted"), "failures")
    assert (line(found).kind, line(found).message, line(found).traceback) == ("OSError", "gone", "Traceback")


def test_a_timeout_says_how_long_it_had() -> None:
    told = line(after(job(), TimedOut(2.5)))
    assert (told.kind, told.message) == ("TimeoutError", "welcome did not finish within 2.5 s")
    assert "OSError" in told.kinds


@pytest.mark.parametrize(
    ("counts", "own", "policy", "last"),
    [
        (Counts(), {}, Retry(max_attempts=1), True),
        (Counts(runs=9, failures=1, crashes=2, interruptions=5), {}, Retry(max_attempts=3), False),
        (Counts(runs=2, failures=2), {}, Retry(max_attempts=3), True),
        (Counts(runs=2, failures=2), {"max_attempts": 4}, Retry(max_attempts=3), False),
        (Counts(), {"max_attempts": 1}, Retry(max_attempts=3), True),
        (Counts(runs=99, failures=99), {"max_attempts": None}, Retry(max_attempts=3), False),
        (Counts(runs=99, failures=99), {}, Retry.forever(), False),
        (Counts(runs=99, failures=98), {"max_attempts": 99}, Retry.forever(), True),
    ],
)
def test_only_failures_use_up_attempts(counts: Counts, own: Any, policy: Retry, last: bool) -> None:
    run = job(counts, retry=policy, **own)
    assert is_last_attempt(run) is last
    assert (max_attempts(run) is None) == (own.get("max_attempts", policy.max_attempts) is None)
    assert (after(run, Raised(ERROR)).to == Bury("exhausted")) is last


@pytest.mark.parametrize(
    ("due", "due_set_ms", "spent_ms", "again"),
    [
        (None, None, 50_000, True),
        (None, None, 50_001, False),
        (After(30_000), None, 80_000, True),
        (After(30_000), None, 80_001, False),
        (None, NOW_MS + 100_000, 150_000, True),
        (None, NOW_MS + 100_000, 150_001, False),
    ],
)
def test_D11_no_attempt_later_than_within_after_the_due_time(
    due: Any, due_set_ms: int | None, spent_ms: int, again: bool
) -> None:
    run = job(Counts(due_set_ms=due_set_ms), due=due, retry=Retry(base=10, jitter=0, within=60))
    found = after(run, Raised(ERROR), now_ms=NOW_MS + spent_ms)
    assert found.to == (Delay(10_000, "retry") if again else Bury("exhausted"))
    assert found.bump == "failures"


def test_within_also_bounds_a_delay_of_the_handler_s_own() -> None:
    run = job(retry=Retry(within=60))
    assert after(run, RetriedLater(60_000, None, ERROR)).to == Delay(60_000, "retry")
    assert after(run, RetriedLater(60_001, None, ERROR)).to == Bury("exhausted")


def test_the_chance_is_the_jitter_s() -> None:
    run = job(retry=Retry(base=100, cap=100, jitter=0.5))
    assert after(run, Raised(ERROR), chance=0.0).to == Delay(100_000, "retry")
    assert after(run, Raised(ERROR), chance=0.5).to == Delay(75_000, "retry")


@pytest.mark.parametrize(
    ("outcome", "wait_ms"),
    [
        (Snoozed(ms=5_000), 5_000), (Snoozed(ms=0), 0), (Snoozed(until_ms=NOW_MS + 7_000), 7_000),
        (Snoozed(until_ms=NOW_MS - 7_000), 0),
    ],
)  # fmt: skip
def test_a_snooze_is_later_and_no_failure(outcome: Outcome, wait_ms: int) -> None:
    found = after(job(Counts(runs=50, failures=2, snoozes=48)), outcome)
    assert (found.to, found.bump, found.error) == (Delay(wait_ms, "snooze"), "snoozes", None)


def test_retry_later_is_a_failure_with_its_own_delay() -> None:
    found = after(job(), RetriedLater(5_000, "rate limit", ERROR))
    assert (found.to, found.bump, line(found).kind) == (Delay(5_000, "retry"), "failures", "OSError")


def test_reject_is_a_dead_letter_at_once() -> None:
    found = after(job(), Rejected(ERROR))
    assert (found.to, found.bump, line(found).reason) == (Bury("rejected"), "failures", "rejected")


@pytest.mark.parametrize(
    ("own", "task_ms", "kept"), [({}, 0, KEEP_MS), ({}, None, None), ({"keep_result_ms": 9 * KEEP_MS}, 0, 9 * KEEP_MS)]
)
def test_cancelled_is_told_to_whoever_waits(own: Any, task_ms: int | None, kept: int | None) -> None:
    found = after(job(task_keep_ms=task_ms, **own), Cancelled("not needed"))
    assert (found.to, found.bump, found.keep_ms) == (Finish("cancelled", b"not needed"), "runs", kept)


@pytest.mark.parametrize(("started", "bump"), [(True, "interruptions"), (False, None)])
def test_a_drain_hands_back_and_never_costs_a_failure(started: bool, bump: str | None) -> None:
    found = after(job(), Interrupted(started))
    assert (found.to, found.bump, found.error) == (Return(), bump, None)


@pytest.mark.parametrize(
    ("crashes", "to"), [(0, Delay(10_000, "retry")), (1, Delay(20_000, "retry")), (2, Bury("crash_loop"))]
)  # fmt: skip
def test_W13_a_child_that_died_costs_its_job_a_crash_and_nothing_else(crashes: int, to: Any) -> None:
    found = after(job(Counts(runs=9, failures=2, crashes=crashes)), Crashed(ErrorInfo(kind="SIGSEGV")))
    assert (found.to, found.bump, line(found).kind) == (to, "crashes", "SIGSEGV")
    assert line(found).reason == ("crash_loop" if isinstance(to, Bury) else None)


def test_a_run_that_lost_its_lease_settles_nothing() -> None:
    with pytest.raises(ValueError, match="settles nothing"):
        after(job(), Lost())


@pytest.mark.parametrize("outcome", [Raised(ERROR), Snoozed(ms=5), Interrupted(True), Crashed(ERROR)])
def test_a_job_that_waits_again_keeps_long_enough_if_it_is_cancelled_meanwhile(outcome: Outcome) -> None:
    assert after(job(task_keep_ms=0), outcome).keep_ms == KEEP_MS
    assert after(job(keep_result_ms=None), outcome).keep_ms is None


def test_the_start_of_the_run_goes_into_the_error_line() -> None:
    found = decide(job(), Raised(ERROR), NOW_MS, 0.0, NOW_MS - 70)
    assert (line(found).started_ms, line(found).ended_ms) == (NOW_MS - 70, NOW_MS)


def test_a_death_can_bring_a_job_for_on_dead() -> None:
    made = on_dead_job("welcome", "job-1", 3, "job-2", NOW_MS)
    envelope = decode_envelope(made.envelope)
    assert (made.id, made.due, made.unique, envelope.task) == ("job-2", None, None, "welcome:on_dead")
    assert msgspec.json.decode(envelope.payload) == {"id": "job-1", "run": 3}
    assert envelope.options.keep_result_ms == 0
