"""What the fault tests on Redis share: a broker at a port, and one caller after the other in a line. No case here."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from tests.faults.life import FAR_MS as FAR_MS  # these four for whoever stages
from tests.faults.life import LEASE_MS as LEASE_MS
from tests.faults.life import QUEUE as QUEUE
from tests.faults.life import job as job
from tests.servers import HOST
from tests.servers import Server as Running

from surefoot.brokers.answers import Claimed, Record
from surefoot.brokers.broker import Claim, Get, Put, Settle, Stats, Verb
from surefoot.brokers.redis.broker import RedisBroker
from surefoot.brokers.redis.server import Server
from surefoot.client.session import SyncSession
from surefoot.core.job import Due, Leased
from surefoot.core.transition import Finish, Transition

PATIENCE_S: Final = 60.0


def at(port: int, **words: Any) -> Server:
    return Server(host=HOST, port=port, shown=f"redis://{HOST}:{port}/0", **words)


@contextlib.contextmanager
def broker_at(port: int, **words: Any) -> Iterator[RedisBroker]:
    """A broker of its own on this port."""
    broker = RedisBroker(at(port, **words))
    try:
        yield broker
    finally:
        broker.close_sync()


def all_of(server: Running) -> dict[str, dict[str, str]]:
    """All that is in the store: by key, what each field or member has. Of a list only its length."""
    found: dict[str, dict[str, str]] = {}
    with server.conversation() as talk:
        for raw in sorted(talk.say("KEYS", "*")):
            match talk.say("TYPE", raw):
                case b"hash":
                    flat = talk.say("HGETALL", raw)
                case b"zset":
                    flat = talk.say("ZRANGE", raw, 0, -1, "WITHSCORES")
                case _:
                    flat = [b"length", str(talk.say("LLEN", raw)).encode()]
            words = [word.decode("latin-1") for word in flat]
            found[raw.decode()] = dict(zip(words[::2], words[1::2], strict=True))
    return found


class Talker:
    """One caller that says verbs until they are answered."""

    def __init__(self, broker: RedisBroker, patience: float = PATIENCE_S) -> None:
        self.session: Final = SyncSession(broker, patience)

    def ask(self, *verbs: Verb[Any]) -> list[Any]:
        return self.session.ask(verbs)

    def say(self, verb: Verb[Any]) -> Any:
        return self.session.ask([verb])[0]

    def put(self, *ids: str, due: Due = None) -> list[str]:
        return [answer.word for answer in self.say(Put(QUEUE, tuple([job(id, due=due) for id in ids])))]

    def claim(self, want: int = 100, lease_ms: int = LEASE_MS, *reasons: str) -> list[Leased]:
        claimed: Claimed = self.say(Claim(QUEUE, want, lease_ms, FAR_MS, reasons=reasons))
        return claimed.jobs

    def complete(self, held: Sequence[Leased], result: bytes = b'"done"', keep_ms: int | None = 300_000) -> list[str]:
        steps = [Transition(one.id, one.token, Finish("completed", result), "runs", keep_ms=keep_ms) for one in held]
        verdicts: list[str] = self.say(Settle(QUEUE, tuple(steps)))
        return verdicts

    def records(self, *ids: str) -> list[Record | None]:
        found: list[Record | None] = self.say(Get(QUEUE, ids))
        return found

    def states(self, *ids: str) -> list[str]:
        return ["unknown" if record is None else record.state for record in self.records(*ids)]

    def stats(self) -> Any:
        return self.say(Stats(QUEUE))


def meanwhile(ask: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Ask in a thread; what was answered is in the list when that ends."""
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(ask()))
    thread.start()
    return thread, answers
