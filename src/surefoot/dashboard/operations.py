"""Changes of many jobs that go on after the request: requeue, delete and cancel, with their progress. Kept in memory.

A dashboard that ends in the middle leaves the rest as it was: each portion is one step of the store.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import msgspec

from surefoot import clock
from surefoot.brokers.broker import Broker, Delete, Requeue, Verb
from surefoot.client.dead import DeadLetters
from surefoot.client.queue import Queue
from surefoot.client.session import new_id
from surefoot.core.errors import SurefootError, UsageError
from surefoot.core.spec import Spec

_KEPT: Final = 100


class Operation(msgspec.Struct, kw_only=True):
    """One change of many jobs as its page shows it."""

    id: str
    verb: str
    queue: str
    who: str
    total: int
    changed: int = 0
    started_ms: int = 0
    finished_ms: int | None = None
    error: str | None = None
    stopped: bool = False

    @property
    def running(self) -> bool:
        """Whether it still goes on."""
        return self.finished_ms is None


Change = Callable[[DeadLetters], Coroutine[Any, Any, int]]


class Operations:
    """The changes of many jobs that this process makes, and the last 100 it made."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Operation] = OrderedDict()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, queue: Queue, verb: str, total: int, who: str, change: Change) -> Operation:
        """Begin a change of dead letters on the running loop."""
        one = Operation(
            id=new_id(), verb=verb, queue=queue.name, who=who, total=total, started_ms=clock.wall_ms()
        )  # fmt: skip
        self._known[one.id] = one
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        task = asyncio.get_running_loop().create_task(self._run(one, queue, change), name=f"surefoot-{verb}")
        self._tasks[one.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(one.id, None))
        return one

    async def _run(self, one: Operation, queue: Queue, change: Change) -> None:
        def heard(more: int) -> None:
            one.changed += more

        try:
            await change(DeadLetters(_Counted(queue, heard)))
        except asyncio.CancelledError:
            one.stopped = True
        except SurefootError as fault:
            one.error = str(fault)
        finally:
            one.finished_ms = clock.wall_ms()

    def get(self, id: str) -> Operation:
        """One of them; UsageError for an unknown one."""
        if id not in self._known:
            raise UsageError("this process of the dashboard does not know that operation.")
        return self._known[id]

    def recent(self) -> list[Operation]:
        """All that are remembered, newest first."""
        return list(reversed(self._known.values()))

    def stop(self, id: str) -> None:
        """End one; what it has changed stays changed."""
        if id in self._tasks:
            self._tasks[id].cancel()


class _Counted:
    """A queue as its dead letters see it, which tells after each call how many of them it changed."""

    def __init__(self, queue: Queue, tell: Callable[[int], None]) -> None:
        self.name: str = queue.name
        self.full_name: str = queue.full_name
        self.spoken: str = queue.spoken
        self.specs: Mapping[str, Spec] = queue.specs
        self.declared: Mapping[str, Spec] = queue.declared
        self._sessions = queue.sessions
        self._tell = tell

    @property
    def sessions(self) -> "_Counted":
        """The ways to the store: this, which counts what goes through it."""
        return self

    @property
    def broker(self) -> Broker:
        """The border to the store."""
        return self._sessions.broker

    async def ask(self, verbs: Sequence[Verb[Any]]) -> list[Any]:
        """Ask from the running event loop."""
        answers = await self._sessions.ask(verbs)
        for verb, answer in zip(verbs, answers, strict=True):
            if isinstance(verb, Requeue):
                self._tell(sum(one.word == "requeued" for one in answer))
            elif isinstance(verb, Delete):
                self._tell(sum(answer))
        return answers

    def ask_sync(self, verbs: Sequence[Verb[Any]]) -> list[Any]:
        """Ask from this thread: nobody does here."""
        return self._sessions.ask_sync(verbs)
