"""Both decisions for any job, task and outcome: always an answer, always a legal move; a killer takes nobody along."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.cases import NOW_MS, TOKEN, body, leased, spec

from surefoot.core.codec import ERROR_LINE_LIMIT, decode_error, mark_begun
from surefoot.core.errors import ErrorInfo
from surefoot.core.job import After, At, Counts
from surefoot.core.lifecycle import Run, admit, decide, is_suspect
from surefoot.core.names import State
from surefoot.core.outcome import (
    Cancelled,
    Crashed,
    Interrupted,
    Outcome,
    Raised,
    Rejected,
    RetriedLater,
    Returned,
    Snoozed,
    TimedOut,
)
from surefoot.core.retry import Retry
from surefoot.core.transition import KEEP_MS, Bury, Counter, Delay, Finish, Park, Return, Transition, legal

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ms = st.integers(0, 10**12)
limits = st.none() | ms
small = st.integers(0, 5)
errors = st.builds(ErrorInfo, kind=text, kinds=st.lists(text, max_size=3).map(tuple), message=text, traceback=text)
policies = st.builds(
    Retry,
    max_attempts=st.integers(1, 5),
    base=st.floats(0, 1e6),
    factor=st.floats(1, 1e3),
    cap=st.floats(0, 1e9),
    jitter=st.floats(0, 1),
    within=st.none() | st.floats(0.001, 1e6),
    max_crashes=st.integers(1, 4),
)
specs = st.builds(
    spec,
    retry=policies,
    schema=st.integers(1, 3),
    timeout_ms=limits,
    expires_ms=limits,
    keep_ms=limits,
    upcast=st.sampled_from([None, lambda _, arguments: arguments, lambda _, arguments: arguments["nothing"]]),
)
options = st.fixed_dictionaries(
    {},
    optional={
        "expires_after_ms": limits,
        "expires_at_ms": st.integers(NOW_MS - 10**6, NOW_MS + 10**6),
        "timeout_ms": limits,
        "max_attempts": st.none() | small,
        "keep_result_ms": limits,
    },
)
payloads: st.SearchStrategy[Any] = st.sampled_from(
    [{"address": "a"}, {"address": "a", "width": 3}, {"address": 5}, {}, [], None, {"x": 1}]
)
counts = st.builds(Counts, small, small, small, small, small, st.none() | st.integers(NOW_MS - 10**6, NOW_MS + 10**6))
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Returned, st.none() | st.integers() | text | st.floats() | st.binary(max_size=3) | st.just(object())),
    st.builds(Raised, errors, st.booleans()),
    st.builds(TimedOut, st.floats()),
    st.builds(Snoozed, limits, limits),
    st.builds(RetriedLater, ms, st.none() | text, errors),
    st.builds(Rejected, errors),
    st.builds(Cancelled, text),
    st.builds(Interrupted, st.booleans()),
    st.builds(Crashed, errors),
)


@st.composite
def envelopes(draw: st.DrawFn) -> bytes:
    if draw(st.integers(0, 5)) == 0:
        return draw(st.binary(max_size=30) | st.sampled_from([b"", b'{"version":7}', b'{"version":1,"needs":4}']))
    due = draw(st.none() | st.builds(After, ms) | st.builds(At, st.integers(NOW_MS - 10**6, NOW_MS + 10**6)))
    task = draw(st.sampled_from(["welcome", "welcome", "welcome", "other", "", "a b"]))
    return body(draw(payloads), task=task, due=due, schema=draw(st.integers(1, 4)), **draw(options))


claims = st.builds(
    leased, envelopes(), counts=counts, cancel=st.none() | text, enqueued_ms=st.integers(NOW_MS - 10**6, NOW_MS)
)


def place(step: Transition) -> State | None:
    """Where a job stands after a step; None: forgotten."""
    match step.to:
        case Finish(state):
            return None if step.keep_ms == 0 else state
        case Bury():
            return "dead"
        case Delay(wait_ms):
            return "scheduled" if wait_ms else "pending"
        case Return():
            return "pending"
        case Park():
            return "parked"


def hold_for_every_step(step: Transition) -> None:
    assert (step.id, step.token, step.effects) == ("job-1", TOKEN, ())
    assert legal("processing", place(step))
    assert step.bump in (None, *get_args(Counter))
    assert step.keep_ms is None or step.keep_ms >= 0
    if isinstance(step.to, Finish) and step.to.state != "completed":
        assert step.keep_ms is None or step.keep_ms >= KEEP_MS
    if isinstance(step.to, Delay):
        assert isinstance(step.to.ms, int)
        assert step.to.ms >= 0
    if isinstance(step.to, Bury):
        assert step.error is not None
        assert decode_error(step.error).reason == step.to.reason
    if step.error is not None:
        assert len(step.error) <= ERROR_LINE_LIMIT
        assert b"\n" not in step.error


@given(claims, specs, st.integers(NOW_MS - 10**6, NOW_MS + 10**7), st.integers(0, 3))
def test_admit_always_answers_and_charges_nothing(claim: Any, task: Any, now_ms: int, suspects: int) -> None:
    found = admit(claim, {task.name: task}, now_ms, suspects)
    if isinstance(found, Run):
        assert found.attempt == claim.counts.runs + 1
        assert claim.cancel is None
        assert claim.counts.crashes < task.retry.max_crashes
        assert found.envelope.schema <= task.schema
        return
    hold_for_every_step(found)
    assert found.bump is None
    assert not isinstance(found.to, Return)


good = st.builds(
    leased,
    st.builds(lambda due, own: body({"address": "a"}, due=due, **own), st.none() | st.builds(After, ms), options),
    counts=counts,
    enqueued_ms=st.integers(NOW_MS - 10**6, NOW_MS),
)


@given(good, specs, outcomes, st.integers(NOW_MS, NOW_MS + 10**7), st.floats(0, 1, exclude_max=True))
def test_decide_always_answers_with_a_legal_move(
    claim: Any, task: Any, outcome: Any, now_ms: int, chance: float
) -> None:
    run = admit(claim, {task.name: task}, NOW_MS, 0)
    if not isinstance(run, Run):
        return
    step = decide(run, outcome, now_ms, chance)
    hold_for_every_step(step)
    if not isinstance(outcome, Interrupted):
        assert step.bump is not None
    if isinstance(step.to, Bury):
        assert step.bump in ("failures", "crashes")
        assert step.to.reason in ("exhausted", "rejected", "crash_loop")
    if isinstance(outcome, Returned):
        assert isinstance(step.to, Finish)
        assert step.to.state == "completed"
    if isinstance(outcome, Interrupted | Snoozed):
        assert not isinstance(step.to, Bury)


@given(st.integers(1, 6), st.none() | st.integers(1, 6), st.floats(0, 1, exclude_max=True))
def test_a_job_that_always_fails_dies_after_exactly_its_attempts(
    task_most: int, own: int | None, chance: float
) -> None:
    task = spec(retry=Retry(max_attempts=task_most))
    raw = body() if own is None else body(max_attempts=own)
    ends: list[bool] = []
    while not any(ends):
        job = leased(raw, counts=Counts(runs=len(ends), failures=len(ends)))
        run = admit(job, {"welcome": task}, NOW_MS, 0)
        assert isinstance(run, Run)
        ends.append(isinstance(decide(run, Raised(ErrorInfo(kind="E")), NOW_MS, chance).to, Bury))
    assert len(ends) == (task_most if own is None else own)


# W14: one killer and many good jobs, on a worker with a few slots.


class Colony:
    """Jobs by id and their crashes; a killer takes all that run beside it. Slots and order are chosen from outside."""

    def __init__(self, jobs: int, killer: int, max_crashes: int) -> None:
        self.task = spec(retry=Retry(max_crashes=max_crashes))
        self.crashes = dict.fromkeys(range(jobs), 0)
        self.begun = dict.fromkeys(range(jobs), 0)
        self.killer = killer
        self.waiting = list(self.crashes)
        self.completed: set[int] = set()
        self.quarantined: set[int] = set()

    def life(self, draw: st.DataObject, slots: int) -> None:
        """One claim: admit what was drawn, run it; a crash if the killer is among it."""
        claimed = draw.draw(st.permutations(self.waiting))[: draw.draw(st.integers(1, slots))]
        running: list[int] = []
        suspects = crashed = 0
        for number in claimed:
            job = leased(counts=Counts(runs=self.crashes[number], crashes=self.crashes[number]))
            job = msgspec.structs.replace(job, note=mark_begun(None, self.begun[number]))
            found = admit(job, {"welcome": self.task}, NOW_MS, suspects, crashed)
            if isinstance(found, Run):
                running.append(number)
                suspects += is_suspect(job, self.task)
                crashed += self.crashes[number] > 0
                if is_suspect(job, self.task):
                    self.begun[number] = found.attempt
            elif isinstance(found.to, Bury):
                assert found.to.reason == "crash_loop"
                self.quarantined.add(number)
                self.waiting.remove(number)
        if self.killer in running:  # it takes all that is in this worker's hands, also what was not begun
            for number in set(claimed) - self.quarantined:
                self.crashes[number] += 1
            return
        for number in running:
            self.completed.add(number)
            self.waiting.remove(number)


@given(st.data(), st.integers(2, 8), st.integers(2, 4), st.integers(1, 8))
def test_W14_one_killer_never_quarantines_another_job(
    data: st.DataObject, jobs: int, max_crashes: int, slots: int
) -> None:
    colony = Colony(jobs, data.draw(st.integers(0, jobs - 1)), max_crashes)
    for _ in range(200):
        if not colony.waiting:
            break
        colony.life(data, slots)
    assert colony.waiting == []
    assert colony.quarantined == {colony.killer}
    assert colony.completed == set(range(jobs)) - {colony.killer}
    assert colony.crashes[colony.killer] == max_crashes


@pytest.mark.parametrize("known", [0, 1])
def test_two_suspects_in_one_claim_are_separated_too(known: int) -> None:
    task = spec()
    found = [admit(leased(counts=Counts(2, crashes=2)), {"welcome": task}, NOW_MS, n) for n in (known, known + 1)]
    assert [isinstance(each, Run) for each in found] == [known == 0, False]
