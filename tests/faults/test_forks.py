"""Forks after the store was used (W20): a child shares nothing, sends nothing twice, and loses nothing."""

from collections import defaultdict

import psutil
import pytest
from tests.faults.processes import Fleet, eventually

WAYS = ["busy", "reading", "preload", "pool", "exits", "between", "loop", "worker"]


def accepted_by(fleet: Fleet) -> list[str]:
    """What all producers were told is stored."""
    refused = [line["error"] for line in fleet.ledger.lines() if line["what"] in ("refused", "child_failed")]
    assert refused == []
    ids = [line["job"] for line in fleet.ledger.of("accepted")]
    assert len(set(ids)) == len(ids)
    return ids


def each_speaks_for_itself(fleet: Fleet) -> None:
    """No two processes have a caller in common, and a child that spoke to a server opened a connection to it."""
    callers: dict[str, set[int]] = defaultdict(set)
    for line in fleet.ledger.of("accepted"):
        callers[line["caller"] or f"one of {line['pid']}"].add(line["pid"])
    assert [pids for pids in callers.values() if len(pids) > 1] == []
    if fleet.server is not None:
        speakers = {pid for pids in callers.values() for pid in pids}
        for born in fleet.ledger.of("born"):
            spoke = [set(line["ports"]) for line in fleet.ledger.of("spoke") if line["pid"] == born["pid"]]
            assert born["pid"] not in speakers or set().union(*spoke) - set(born["ports"]), "it spoke on its parent's"


def all_is_done_once(fleet: Fleet) -> None:
    """What was accepted is in the store, and is run."""
    fleet.accepted += accepted_by(fleet)
    missing = [id for id, record in zip(fleet.accepted, fleet.records(), strict=True) if record is None]
    assert missing == [], f"{len(missing)} of {len(fleet.accepted)} accepted jobs are not in the store"
    fleet.start()
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert verdict.doubled == {}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("way", WAYS)
def test_W20_fork_after_connecting(fleet: Fleet, way: str) -> None:
    fleet.left(fleet.run("tests.faults.forks", way), 0)
    each_speaks_for_itself(fleet)
    all_is_done_once(fleet)


@pytest.mark.parametrize("way", ["listening", "listening_uvloop"])
def test_W20_fork_of_a_process_that_waits(fleet: Fleet, way: str) -> None:
    """Its blocked read, its subscription and its pool go on; a child that waits for the same has its own."""
    process = fleet.run("tests.faults.forks", way)
    fleet.told("listening")
    eventually("the server knows that it waits", lambda: listens(fleet))
    fleet.ledger.write("fork")
    fleet.left(process, 0)
    assert fleet.ledger.count("heard") == 2
    each_speaks_for_itself(fleet)
    all_is_done_once(fleet)


def listens(fleet: Fleet) -> bool:
    """Whether somebody is blocked in a read and somebody subscribed, where there is a server to be asked."""
    if fleet.server is None:
        return True
    clients: list[str] = fleet.server.say("CLIENT", "LIST").decode().splitlines()
    return any(" flags=b " in client for client in clients) and any(" sub=1 " in client for client in clients)


def test_W20_fork_of_a_worker_that_serves(fleet: Fleet) -> None:
    worker = psutil.Process(fleet.start().pid)
    [running] = fleet.enqueue("work", seconds=4)
    fleet.told("started", 1, running)
    before = {at.laddr for at in worker.net_connections("tcp")}
    assert bool(before) == (fleet.server is not None)
    parents = fleet.enqueue("forking", 2) + fleet.enqueue("forking_thread", 2)
    eventually("all have forked", lambda: all(fleet.ledger.count("ended", id) for id in parents))
    eventually("every job ended", fleet.over)
    assert before <= {at.laddr for at in worker.net_connections("tcp")}, "nothing of the worker's was closed"
    assert fleet.ledger.count("accepted") == 4 * 23
    each_speaks_for_itself(fleet)
    all_is_done_once(fleet)
    assert fleet.record(running).counts.runs == 1


def test_W20_clone_becomes_a_caller_of_its_own(fleet: Fleet) -> None:
    fleet.left(fleet.run("tests.faults.forks", "clone"), 0)
    fleet.accepted = accepted_by(fleet)
    assert len(fleet.accepted) == 20
    assert len({line["caller"] for line in fleet.ledger.of("caller")}) == 2, "one of the two took another name"
    fleet.start()
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert verdict.started == 20
