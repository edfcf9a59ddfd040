"""A server that is a replica (R16), that was emptied (R6), that takes no more clients or asks for another password
(R23).
"""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.stores import envelope
from tests.faults.processes import Fleet, eventually
from tests.faults.redis.stage import LEASE_MS, QUEUE, Talker, at, broker_at, job
from tests.servers import HOST, Conversation, Server, start

from surefoot import StoreUnavailable
from surefoot.brokers.answers import Hold, Lease
from surefoot.brokers.broker import (
    Amend,
    Beat,
    Cancel,
    Configure,
    Delete,
    Extend,
    Find,
    Move,
    Prune,
    Put,
    Queues,
    Requeue,
    Settle,
    Tick,
    Verb,
)
from surefoot.brokers.redis.broker import RedisBroker
from surefoot.core.errors import StoreUnsuitable
from surefoot.core.job import After
from surefoot.core.transition import Finish, Transition

# R16


@pytest.fixture
def replica(server: Server, tmp_path: Path) -> Iterator[Server]:
    """A replica of the server that is up to date."""
    server.say("CONFIG", "SET", "repl-diskless-sync-delay", 0)
    with start(tmp_path / "replica", options={"replicaof": f"{HOST} {server.port}"}) as replica:
        eventually("it follows", lambda: replica.info()["master_link_status"] == "up")
        yield replica


def refusal(server: Server, replica: Server) -> str:
    return re.escape(
        f"redis://{HOST}:{replica.port}/0 is a replica, which takes no writes: give the URL of its primary "
        f"({HOST}:{server.port})."
    )


def test_R16_a_replica_is_refused_by_the_first_call(server: Server, replica: Server) -> None:
    with broker_at(replica.port) as broker:
        for _ in range(2):
            with pytest.raises(StoreUnsuitable, match=refusal(server, replica)):
                Talker(broker).put("a")


async def test_R16_a_replica_is_refused_by_the_first_call_of_a_loop(server: Server, replica: Server) -> None:
    broker = RedisBroker(at(replica.port))
    with pytest.raises(StoreUnsuitable, match=refusal(server, replica)):
        await broker.facts()
    await broker.close()


def test_R16_a_worker_refuses_a_replica(server: Server, replica: Server, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, replica.url)
    try:
        worker = fleet.start()
        assert worker.wait(60) != 0
        assert re.search(refusal(server, replica), fleet.logs())
    finally:
        fleet.close()


def test_R16_a_primary_that_becomes_a_replica_is_away_until_it_is_one_again(server: Server, tmp_path: Path) -> None:
    with broker_at(server.port) as broker, start(tmp_path / "other") as other:
        Talker(broker).put("a")
        server.say("REPLICAOF", HOST, other.port)
        with pytest.raises(StoreUnavailable, match="takes no writes: it is a replica now"):
            Talker(broker, patience=0.5).put("b")
        waiting: list[Any] = []
        thread = threading.Thread(target=lambda: waiting.append(Talker(broker).put("c")))
        thread.start()
        server.say("REPLICAOF", "NO", "ONE")
        thread.join()
        assert waiting == [["created"]]


# R6


def verbs(token: str) -> list[Verb[Any]]:
    """Every verb that says something of a job, of one that was there."""
    return [
        Settle(QUEUE, (Transition("a", token, Finish("completed", b"1"), "runs"),)),
        Extend(QUEUE, (Lease("a", token, b"note"),), LEASE_MS),
        Cancel(QUEUE, ("a",)),
        Requeue(QUEUE, ("a",)),
        Move(QUEUE, ("a",), After(1_000)),
        Amend(QUEUE, "a", envelope("a")),
        Delete(QUEUE, ("a",)),
        Prune(QUEUE),
        Configure(QUEUE),
        Find(QUEUE),
        Queues("shop:"),
        Tick(QUEUE, "nightly", 1_750_000_000_000, job("t")),
        Put(QUEUE, (job("a"),)),
    ]


def test_R6_an_emptied_server_has_another_epoch_and_nothing_crashes(server: Server) -> None:
    with broker_at(server.port) as broker:
        for place in range(len(verbs(""))):
            server.say("FLUSHALL")
            one, other = Talker(broker), Talker(broker)
            one.put("a")
            other.ask(verbs("")[-2])
            epoch = other.say(Beat(QUEUE, "w", b"{}"))
            assert epoch.startswith(one.session.caller)
            held = {leased.id: leased for leased in one.claim()}
            server.say("FLUSHALL")
            verb = verbs(held["a"].token)[place]
            [answer] = one.ask(verb)
            assert answer == told_of_nothing(verb, answer)
            assert one.claim() == [] or isinstance(verb, Put | Tick)
            assert one.states("b") == ["unknown"]
            assert other.say(Beat(QUEUE, "w", b"{}")).startswith(one.session.caller)
            assert other.put("c") == ["created"]


def told_of_nothing(verb: Verb[Any], answer: Any) -> Any:
    """What a store says that knows no job."""
    match verb:
        case Settle():
            return ["fenced"]
        case Extend():
            return [Hold(held=False)]
        case Cancel():
            return ["finished"]
        case Move() | Delete():
            return [False]
        case Amend():
            return "not_dead"
        case Prune():
            return 0
        case Tick():
            return "created"
    return answer


def test_R6_the_epoch_of_an_emptied_server_is_another_one(server: Server) -> None:
    """By whoever writes first."""
    with broker_at(server.port) as broker:
        one, other = Talker(broker), Talker(broker)
        one.put("a")
        before = other.stats().epoch
        assert before.startswith(one.session.caller)
        server.say("FLUSHALL")
        assert one.stats().epoch == ""
        one.put("a")
        assert one.stats().epoch == one.say(Beat(QUEUE, "w", b"{}")) != before, "also if the same caller begins it"


# R23

OLD, NEW = "old-s3cret", "new-s3cret"
SHORT_S = 0.3


def refused(broker: RedisBroker) -> str:
    """What somebody is told who gives up soon."""
    with pytest.raises(StoreUnavailable) as refusal:
        Talker(broker, SHORT_S).put("refused")
    return str(refusal.value)


def in_the_end(broker: RedisBroker, id: str) -> tuple[threading.Thread, list[Any]]:
    """Somebody who does not give up, in a thread; and what it was told."""
    told: list[Any] = []
    thread = threading.Thread(target=lambda: told.append(Talker(broker).put(id)))
    thread.start()
    return thread, told


def test_R23_too_many_clients(server: Server) -> None:
    with broker_at(server.port) as old, broker_at(server.port) as new, server.conversation() as talk:
        connected = Talker(old)
        connected.put("a")
        talk.say("CONFIG", "SET", "maxclients", 2)
        # The server says it and closes; what we say meanwhile may make the system throw its words away.
        reasons = r"\((too many clients|connection reset by peer|broken pipe|the server closed the connection)\)"
        for _ in range(3):
            assert re.search(reasons + "; the job was not accepted", refused(new))
        assert connected.put("b") == ["created"], "whoever is in stays in"
        thread, told = in_the_end(new, "c")
        talk.say("CONFIG", "SET", "maxclients", 100)
        thread.join()
        assert told == [["created"]]
        assert connected.states("a", "b", "c", "refused") == ["pending", "pending", "pending", "unknown"]


@pytest.mark.parametrize("by", ["requirepass", "acl"])
def test_R23_the_password_was_changed(server: Server, by: str) -> None:
    """Whoever is in stays in; new connections wait until it is put right."""

    def change(password: str) -> None:
        if by == "requirepass":
            server.say("CONFIG", "SET", "requirepass", password)
        else:
            server.say("ACL", "SETUSER", "default", "resetpass", f">{password}")
        server.password = password

    change(OLD)
    with broker_at(server.port, password=OLD) as broker:
        connected = Talker(broker)
        connected.put("a")
        change(NEW)
        assert connected.put("b") == ["created"]
        server.say("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        sentence = refused(broker)
        assert "(the server refuses the password); the job was not accepted" in sentence
        assert OLD not in sentence
        thread, told = in_the_end(broker, "c")
        change(OLD)
        thread.join()
        assert told == [["created"]]
        assert connected.states("a", "b", "c", "refused") == ["pending", "pending", "pending", "unknown"]


@pytest.mark.parametrize("trouble", ["password", "clients"])
def test_R23_a_worker_goes_on_when_it_is_put_right_and_says_little(
    server: Server, tmp_path: Path, trouble: str
) -> None:
    """One that runs a job, and one that is idle. What each of them says fits into a line."""
    fleet = Fleet(tmp_path, server.url, server)
    try:
        workers = [fleet.start("--lease", "3") for _ in range(2)]
        fleet.ready(*workers)
        [id] = fleet.enqueue("work", seconds=5)
        fleet.told("started", 1, id)
        with server.conversation() as talk:
            put_right(talk, trouble, wrong=True)
            server.password = NEW if trouble == "password" else None
            talk.say("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            fleet.told("ended", 1, id)
            put_right(talk, trouble, wrong=False)
            server.password = None
        assert fleet.record(id).state in ("processing", "completed")
        fleet.enqueue("work", 20, seconds=0.1)
        fleet.all_over().assert_nothing_lost()
        for log in tmp_path.glob("process-*.log"):
            said = [line for line in log.read_text().splitlines() if "cannot reach" in line or "lost the conn" in line]
            assert len(said) <= 2, f"{log.name}: it is said at most once a minute"
        fleet.stop(*workers)
    finally:
        fleet.close()
        print(fleet.logs())


def put_right(talk: Conversation, trouble: str, *, wrong: bool) -> None:
    if trouble == "password":
        talk.say("CONFIG", "SET", "requirepass", NEW if wrong else "")
    else:
        talk.say("CONFIG", "SET", "maxclients", 1 if wrong else 1_000)
