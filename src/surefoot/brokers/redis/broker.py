"""RedisBroker: one store on a Redis or Valkey server, as everybody else sees it. No rule of the queue lives here."""

import asyncio
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from surefoot.brokers.bells import Bells
from surefoot.brokers.broker import (
    Amend,
    Beat,
    Call,
    Cancel,
    Changes,
    Claim,
    Configure,
    Delete,
    Extend,
    Facts,
    Find,
    Get,
    Move,
    NoAnswer,
    Orphans,
    Prune,
    Put,
    Queues,
    Repair,
    Requeue,
    Settle,
    Stats,
    Tick,
    Verb,
    counted,
)
from surefoot.brokers.redis import gate, rights, write
from surefoot.brokers.redis.changes import changes
from surefoot.brokers.redis.connection import Connections
from surefoot.brokers.redis.endings import Endings
from surefoot.brokers.redis.find import find
from surefoot.brokers.redis.orphans import orphans
from surefoot.brokers.redis.read import get, queues, stats
from surefoot.brokers.redis.refusals import DEMOTED, meaning, word_of
from surefoot.brokers.redis.scripts import Script, scripts
from surefoot.brokers.redis.server import Server
from surefoot.brokers.redis.spoiled import SpoiledKey, guarded
from surefoot.brokers.redis.steps import Steps, in_step
from surefoot.brokers.redis.waiting import Waiting
from surefoot.core.errors import StoreUnavailable
from surefoot.core.names import UNDERSTANDS

_WRITES: Final[Mapping[type[Any], tuple[str, Callable[[Script, Call, Any], Steps[Any]]]]] = MappingProxyType(
    {
        Put: ("put", write.put),
        Claim: ("claim", write.claim),
        Settle: ("settle", write.settle),
        Extend: ("extend", write.extend),
        Cancel: ("cancel", write.cancel),
        Requeue: ("requeue", write.requeue),
        Move: ("move", write.move),
        Amend: ("amend", write.amend),
        Delete: ("delete", write.delete),
        Configure: ("configure", write.configure),
        Tick: ("tick", write.tick),
        Beat: ("beat", write.beat),
        Prune: ("prune", write.prune),
        Repair: ("repair", write.repair),
    }
)
_READS: Final[Mapping[type[Any], Callable[[Any, int | None], Steps[Any]]]] = MappingProxyType(
    {Get: get, Find: find, Stats: stats, Changes: changes, Orphans: orphans, Queues: queues}
)
_forking: Final = threading.Lock()
_parents: Final[list[object]] = []


class RedisBroker:
    """Opens at first use; usable again after a close. A forked child gets connections of its own."""

    def __init__(self, server: Server, *, understands: int = UNDERSTANDS) -> None:
        self.server: Final = server
        self._understands = understands
        self._fresh()

    def _fresh(self) -> None:
        self._scripts = scripts(self._understands)
        self._connections = Connections(self.server)
        self._bells = Bells()
        self._waiting = Waiting(self._connections, self._bells)
        self._endings = Endings(self._connections, self._bells)
        self._facts: Facts | None = None
        self._asked: int | None = None  # the generation of servers that were asked for their facts
        self._lacking: frozenset[str] | None = None if self.server.username else frozenset()
        self._spoiled: set[str] = set()
        self._pid = os.getpid()  # the last: another thread of this child may look meanwhile

    def _same_process(self) -> None:
        """In a forked child: connections and waiters are the parent's. They are kept and never used, not closed."""
        if self._pid != os.getpid():
            with _forking:
                if self._pid != os.getpid():
                    _parents.append((self._connections, self._waiting, self._endings))
                    self._fresh()

    @property
    def address(self) -> str:
        """The store's URL without passwords."""
        return self.server.shown

    # --- calls ---

    async def run(self, call: Call) -> list[Any]:
        """One call from the running loop: one pipeline."""
        counted(call)
        await self.facts()
        steps = self._steps(call)
        try:
            commands = next(steps)
            while True:
                commands = steps.send(await self._connections.send(*commands))
        except StopIteration as end:
            return self._answered(call, end.value)
        except (NoAnswer, StoreUnavailable):
            self._unknown()
            raise

    def run_sync(self, call: Call, *, urgent: bool = False) -> list[Any]:
        """The same from any thread, blocking it."""
        counted(call)
        self._same_process()
        if self._asked != self._connections.generation:
            self._judge(self._connections.each_sync(*gate.QUESTIONS, urgent=urgent))
        steps = self._steps(call)
        try:
            commands = next(steps)
            while True:
                commands = steps.send(self._connections.send_sync(*commands, urgent=urgent))
        except StopIteration as end:
            return self._answered(call, end.value)
        except (NoAnswer, StoreUnavailable):
            self._unknown()
            raise

    async def facts(self) -> Facts:
        """What the server says of itself; asked again when another one may answer."""
        self._same_process()
        if self._facts is None or self._asked != self._connections.generation:
            return self._judge(await self._connections.each(*gate.QUESTIONS))
        return self._facts

    def _judge(self, answers: Sequence[list[Any]]) -> Facts:
        self._facts = gate.judge_all(self.server, answers, self._facts)
        self._asked = self._connections.generation
        return self._facts

    def _unknown(self) -> None:
        """The connection was lost: it may be another server that answers next, and it knows no script."""
        if not self.server.nodes:  # those of a cluster are known by their map
            self._asked = None
        if self.server.username:
            self._lacking = None
        for script in self._scripts.values():
            script.known.clear()

    async def entitled(self, queues: Sequence[str]) -> None:
        """Ask whether this user may do all that a worker of these queues does; StoreUnsuitable names what not."""
        await self.facts()
        steps = rights.lacking(queues, rights.of_workers())
        try:
            commands = next(steps)
            while True:
                commands = steps.send(await self._connections.send(*commands))
        except StopIteration as end:
            self._lacking = end.value
        if self._lacking:
            raise rights.unentitled(self.server, self._lacking)

    def _steps(self, call: Call) -> Steps[list[Any]]:
        steps = in_step([self._step(call, verb) for verb in call.verbs])
        return steps if self._lacking is not None and not self._lacking else self._if_entitled(call, steps)

    def _if_entitled(self, call: Call, steps: Steps[list[Any]]) -> Steps[list[Any]]:
        """A user that the URL names is asked about before its first write: a script that is refused a command stops
        half-way.
        """
        names = [_WRITES[type(verb)][0] for verb in call.verbs if type(verb) in _WRITES]
        if names and self._lacking is None:
            self._lacking = yield from rights.lacking([call.verbs[0].queue], rights.of_scripts(scripts()))
        if names and self._lacking and not self._lacking.isdisjoint(rights.of_scripts(names)):
            lacking, self._lacking = self._lacking, None
            raise rights.unentitled(self.server, lacking)
        return (yield from steps)

    def _step(self, call: Call, verb: Verb[Any]) -> Steps[Any]:
        kind = type(verb)
        if kind in _WRITES:
            name, words = _WRITES[kind]
            steps = words(self._scripts[name], call, verb)
            return guarded(verb.queue, steps) if verb.queue in self._spoiled else steps
        return _READS[kind](verb, call.now)

    def _answered(self, call: Call, answers: list[Any]) -> list[Any]:
        for place, answer in enumerate(answers):
            if isinstance(answer, SpoiledKey):
                self._spoiled.add(call.verbs[place].queue)
            elif isinstance(answer, Exception):
                told = meaning(self.address, call.verbs[place].queue, answer)
                if isinstance(told, NoAnswer | StoreUnavailable):
                    if word_of(answer) in DEMOTED:
                        self._unknown()
                        self._connections.renew()
                    raise told
                answers[place] = told
            elif self._spoiled and type(call.verbs[place]) in _WRITES:
                self._spoiled.discard(call.verbs[place].queue)
        return answers

    # --- waiting ---

    async def wait(self, queues: Sequence[str], seconds: float, *, listener: object = None) -> bool:
        """Wait for a token of any of these queues in one blocked read a queue."""
        self._same_process()
        return await self._waiting.wait(queues, seconds, asyncio.get_running_loop() if listener is None else listener)

    async def ended(self, queue: str, id: str, seconds: float) -> None:
        """Wait for a message that this job is over."""
        self._same_process()
        await self._endings.ended(queue, id, seconds)

    # --- closing ---

    async def close(self) -> None:
        """Close connections of the running loop."""
        self._same_process()
        await self._connections.close()

    def close_sync(self) -> None:
        """Close everything that can be closed from here; a later call opens again."""
        self._same_process()
        self._connections.close_sync()
