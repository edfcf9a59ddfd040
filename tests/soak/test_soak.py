"""The judge of the soak catches what it must; and ten seconds of the soak itself."""

from pathlib import Path
from typing import Any

import pytest
from tests.faults.ledger import Fact
from tests.soak.judge import Judge, Verdict
from tests.soak.page import BEGIN, END, beside, put
from tests.soak.report import Outcome, story, table
from tests.soak.run import Plan, soak

W1, W2 = "worker-1", "worker-2"


def fact(what: str, at: float, job: str = "j", **facts: Any) -> Fact:
    return {"what": what, "job": job, "at": at, "pid": 0, **facts}


def hired() -> list[Fact]:
    return [fact("event:worker_started", 0, "", worker=W1) | {"pid": 1},
            fact("event:worker_started", 0, "", worker=W2) | {"pid": 2}]  # fmt: skip


def accepted(*, kept: bool = False) -> Fact:
    return fact("accepted", 9, kept=kept)


def run(attempt: int, began: float, over: float | None = None, *, end: str = "ended", **more: Any) -> list[Fact]:
    """A run by the worker of that number, unless told otherwise."""
    facts: dict[str, Any] = {"attempt": attempt, "worker": (W1, W2)[attempt - 1], "token": f"t{attempt}"}
    facts |= {name: more.pop(name) for name in ("worker", "token") if name in more}
    lines = [fact("started", began, **facts, failures=more.get("failures", 0), crashes=more.get("crashes", 0))]
    if over is not None:
        kind: dict[str, Any] = {} if end == "ended" else {"kind": end}
        lines.append(fact("ended" if end == "ended" else "broken", over, **facts, **kind))
    return lines


def event(kind: str, attempt: int, at: float) -> Fact:
    return fact(f"event:{kind}", at, worker=(W1, W2)[attempt - 1], attempt=attempt)


def strike(how: str, began: float, ended: float | None = None, victim: int | None = 1) -> Fact:
    return fact("strike", began, "", how=how, began=began, ended=began if ended is None else ended, victim=victim)


def judged(facts: list[Fact], **states: str) -> Verdict:
    return Judge([*hired(), *facts]).over(states)


def words(verdict: Verdict) -> list[str]:
    return [one.what for one in verdict.offences]


def test_a_calm_job_is_completed() -> None:
    verdict = judged([accepted(), *run(1, 10, 11), event("completed", 1, 11)])
    assert (words(verdict), verdict.states["completed"], verdict.runs) == ([], 1, 1)


@pytest.mark.parametrize(
    ("facts", "states", "what"),
    [
        ([accepted()], {}, "the store does not know it"),
        ([accepted(kept=True), *run(1, 10, 11)], {}, "accepted, to be kept, and the store does not know it"),
        ([accepted()], {"j": "pending"}, "it is still pending"),
        ([accepted()], {"j": "completed"}, "completed without a run"),
        ([accepted(), *run(1, 10, 11, end="OSError")], {}, "its last run did not end well"),
        (run(1, 10), {}, "its last run did not end well"),
    ],
)
def test_a_planted_loss_is_caught(facts: list[Fact], states: dict[str, str], what: str) -> None:
    verdict = judged(facts, **states)
    assert len(verdict.lost) == 1
    assert what in verdict.lost[0].what


@pytest.mark.parametrize(
    "facts",
    [
        [*run(1, 10, 11), *run(2, 20, 21)],
        [*run(1, 10, 11), event("completed", 1, 11), strike("kill", 15), *run(2, 20, 21)],
        [*run(1, 10), *run(2, 20, 21, crashes=1)],
        [*run(1, 10), strike("kill", 15, victim=2), *run(2, 20, 21, crashes=1)],
        [*run(1, 10), strike("kill", 25), *run(2, 20, 21, crashes=1)],
        [*run(1, 10), strike("leave", 15), *run(2, 20, 21, crashes=1)],
        [*run(1, 10), strike("pause", 15, victim=None), *run(2, 20, 21, crashes=1)],
        [*run(1, 10, 11), *run(2, 20, 21, failures=1)],
        [*run(1, 10, 11), *run(2, 20, 21, crashes=1)],
    ],
    ids=["no-cause", "was-completed", "crash", "another-killed", "killed-later", "left", "pause", "failure", "crashed"],
)  # fmt: skip
def test_a_planted_double_is_caught(facts: list[Fact]) -> None:
    verdict = judged([accepted(), *facts])
    assert (len(verdict.unexplained), verdict.lost, sum(verdict.causes.values())) == (1, [], 0)


@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        ([*run(1, 10), strike("kill", 15), *run(2, 20, 21, crashes=1)], "its worker was killed"),
        ([*run(1, 10, 30), strike("freeze", 15, 25), *run(2, 20, 21, crashes=1)], "its worker was frozen"),
        ([*run(1, 10), strike("cut", 12, 18, victim=None), *run(2, 20, 21, crashes=1)], "the line was cut"),
        ([*run(1, 10, 11, end="OSError"), *run(2, 20, 21, failures=1)], "failed, tried again"),
        ([*run(1, 10, 11, end="Snooze"), *run(2, 20, 21)], "snoozed"),
        ([*run(1, 10, 11, end="CancelledError"), event("interrupted", 1, 11), *run(2, 20, 21)], "handed back"),
        ([*run(1, 10, 11, end="Reject"), fact("requeued", 15), *run(2, 20, 21)], "requeued"),
        ([*run(1, 10, 11), fact("unknown", 15), *run(1, 20, 21, worker=W2, token="t2")], "unknown reply"),
        ([*run(1, 10), *run(2, 20, 21, crashes=1), event("lease_lost", 1, 22)], "nobody struck it"),
    ],
)
def test_the_cause_of_a_further_run_is_named(facts: list[Fact], cause: str) -> None:
    verdict = judged([accepted(), *facts])
    assert words(verdict) == []
    [named] = verdict.causes
    assert cause in named


def test_two_good_leases_at_one_time_are_caught() -> None:
    both = [*run(1, 10, 30), *run(2, 20, 25, crashes=1)]
    assert len(judged([accepted(), *both]).overlaps) == 1
    assert len(judged([accepted(), *both, strike("freeze", 12, 28), event("completed", 1, 30)]).overlaps) == 1
    assert judged([accepted(), *both, strike("freeze", 12, 28)]).overlaps == []
    assert judged([accepted(), *both, event("lease_lost", 1, 30)]).overlaps == []


def test_one_token_that_runs_twice_is_caught() -> None:
    [caught] = judged([accepted(), *run(1, 10, 11), *run(2, 20, 21, token="t1")]).overlaps
    assert "one token ran twice" in caught.what


def taken(at: float) -> Fact:
    return fact("event:crashed", at, worker=W2)


def test_recovery_is_measured_from_the_kill_to_the_claim_that_took_the_job_over_and_to_its_next_run() -> None:
    lines = [accepted(), *run(1, 10), strike("kill", 15), taken(16), *run(2, 17, 18, crashes=1)]
    verdict = judged(lines)
    assert (verdict.takeovers, verdict.disturbed, verdict.reruns, verdict.late) == ([1], [], [2], {})
    disturbed = judged([*lines, strike("restart", 15.5, 15.8, victim=None)])
    assert (disturbed.takeovers, disturbed.disturbed) == ([], [1])


@pytest.mark.parametrize(
    ("took_over", "why"), [(16, "it was taken over in time, and stood in line again"), (31, "taken over late")]
)
def test_a_late_recovery_has_its_cause(took_over: float, why: str) -> None:
    lines = [accepted(), *run(1, 10), strike("kill", 15), taken(took_over), *run(2, 32, 33, crashes=1)]
    assert judged(lines).late == {why: 1}


def test_what_was_lost_before_the_kill_or_handed_back_is_no_recovery() -> None:
    lost_before = [accepted(), *run(1, 10), taken(14), strike("kill", 15), *run(2, 17, 18, crashes=1)]
    handed_back = [accepted(), *run(1, 10), strike("kill", 15), *run(2, 17, 18)]
    assert judged(lost_before).reruns == judged(handed_back).reruns == []


def test_runs_stand_side_by_side_in_the_page_s_table() -> None:
    file, server = [("store", "a file"), ("lost", "0")], [("store", "a server"), ("cuts", "3"), ("lost", "0")]
    table = beside([file, server])
    assert table == "| | | |\n|---|---|---|\n| store | a file | a server |\n| cuts |  | 3 |\n| lost | 0 | 0 |\n"
    assert put(f"head\n{BEGIN}old\n{END}tail\n", table) == f"head\n{BEGIN}{table}{END}tail\n"


def told(outcome: Outcome, facts: Any) -> str:
    return f"{table(outcome, 0)}\n{story(outcome, facts)}\n" + "\n".join(outcome.tracebacks)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("store", ["sqlite", "valkey"])
def test_soak_of_ten_seconds(store: str, tmp_path: Path, seed: int) -> None:
    outcome, facts = soak(Plan(store, 10, seed=seed, rate=30), tmp_path)
    assert outcome.verdict.offences == [], told(outcome, facts)
    assert outcome.left_over == [], told(outcome, facts)
    assert outcome.made["kills"] > 0
    assert outcome.verdict.told["accepted"] > 0
