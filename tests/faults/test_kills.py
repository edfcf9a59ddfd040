"""Workers that die (W1 to W6): what they held runs elsewhere, and what was done is not done again."""

import random
from collections import Counter
from itertools import product
from pathlib import Path

import msgspec
import pytest
from tests.faults.processes import DEFAULTS, Fleet, Process

RECOVERY_S = 15.0
"""The one promise with a number: with default settings a dead worker's job runs again within this time."""


def test_W1_claim_is_asked_again_after_its_reply_was_lost(fleet: Fleet) -> None:
    ids = fleet.enqueue("work", 5, seconds=0)
    fleet.start("--trouble", "drop:claim:1", "--lease", "10")
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert fleet.ledger.count("blow") == 1
    assert verdict.started == len(ids), "the repeated claim brought the same jobs, and they ran once"
    assert all(fleet.record(id).counts.crashes == 0 for id in ids)


def test_W1_jobs_of_a_claim_that_nobody_read_run_elsewhere(fleet: Fleet) -> None:
    ids = fleet.enqueue("work", 5, seconds=0)
    dying = fleet.start("--trouble", "kill_after:claim:1")
    fleet.left(dying, -9)
    assert fleet.ledger.count("started") == 0
    fleet.start()
    fleet.all_over().assert_nothing_lost()
    for id in ids:
        record = fleet.record(id)
        assert (record.state, record.counts.crashes, record.counts.failures) == ("completed", 1, 0)
        assert [run["attempt"] for run in fleet.ledger.of("started", id)] == [2]


@pytest.mark.timeout(120)
def test_W2_killed_before_the_first_line_with_default_settings(fleet: Fleet) -> None:
    idle = fleet.start(*DEFAULTS)
    fleet.ready(idle)
    fleet.freeze(idle)  # so that the other one gets the job, although the wake-up goes to this one
    [id] = fleet.enqueue("work", seconds=0)
    dying = fleet.start(*DEFAULTS, "--die-on", "started")
    fleet.left(dying, -9)
    assert fleet.ledger.count("started") == 0
    fleet.thaw(idle)
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    counts = fleet.record(id).counts
    assert (counts.crashes, counts.failures) == (1, 0)
    assert [run["attempt"] for run in fleet.ledger.of("started", id)] == [2]
    assert 0 < verdict.longest_recovery < RECOVERY_S


def test_W3_killed_in_the_middle_of_the_handlers(fleet: Fleet) -> None:
    ids = fleet.enqueue("work", 3, seconds=60, later=0) + fleet.enqueue("threaded", 3, seconds=60, later=0)
    dying = fleet.start()
    fleet.told("started", 6)
    spare = fleet.start()
    fleet.ready(spare)
    fleet.kill(dying)
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert set(verdict.doubled) == set(ids)
    for id in ids:
        counts = fleet.record(id).counts
        assert (counts.crashes, counts.failures) == (1, 0)
        assert [run["attempt"] for run in fleet.ledger.of("started", id)] == [1, 2]


def test_W4_killed_after_the_effect_before_the_settle(fleet: Fleet, tmp_path: Path) -> None:
    [id] = fleet.enqueue("effect_then_die", flag=str(tmp_path / "died"))
    dying = fleet.start()
    fleet.left(dying, -9)
    fleet.start()
    fleet.all_over().assert_nothing_lost()
    assert fleet.ledger.count("ended", id) == 2, "one more run for one kill, under the same id"
    assert fleet.record(id).counts.crashes == 1


def test_W5_settle_is_said_again_after_its_reply_was_lost(fleet: Fleet) -> None:
    ids = fleet.enqueue("work", 5, seconds=0) + fleet.enqueue("failing", 3)
    fleet.start("--trouble", "drop:settle:1")
    fleet.told("blow")
    fleet.start()
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert fleet.ledger.count("blow") == 1
    assert fleet.ledger.count("event:lease_lost") == 0, "the repeat was answered like the first"
    assert verdict.started == 5 + 2 * 3
    assert all(fleet.record(id).counts.failures == 2 for id in ids[5:])


def test_W5_killed_after_the_settle_was_executed(fleet: Fleet) -> None:
    ids = fleet.enqueue("work", 5, seconds=0)
    dying = fleet.start("--concurrency", "5", "--trouble", "kill_after:settle:1")
    fleet.left(dying, -9)
    settled = [id for id in ids if fleet.record(id).state == "completed"]
    assert settled, "the settle was executed before the process died"
    fleet.start()
    fleet.all_over().assert_nothing_lost()
    assert all(fleet.ledger.count("started", id) == 1 for id in settled)


CUTS = list(product(("lose", "drop", "kill_before", "kill_after"), ("claim", "settle"), ("1", "2")))


def cut(fleet: Fleet, plan: tuple[str, str, str]) -> None:
    """A job that fails twice and is buried, cut at one call of its life."""
    [id] = fleet.enqueue("failing")
    first = fleet.start("--trouble", ":".join(plan))
    fleet.told("blow")
    if plan[0].startswith("kill"):
        fleet.left(first, -9)
        fleet.start()
    fleet.all_over().assert_nothing_lost()
    record = fleet.record(id)
    assert (record.state, record.reason, record.counts.failures) == ("dead", "exhausted", 2)
    assert record.counts.runs == record.counts.failures + record.counts.crashes
    assert record.counts.crashes <= (1 if plan[0].startswith("kill") else 0)


def test_W6_cut_at_a_call_of_failing_and_burying(fleet: Fleet, dice: random.Random) -> None:
    cut(fleet, dice.choice(CUTS))


@pytest.mark.faults_full
@pytest.mark.parametrize("plan", CUTS, ids=":".join)
def test_W6_cut_at_every_call_of_failing_and_burying(fleet: Fleet, plan: tuple[str, str, str]) -> None:
    cut(fleet, plan)


class Crew(msgspec.Struct, frozen=True):
    """So many workers with default settings, each of which serves `jobs` and these queues."""

    size: int
    also: tuple[str, ...] = ()


CREWS = [pytest.param(Crew(3), id="3-on-1"), pytest.param(Crew(4, ("more",)), id="4-on-2")]


def at_work(fleet: Fleet, workers: list[Process]) -> list[Process]:
    """Those of these workers that run a job now, as far as they have told."""
    running = Counter(run["pid"] for run in fleet.ledger.of("started"))
    running.subtract(run["pid"] for run in fleet.ledger.of("ended"))
    return [worker for worker in workers if running[worker.pid] > 0]


def kill_run(fleet: Fleet, dice: random.Random, crew: Crew) -> None:
    """200 jobs of half a second, evenly in all queues; one worker is killed while they run."""
    tasks = [fleet.task("work"), *(fleet.also(name).by_name("work") for name in crew.also)]
    options = [word for name in crew.also for word in ("--also", name)]
    workers = [fleet.start(*DEFAULTS, *options) for _ in range(crew.size)]
    fleet.ready(*workers)
    for _ in range(4):
        fleet.took([task.draft(seconds=0.5) for task in tasks for _ in range(50 // len(tasks))])
    assert len(fleet.accepted) == 200
    fleet.told("started", dice.randrange(1, 200))
    fleet.moment(dice.choice((0, dice.randrange(0, 100))))
    fleet.kill(dice.choice(at_work(fleet, workers) or workers))
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    records = fleet.records()
    assert all(record is not None and record.state == "completed" for record in records)
    print(verdict)
    assert verdict.longest_recovery < RECOVERY_S


@pytest.mark.timeout(150)
@pytest.mark.parametrize("number", range(1))
@pytest.mark.parametrize("crew", CREWS)
def test_acceptance_kill_run_with_default_settings(fleet: Fleet, dice: random.Random, crew: Crew, number: int) -> None:
    kill_run(fleet, dice, crew)


@pytest.mark.faults_full
@pytest.mark.timeout(150)
@pytest.mark.parametrize("number", range(1, 20))
@pytest.mark.parametrize("crew", CREWS)
def test_acceptance_more_kill_runs(fleet: Fleet, dice: random.Random, crew: Crew, number: int) -> None:
    kill_run(fleet, dice, crew)
