"""Workers and producers on other hosts than the server, and cables that are cut without a word (R11, R12, R1)."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.conftest import KEEPS_ALL
from tests.faults.ledger import Outage
from tests.faults.processes import eventually
from tests.faults.redis.conftest import check
from tests.faults.redis.hosts import Country, Host, serves, two_hosts, why_no_hosts
from tests.faults.redis.stage import PATIENCE_S
from tests.servers import Server, start

pytestmark = pytest.mark.skipif(why_no_hosts() is not None, reason=str(why_no_hosts()))


def _silence(host: Host) -> None:
    host.lose("input", "output")


CUTS: dict[str, Callable[[Host], None]] = {"cable": Host.unplug, "silence": _silence}
CUT = pytest.mark.parametrize("cut", ["cable", pytest.param("silence", marks=pytest.mark.faults_full)])
AWAY_S = 4.0
"""Longer than the lease of the tests, three calls of a worker, and the floor."""


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    with two_hosts() as both:
        yield both


@pytest.fixture
def server(tmp_path: Path, hosts: tuple[Host, Host]) -> Iterator[Server]:
    with start(tmp_path / "server", options=KEEPS_ALL | serves(*hosts)) as one:
        yield one
        check(one)


@pytest.fixture
def country(server: Server, tmp_path: Path) -> Iterator[Country]:
    one = Country(tmp_path, server)
    try:
        yield one
    finally:
        one.close()
        print(one.logs())


def told_by(country: Country, what: str, pid: int) -> int:
    return sum(line["pid"] == pid for line in country.ledger.of(what))


@CUT
def test_R12_a_host_that_is_cut_off_for_longer_than_its_lease(
    country: Country, hosts: tuple[Host, Host], cut: str
) -> None:
    """The other host runs its job; what the first says afterwards is refused, and it serves again."""
    here, there = hosts
    lonely = country.worker(here)
    [id] = country.enqueue("work", seconds=600, later=0)
    country.told("started", 1, id)
    heir = country.worker(there)
    country.struck[lonely.pid] = time.time()
    CUTS[cut](here)
    eventually("the other one has run it", lambda: country.record(id).state == "completed")
    assert lonely.poll() is None
    before = country.record(id)
    here.mend()
    country.told("event:lease_lost", 1, id)
    country.told("broken", 1, id)
    assert country.record(id) == before
    assert [fact["pid"] for fact in country.ledger.of("ended", id)] == [heir.pid]
    country.stop(heir)
    country.enqueue("work", 5, seconds=0)
    verdict = country.all_over()
    verdict.assert_nothing_lost()
    assert set(verdict.doubled) == {id}
    country.stop(lonely)


@CUT
def test_R12_a_success_on_a_host_that_is_cut_off_is_not_reported(
    country: Country, hosts: tuple[Host, Host], cut: str
) -> None:
    here, there = hosts
    lonely = country.worker(here)
    [id] = country.enqueue("work", seconds=2.5, later=6)
    country.told("started", 1, id)
    heir = country.worker(there)
    country.struck[lonely.pid] = time.time()
    CUTS[cut](here)
    country.told("started", 2, id)
    eventually("it has ended there", lambda: told_by(country, "ended", lonely.pid) == 1)
    here.mend()
    country.told("event:lease_lost", 1, id)
    country.all_over().assert_nothing_lost()
    country.stop(lonely, heir)
    ids = {fact["worker"] for fact in country.ledger.of("event:completed", id)}
    assert ids == {country.id_of(heir)}


@CUT
def test_R11_an_idle_worker_behind_a_half_open_connection_serves_again(
    country: Country, hosts: tuple[Host, Host], cut: str
) -> None:
    """It waits in a blocked read that will never be answered, and nobody resets it."""
    here, _ = hosts
    worker = country.worker(here)
    country.enqueue("work", seconds=0)
    country.told("ended", 1)
    CUTS[cut](here)
    time.sleep(AWAY_S)
    ids = country.enqueue("work", 5, seconds=0)
    here.mend()
    eventually("all have run", lambda: all(country.record(id).state == "completed" for id in ids))
    verdict = country.all_over()
    verdict.assert_nothing_lost()
    assert verdict.doubled == {}
    country.stop(worker)


@pytest.mark.parametrize("lost", ["input", "output"])
def test_R11_loss_in_one_direction_doubles_nothing(
    country: Country, hosts: tuple[Host, Host], lost: str, dice: random.Random
) -> None:
    """Replies are lost, or requests; a producer and a worker behind it, and a worker that nothing happens to."""
    here, there = hosts
    behind, other = country.worker(here), country.worker(there)
    producer = country.on(here, "tests.faults.producer", query="?timeout=30")
    for _ in range(2):
        country.told("accepted", country.ledger.count("accepted") + dice.randrange(20, 100))
        country.struck[behind.pid] = country.struck.get(behind.pid, time.time())
        here.lose(lost)
        time.sleep(dice.uniform(0.2, AWAY_S))
        here.mend()
        before = told_by(country, "accepted", producer.pid)
        eventually("it produces again", lambda: told_by(country, "accepted", producer.pid) > before)  # noqa: B023  # waited for within this round
    country.kill(producer)
    assert country.ledger.of("refused") == []
    country.accepted = [line["job"] for line in country.ledger.of("accepted")]
    assert len(set(country.accepted)) == len(country.accepted)
    country.all_over().assert_nothing_lost()
    before = told_by(country, "ended", behind.pid)
    until = time.monotonic() + PATIENCE_S
    while told_by(country, "ended", behind.pid) == before:  # the other is quicker while its line still waits to resend
        assert time.monotonic() < until, "it never serves again"
        country.enqueue("work", 50, seconds=0.05)
        country.all_over().assert_nothing_lost()
    country.stop(behind, other)


@pytest.mark.parametrize("end", ["comes back", "starts anew"])
def test_R1_the_server_s_host_vanishes_and_returns(
    country: Country, hosts: tuple[Host, Host], server: Server, end: str
) -> None:
    """No connection is reset: from one moment to the next there is nobody there."""
    here, there = hosts
    workers = [country.worker(here), country.worker(there)]
    producer = country.on(there, "tests.faults.producer", query="?timeout=60")
    [long] = country.enqueue("work", seconds=AWAY_S + 2)
    country.told("accepted", 50)
    began = time.time()
    for host in hosts:
        host.unplug()
    if end == "starts anew":
        server.kill()
    time.sleep(AWAY_S)
    if end == "starts anew":
        server.again()
    for host in hosts:
        host.mend()
    mended = time.time()
    country.outages.append(Outage(began, mended))
    for what, processes in (("accepted", [producer]), ("ended", workers)):
        before = len(country.ledger.of(what))
        pids = {process.pid for process in processes}
        eventually(f"all have {what}", lambda: pids <= {line["pid"] for line in country.ledger.of(what)[before:]})  # noqa: B023  # waited for within this round
    country.kill(producer)
    assert country.ledger.of("refused") == []
    country.accepted += [line["job"] for line in country.ledger.of("accepted")]
    country.all_over().assert_nothing_lost()
    assert country.ledger.count("started", long) == 1, "it outlived the outage: nobody could take its lease"
    country.stop(*workers)
