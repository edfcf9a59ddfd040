"""A broker that can be told to fail: the store away, answers lost, one verb refused. It stands around the real one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal

from tests.engine.stage import PATIENCE_S, Stage

from surefoot.brokers.broker import Broker, Call, Facts, NoAnswer, Verb
from surefoot.core.errors import StoreUnavailable

Mode = Literal["here", "away", "silent", "forgetful", "broken"]


class Trouble:
    """`away`: nothing is executed, and said so. `silent`: nothing is executed, and nobody says so. `forgetful`:
    all is executed, and the first answer of each call is lost. `broken`: an error that nobody foresees. `refuse`
    answers single verbs.
    """

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.address = broker.address
        self.mode: Mode = "here"
        self.keeper_mode: Mode = "here"
        self.wait_mode: Mode = "here"
        self.refuse: Callable[[Verb[Any]], Exception | None] = lambda verb: None
        self._said: set[tuple[str, int]] = set()
        self.failed = 0
        self.keeper_failed = threading.Semaphore(0)
        self._changed = asyncio.Event()

    async def fails(self, times: int = 1) -> None:
        """Wait until so many more calls of the loop have failed."""
        until = self.failed + times
        async with asyncio.timeout(PATIENCE_S):
            while self.failed < until:
                self._changed.clear()
                await self._changed.wait()

    async def keeper_fails(self, times: int = 1) -> None:
        """Wait until so many calls of the keeper have failed."""
        for _ in range(times):
            assert await asyncio.to_thread(self.keeper_failed.acquire, timeout=PATIENCE_S)

    def _before(self, mode: Mode) -> None:
        if mode == "away":
            raise StoreUnavailable(f"cannot reach {self.address} (told to)")
        if mode == "silent":
            raise NoAnswer
        if mode == "broken":
            raise RuntimeError("a mistake of the broker itself")

    def _after(self, mode: Mode, call: Call) -> None:
        if mode == "forgetful" and (call.caller, call.number) not in self._said:
            self._said.add((call.caller, call.number))
            raise NoAnswer

    def _fail(self) -> None:
        self.failed += 1
        self._changed.set()

    async def run(self, call: Call) -> list[Any]:
        mode = self.mode if call.tag else "here"
        try:
            self._before(mode)
            refused = {place: error for place, verb in enumerate(call.verbs) if (error := self.refuse(verb))}
            if not refused:
                answers = await self.broker.run(call)
            else:
                answers = await self._run_rest(call, refused)
            self._after(mode, call)
        except (NoAnswer, StoreUnavailable):
            self._fail()
            raise
        if refused:
            self._fail()
        return answers

    async def _run_rest(self, call: Call, refused: dict[int, Exception]) -> list[Any]:
        rest = tuple(verb for place, verb in enumerate(call.verbs) if place not in refused)
        heard = iter(await self.broker.run(Call(call.caller, call.number, call.tag, rest)) if rest else ())
        return [refused[place] if place in refused else next(heard) for place in range(len(call.verbs))]

    def run_sync(self, call: Call, *, urgent: bool = False) -> list[Any]:
        mode = self.keeper_mode if urgent else "here"
        try:
            self._before(mode)
            answers = self.broker.run_sync(call, urgent=urgent)
            self._after(mode, call)
        except Exception:
            self.keeper_failed.release()
            raise
        return answers

    async def facts(self) -> Facts:
        try:
            self._before(self.mode)
        except (NoAnswer, StoreUnavailable):
            self._fail()
            raise
        return await self.broker.facts()

    async def wait(self, queues: Sequence[str], seconds: float, *, listener: object = None) -> bool:
        if "away" in (self.mode, self.wait_mode):
            self._before("away")
        if self.mode == "silent":
            await asyncio.sleep(seconds)
            return False
        return await self.broker.wait(queues, seconds, listener=listener)

    async def ended(self, queue: str, id: str, seconds: float) -> None:
        await self.broker.ended(queue, id, seconds)

    async def close(self) -> None:
        await self.broker.close()

    def close_sync(self) -> None:
        self.broker.close_sync()


def troubled(stage: Stage) -> Trouble:
    """From now on the queues of this stage live behind trouble; call it inside the loop."""
    trouble = Trouble(stage.store)
    stage.broker = trouble
    return trouble
