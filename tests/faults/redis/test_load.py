"""Many jobs while connections are cut all the time: producers and workers behind a proxy, judged by the ledger."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.faults.processes import DEFAULTS, Fleet
from tests.faults.proxy import Proxy
from tests.servers import Server

PRODUCERS = 4
WORKERS = 2
CUT_EVERY_S = 0.1
LATENCY_S = 0.005
"""So that most cuts hit a connection while a call is on its way."""


class Scissors:
    """Cuts one random connection of a proxy after the other, until it is told to stop. Half of the cuts are resets."""

    def __init__(self, proxy: Proxy, dice: random.Random) -> None:
        self.cuts = 0
        self._proxy = proxy
        self._dice = dice
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._cut)

    def _cut(self) -> None:
        while not self._over.wait(CUT_EVERY_S):
            if self._proxy.cut_one(self._dice, reset=self._dice.random() < 0.5) is not None:
                self.cuts += 1

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()


@contextmanager
def fleet_behind(proxy: Proxy, server: Server, place: Path) -> Iterator[Fleet]:
    """Processes whose every connection leads through the proxy."""
    fleet = Fleet(place, f"{proxy.url()}/0", server)
    try:
        yield fleet
    finally:
        fleet.close()
        print(fleet.logs())


def cut_all_the_time(server: Server, place: Path, dice: random.Random, jobs: int) -> str:
    """So many jobs, and a twentieth as many that fail: every accepted one is completed or dead. The figures."""
    with Proxy(server.port) as proxy, fleet_behind(proxy, server, place) as fleet:
        workers = [fleet.start(*DEFAULTS) for _ in range(WORKERS)]
        fleet.ready(*workers)
        proxy.latency(LATENCY_S)
        scissors = Scissors(proxy, dice)
        with scissors.at_work():
            producers = [fleet.run("tests.faults.producer", str(jobs // PRODUCERS)) for _ in range(PRODUCERS)]
            failing = [id for _ in range(10) for id in fleet.enqueue("failing", jobs // 200)]
            for producer in producers:
                fleet.left(producer, 0)
            assert fleet.ledger.of("refused") == []
            fleet.accepted += [line["job"] for line in fleet.ledger.of("accepted")]
            verdict = fleet.all_over(600)
        verdict.assert_nothing_lost()
        assert verdict.accepted == jobs + len(failing)
        records = [record for record in fleet.records() if record is not None]
        states = Counter(record.state for record in records)
        assert states == {"completed": jobs, "dead": len(failing)}
        assert {record.counts.crashes for record in records} == {0}, "no claim was lost"
        assert fleet.ledger.count("event:lease_lost") == 0, "no settle was lost"
        assert set(verdict.doubled) == set(failing), "a job that does not fail runs once"
        assert verdict.started == jobs + 2 * len(failing)
        assert scissors.cuts >= jobs // 200, "it was cut all the time"
        fleet.stop(*workers)
        return f"accepted {verdict.accepted}, {dict(states)}, started {verdict.started}, cuts {scissors.cuts}"


@pytest.mark.timeout(240)
def test_jobs_through_a_line_that_is_cut_all_the_time(server: Server, tmp_path: Path, dice: random.Random) -> None:
    print(cut_all_the_time(server, tmp_path, dice, 2_000))


@pytest.mark.faults_full
@pytest.mark.timeout(1_800)
def test_ten_thousand_jobs_through_a_line_that_is_cut_all_the_time(
    server: Server, tmp_path: Path, dice: random.Random
) -> None:
    print(cut_all_the_time(server, tmp_path, dice, 10_000))
