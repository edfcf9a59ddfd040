"""Every wake-up is lost, and whoever watches the next timer is killed (R24): what waits is found all the same."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.faults.processes import Fleet, Process, eventually
from tests.servers import Conversation, Server

THIEVES = 20
LEASE_S = 1.0
WAKE, META = "{surefoot:jobs}:wake", "{surefoot:jobs}:meta"


class Thieves:
    """Clients that stand in line for wake-ups before every worker, and one that takes whatever lies there."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.stolen = 0

    @contextmanager
    def at_work(self) -> Iterator[None]:
        with ExitStack() as held:
            talks = [held.enter_context(self._server.conversation()) for _ in range(THIEVES + 1)]
            clients = [talk.say("CLIENT", "ID") for talk in talks[1:]]
            threads = [threading.Thread(target=self._stand_in_line, args=(talk,)) for talk in talks[1:]]
            threads.append(threading.Thread(target=self._take, args=(talks[0],)))
            for thread in threads:
                thread.start()
            eventually("they stand in line", lambda: blocked(self._server) == THIEVES)
            try:
                yield
            finally:
                self._over.set()
                eventually("they leave", lambda: self._sent_home(clients, threads))

    def _sent_home(self, clients: list[int], threads: list[threading.Thread]) -> bool:
        for client in clients:
            self._server.say("CLIENT", "UNBLOCK", client)
        return not any(thread.is_alive() for thread in threads)

    def _stand_in_line(self, talk: Conversation) -> None:
        while not self._over.is_set():
            if talk.say("BLPOP", WAKE, 0) is not None:
                with self._lock:
                    self.stolen += 1

    def _take(self, talk: Conversation) -> None:
        while not self._over.is_set():
            talk.say("DEL", WAKE)


@pytest.fixture
def fleet(server: Server, tmp_path: Path) -> Iterator[Fleet]:
    one = Fleet(tmp_path, server.url, server)
    try:
        yield one
    finally:
        one.close()
        print(one.logs())


def all_idle(fleet: Fleet, server: Server, *, workers: int) -> None:
    """Wait until so many workers wait for a wake-up, behind the thieves, and for nothing but the floor."""
    time.sleep(2 * LEASE_S)
    eventually("all are idle", lambda: fleet.over() and blocked(server) == THIEVES + workers)


def blocked(server: Server) -> int:
    return int(server.info()["blocked_clients"])


def watcher(fleet: Fleet, server: Server, workers: list[Process]) -> Process | None:
    """Who watches now."""
    word = server.say("HGET", META, "watch")
    caller = None if word is None else word.decode().split()[0]
    return next((worker for worker in workers if fleet.ledger.pids().get(caller or "") == worker.pid), None)


def test_R24_what_waits_is_found_within_the_floor(fleet: Fleet, server: Server) -> None:
    thieves = Thieves(server)
    with thieves.at_work():
        workers = [fleet.start() for _ in range(2)]
        fleet.ready(*workers)
        for number in range(1, 3):
            all_idle(fleet, server, workers=2)
            fleet.enqueue("work", seconds=0)
            fleet.told("ended", number)
        all_idle(fleet, server, workers=2)
        fleet.took([fleet.task("work").options(delay=0.5).draft(seconds=0) for _ in range(3)])
        fleet.told("ended", 5)
        verdict = fleet.all_over()
    assert thieves.stolen >= 2, "no wake-up was lost"
    verdict.assert_nothing_lost()
    assert verdict.doubled == {}
    fleet.stop(*workers)


def test_R24_the_watcher_is_killed_and_no_wake_up_comes(fleet: Fleet, server: Server) -> None:
    """What is due, and the job of one that died, are found by whoever is left and has a free slot."""
    thieves = Thieves(server)
    with thieves.at_work():
        workers = [fleet.start() for _ in range(3)]
        fleet.ready(*workers)
        [long] = fleet.enqueue("work", seconds=600, later=0)
        fleet.told("started", 1, long)
        fleet.took([fleet.task("work").options(delay=2).draft(seconds=0) for _ in range(3)])
        eventually("somebody watches", lambda: watcher(fleet, server, workers))
        holder = fleet.ledger.of("started", long)[0]["pid"]
        for worker in workers:
            if worker.pid == holder or worker is watcher(fleet, server, workers):
                fleet.kill(worker)
        verdict = fleet.all_over()
    assert thieves.stolen, "no wake-up was lost"
    verdict.assert_nothing_lost()
    assert list(verdict.doubled) == [long]
    left = [worker for worker in workers if worker.poll() is None]
    assert left
    fleet.stop(*left)
