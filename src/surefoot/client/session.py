"""The ways from this process to a store: sessions, which say one call at a time and resend it, and the pool of them."""

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from surefoot import clock
from surefoot.brokers.broker import Broker, Call, Put, Verb
from surefoot.client.caller import Caller, exchange, for_verbs, only_reads
from surefoot.client.caller import new_id as new_id
from surefoot.client.line import Asked, Bundle
from surefoot.core.errors import StoreError

TIMEOUT_S: Final = 5.0


class Session:
    """Says calls from one event loop. What is asked for while a call is on its way travels together in the next one;
    cancelling one `ask` leaves the others alone.
    """

    def __init__(self, broker: Broker, timeout: float = TIMEOUT_S) -> None:
        self._broker = broker
        self._timeout = timeout
        self._caller = Caller()
        self._wire = asyncio.Lock()
        self._line: list[Asked] = []
        self._carrier: asyncio.Task[None] | None = None
        self._patient: Session | None = None

    @property
    def caller(self) -> str:
        """The name under which this session speaks now."""
        return self._caller.name

    def patient(self) -> "Session":
        """Another sender for what waits for replicas, so that nothing else stands behind it."""
        if self._patient is None:
            self._patient = Session(self._broker, self._timeout)
        return self._patient

    async def ask(self, verbs: Sequence[Verb[Any]], *, deadline: float | None = None, apart: bool = False) -> list[Any]:
        """The answers of these verbs, in order; the first exception that a verb met is raised.

        `deadline`: seconds to go on trying, instead of the URL's. `apart`: exactly these verbs in one call, and what a
        single verb met is given back as a value.
        """
        if self._caller.forked:
            self._forget_parent()
        seconds = self._timeout if deadline is None else deadline
        if only_reads(verbs):
            answers = await self._say(verbs, seconds)
        elif apart or len(verbs) > 1:
            async with self._wire:
                answers = await self._say(verbs, seconds)
        else:
            answers = await self._stand_in_line(verbs[0], seconds)
        return answers if apart else _raised(answers)

    def _stand_in_line(self, verb: Verb[Any], seconds: float) -> "asyncio.Future[list[Any]]":
        loop = asyncio.get_running_loop()
        asked = Asked(verb, loop.create_future(), clock.with_suspend() + seconds)
        self._line.append(asked)
        if self._carrier is None:
            # A task begins in the loop's next round: all that is asked for until then travels together.
            self._carrier = loop.create_task(self._carry(), name="surefoot-session")
        return asked.answer

    async def _carry(self) -> None:
        taken: list[Asked] = []
        try:
            while self._line:
                async with self._wire:
                    bundle = Bundle(self._line)
                    taken, self._line = bundle.taken, bundle.rest
                    if taken:
                        await self._deliver(bundle)
        finally:
            self._carrier = None
            for asked in (*taken, *self._line):  # only if the loop is being closed
                asked.answer.cancel()
            self._line.clear()

    async def _deliver(self, bundle: Bundle) -> None:
        try:
            answers = await self._say(bundle.verbs, bundle.until() - clock.with_suspend())
        except Exception as met:
            for asked in bundle.taken:
                if not asked.answer.done():
                    asked.answer.set_exception(for_verbs(met, [asked.verb]) if isinstance(met, StoreError) else met)
        else:
            bundle.deliver(answers)

    async def _say(self, verbs: Sequence[Verb[Any]], seconds: float) -> list[Any]:
        steps = exchange(self._caller, verbs, seconds, self._broker.address)
        try:
            step = next(steps)
            while True:
                if not isinstance(step, Call):
                    await clock.sleep(step)
                    step = next(steps)
                    continue
                try:
                    heard = await self._broker.run(step)
                except Exception as met:
                    step = steps.throw(met)
                else:
                    step = steps.send(heard)
        except StopIteration as end:
            answers: list[Any] = end.value
            return answers

    def _forget_parent(self) -> None:
        """In a forked child: what stood in line is the parent's to say."""
        self._caller.renew()
        self._wire = asyncio.Lock()
        self._line = []
        self._carrier = None


class SyncSession:
    """Says calls from any thread, one at a time."""

    def __init__(self, broker: Broker, timeout: float = TIMEOUT_S) -> None:
        self._broker = broker
        self._timeout = timeout
        self._caller = Caller()
        self._wire = threading.Lock()

    @property
    def caller(self) -> str:
        """The name under which this session speaks now."""
        return self._caller.name

    def ask(
        self, verbs: Sequence[Verb[Any]], *, deadline: float | None = None, urgent: bool = False, apart: bool = False
    ) -> list[Any]:
        """As `Session.ask`, blocking. `urgent`: before all that waits in this process."""
        seconds = self._timeout if deadline is None else deadline
        with self._wire:
            answers = self._say(verbs, seconds, urgent)
        return answers if apart else _raised(answers)

    def _say(self, verbs: Sequence[Verb[Any]], seconds: float, urgent: bool) -> list[Any]:
        steps = exchange(self._caller, verbs, seconds, self._broker.address)
        try:
            step = next(steps)
            while True:
                if not isinstance(step, Call):
                    clock.sleep_blocking(step)
                    step = next(steps)
                    continue
                try:
                    heard = self._broker.run_sync(step, urgent=urgent)
                except Exception as met:
                    step = steps.throw(met)
                else:
                    step = steps.send(heard)
        except StopIteration as end:
            answers: list[Any] = end.value
            return answers


class Sessions:
    """All sessions of this process with one store: one for each event loop, and a few that threads borrow.

    Threads do not queue behind each other: who finds no free session makes one.
    """

    def __init__(self, broker: Broker, timeout: float = TIMEOUT_S) -> None:
        self.broker = broker
        self.timeout = timeout
        self._of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Session] = weakref.WeakKeyDictionary()
        self._newest: tuple[weakref.ref[asyncio.AbstractEventLoop], Session] | None = None
        self._free: deque[SyncSession] = deque()

    def here(self) -> Session:
        """The session of the running event loop."""
        loop = asyncio.get_running_loop()
        newest = self._newest  # the dictionary costs ten times as much
        if newest is not None and newest[0]() is loop:
            return newest[1]
        session = self._of_loops.get(loop)
        if session is None:
            session = self._of_loops[loop] = Session(self.broker, self.timeout)
        self._newest = (weakref.ref(loop), session)
        return session

    def ask(self, verbs: Sequence[Verb[Any]]) -> Coroutine[Any, Any, list[Any]]:
        """Ask from the running event loop."""
        first = verbs[0]
        session = self.here()
        return (session.patient() if type(first) is Put and first.replicas else session).ask(verbs)

    def ask_sync(self, verbs: Sequence[Verb[Any]]) -> list[Any]:
        """Ask from this thread."""
        try:
            session = self._free.pop()
        except IndexError:
            session = SyncSession(self.broker, self.timeout)
        try:
            return session.ask(verbs)
        finally:
            self._free.append(session)


_known: Final = weakref.WeakValueDictionary[int, Sessions]()


def sessions_with(broker: Broker, timeout: float = TIMEOUT_S) -> Sessions:
    """The sessions with this store, the same for all of its queues in this process."""
    sessions = _known.get(id(broker))
    if sessions is None:
        sessions = _known[id(broker)] = Sessions(broker, timeout)
    return sessions


def _raised(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers
