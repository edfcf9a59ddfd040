"""Sentinels choose another primary (R3): by the death, the silence or the replacement of the old one. All go on."""

import asyncio
import contextlib
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.processes import Fleet, Process, eventually
from tests.faults.redis.conftest import check
from tests.faults.redis.kinds import EVERY_KIND, kind_of
from tests.faults.redis.stage import FAR_MS, LEASE_MS, QUEUE, Talker, broker_at, job
from tests.servers import HOST, Server, start
from tests.servers.sentinels import NAME, Watched, watched

from surefoot import NotReplicated, Queue, StoreUnavailable, SurefootError
from surefoot.brokers.broker import Claim, Put, Settle, Verb
from surefoot.brokers.redis.broker import RedisBroker
from surefoot.brokers.redis.server import Server as At
from surefoot.client.session import Session
from surefoot.core.transition import Finish, Transition

SECRET, OTHER_SECRET = "s3cret", "0ther"


@pytest.fixture(params=EVERY_KIND)
def trio(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Watched]:
    """A primary with one replica and three sentinels."""
    with watched(tmp_path / "watched", kind_of(request)) as trio:
        yield trio


class Producer:
    """A thread that enqueues, and waits for the replica each time; what was confirmed and what was not."""

    def __init__(self, url: str) -> None:
        self.queue = Queue(url, name="jobs", durable=1)
        self.confirmed: list[str] = []
        self.short: list[str] = []
        self.others: list[str] = []
        self._leave = False
        self._thread = threading.Thread(target=self._produce)
        self._thread.start()

    def _produce(self) -> None:
        while not self._leave:
            draft = self.queue.by_name("work").draft(seconds=0)
            try:
                self.queue.enqueue_sync(draft)
            except NotReplicated:
                self.short.append(draft.id)
            except SurefootError as error:
                self.others.append(f"{type(error).__name__}: {error}")
            else:
                self.confirmed.append(draft.id)
            time.sleep(0.005)

    def goes_on(self) -> None:
        before = len(self.confirmed)
        eventually("more are confirmed", lambda: len(self.confirmed) > before + 20)

    def leave(self) -> None:
        self._leave = True
        self._thread.join()


@pytest.fixture
def fleet(trio: Watched, tmp_path: Path) -> Iterator[Fleet]:
    one = Fleet(tmp_path, trio.url)
    try:
        yield one
    finally:
        one.close()
        print(one.logs())


@pytest.fixture
def worker(fleet: Fleet) -> Process:
    worker = fleet.start("--concurrency", "5")
    fleet.ready(worker)
    return worker


@pytest.fixture
def producer(trio: Watched, worker: Process) -> Iterator[Producer]:
    one = Producer(trio.url)
    try:
        one.goes_on()
        yield one
    finally:
        one.leave()


def goes_on(fleet: Fleet) -> None:
    """The worker finishes more jobs."""
    before = fleet.ledger.count("ended")
    eventually("the worker goes on", lambda: fleet.ledger.count("ended") > before + 20)


def killed(trio: Watched, old: Server) -> Callable[[], None]:
    old.kill()
    trio.after_death_of(old)
    return old.again  # it will be a replica, without which nothing is confirmed


def frozen(trio: Watched, old: Server) -> Callable[[], None]:
    old.freeze()
    trio.after_death_of(old)
    return old.thaw


def replaced(trio: Watched, _: Server) -> Callable[[], None]:
    trio.fail_over()
    return lambda: None


@pytest.mark.parametrize("strike", [killed, frozen, replaced])
def test_R3_a_failover_loses_nothing_that_was_confirmed_and_all_go_on(
    strike: Callable[[Watched, Server], Callable[[], None]],
    trio: Watched,
    fleet: Fleet,
    worker: Process,
    producer: Producer,
) -> None:
    old = trio.primary()
    mend = strike(trio, old)
    new = trio.primary()
    assert new is not old
    mend()
    producer.goes_on()
    goes_on(fleet)
    producer.leave()
    assert producer.others == []
    eventually("every job ended", fleet.over)
    ended = {line["job"] for line in fleet.ledger.of("ended")}
    assert [id for id in producer.confirmed if id not in ended] == []
    fleet.stop(worker)
    check(new)


def test_R3_an_idle_worker_waits_at_the_new_primary(trio: Watched, fleet: Fleet, worker: Process) -> None:
    def is_waited_at(server: Server) -> bool:
        return b"cmd=blpop" in server.say("CLIENT", "LIST", "TYPE", "normal")

    eventually("it waits", lambda: is_waited_at(trio.primary()))
    new = trio.fail_over()
    eventually("it waits there", lambda: is_waited_at(new))
    fleet.enqueue("work", 3, seconds=0)
    fleet.all_over().assert_nothing_lost()


def test_R3_whoever_waits_for_a_result_is_told(trio: Watched, fleet: Fleet, worker: Process) -> None:
    async def ask() -> Any:
        draft = fleet.task("work").draft(seconds=4)
        handle = await fleet.queue.enqueue(draft)
        waiting = asyncio.ensure_future(handle.result(timeout=60))
        await asyncio.to_thread(fleet.told, "started", 1, handle.id)
        await asyncio.to_thread(trio.fail_over)
        result = await waiting
        await fleet.queue.close()
        return result

    assert asyncio.run(ask()) == fleet.id_of(worker)


def test_R3_what_is_known_of_the_primary_is_asked_of_the_next_one(
    trio: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    queue = Queue(trio.url, name="jobs")
    queue.enqueue_sync(queue.by_name("work").draft())
    assert asyncio.run(queue.broker.facts()).eviction == "noeviction"
    [replica] = [server for server in trio.servers if server is not trio.primary()]
    replica.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    trio.fail_over()

    def is_told() -> bool:
        queue.enqueue_sync(queue.by_name("work").draft())
        return "maxmemory-policy allkeys-lru, was noeviction" in caplog.text

    eventually("the change is told", is_told)
    assert asyncio.run(queue.broker.facts()).eviction == "allkeys-lru"
    queue.close_sync()


# --- who is asked, and what is believed ---


def sentence(url: str) -> str:
    queue = Queue(url, name="jobs")
    with pytest.raises(StoreUnavailable) as told:
        queue.stats_sync()
    with pytest.raises(StoreUnavailable) as told_on_a_loop:
        asyncio.run(queue.stats())
    assert str(told.value) == str(told_on_a_loop.value)
    return str(told.value)


def test_R3_sentinels_that_are_away_are_passed_over(trio: Watched) -> None:
    query = "?timeout=3"
    queue = Queue(trio.url_with(query=query), name="jobs")
    trio.sentinels[0].kill()
    trio.sentinels[1].freeze()
    queue.enqueue_sync(queue.by_name("work").draft())
    asyncio.run(queue.enqueue(queue.by_name("work").draft()))
    queue.close_sync()
    for sentinel in trio.sentinels[1:]:
        sentinel.kill()
    url = trio.url_with(query="?timeout=0.5").replace("/0?", "/1?")  # another store: nobody has found it yet
    assert sentence(url) == (
        f"cannot reach the sentinel {HOST}:{trio.sentinels[-1].port} of {url} (connection refused); nothing was done. "
        "Is the server running? Try `surefoot doctor`."
    )


def test_R3_a_name_that_no_sentinel_knows(trio: Watched) -> None:
    url = trio.url_with(query="?timeout=0.5").replace(NAME, "other")
    last = trio.sentinels[-1].port
    assert sentence(url) == f"the sentinel {HOST}:{last} of {url} knows no primary 'other'."


class Liar(socketserver.ThreadingTCPServer):
    """A sentinel that was left behind: it names the server at this port for ever."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, named: int) -> None:
        self.named = str(named).encode()
        super().__init__((HOST, 0), Lie)


class Lie(socketserver.StreamRequestHandler):
    server: Liar

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            while head := self.rfile.readline():
                words = [self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2] for _ in range(int(head[1:]))]
                if words[0].upper() == b"SENTINEL":
                    port = self.server.named
                    self.wfile.write(b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%b\r\n" % (len(port), port))
                else:
                    self.wfile.write(b"+OK\r\n")


LIARS: dict[int, Liar] = {}


@contextlib.contextmanager
def liar(named: Server) -> Iterator[int]:
    """The port of a sentinel that names this server, whatever happens."""
    with Liar(named.port) as one:
        thread = threading.Thread(target=one.serve_forever)
        thread.start()
        port = int(one.server_address[1])
        LIARS[port] = one
        try:
            yield port
        finally:
            one.shutdown()
            thread.join()


def test_R3_a_replica_that_is_named_is_not_written_to(tmp_path: Path) -> None:
    with start(tmp_path / "primary") as primary, start(tmp_path / "replica") as replica:
        replica.follow(primary)
        with liar(replica) as port:
            url = f"redis+sentinel://{HOST}:{port}/{NAME}/0?timeout=0.5"
            assert sentence(url) == (
                f"cannot reach the primary {HOST}:{replica.port} of {url} (it is a replica now); nothing was done."
            )


def test_R3_another_sentinel_is_asked_when_what_one_named_is_of_no_use(tmp_path: Path) -> None:
    with start(tmp_path / "primary") as primary, start(tmp_path / "replica") as replica:
        replica.follow(primary)
        with liar(replica) as behind, liar(primary) as knowing:
            queue = Queue(f"redis+sentinel://{HOST}:{behind},{HOST}:{knowing}/{NAME}/0", name="jobs")
            queue.enqueue_sync(queue.by_name("work").draft())
            assert primary.say("EXISTS", "{surefoot:jobs}:jobs") == 1
            queue.close_sync()


def test_R3_a_primary_that_was_replaced_and_lives_on_is_left(tmp_path: Path) -> None:
    """It takes writes for some seconds, which are lost: whoever is connected with it leaves before that."""
    with start(tmp_path / "old") as old, start(tmp_path / "new") as new, liar(old) as port:
        queue = Queue(f"redis+sentinel://{HOST}:{port}/{NAME}/0", name="jobs")
        broker, full_name = queue.broker, queue.full_name

        def enqueued_at_new() -> bool:
            queue.enqueue_sync(queue.by_name("work").draft())
            return bool(new.say("EXISTS", "{surefoot:jobs}:jobs"))

        async def stay() -> None:
            waiting = asyncio.ensure_future(broker.wait([full_name], 3600))
            await queue.enqueue(queue.by_name("work").draft())
            waiting.cancel()
            await asyncio.wait([waiting])
            new_one = asyncio.ensure_future(broker.wait([full_name], 3600))
            await asyncio.sleep(0)
            LIARS[port].named = str(new.port).encode()
            await asyncio.to_thread(eventually, "a thread leaves", enqueued_at_new)
            new.say("FLUSHALL")
            await queue.enqueue(queue.by_name("work").draft())
            assert new.say("EXISTS", "{surefoot:jobs}:jobs") == 1
            await asyncio.wait([new_one], timeout=60)
            assert new_one.done()
            assert await new_one
            await queue.close()

        queue.enqueue_sync(queue.by_name("work").draft())
        old.say("DEL", "{surefoot:jobs}:wake")
        asyncio.run(stay())
        queue.close_sync()


@pytest.mark.parametrize("looped", [False, True], ids=["thread", "loop"])
def test_R3_a_settle_stays_before_the_claim_behind_it(tmp_path: Path, looped: bool) -> None:
    """The new primary knows the claim's script, not the settle's: done first, the claim takes over what is settled."""
    with start(tmp_path / "old") as old, start(tmp_path / "new") as new, liar(old) as port:
        sentinel = At(host=HOST, port=port, shown="the sentinel")
        broker = RedisBroker(At(shown="redis+sentinel://h/mymaster/0", sentinels=(sentinel,), primary=NAME))
        talker = Talker(broker)

        async def say(*verbs: Verb[Any]) -> list[Any]:
            answers = await session.ask(verbs) if looped else await asyncio.to_thread(talker.session.ask, verbs)
            assert not [answer for answer in answers if isinstance(answer, Exception)]
            return answers

        async def change() -> None:
            await say(Put(QUEUE, (job("a"),)))
            [claimed] = await say(Claim(QUEUE, 1, 1, FAR_MS))
            await say(Settle(QUEUE, ()))  # from here on its script goes by its digest
            await asyncio.to_thread(new.follow, old)
            new.lead()
            with broker_at(new.port) as other:
                Talker(other).say(Claim("shop:other", 1, LEASE_MS, FAR_MS))
            LIARS[port].named = str(new.port).encode()
            await asyncio.sleep(1.2)  # sentinels are asked once a second
            settle = Settle(QUEUE, (Transition("a", claimed.jobs[0].token, Finish("completed", b"1"), "runs"),))
            answers = await say(settle, Claim(QUEUE, 1, LEASE_MS, FAR_MS))
            assert answers[0] == ["applied"]
            assert new.say("ZCARD", f"{{{QUEUE}}}:kept") == 1
            await broker.close()

        session = Session(broker)
        asyncio.run(change())
        broker.close_sync()


def test_R3_servers_and_sentinels_have_passwords_of_their_own(tmp_path: Path) -> None:
    servers = {"requirepass": SECRET, "masterauth": SECRET}
    sentinels = {
        f"sentinel auth-pass {NAME}": SECRET,
        "requirepass": OTHER_SECRET,
        "sentinel sentinel-pass": OTHER_SECRET,
    }
    with watched(tmp_path, options=servers, sentinel_options=sentinels) as trio:
        queue = Queue(trio.url_with(f":{SECRET}@", f"?sentinel_password={OTHER_SECRET}"), name="jobs", durable=1)
        queue.enqueue_sync(queue.by_name("work").draft())
        asyncio.run(queue.enqueue(queue.by_name("work").draft()))
        queue.close_sync()
        told = sentence(trio.url_with(f":{SECRET}@", "?sentinel_password=wrong&timeout=0.5"))
        assert "(the server refuses the password); nothing was done." in told
        told += sentence(trio.url_with(f":{SECRET}@", "?timeout=0.5"))
        assert "(the server asks for a password); nothing was done." in told
        told += sentence(trio.url_with(":wrong@", f"?sentinel_password={OTHER_SECRET}&timeout=0.5"))
        assert f"cannot reach the primary {HOST}:{trio.primary().port} of" in told
        assert SECRET not in told
        assert OTHER_SECRET not in told
        assert "wrong" not in told
