"""A cluster of three nodes: queues on all of them (R7), slots that move under load (R8), a node that dies."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.processes import Fleet, Process, eventually
from tests.faults.redis.conftest import check
from tests.faults.redis.kinds import EVERY_KIND, kind_of
from tests.servers import HOST, Server
from tests.servers.clusters import Cluster, cluster

from surefoot import NotReplicated, Queue, StoreUnavailable
from surefoot.brokers.broker import Queues

NAMES = ("jobs", "mail", "billing")
"""Their slots are on three nodes."""


@pytest.fixture(params=EVERY_KIND)
def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes, each with a replica; whole and without leaks at the end."""
    with cluster(tmp_path / "cluster", kind_of(request), replicas=1) as one:
        yield one
        for server in {server_of(one, name) for name in NAMES}:
            check(server)


def server_of(nodes: Cluster, name: str) -> Server:
    return nodes.owner(nodes.slot_of(f"surefoot:{name}"))


@pytest.fixture
def fleet(nodes: Cluster, tmp_path: Path) -> Iterator[Fleet]:
    one = Fleet(tmp_path, nodes.url)
    for name in NAMES[1:]:
        one.also(name)
    try:
        yield one
    finally:
        one.close()
        print(one.logs())


@pytest.fixture
def worker(fleet: Fleet) -> Process:
    """One worker of all three queues."""
    worker = fleet.start("--concurrency", "5", "--ticks", *[word for name in NAMES[1:] for word in ("--also", name)])
    fleet.ready(worker)
    return worker


class Producers:
    """A thread a queue that enqueues until it is told to leave. `short`: what no replica confirmed."""

    def __init__(self, fleet: Fleet, durable: int = 0) -> None:
        self.accepted: dict[str, list[str]] = {name: [] for name in NAMES}
        self.short: list[str] = []
        self.refused: list[str] = []
        self._fleet = fleet
        self._queues = {name: Queue(fleet.url, name=name, durable=durable) for name in NAMES}
        self._leave = threading.Event()
        self._threads = [threading.Thread(target=self._produce, args=(name,)) for name in NAMES]
        for thread in self._threads:
            thread.start()

    def _produce(self, name: str) -> None:
        queue = self._queues[name]
        while not self._leave.wait(0.005):
            draft = queue.by_name("work").draft(seconds=0)
            try:
                queue.enqueue_sync(draft)
            except NotReplicated:
                self.short.append(draft.id)
            except StoreUnavailable as error:
                self.refused.append(f"{type(error).__name__}: {error}")
            else:
                self.accepted[name].append(draft.id)

    def go_on(self) -> None:
        """More is accepted in every queue, and finished."""
        before = {name: len(ids) for name, ids in self.accepted.items()}

        def finished(name: str) -> bool:
            ids = set(self.accepted[name][before[name] + 5 :])
            return any(line["job"] in ids for line in self._fleet.ledger.of("ended"))

        for name in NAMES:
            eventually(f"{name} goes on", lambda name=name: finished(name))  # type: ignore[misc]  # mypy infers no lambda with a default

    def leave(self) -> None:
        self._leave.set()
        for thread in self._threads:
            thread.join()

    def all_done(self) -> None:
        """Nothing that was accepted is lost, and nothing ran twice without a cause."""
        self.leave()
        self._fleet.accepted += [id for ids in self.accepted.values() for id in ids]
        self._fleet.all_over().assert_nothing_lost()


@pytest.fixture
def producers(fleet: Fleet, worker: Process) -> Iterator[Producers]:
    one = Producers(fleet)
    try:
        one.go_on()
        yield one
    finally:
        one.leave()


def test_R7_queues_on_three_nodes_and_one_worker(nodes: Cluster, fleet: Fleet, worker: Process) -> None:
    assert len({server_of(nodes, name).port for name in NAMES}) == 3
    drafts = [queue.by_name("work").draft(seconds=0) for queue in fleet.queues.values() for _ in range(20)]
    fleet.took(drafts)
    fleet.all_over().assert_nothing_lost()
    [found] = fleet.queue.sessions.ask_sync([Queues("surefoot:")])
    assert found == sorted(NAMES)
    fleet.stop(worker)


def test_R7_the_same_from_a_loop(nodes: Cluster, fleet: Fleet, worker: Process) -> None:
    async def ask() -> list[Any]:
        queues = list(fleet.queues.values())
        handles = await asyncio.gather(*[queue.enqueue(queue.by_name("work").draft(seconds=0)) for queue in queues])
        results = [await handle.result(timeout=60) for handle in handles]
        [found] = await queues[0].sessions.ask([Queues("surefoot:")])
        assert found == sorted(NAMES)
        await queues[0].close()
        return results

    assert asyncio.run(ask()) == [fleet.id_of(worker)] * 3


def test_R8_slots_that_move_under_load(nodes: Cluster, fleet: Fleet, worker: Process, producers: Producers) -> None:
    """Key by key, with rests, while jobs of all queues run, end and are enqueued, and an entry ticks."""
    for _ in range(2):
        for name in NAMES:
            fleet.took([queue.by_name("work").draft(seconds=2) for queue in fleet.queues.values()])
            slot = nodes.slot_of(f"surefoot:{name}")
            owner = nodes.owner(slot)
            to = next(server for server in nodes.servers[:3] if server is not owner)
            nodes.move(slot, to, between=lambda: time.sleep(0.05))
            producers.go_on()
    assert producers.refused == []
    producers.all_done()
    ticks = [line["job"] for line in fleet.ledger.of("started") if line["job"] not in fleet.accepted]
    assert len(set(ticks)) == len(ticks) > 1
    fleet.stop(worker)


def killed(old: Server) -> Callable[[], None]:
    old.kill()
    return old.again


def frozen(old: Server) -> Callable[[], None]:
    old.freeze()
    return old.thaw


@pytest.mark.parametrize("strike", [killed, frozen])
def test_R7_a_node_that_fails_is_replaced_by_its_replica(
    strike: Callable[[Server], Callable[[], None]], nodes: Cluster, fleet: Fleet, worker: Process, producers: Producers
) -> None:
    """What the replica had not got is lost, as on any failover without durable: producers rest while the node fails."""
    producers.leave()
    eventually("every job ended", fleet.over)
    old = server_of(nodes, "mail")
    eventually("its replica has all", lambda: old.say("WAIT", 1, 1000) == 1)
    mend = strike(old)
    eventually("its replica leads", lambda: server_of(nodes, "mail") is not old)
    again = Producers(fleet)
    try:
        again.go_on()
        mend()
        again.go_on()
        again.all_done()
    finally:
        again.leave()
    fleet.stop(worker)


@pytest.mark.parametrize("strike", [killed, frozen])
def test_R4_what_was_confirmed_outlives_its_node(
    strike: Callable[[Server], Callable[[], None]], nodes: Cluster, fleet: Fleet, worker: Process
) -> None:
    """Under load: producers do not rest."""
    old = server_of(nodes, "mail")
    producers = Producers(fleet, durable=1)
    try:
        producers.go_on()
        mend = strike(old)
        eventually("its replica leads", lambda: server_of(nodes, "mail") is not old)
        mend()
        producers.go_on()
    finally:
        producers.leave()
    eventually("every job ended", fleet.over)
    ended = {line["job"] for line in fleet.ledger.of("ended")}
    assert [id for ids in producers.accepted.values() for id in ids if id not in ended] == []
    fleet.stop(worker)


def test_R16_the_url_of_a_replica_leads_to_the_primaries(nodes: Cluster) -> None:
    replica = nodes.servers[-1]
    assert replica.say("ROLE")[0] == b"slave"
    queue = Queue(f"redis+cluster://{HOST}:{replica.port}", name="jobs")
    queue.enqueue_sync(queue.by_name("work").draft())
    assert asyncio.run(queue.stats()).pending == 1
    assert server_of(nodes, "jobs").say("HLEN", "{surefoot:jobs}:jobs") == 1
    queue.close_sync()


def test_R7_no_node_answers(nodes: Cluster) -> None:
    queue = Queue("redis+cluster://127.0.0.1:1,127.0.0.1:2?timeout=0.5", name="jobs")
    sentence = (
        "cannot reach the node 127.0.0.1:2 of redis+cluster://127.0.0.1:1,127.0.0.1:2?timeout=0.5 "
        "(connection refused); nothing was done. Is the server running? Try `surefoot doctor`."
    )
    with pytest.raises(StoreUnavailable) as told:
        queue.stats_sync()
    assert str(told.value) == sentence
    with pytest.raises(StoreUnavailable) as told:
        asyncio.run(queue.stats())
    assert str(told.value) == sentence


def test_R4_in_a_cluster_the_replicas_of_the_queues_node_are_asked(nodes: Cluster) -> None:
    for name in NAMES:
        queue = Queue(nodes.url, name=name, durable=1)
        queue.enqueue_sync(queue.by_name("work").draft())
        asyncio.run(queue.enqueue(queue.by_name("work").draft()))
        beyond = Queue(nodes.url.replace("://", "://default:any@") + "?timeout=0.5", name=name, durable=2)
        with pytest.raises(NotReplicated) as told:
            beyond.enqueue_sync(beyond.by_name("work").draft())
        assert (told.value.confirmed, told.value.wanted) == (1, 2)
