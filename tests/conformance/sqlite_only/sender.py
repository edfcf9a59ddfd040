"""One caller on one SQLite broker, by the real clock: what the tests of that store speak with. No case lives here."""

from typing import Any

from tests.conformance.stores import LEASE_MS, QUEUE

from surefoot.brokers.answers import PutAnswer
from surefoot.brokers.broker import Call, Claim, Get, Put, Verb
from surefoot.brokers.sqlite import SqliteBroker
from surefoot.core.job import NewJob


class Sender:
    """Numbers its calls; each method says one."""

    def __init__(self, broker: SqliteBroker, caller: str = "sender") -> None:
        self.broker = broker
        self.caller = caller
        self.number = 0

    def call(self, *verbs: Verb[Any]) -> Call:
        self.number += 1
        return Call(self.caller, self.number, "tag1", verbs)

    def say(self, *verbs: Verb[Any]) -> list[Any]:
        return self.broker.run_sync(self.call(*verbs))

    def put(self, *jobs: NewJob, queue: str = QUEUE) -> "list[PutAnswer]":
        answers: list[PutAnswer] = self.say(Put(queue, jobs))[0]
        return answers

    def claim(self, want: int = 100, queue: str = QUEUE) -> list[str]:
        (claimed,) = self.say(Claim(queue, want, LEASE_MS, 0))
        return [job.id for job in claimed.jobs]

    def known(self, *ids: str) -> list[bool]:
        return [record is not None for record in self.say(Get(QUEUE, ids))[0]]
