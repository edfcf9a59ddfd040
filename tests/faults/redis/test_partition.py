"""A line that is cut for longer than the lease while the worker behind it lives (R12): the others go on without it, and
nothing that it says afterwards counts.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.ledger import Outage
from tests.faults.processes import Fleet, Process, eventually
from tests.faults.proxy import Proxy
from tests.servers import Server


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def fleet(server: Server, tmp_path: Path) -> Iterator[Fleet]:
    one = Fleet(tmp_path, server.url, server)
    try:
        yield one
    finally:
        one.close()
        print(one.logs())


def behind(fleet: Fleet, proxy: Proxy, server: Server) -> Process:
    """A worker that reaches the server through the proxy alone."""
    fleet.url = f"{proxy.url()}/0"
    worker = fleet.start()
    fleet.url = server.url
    fleet.ready(worker)
    return worker


def part(fleet: Fleet, proxy: Proxy, worker: Process, way: str) -> None:
    """Cut the line, which the judge counts as a blow to this worker."""
    fleet.struck[worker.pid] = time.time()
    if way == "silent":
        proxy.freeze()
    else:
        proxy.refuse()


def mend(proxy: Proxy, way: str) -> None:
    """The line is whole again."""
    if way == "silent":
        proxy.thaw()
    else:
        proxy.accept()


@pytest.mark.parametrize("way", ["silent", "refused"])
@pytest.mark.parametrize(("task", "end"), [("work", "CancelledError"), ("checking", "LeaseLost")])
def test_R12_a_run_that_outlasts_a_partition_is_cancelled(
    fleet: Fleet, proxy: Proxy, server: Server, task: str, end: str, way: str
) -> None:
    worker = behind(fleet, proxy, server)
    [id] = fleet.enqueue(task, seconds=600, later=0)
    fleet.told("started", 1, id)
    heir = fleet.start()
    part(fleet, proxy, worker, way)
    eventually("another one has run it", lambda: fleet.record(id).state == "completed")
    assert worker.poll() is None, "it lives, and cannot know"
    before = fleet.record(id)
    mend(proxy, way)
    fleet.told("event:lease_lost", 1, id)
    fleet.told("broken", 1, id)
    [broken] = fleet.ledger.of("broken", id)
    assert (broken["worker"], broken["kind"]) == (fleet.id_of(worker), end)
    assert fleet.record(id) == before
    fleet.stop(heir)
    assert [fact["worker"] for fact in fleet.ledger.of("event:completed", id)] == [fleet.id_of(heir)]
    fleet.enqueue("work", 5, seconds=0)
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert set(verdict.doubled) == {id}, "and it serves again"
    fleet.stop(worker)


@pytest.mark.parametrize("way", ["silent", "refused"])
def test_R12_a_success_in_a_partition_is_refused_and_not_reported(
    fleet: Fleet, proxy: Proxy, server: Server, way: str
) -> None:
    worker = behind(fleet, proxy, server)
    [id] = fleet.enqueue("work", seconds=1.5, later=6)
    fleet.told("started", 1, id)
    heir = fleet.start()
    part(fleet, proxy, worker, way)
    fleet.told("started", 2, id)
    fleet.told("ended", 1, id)
    mend(proxy, way)
    fleet.told("event:lease_lost", 1, id)
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert fleet.record(id).result == json.dumps(fleet.id_of(heir)).encode()
    fleet.stop(worker, heir)
    assert [fact["worker"] for fact in fleet.ledger.of("event:completed", id)] == [fleet.id_of(heir)]
    assert [fact["worker"] for fact in fleet.ledger.of("event:lease_lost", id)] == [fleet.id_of(worker)]


def test_R12_an_outage_that_outlasts_the_lease_cancels_no_run(fleet: Fleet, server: Server) -> None:
    """Nobody could take the jobs over meanwhile, and whoever lives renews first: each of them runs once."""
    workers = [fleet.start() for _ in range(2)]
    fleet.ready(*workers)
    ids = [*fleet.enqueue("work", 2, seconds=6), *fleet.enqueue("checking", 2, seconds=6)]
    fleet.told("started", len(ids))
    began = time.time()
    server.freeze()
    time.sleep(3.5)  # three leases, and a margin
    server.thaw()
    fleet.outages.append(Outage(began, time.time()))
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert verdict.doubled == {}
    assert fleet.ledger.count("broken") == fleet.ledger.count("event:lease_lost") == 0
    fleet.stop(*workers)
