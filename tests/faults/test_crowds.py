"""Many processes on one store: a job that kills (W14), busy writers (Q1), and kill -9 of anybody at any time (Q3)."""

import json
import random

import pytest
from tests.faults.processes import Fleet, Process, eventually


@pytest.mark.timeout(180)
def test_W14_killer_among_a_thousand_good_jobs(fleet: Fleet, dice: random.Random) -> None:
    before = dice.randrange(1, 999)
    good = fleet.enqueue("work", before, seconds=0.005)
    [killer] = fleet.enqueue("killer")
    good += fleet.enqueue("work", 1_000 - before, seconds=0.005)
    crew: list[Process] = []

    def over() -> bool:
        crew[:] = [worker for worker in crew if worker.poll() is None]
        while len(crew) < 2:
            crew.append(fleet.start())
        return fleet.over()

    eventually("all is done, whoever dies", over, 120)
    fleet.judge().assert_nothing_lost()
    record = fleet.record(killer)
    assert (record.state, record.reason, record.counts.crashes, record.counts.failures) == ("dead", "crash_loop", 3, 0)
    lines = [json.loads(line) for line in record.errors]
    assert lines[0]["reason"] == "crash_loop"
    took = [fleet.ledger.pids()[line["caller"]] for line in lines if line.get("kind") == "crash"]
    dead = [worker.pid for worker in fleet.processes if worker.poll() == -9]
    assert sorted(took) == sorted(dead)
    quarantined = [id for id in good if fleet.record(id).state != "completed"]
    assert quarantined == [], f"{len(quarantined)} good jobs did not complete"


def test_Q1_four_processes_write_one_store(fleet: Fleet) -> None:
    producers = [fleet.run("tests.faults.producer", "200") for _ in range(4)]
    workers = [fleet.start() for _ in range(2)]
    for producer in producers:
        fleet.left(producer, 0)
    assert fleet.ledger.of("refused") == []
    fleet.accepted = [line["job"] for line in fleet.ledger.of("accepted")]
    assert len(fleet.accepted) == 800
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert verdict.doubled == {}
    assert all(worker.poll() is None for worker in workers)


def killed_at_any_time(fleet: Fleet, dice: random.Random, kills: int) -> None:
    """Producers, workers and the server, if there is one, die one after the other and are replaced."""
    producers = [fleet.run("tests.faults.producer") for _ in range(2)]
    workers = [fleet.start() for _ in range(2)]
    for _ in range(kills):
        fleet.told("accepted", fleet.ledger.count("accepted") + dice.randrange(1, 100))
        if fleet.server is not None and dice.random() < 1 / 3:
            fleet.restart_server()
            continue
        crew = dice.choice((producers, workers))
        fleet.kill(crew.pop(dice.randrange(2)))
        crew.append(fleet.start() if crew is workers else fleet.run("tests.faults.producer"))
    for producer in producers:
        fleet.kill(producer)
    assert fleet.ledger.of("refused") == []
    fleet.accepted = [line["job"] for line in fleet.ledger.of("accepted")]
    assert fleet.accepted
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    print(verdict)


def test_Q3_killed_at_any_time(fleet: Fleet, dice: random.Random) -> None:
    killed_at_any_time(fleet, dice, 12)


@pytest.mark.faults_full
@pytest.mark.timeout(1_800)
def test_Q3_killed_at_any_time_very_often(fleet: Fleet, dice: random.Random) -> None:
    killed_at_any_time(fleet, dice, 300)
