"""Workers that are told to go (W7 to W9): nothing is lost, nothing waits for a lease, and nobody pays for a deploy."""

import random
import signal

import pytest
from tests.faults.processes import Fleet, Process, eventually

from surefoot.core.names import Priority

STOPS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


def nothing_is_leased(fleet: Fleet) -> bool:
    return fleet.queue.stats_sync().processing == 0


def test_W7_running_jobs_end_and_nothing_more_is_claimed(fleet: Fleet) -> None:
    worker = fleet.start("--concurrency", "4")
    running = fleet.enqueue("work", 4, seconds=1.5)
    fleet.told("started", 4)
    waiting = fleet.enqueue("work", 16, seconds=0)
    worker.send_signal(signal.SIGTERM)
    fleet.left(worker, 0)
    assert fleet.ledger.count("started") == 4, "no claim after the signal"
    assert [fleet.record(id).state for id in running] == ["completed"] * 4
    assert [fleet.record(id).state for id in waiting] == ["pending"] * 16
    fleet.start()
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert verdict.doubled == {}


def test_W7_what_outlasts_the_drain_is_handed_back(fleet: Fleet) -> None:
    ids = fleet.enqueue("work", 2, seconds=60, later=0) + fleet.enqueue("threaded", 2, seconds=60, later=0)
    worker = fleet.start("--drain", "0.5")
    fleet.told("started", 4)
    worker.send_signal(signal.SIGTERM)
    fleet.left(worker, 0)
    for id in ids:
        record = fleet.record(id)
        assert record.state == "pending"
        assert (record.counts.interruptions, record.counts.failures, record.counts.crashes) == (1, 0, 0)
    fleet.start()
    fleet.all_over().assert_nothing_lost()
    assert [run["attempt"] for id in ids for run in fleet.ledger.of("started", id)] == [1, 2] * 4


def test_W7_what_has_not_started_goes_back_to_its_old_place(fleet: Fleet) -> None:
    """Claimed, but waiting for the only thread; some of them more urgent than others, and later ones behind them."""
    task = fleet.task("threaded")
    words: list[Priority] = ["low", "normal", "high"]
    drafts = [task.options(priority=words[place % 3]).draft(seconds=0) for place in range(9)]
    [first] = fleet.enqueue("threaded", seconds=1.5)
    worker = fleet.start("--threads", "1", "--concurrency", "10")
    fleet.told("started")
    claimed = fleet.took(drafts)
    eventually("all are claimed", lambda: all(fleet.record(id).state == "processing" for id in claimed))
    behind = fleet.took([task.options(priority=word).draft(seconds=0) for word in words])
    worker.send_signal(signal.SIGTERM)
    fleet.left(worker, 0)
    assert fleet.record(first).state == "completed"
    for id in claimed:
        record = fleet.record(id)
        assert (record.state, record.counts.runs, record.counts.interruptions) == ("pending", 0, 0)
    fleet.start("--threads", "1", "--concurrency", "1")
    fleet.all_over().assert_nothing_lost()
    high, normal, low = claimed[2::3], claimed[1::3], claimed[0::3]
    order = [*high, behind[2], *normal, behind[1], *low, behind[0]]
    assert [run["job"] for run in fleet.ledger.of("started")] == [first, *order]


def stopped_at_some_moment(fleet: Fleet, dice: random.Random) -> None:
    """One worker with a mixed load, told to go when so many facts are told, or by itself right after a claim."""
    fleet.enqueue("work", dice.randrange(1, 30), seconds=dice.choice((0, 0.01, 0.2)))
    fleet.enqueue("threaded", dice.randrange(1, 15), seconds=dice.choice((0, 0.01, 0.2)))
    options = ("--threads", "3", "--drain", dice.choice(("0", "0.1", "5")))
    if dice.random() < 0.2:
        worker = fleet.start(*options, "--trouble", "term_after:claim:1")
    else:
        worker = fleet.start(*options)
        fleet.ready(worker)
        fleet.moment(dice.randrange(0, 100))
        worker.send_signal(dice.choice((signal.SIGTERM, signal.SIGINT)))
    fleet.left(worker, 0)
    assert nothing_is_leased(fleet), "a job waits for its lease to end"


def stopped_often(fleet: Fleet, dice: random.Random, times: int) -> None:
    """So many deploys one after the other; then all that is left is done."""
    for _ in range(times):
        stopped_at_some_moment(fleet, dice)
    fleet.start("--concurrency", "50")
    fleet.all_over().assert_nothing_lost()
    for record in fleet.records():
        assert record is not None and (record.state, record.counts.failures, record.counts.crashes) == (
            "completed", 0, 0,
        )  # fmt: skip


@pytest.mark.timeout(240)
def test_W8_stopped_at_30_random_moments(fleet: Fleet, dice: random.Random) -> None:
    stopped_often(fleet, dice, 30)


@pytest.mark.faults_full
@pytest.mark.timeout(3_600)
def test_W8_stopped_at_1000_random_moments(fleet: Fleet, dice: random.Random) -> None:
    stopped_often(fleet, dice, 1_000)


def test_W8_stopped_between_the_reply_of_a_claim_and_the_start(fleet: Fleet) -> None:
    ids = fleet.enqueue("work", 5, seconds=0) + fleet.enqueue("threaded", 5, seconds=0)
    worker = fleet.start("--trouble", "term_after:claim:1")
    fleet.left(worker, 0)
    assert fleet.ledger.count("blow") == 1
    assert fleet.ledger.count("started") == 0
    for id in ids:
        record = fleet.record(id)
        assert (record.state, record.counts.runs) == ("pending", 0)


def twice(fleet: Fleet, worker: Process, number: signal.Signals) -> None:
    """Two signals of which both are seen."""
    worker.send_signal(number)
    fleet.told("event:worker_draining")
    worker.send_signal(number)


@pytest.mark.parametrize(("number", "code"), STOPS, ids=["int", "term"])
def test_W9_second_signal_hands_back_at_once(fleet: Fleet, number: signal.Signals, code: int) -> None:
    ids = fleet.enqueue("work", 2, seconds=600) + fleet.enqueue("threaded", 2, seconds=600)
    worker = fleet.start("--drain", "600")
    fleet.told("started", 4)
    twice(fleet, worker, number)
    fleet.left(worker, code)
    for id in ids:
        record = fleet.record(id)
        assert (record.state, record.counts.interruptions, record.counts.failures) == ("pending", 1, 0)


def test_W9_second_signal_hands_back_what_does_not_end(fleet: Fleet) -> None:
    [id] = fleet.enqueue("stubborn", seconds=600)
    worker = fleet.start("--drain", "600")
    fleet.told("started")
    twice(fleet, worker, signal.SIGTERM)
    eventually("it is handed back", lambda: fleet.record(id).state == "pending")
    fleet.left(worker, 143)
    assert fleet.record(id).counts.interruptions == 1


def test_W9_drain_that_is_over_does_not_wait_for_what_does_not_end(fleet: Fleet) -> None:
    [id] = fleet.enqueue("stubborn", seconds=600)
    worker = fleet.start("--drain", "0.1")
    fleet.told("started")
    worker.send_signal(signal.SIGTERM)
    eventually("it is handed back", lambda: fleet.record(id).state == "pending")
    fleet.left(worker, 0)


@pytest.mark.parametrize(("number", "code"), STOPS, ids=["int", "term"])
@pytest.mark.parametrize("task", ["stubborn", "blocking"])
def test_W9_third_signal_leaves_at_once(fleet: Fleet, task: str, number: signal.Signals, code: int) -> None:
    """Two signals may reach Python as one, so they are sent until it is gone; two seen ones would hand the job back."""
    [id] = fleet.enqueue(task, seconds=3)
    worker = fleet.start("--drain", "600")
    fleet.told("started")

    def gone() -> bool:
        fleet.strike(worker, number)
        return worker.poll() is not None

    eventually("it is gone", gone)
    fleet.left(worker, code)
    assert fleet.record(id).state == "processing"
    fleet.start()
    fleet.all_over().assert_nothing_lost()
    assert (fleet.record(id).counts.crashes, fleet.record(id).counts.failures) == (1, 0)
