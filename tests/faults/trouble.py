"""A broker that wraps a real one and makes trouble at a chosen call: a reply lost, a request lost, the process struck.

Works with any store. Where it strikes it first writes so into the ledger, so that a test can tell that it did.
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import msgspec
from tests.faults.ledger import Ledger

from surefoot import Queue
from surefoot.brokers.answers import Claimed
from surefoot.brokers.broker import Broker, Call, Claim, Facts, NoAnswer
from surefoot.client.session import sessions_with
from surefoot.client.store import Store

Blow: TypeAlias = Literal["lose", "drop", "kill_before", "kill_after", "term_after", "stop_after"]
"""lose: the request never arrives. drop: it is executed, its reply is lost. The others strike this process with
SIGKILL, SIGTERM or SIGSTOP before the call is executed or before its reply is read."""

_BEFORE = ("lose", "kill_before")
_SIGNALS = {
    "kill_before": signal.SIGKILL, "kill_after": signal.SIGKILL,
    "term_after": signal.SIGTERM, "stop_after": signal.SIGSTOP,
}  # fmt: skip


class Plan(msgspec.Struct, array_like=True):
    """Strike at the nth call that holds this verb. A claim counts if it wants jobs; after it, if it brought some."""

    blow: Blow
    verb: str
    nth: int

    @classmethod
    def parse(cls, text: str) -> "Plan":
        """`drop:settle:2`"""
        return msgspec.convert(text.split(":"), cls, strict=False) if text.count(":") == 2 else _refuse(text)

    def met(self, call: Call, answers: list[Any] | None) -> bool:
        """Whether this call is the one; counts down."""
        if (self.blow in _BEFORE) != (answers is None) or not self._counts(call, answers):
            return False
        self.nth -= 1
        return self.nth == 0

    def _counts(self, call: Call, answers: list[Any] | None) -> bool:
        for place, verb in enumerate(call.verbs):
            if type(verb).__name__.lower() != self.verb:
                continue
            if not isinstance(verb, Claim):
                return True
            answer = None if answers is None else answers[place]
            if verb.want and (answers is None or (isinstance(answer, Claimed) and bool(answer.jobs))):
                return True
        return False


def _refuse(text: str) -> Plan:
    raise ValueError(
        f"{text!r} is no plan: write one of {', '.join(get_args(Blow))}, a verb and a number: drop:claim:1"
    )


class TroubledBroker:
    """The real broker, but for the planned blows. `deaf`: no wake-up ever arrives."""

    def __init__(self, inner: Broker, plans: Sequence[Plan], ledger: Ledger, *, deaf: bool = False) -> None:
        self._inner = inner
        self._plans = list(plans)
        self._ledger = ledger
        self._deaf = deaf

    @property
    def address(self) -> str:
        """The real one's."""
        return self._inner.address

    async def run(self, call: Call) -> list[Any]:
        """The real call between its blows."""
        self._strike(call, None)
        answers = await self._inner.run(call)
        self._strike(call, answers)
        return answers

    def run_sync(self, call: Call, *, urgent: bool = False) -> list[Any]:
        """The same, blocking."""
        self._strike(call, None)
        answers = self._inner.run_sync(call, urgent=urgent)
        self._strike(call, answers)
        return answers

    async def facts(self) -> Facts:
        return await self._inner.facts()

    async def wait(self, queues: Sequence[str], seconds: float, *, listener: object = None) -> bool:
        """Passes a wake-up on, or swallows it and waits the whole time."""
        if not self._deaf:
            return await self._inner.wait(queues, seconds, listener=listener)
        swallow = asyncio.ensure_future(self._swallow(queues, seconds, listener))
        try:
            await asyncio.sleep(seconds)
        finally:
            swallow.cancel()
        return False

    async def _swallow(self, queues: Sequence[str], seconds: float, listener: object) -> None:
        while True:
            if await self._inner.wait(queues, seconds, listener=listener):
                self._ledger.write("swallowed")

    async def ended(self, queue: str, id: str, seconds: float) -> None:
        """The real one's."""
        await self._inner.ended(queue, id, seconds)

    async def close(self) -> None:
        """The real one's."""
        await self._inner.close()

    def close_sync(self) -> None:
        """The real one's."""
        self._inner.close_sync()

    def _strike(self, call: Call, answers: list[Any] | None) -> None:
        for plan in self._plans:
            if plan.met(call, answers):
                self._ledger.write("blow", blow=plan.blow, verb=plan.verb)
                if plan.blow in _SIGNALS:
                    os.kill(os.getpid(), _SIGNALS[plan.blow])
                else:
                    raise NoAnswer


def make_trouble(queue: Queue, plans: Sequence[Plan], ledger: Ledger, *, deaf: bool = False) -> None:
    """Have all that this process says to the queue's store go through a TroubledBroker."""
    store = queue.store
    broker = TroubledBroker(store.sessions.broker, plans, ledger, deaf=deaf)
    queue.lend(Store(sessions_with(broker, store.sessions.timeout), store.namespace))
