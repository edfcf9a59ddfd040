"""The server dies by kill -9 and comes back with what it kept (R1): nothing is lost, and all go on by themselves."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.faults.processes import Fleet, Process, eventually
from tests.faults.redis.conftest import check
from tests.servers import Server, start

ALWAYS = {"appendonly": "yes", "appendfsync": "always"}
EVERY_SECOND = {"appendonly": "yes", "appendfsync": "everysec"}
NOTHING: dict[str, str] = {}


@contextmanager
def crowd(server: Server, place: Path) -> Iterator[tuple[Fleet, list[Process]]]:
    """Two producers that never stop, and two workers."""
    fleet = Fleet(place, server.url, server)
    try:
        workers = [fleet.start() for _ in range(2)]
        fleet.ready(*workers)
        yield fleet, [fleet.run("tests.faults.producer") for _ in range(2)]
        assert all(worker.poll() is None for worker in workers)
        fleet.stop(*workers)
        check(server)
    finally:
        fleet.close()
        print(fleet.logs())


def goes_on(fleet: Fleet, producers: list[Process]) -> None:
    """Everybody produces and consumes: each process tells something new."""
    workers = {process.pid for process in fleet.processes} - {producer.pid for producer in producers}
    all_tell(fleet, "accepted", {producer.pid for producer in producers})
    all_tell(fleet, "ended", workers)


def all_tell(fleet: Fleet, what: str, pids: set[int]) -> None:
    """Wait until each of these processes has told one more fact of a kind."""
    before = fleet.ledger.count(what)
    eventually(f"all have {what}", lambda: pids <= {int(line["pid"]) for line in fleet.ledger.of(what)[before:]})


def finish(fleet: Fleet, producers: list[Process]) -> None:
    """No more jobs."""
    for producer in producers:
        fleet.kill(producer)


def struck_again_and_again(fleet: Fleet, producers: list[Process], dice: random.Random, kills: int) -> None:
    for _ in range(kills):
        fleet.told("accepted", fleet.ledger.count("accepted") + dice.randrange(20, 200))
        fleet.restart_server()
        goes_on(fleet, producers)
    finish(fleet, producers)
    assert fleet.ledger.of("refused") == []
    fleet.accepted = [line["job"] for line in fleet.ledger.of("accepted")]


@pytest.mark.parametrize("kept", [ALWAYS, EVERY_SECOND], ids=["always", "every-second"])
def test_R1_nothing_is_lost_with_a_log(tmp_path: Path, dice: random.Random, kept: dict[str, str]) -> None:
    with start(tmp_path / "server", options=kept) as server, crowd(server, tmp_path) as (fleet, producers):
        struck_again_and_again(fleet, producers, dice, 2)
        fleet.all_over().assert_nothing_lost()


@pytest.mark.faults_full
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("kept", [ALWAYS, EVERY_SECOND], ids=["always", "every-second"])
def test_R1_nothing_is_lost_with_a_log_very_often(tmp_path: Path, dice: random.Random, kept: dict[str, str]) -> None:
    with start(tmp_path / "server", options=kept) as server, crowd(server, tmp_path) as (fleet, producers):
        struck_again_and_again(fleet, producers, dice, 50)
        fleet.all_over(300).assert_nothing_lost()


def test_R1_without_a_log_all_go_on_with_what_comes_next(tmp_path: Path) -> None:
    """What stood in a server that keeps nothing is gone; whoever used it needs no restart."""
    with start(tmp_path / "server", options=NOTHING) as server, crowd(server, tmp_path) as (fleet, producers):
        goes_on(fleet, producers)
        for _ in range(2):
            fleet.restart_server()
            goes_on(fleet, producers)
        since = fleet.outages[-1].ended
        finish(fleet, producers)
        fleet.accepted = [line["job"] for line in fleet.ledger.of("accepted") if line["at"] > since]
        assert len(fleet.accepted) >= 20
        fleet.all_over().assert_nothing_lost()
