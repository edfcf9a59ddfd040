"""Handlers that block (W11, W12, W21): they keep their lease, are named, and never take the worker's promise along."""

import signal
from pathlib import Path

import pytest
from tests.faults.processes import Fleet, eventually


def test_W11_blocked_loop_keeps_its_leases_and_is_named(fleet: Fleet) -> None:
    [id] = fleet.enqueue("blocking", seconds=3.5)
    others = fleet.enqueue("work", 3, seconds=1) + fleet.enqueue("threaded", 3, seconds=1)
    fleet.start()
    fleet.told("started", 1, id)
    thief = fleet.start()
    fleet.ready(thief)
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert verdict.doubled == {}
    assert verdict.started == 1 + len(others)
    warning = fleet.ledger.of("event:loop_blocked", id)[0]
    assert "in blocking" in warning["details"]["stack"]
    assert "time.sleep(seconds)" in warning["details"]["stack"]
    told = [line for line in fleet.logs().splitlines() if id in line and "loop blocked" in line]
    assert told, "the log names the job"
    assert "time.sleep(seconds)" in told[0], "and shows where it blocks"


def test_W11_loop_that_is_gone_for_good_is_left_with_75(fleet: Fleet) -> None:
    task = fleet.task("blocking")
    [culprit] = fleet.took([task.options(timeout=2, max_attempts=1).draft(seconds=600)])
    others = fleet.enqueue("threaded", 2, seconds=600, later=0)
    worker = fleet.start()
    fleet.told("started", 3)
    fleet.left(worker, 75)
    record = fleet.record(culprit)
    assert (record.state, record.reason, record.counts.failures) == ("dead", "exhausted", 1)
    assert b"TimeoutError" in record.errors[0]
    for id in others:
        record = fleet.record(id)
        assert (record.state, record.counts.interruptions, record.counts.crashes) == ("pending", 1, 0)
    fleet.start()
    fleet.all_over().assert_nothing_lost()


@pytest.mark.parametrize("around", [(), ("--middleware",)], ids=["bare", "middleware"])
def test_W12_stuck_thread_is_given_up_and_replaced(fleet: Fleet, tmp_path: Path, around: tuple[str, ...]) -> None:
    [stuck] = fleet.enqueue("never_returns")
    fleet.start("--threads", "2", *around)
    eventually("it is failed", lambda: fleet.record(stuck).state == "dead")
    record = fleet.record(stuck)
    assert (record.reason, record.counts.failures, record.counts.crashes) == ("exhausted", 1, 0)
    assert b"TimeoutError" in record.errors[0]
    room = tmp_path / "room"
    room.mkdir()
    fleet.enqueue("meets", 2, folder=str(room), guests=2)
    fleet.all_over().assert_nothing_lost()
    assert fleet.ledger.count("ended") == 2, "two threads ran beside the stuck one"
    fleet.told("event:thread_stuck", 1, stuck)


@pytest.mark.parametrize("around", [(), ("--middleware",)], ids=["bare", "middleware"])
def test_W12_as_many_stuck_as_threads_leave_with_75(fleet: Fleet, around: tuple[str, ...]) -> None:
    stuck = fleet.enqueue("never_returns", 2)
    rest = fleet.enqueue("work", 1, seconds=60, later=0)
    worker = fleet.start("--threads", "2", "--drain", "0.5", *around)
    fleet.left(worker, 75)
    assert [fleet.record(id).state for id in stuck] == ["dead"] * 2
    assert fleet.ledger.count("event:thread_stuck") == 2
    assert fleet.record(rest[0]).state == "pending"
    fleet.start()
    fleet.all_over().assert_nothing_lost()


def test_W12_stuck_thread_does_not_hang_the_exit(fleet: Fleet) -> None:
    [stuck] = fleet.enqueue("never_returns")
    worker = fleet.start("--threads", "2")
    eventually("it is failed", lambda: fleet.record(stuck).state == "dead")
    worker.send_signal(signal.SIGTERM)
    fleet.left(worker, 0)


def test_W21_longer_than_ten_leases_is_one_run(fleet: Fleet) -> None:
    ids = fleet.enqueue("work", seconds=10.5) + fleet.enqueue("threaded", seconds=10.5)
    fleet.start()
    fleet.told("started", 2)
    fleet.start()
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert verdict.started == len(ids)
    assert all(fleet.record(id).counts.crashes == 0 for id in ids)
