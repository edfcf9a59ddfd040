"""What nodes of a cluster answer while slots move (R8): each of it is met, followed, and does nothing twice."""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.faults.processes import eventually
from tests.faults.redis.kinds import EVERY_KIND, kind_of
from tests.faults.redis.stage import FAR_MS, LEASE_MS, Talker, job, meanwhile
from tests.servers import HOST
from tests.servers.clusters import Cluster, cluster

from surefoot.brokers.broker import Call, Claim, NoAnswer, Put, Settle
from surefoot.brokers.redis.broker import RedisBroker
from surefoot.brokers.redis.cluster import route
from surefoot.brokers.redis.server import Server as At
from surefoot.brokers.redis.slots import Slots
from surefoot.core.errors import StoreUnavailable
from surefoot.core.transition import Finish, Transition

QUEUE, OTHER = "shop:mail", "shop:images"
"""Their slots are on two nodes."""
FLOOR_S = 12.0
"""No worker sleeps longer, even if nothing wakes it."""


@pytest.fixture(scope="module", params=EVERY_KIND)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster"), kind_of(request)) as nodes:
        yield nodes


@pytest.fixture
def nodes(shared: Cluster) -> Cluster:
    """Three nodes without replicas, empty, each of which has forgotten what it answered before."""
    for server in shared.servers:
        server.say("FLUSHALL")
        server.say("SCRIPT", "FLUSH")
        server.say("CONFIG", "RESETSTAT")
    return shared


def at(nodes: Cluster) -> At:
    node = At(host=HOST, port=nodes.servers[0].port, shown=nodes.url)
    return At(shown=nodes.url, nodes=(node,))


@pytest.fixture
def broker(nodes: Cluster) -> Iterator[RedisBroker]:
    one = RedisBroker(at(nodes))
    yield one
    one.close_sync()


def told(nodes: Cluster) -> Counter[str]:
    """The errors that the nodes have answered, by their first word."""
    found: Counter[str] = Counter()
    for server in nodes.servers:
        if server.running:
            for word, count in re.findall(r"errorstat_(\w+):count=(\d+)", server.say("INFO", "errorstats").decode()):
                found[word] += int(count)
    return found


class Moving:
    """A slot on its way from one node to another: begun, some of its keys moved, finished."""

    def __init__(self, nodes: Cluster, queue: str = QUEUE) -> None:
        self.nodes = nodes
        self.slot = nodes.slot_of(queue)
        self.owner = nodes.owner(self.slot)
        self.to = next(server for server in nodes.servers if server is not self.owner)
        self.to.say("CLUSTER", "SETSLOT", self.slot, "IMPORTING", nodes.id_of(self.owner))
        self.owner.say("CLUSTER", "SETSLOT", self.slot, "MIGRATING", nodes.id_of(self.to))

    def keys(self, most: int = 1_000) -> None:
        """Move so many keys."""
        if keys := self.owner.say("CLUSTER", "GETKEYSINSLOT", self.slot, most):
            self.owner.say("MIGRATE", HOST, self.to.port, "", 0, 60_000, "KEYS", *keys)

    def finish(self) -> None:
        self.keys()
        for server in (self.to, self.owner, *self.nodes.servers):
            server.say("CLUSTER", "SETSLOT", self.slot, "NODE", self.nodes.id_of(self.to))


def test_R8_MOVED_is_followed(nodes: Cluster, broker: RedisBroker) -> None:
    talker = Talker(broker)
    talker.put("a", "b")
    [held] = talker.claim(1)
    Moving(nodes).finish()
    assert told(nodes)["MOVED"] == 0
    assert talker.complete([held]) == ["applied"]
    assert talker.put("a", "c") == ["exists", "created"]
    assert [one.id for one in talker.claim()] == ["b", "c"]
    assert told(nodes)["MOVED"] > 0


def test_R8_TRYAGAIN_and_ASK_are_said_again(nodes: Cluster, broker: RedisBroker) -> None:
    """The keys of one script are on two nodes, or all on the other one that does not serve them yet."""
    talker = Talker(broker)
    talker.put("a")
    [held] = talker.claim()
    moving = Moving(nodes)
    moving.keys(1)
    settling, settled = meanwhile(lambda: talker.complete([held]))
    eventually("keys are on two nodes", lambda: told(nodes)["TRYAGAIN"] > 1)
    moving.keys()
    asked = told(nodes)["ASK"]
    eventually("keys are on the other node", lambda: told(nodes)["ASK"] > asked + 1)
    moving.finish()
    settling.join()
    assert settled == [["applied"]]
    assert talker.states("a") == ["completed"]


@pytest.mark.parametrize("looped", [False, True], ids=["thread", "loop"])
def test_R8_CLUSTERDOWN_is_waited_out(nodes: Cluster, broker: RedisBroker, looped: bool) -> None:
    """A node without a replica dies: the others serve nobody until it is back."""
    talker = Talker(broker)
    talker.put("before")
    lost = next(one for one in nodes.servers if one not in (nodes.servers[0], nodes.owner(nodes.slot_of(QUEUE))))
    lost.kill()
    eventually("the cluster is down", lambda: not nodes.is_whole())
    call = Call("c" * 16, 1, "tags", (Put(QUEUE, (job("a"),)),))

    def say() -> Any:
        return asyncio.run(broker.run(call)) if looped else broker.run_sync(call)

    with pytest.raises(NoAnswer, match="cluster is down"):
        say()
    asking, heard = meanwhile(lambda: talker.put("b"))
    eventually("it is said more than once", lambda: told(nodes)["CLUSTERDOWN"] > 3)
    lost.again()
    nodes.until("it is whole", nodes.is_whole)
    asking.join()
    assert heard == [["created"]]
    assert say()[0][0].word == "created"
    assert talker.states("before", "a", "b") == ["pending"] * 3


def test_R8_a_settle_stays_before_the_claim_behind_it(nodes: Cluster, broker: RedisBroker) -> None:
    """The new node knows the claim's script, not the settle's: done first, the claim takes over what is settled."""
    talker = Talker(broker)
    talker.put("a")
    [held] = talker.claim(1, 1)
    talker.complete([])  # from here on its script goes by its digest
    moving = Moving(nodes)
    moving.finish()
    other = RedisBroker(at(nodes))
    name = next(f"shop:{n}" for n in range(10_000) if nodes.owner(nodes.slot_of(f"shop:{n}")) is moving.to)
    Talker(other).say(Claim(name, 1, LEASE_MS, FAR_MS))
    other.close_sync()
    settle = Settle(QUEUE, (Transition("a", held.token, Finish("completed", b"1"), "runs"),))
    assert talker.ask(settle, Claim(QUEUE, 1, LEASE_MS, FAR_MS))[0] == ["applied"]
    assert talker.states("a") == ["completed"]


def test_R7_a_settle_stays_before_the_claim_behind_it_on_each_node(nodes: Cluster, broker: RedisBroker) -> None:
    """A node does not know a script because another one does."""
    talker = Talker(broker)
    for queue in (QUEUE, OTHER):
        talker.say(Put(queue, (job("a"),)))
    here, there = talker.ask(Claim(QUEUE, 1, LEASE_MS, FAR_MS), Claim(OTHER, 1, 1, FAR_MS))
    assert nodes.owner(nodes.slot_of(QUEUE)) is not nodes.owner(nodes.slot_of(OTHER))
    assert talker.complete(here.jobs) == ["applied"]
    settle = Settle(OTHER, (Transition("a", there.jobs[0].token, Finish("completed", b"1"), "runs"),))
    assert talker.ask(settle, Claim(OTHER, 1, LEASE_MS, FAR_MS))[0] == ["applied"]


# --- waiting ---


async def woken(broker: RedisBroker, ring: Callable[[], object]) -> bool:
    """A wait is open, then something happens."""
    waiting = asyncio.ensure_future(broker.wait([QUEUE], FLOOR_S))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    try:
        await asyncio.to_thread(ring)
        return await waiting
    finally:
        await broker.close()


def test_R8_whoever_waits_hears_of_what_came_after_the_move(nodes: Cluster, broker: RedisBroker) -> None:
    talker = Talker(broker)

    def ring() -> None:
        Moving(nodes).finish()
        talker.put("a")

    assert asyncio.run(woken(broker, ring))


def test_R8_whoever_waits_hears_of_what_came_while_nobody_could_block(nodes: Cluster, broker: RedisBroker) -> None:
    """The token is in the old node, moves to the new one, and is taken there before that serves the queue."""
    waiter, moving = RedisBroker(at(nodes)), Moving(nodes)

    def ring() -> None:
        moving.owner.say("CLUSTER", "SETSLOT", moving.slot, "STABLE")
        Talker(broker).put("a")
        moving.owner.say("CLUSTER", "SETSLOT", moving.slot, "MIGRATING", nodes.id_of(moving.to))
        moving.keys()

    try:
        assert asyncio.run(woken(waiter, ring))
    finally:
        waiter.close_sync()
        moving.finish()


def test_R8_a_move_that_lasts_is_not_hammered(nodes: Cluster, broker: RedisBroker) -> None:
    """No read is let block then, however often one asks: it is asked on the same connections, with rests between."""
    moving = Moving(nodes)
    with contextlib.ExitStack() as talks:
        watching = [talks.enter_context(server.conversation()) for server in nodes.servers]

        def number(section: str, name: str) -> int:
            lines = b"\n".join(talk.say("INFO", section) for talk in watching).decode()
            return sum(int(found) for found in re.findall(rf"{name}(\d+)", lines))

        async def wait() -> None:
            waiting = asyncio.ensure_future(broker.wait([QUEUE], 60))
            await asyncio.to_thread(eventually, "it is refused", lambda: number("errorstats", "ASK:count="))
            opened = number("stats", "total_connections_received:")
            refused = number("errorstats", "ASK:count=")
            await asyncio.to_thread(eventually, "again", lambda: number("errorstats", "ASK:count=") > refused + 10)
            assert number("stats", "total_connections_received:") - opened < 5
            waiting.cancel()
            await asyncio.wait([waiting])
            await broker.close()

        asyncio.run(wait())
    moving.finish()


# --- several nodes in one call ---


@pytest.mark.parametrize("place", [0, 1, 2])
def test_R14_one_node_that_may_drop_jobs_is_enough(nodes: Cluster, broker: RedisBroker, place: int) -> None:
    odd = nodes.servers[place]
    odd.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        facts = asyncio.run(broker.facts())
    finally:
        odd.say("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert (facts.eviction, facts.keeps) == ("allkeys-lru", "nothing")


FIRST, SECOND = ("127.0.0.1", 1), ("127.0.0.1", 2)
MAP = [[0, 8_191, [b"127.0.0.1", 1]], [8_192, 16_383, [b"127.0.0.1", 2]]]


def two() -> Slots:
    """The map of two nodes."""
    slots = Slots(At(shown="redis+cluster://h", nodes=(At(shown="", host="127.0.0.1", port=1),)))
    slots.learn(FIRST, MAP)
    return slots


def test_R7_a_node_that_does_not_answer_is_asked_last() -> None:
    """Else each look at the map waits for it, and with that the queues of all nodes."""
    slots = two()
    assert (slots.to_ask(), slots.stale) == ([FIRST, SECOND], False)
    slots.doubt(FIRST)
    assert (slots.to_ask(), slots.stale) == ([SECOND, FIRST], True)
    slots.learn(SECOND, MAP)
    assert slots.to_ask() == [SECOND, FIRST]
    slots.learn(FIRST, MAP)
    assert slots.to_ask() == [FIRST, SECOND]


def met(*outcomes: Any) -> Exception:
    """What a call to two nodes raises that met this."""
    slots = two()
    commands = [("GET", "b"), ("GET", "a")]
    steps = route(slots, commands)
    assert [place for place, _ in next(steps)] == [FIRST, SECOND]
    with pytest.raises((NoAnswer, StoreUnavailable)) as raised:
        steps.send(list(outcomes))
    return raised.value


def test_R7_one_node_is_away_and_the_other_silent_so_nobody_knows() -> None:
    away, silent = StoreUnavailable("away"), NoAnswer("silent")
    assert met(away, silent) is silent
    assert met(silent, away) is silent
    assert met(away, away) is away
    assert type(met(away, [1])) is NoAnswer
    assert type(met([1], silent)) is NoAnswer
