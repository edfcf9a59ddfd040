"""Jobs in child processes (W13): they die with their worker, and thousands of deaths leave nothing stuck."""

import random
from pathlib import Path

import psutil
import pytest
from tests.faults.processes import Fleet, eventually

DEATHS = ("family", "exit", "deaf", "SIGKILL", "SIGSEGV", "SIGABRT", "SIGTERM", "SIGBUS")


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("task", ["rests", "holds"])
def test_W13_children_die_with_a_killed_worker_and_their_jobs_run_elsewhere(
    fleet: Fleet, tmp_path: Path, task: str
) -> None:
    pids = tmp_path / "pids"
    [id] = fleet.enqueue(task, pids=str(pids))
    worker = fleet.run("tests.faults.apart", "2")
    eventually("it runs", pids.exists)
    family = [int(pid) for pid in pids.read_text().split()]
    family += [child.pid for child in psutil.Process(worker.pid).children(recursive=True)]
    pids.unlink()
    fleet.kill(worker)
    eventually("all died", lambda: not any(map(alive, family)))
    fleet.run("tests.faults.apart", "2")
    eventually("it runs elsewhere", pids.exists)
    assert fleet.record(id).counts.crashes == 1
    fleet.close()
    eventually("all died", lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))


@pytest.mark.parametrize("most", [60, pytest.param(3_000, marks=[pytest.mark.faults_full, pytest.mark.timeout(7_200)])])
def test_W13_many_deaths_concern_one_job_each_and_leave_nothing_stuck(
    fleet: Fleet, dice: random.Random, most: int
) -> None:
    kinds = [*dice.choices(DEATHS, k=most // 2), *["late"] * (most // 20)]
    drafts = [fleet.task("late").draft() if how == "late" else fleet.task("deadly").draft(how=how) for how in kinds]
    bad = {draft.id for draft in drafts}
    drafts += [fleet.task(name).draft(number=place) for place in range(most) for name in ("good", "good_later")]
    dice.shuffle(drafts)
    fleet.took(drafts)
    worker = fleet.run("tests.faults.apart", "3")
    eventually("every job ended", fleet.over, 60 + most)
    for id, record in zip(fleet.accepted, fleet.records(), strict=True):
        assert record is not None
        if id in bad:
            assert record.state == "dead"
            assert (record.reason, record.counts.crashes + record.counts.failures) in (
                ("crash_loop", 1),
                ("exhausted", 1),
            )
        else:
            assert (record.state, record.counts.crashes, record.counts.failures) == ("completed", 0, 0)
    assert sum(record is not None and record.reason == "exhausted" for record in fleet.records()) == kinds.count("late")
    left = psutil.Process(worker.pid).children(recursive=True)
    fleet.stop(worker)
    eventually("all left", lambda: not any(alive(child.pid) for child in left))
