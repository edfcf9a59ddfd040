"""Workers that come back from the dead (W10), and names that mean nothing (W19)."""

import json

import pytest
from tests.faults.processes import Fleet, Process, eventually

from surefoot.client.records import job_of


def overtaken(fleet: Fleet, id: str) -> tuple[Process, Process]:
    """A worker that is frozen in the middle of this job, and the one that has it now."""
    zombie = fleet.start()
    fleet.told("started", 1, id)
    fleet.freeze(zombie)
    heir = fleet.start()
    fleet.told("started", 2, id)
    return zombie, heir


@pytest.mark.parametrize("task", ["work", "threaded"])
def test_W10_zombie_cannot_settle(fleet: Fleet, task: str) -> None:
    """Its handler comes to its end while it stands, so that it wakes up with a result; the heir is still at it."""
    [id] = fleet.enqueue(task, seconds=1.5, later=4)
    zombie, heir = overtaken(fleet, id)
    before = fleet.record(id)
    assert (before.state, before.caller) == ("processing", fleet.id_of(heir))
    fleet.thaw(zombie)
    fleet.told("event:lease_lost", 1, id)
    after = fleet.record(id)
    assert (after.state, after.caller, after.counts) == (before.state, before.caller, before.counts)
    fleet.all_over().assert_nothing_lost()
    assert fleet.record(id).result == json.dumps(fleet.id_of(heir)).encode()
    assert (before.counts.crashes, before.counts.failures) == (1, 0)
    fleet.stop(zombie, heir)
    assert fleet.ledger.count("event:lease_lost") == 1
    assert fleet.ledger.count("event:completed", id) == 1


def test_W10_zombie_cannot_fail_it(fleet: Fleet) -> None:
    """It wakes up out of time and would bury the job."""
    task = fleet.task("work")
    [id] = fleet.took([task.options(timeout=2, max_attempts=1).draft(seconds=600, later=1)])
    zombie, heir = overtaken(fleet, id)
    eventually("it is done", lambda: fleet.record(id).state == "completed")
    before = fleet.record(id)
    fleet.thaw(zombie)
    fleet.told("event:lease_lost", 1, id)
    assert fleet.record(id) == before
    assert fleet.ledger.of("ended", id)[0]["worker"] == fleet.id_of(heir)
    fleet.all_over().assert_nothing_lost()
    fleet.stop(zombie, heir)
    assert fleet.ledger.count("event:lease_lost") == 1


def test_W10_zombie_is_cancelled_and_its_progress_refused(fleet: Fleet) -> None:
    [id] = fleet.enqueue("reporting", seconds=6)
    zombie, heir = overtaken(fleet, id)
    heirs = fleet.id_of(heir)
    eventually("the heir's progress is stored", lambda: note_of(fleet, id) == heirs)
    fleet.thaw(zombie)

    def heirs_all_the_time() -> bool:
        assert fleet.record(id).state == "completed" or note_of(fleet, id) == heirs
        return fleet.ledger.count("event:lease_lost", id) > 0

    eventually("the zombie notices", heirs_all_the_time)
    [broken] = fleet.ledger.of("broken", id)
    assert (broken["worker"], broken["kind"]) == (fleet.id_of(zombie), "CancelledError")
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert fleet.record(id).result == json.dumps(heirs).encode()
    fleet.stop(zombie, heir)
    assert fleet.ledger.count("event:lease_lost") == 1
    assert verdict.ended == 1


def note_of(fleet: Fleet, id: str) -> str | None:
    """What the progress of a job says."""
    progress = job_of(fleet.record(id), "jobs", {}).progress
    return None if progress is None else progress.note


@pytest.mark.parametrize("seconds", [1.5, 600], ids=["settles", "extends"])
def test_W10_zombie_of_a_former_life_of_the_id(fleet: Fleet, seconds: float) -> None:
    """The id was forgotten and enqueued again while it stood; both lives are in their second run when it wakes up."""
    task = fleet.task("work")
    fleet.queue.enqueue_sync(task.options(id="x", keep_result=0).draft(seconds=seconds, later=0))
    zombie, heir = overtaken(fleet, "x")
    eventually("the first life is over", lambda: fleet.records(["x"]) == [None])
    fleet.took([task.options(id="x").draft(seconds=5)])
    fleet.told("started", 3, "x")
    before = fleet.record("x")
    assert before.caller == fleet.id_of(heir)
    fleet.thaw(zombie)
    fleet.told("event:lease_lost", 1, "x")
    after = fleet.record("x")
    assert (after.state, after.caller, after.counts) == ("processing", before.caller, before.counts)
    eventually("the second life is over", fleet.over)
    last = fleet.record("x")
    assert (last.state, last.counts.crashes) == ("completed", 0)
    assert last.result == json.dumps(fleet.id_of(heir)).encode()
    assert fleet.ledger.count("started", "x") == 3
    fleet.stop(zombie, heir)
    assert fleet.ledger.count("event:lease_lost") == 1


def test_W10_idle_zombie_keeps_nothing_from_the_living_and_serves_again(fleet: Fleet) -> None:
    """A wake-up may go to the one that stands; whoever else is idle finds the job without it."""
    first, second = fleet.start(), fleet.start()
    fleet.ready(first, second)
    for standing, awake in ((first, second), (second, first)):
        fleet.freeze(standing)
        ids = fleet.enqueue("work", 3, seconds=0)
        fleet.told("ended", len(fleet.accepted))
        assert {run["pid"] for id in ids for run in fleet.ledger.of("ended", id)} == {awake.pid}
        fleet.thaw(standing)
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert verdict.started == len(fleet.accepted)
    fleet.stop(first, second)


def test_W19_workers_of_one_name(fleet: Fleet) -> None:
    first, second = fleet.start("--name", "web-1", "--concurrency", "2"), fleet.start("--name", "web-1")
    fleet.ready(first, second)
    fleet.enqueue("work", 6, seconds=4)
    fleet.told("started", 6)
    eventually("both say that they live", lambda: len(fleet.queue.workers_sync()) == 2)
    assert {one.name for one in fleet.queue.workers_sync()} == {"web-1"}
    assert {one.id for one in fleet.queue.workers_sync()} == {fleet.id_of(first), fleet.id_of(second)}
    theirs = {run["job"] for run in fleet.ledger.of("started") if run["pid"] == first.pid}
    fleet.kill(first)
    again = fleet.start("--name", "web-1")
    assert fleet.id_of(again) not in (fleet.id_of(first), fleet.id_of(second))
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert set(verdict.doubled) == theirs, "a name kept nothing alive, and took nothing from the living"


def test_W19_a_container_that_starts_again_under_its_old_name(fleet: Fleet) -> None:
    """The name says nothing to the store: what the first start held waits for its lease, and costs one crash."""
    first = fleet.start("--name", "web-1", "--lease", "5")
    [id] = fleet.enqueue("work", seconds=60, later=0)
    fleet.told("started", 1, id)
    fleet.kill(first)
    second = fleet.start("--name", "web-1", "--lease", "5")
    fleet.ready(second)
    held = fleet.record(id)
    assert (held.state, held.caller) == ("processing", fleet.id_of(first)), "not the second one's by its name"
    fleet.all_over().assert_nothing_lost()
    record = fleet.record(id)
    assert (record.counts.crashes, record.caller) == (1, fleet.id_of(second))
    fleet.stop(second)
