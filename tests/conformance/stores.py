"""The stores that the suite runs against, and the hands that speak to them: numbered callers at a time moved by hand.

A new broker is one more line in KINDS. The model is a kind too: it must pass the same cases.
"""

import atexit
import functools
import itertools
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import msgspec
from tests import servers
from tests.conformance.leaks import leaks
from tests.conformance.model import Model
from tests.conformance.model_pieces import Ties
from tests.conformance.model_state import Queue
from tests.servers.clusters import cluster

from surefoot.brokers.answers import CancelWord, Claimed, Hold, Lease, Page, PutAnswer, QueueStats, Record, Verdict
from surefoot.brokers.broker import Broker, Call, Cancel, Claim, Extend, Find, Get, Put, Settle, Stats, Verb
from surefoot.brokers.sqlite.broker import SqliteBroker
from surefoot.core.codec import encode_envelope
from surefoot.core.job import Draft, Leased, NewJob
from surefoot.core.transition import Bury, Counter, Finish, Move, Transition

T = TypeVar("T")

QUEUE = "shop:mail"
START_MS = 1_800_000_000_000
LEASE_MS = 10_000


class Runner(Protocol):
    """What the suite needs of a store to say a call; every broker has it, and the model."""

    def run_sync(self, call: Call) -> list[Any]: ...


class Kind(msgspec.Struct, frozen=True):
    """One kind of store. `open(place, understands)` may be called again: for a restart, or for a second release.

    `shared`: two brokers may have one store, which outlives them. `lose_body(place, id)` damages it. `ties`: see Ties.
    `server`: the kind of server it stands on. `clustered`: as a cluster of so many nodes; a single one is spoken to as
    if it were alone. `full`: only in the long form of the suite.
    """

    name: str
    open: Callable[[Path, int], Runner]
    shared: bool
    lose_body: Callable[[Path, str], None] | None = None
    ties: Ties = "arrival"
    server: str | None = None
    clustered: int = 0
    full: bool = False


_models: dict[Path, dict[str, Queue]] = {}


def _open_model(place: Path, understands: int) -> Runner:
    return Model(understands, queues=_models.setdefault(place, {}))


def _lose_body_in_model(place: Path, id: str) -> None:
    for queue in _models[place].values():
        queue.jobs[id].body = None


def _file(place: Path) -> Path:
    return place / "jobs.db"


def _lose_body_in_file(place: Path, id: str) -> None:
    connection = sqlite3.connect(_file(place))
    with connection:
        lost = connection.execute("DELETE FROM body WHERE seq = (SELECT seq FROM job WHERE id = ?)", (id,)).rowcount
    connection.close()
    assert lost == 1, f"there was no body of {id} to lose"


MODEL = Kind("model", _open_model, True, _lose_body_in_model)
MEMORY = Kind("sqlite-memory", lambda _, understands: SqliteBroker(":memory:", understands=understands), False)
FILE = Kind(
    "sqlite-file",
    lambda place, understands: SqliteBroker(str(_file(place)), understands=understands),
    True,
    _lose_body_in_file,
)


@functools.cache
def servers_of(kind: str, clustered: int = 0) -> tuple[servers.Server, ...]:
    """The servers of this kind that this process has, or its cluster; started at first use, ended with the process."""
    folder, owner = Path(tempfile.mkdtemp(prefix="surefoot-")), os.getpid()
    running: list[servers.Server] = []
    if clustered > 1:
        running += cluster(folder, kind, nodes=clustered).servers
    else:
        running.append(servers.one_node_cluster(folder, kind) if clustered else servers.start(folder, kind))

    def end() -> None:
        if os.getpid() == owner:  # a forked child leaves it alone
            for server in running:
                server.close()
            shutil.rmtree(folder)

    atexit.register(end)
    return tuple(running)


@functools.cache
def server_of(kind: str, clustered: int = 0) -> servers.Server:
    """The server that the queue of the suite lives on."""
    running = servers_of(kind, clustered)
    if len(running) == 1:
        return running[0]
    slot = running[0].say("CLUSTER", "KEYSLOT", f"{{{QUEUE}}}:meta")
    for first, last, (_, port, *_) in running[0].say("CLUSTER", "SLOTS"):
        if first <= slot <= last:
            return next(one for one in running if one.port == port)
    raise AssertionError(f"nobody serves {slot}")


def _redis(name: str, server: str, *, clustered: int = 0, full: bool = False) -> Kind:
    # Imported when a case needs it: the suite of the other stores runs without the client library.
    def opened(_: Path, understands: int) -> Runner:
        from surefoot.brokers.redis.broker import RedisBroker
        from surefoot.brokers.redis.server import Server

        at = servers_of(server, clustered)[-1]
        place: dict[str, Any] = {"host": servers.HOST, "port": at.port, "shown": at.url}
        if clustered > 1:
            place["nodes"] = (Server(**place),)
        return RedisBroker(Server(**place), understands=understands)

    def lose_body(_: Path, id: str) -> None:
        lost = server_of(server, clustered).say("HDEL", f"{{{QUEUE}}}:jobs", id)
        assert lost == 1, f"there was no body of {id} to lose"

    return Kind(name, opened, True, lose_body, "id", server, clustered, full)


REDIS = _redis("redis", "valkey-9")
CLUSTER = _redis("cluster", "valkey-9", clustered=3)
MATRIX = tuple(
    _redis(f"{shape}{server}", server, clustered=nodes, full=True)
    for server in servers.KINDS
    for shape, nodes in (("", 0), ("cluster-", 3))
    if server != REDIS.server
)
"""Servers of other makes and versions, each alone and as a cluster."""
NODE = _redis("node", "valkey-9", clustered=1)
"""Not in KINDS: redis_only says each verb on it once."""
KINDS = (MODEL, MEMORY, FILE, REDIS, CLUSTER, *MATRIX)


class Store:
    """One store at a time that only `later` moves, with the brokers opened on it."""

    def __init__(self, kind: Kind, place: Path) -> None:
        self.kind = kind
        self.now = START_MS
        self._place = place
        self._opened: list[Runner] = []
        self._names = itertools.count()
        self._lost: set[str] = set()
        for server in self._servers:
            server.say("FLUSHALL")
        self.runner = self.open()

    @property
    def server(self) -> servers.Server:
        """The server that its queue lives on, if it stands on one."""
        assert self.kind.server is not None
        return server_of(self.kind.server, self.kind.clustered)

    @property
    def _servers(self) -> tuple[servers.Server, ...]:
        return () if self.kind.server is None else servers_of(self.kind.server, self.kind.clustered)

    @property
    def broker(self) -> Broker:
        """The whole broker, for what the model does not have: waiting, and other threads."""
        return whole(self.runner)

    def open_broker(self) -> Broker:
        """Another broker on the same store, as another process would have it."""
        return whole(self.open())

    def open(self, understands: int = 1) -> Runner:
        runner = self.kind.open(self._place, understands)
        self._opened.append(runner)
        return runner

    def restart(self) -> None:
        """As if every process had left and a new one came."""
        self._leave()
        self.runner = self.open()

    def close(self) -> None:
        """Leave the store, and see that nothing is left in it that should not be."""
        self._leave()
        for server in self._servers:
            with server.conversation() as talk:
                found = leaks(talk, lost=self._lost)
            assert not found, "\n".join(found)

    def _leave(self) -> None:
        for runner in self._opened:
            if not isinstance(runner, Model):
                whole(runner).close_sync()
        self._opened.clear()

    def later(self, ms: int) -> int:
        self.now += ms
        return self.now

    def lose_body(self, id: str) -> None:
        assert self.kind.lose_body is not None
        self.kind.lose_body(self._place, id)
        self._lost.add(id)

    def hand(self, queue: str = QUEUE, *, runner: Runner | None = None) -> "Hand":
        return Hand(self, f"caller{next(self._names):010}", queue, runner)


def whole(runner: Runner) -> Broker:
    """The runner as the broker that it is, unless it is the model."""
    assert not isinstance(runner, Model), "the model neither waits nor closes"
    return cast(Broker, runner)


class Hand:
    """One caller: it numbers its calls, and says one verb at a time in a word."""

    def __init__(self, store: Store, caller: str, queue: str, runner: Runner | None) -> None:
        self.store = store
        self.caller = caller
        self.queue = queue
        self._runner = runner
        self._number = 0
        self.last: Call | None = None

    def call(self, *verbs: Verb[Any]) -> Call:
        """The next call, not yet said."""
        self._number += 1
        self.last = Call(self.caller, self._number, f"t{self._number:03}"[-4:], verbs, self.store.now)
        return self.last

    def send(self, call: Call) -> list[Any]:
        return (self._runner or self.store.runner).run_sync(call)

    def say(self, verb: Verb[T]) -> T:
        (answer,) = self.send(self.call(verb))
        if isinstance(answer, Exception):
            raise answer
        said: T = answer
        return said

    def again(self) -> Any:
        """What the last call of one verb is answered when it is said once more, later."""
        assert self.last is not None
        (answer,) = self.send(msgspec.structs.replace(self.last, now=self.store.now))
        return answer

    def again_all(self) -> list[Any]:
        """The jobs of each claim of the last call, said once more."""
        assert self.last is not None
        return [claimed.jobs for claimed in self.send(msgspec.structs.replace(self.last, now=self.store.now))]

    def put(self, *jobs: NewJob, max_length: int | None = None) -> list[PutAnswer]:
        return self.say(Put(self.queue, jobs, max_length))

    def claim(self, want: int = 100, *reasons: str, trusting: bool = True, lease_ms: int = LEASE_MS) -> Claimed:
        return self.say(Claim(self.queue, want, lease_ms, self.store.now if trusting else 0, reasons=reasons))

    def take(self, id: str) -> Leased:
        """Put one plain job and claim it: what a settle needs before it."""
        self.put(new(id))
        return next(leased for leased in self.claim().jobs if leased.id == id)

    def settle(self, *steps: Transition) -> list[Verdict]:
        return self.say(Settle(self.queue, steps))

    def end(self, leased: Leased, to: Move, bump: Counter | None = "runs", **words: Any) -> Verdict:
        (verdict,) = self.settle(Transition(leased.id, leased.token, to, bump, **words))
        return verdict

    def kill(self, id: str) -> Leased:
        """Put a plain job and make a dead letter of it."""
        leased = self.take(id)
        assert (
            self.end(leased, Bury("exhausted"), "failures", error=b'{"kind":"ValueError","reason":"exhausted"}')
            == "applied"
        )
        return leased

    def complete(self, id: str, keep_ms: int | None = 300_000) -> Leased:
        leased = self.take(id)
        assert self.end(leased, Finish("completed", b'"done"'), keep_ms=keep_ms) == "applied"
        return leased

    def extend(self, *leases: Lease, lease_ms: int = LEASE_MS) -> list[Hold]:
        return self.say(Extend(self.queue, leases, lease_ms))

    def cancel(self, *ids: str, reason: str = "", keep_ms: int | None = 300_000) -> list[CancelWord]:
        return self.say(Cancel(self.queue, ids, reason, keep_ms))

    def get(self, id: str) -> Record | None:
        return self.say(Get(self.queue, (id,)))[0]

    def record(self, id: str) -> Record:
        record = self.get(id)
        assert record is not None, f"the store does not know {id}"
        return record

    def state(self, id: str) -> str:
        """The state, or "unknown"."""
        record = self.get(id)
        return "unknown" if record is None else record.state

    def find(self, **words: Any) -> Page:
        return self.say(Find(self.queue, **words))

    def stats(self, minutes: int = 60, *crons: str) -> QueueStats:
        return self.say(Stats(self.queue, minutes, crons))


def new(id: str, **words: Any) -> NewJob:
    """A job of the task `welcome`, with a real envelope."""
    return NewJob(id, envelope(id), **words)


def envelope(id: str, payload: bytes = b'{"address":"a@b.c"}') -> bytes:
    return encode_envelope(Draft(id=id, queue="mail", task="welcome", payload=payload), START_MS)


def ids(claimed: Claimed) -> list[str]:
    return [leased.id for leased in claimed.jobs]


def words(answers: list[PutAnswer]) -> list[str]:
    return [answer.word for answer in answers]
