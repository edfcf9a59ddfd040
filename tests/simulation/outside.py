"""Those who use the queues of a life from outside: producers, who enqueue and wait for results, and an operator.

Each acts through the public doors, from a loop of its own, and tells the judge what it was answered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from random import Random
from typing import Any, Final

from tests.simulation.jobs import QUEUES, TASKS, alpha, beta, work
from tests.simulation.judge import Judge

from surefoot import Queue
from surefoot.brokers.broker import NoRoom
from surefoot.core.errors import DuplicateJob, JobError, OutcomeUnknown, StoreError, StoreUnavailable
from surefoot.core.job import Draft, Key

LONGEST_DELAY_S: Final = 4.0


class Outside:
    """`waits`: how many wait for a result now."""

    def __init__(self, judge: Judge, draw: Random, lease_s: float) -> None:
        self.judge = judge
        self.draw = draw
        self.waits = 0
        self._lease_s = lease_s

    # --- producers ---

    async def puts(self, what: str, n: int) -> None:
        queue = QUEUES[0 if self.draw.random() < 0.8 else 1]
        task: Any = self.draw.choice(TASKS[queue.name])
        delay = self.draw.choice((0.2, 1.0, LONGEST_DELAY_S))
        match what:
            case "many":
                await self.stores([task.draft(n + place) for place in range(3)], one=False)
            case "together":
                drafts = [work.draft(n + place) for place in range(3)]
                await asyncio.gather(*[self.stores([draft], one=True) for draft in drafts])
            case "key":
                keyed = task.options(key=f"k{n % 3}")
                await asyncio.gather(*[self.stores([keyed.draft(n + place)], one=True) for place in range(2)])
            case "replace":
                key = Key("shared", duplicate="replace", until=self.draw.choice(("finished", "started", 3)))
                self.judge.shared_keys.add(f"{task.name} shared")
                later = task.options(key=key, delay=delay)
                await self.stores([later.draft(n)], one=True)
                await self.stores([later.draft(n + 1)], one=True)
            case "delay":
                await self.stores([task.options(delay=delay).draft(n)], one=True)
            case "expires":
                await self.stores([task.options(expires=0.3, delay=self.draw.choice((None, delay))).draft(n)], one=True)
            case "priority":
                await self.stores([task.options(priority="high").draft(n), task.draft(n + 1)], one=False)
            case _:
                await self.stores([task.draft(n)], one=True)
        if what == "wait":
            await self._waits(work.draft(n + 3))

    async def stores(self, drafts: Sequence[Draft[Any]], *, one: bool) -> bool:
        """Enqueue; what is not known to be stored is sent again, the same draft."""
        queue = alpha if drafts[0].queue == alpha.name else beta
        for _ in range(5):
            try:
                if one:
                    handles = [await queue.enqueue(drafts[0])]
                else:
                    handles = await queue.enqueue_many(drafts)
            except OutcomeUnknown as unknown:
                self.judge.sent_again.update(unknown.job_ids)
                self._accept(queue.full_name, unknown.accepted)
                await asyncio.sleep(self.draw.random())
            except StoreUnavailable as away:
                self._accept(queue.full_name, away.accepted)
                if one:
                    self._refuse(drafts)
                return False
            except NoRoom:
                if one:
                    self._refuse(drafts)
                return False
            except DuplicateJob:
                return False
            else:
                stored = [handle.id for handle, draft in zip(handles, drafts, strict=True) if handle.id == draft.id]
                self._accept(queue.full_name, stored)
                return True
        return False

    def _accept(self, queue: str, ids: Sequence[str]) -> None:
        for id in ids:
            self.judge.stores(queue, id)

    def _refuse(self, drafts: Sequence[Draft[Any]]) -> None:
        for draft in drafts:
            if draft.id not in self.judge.sent_again:
                self.judge.stores_nothing(draft.id)

    async def _waits(self, draft: Draft[Any]) -> None:
        """Whoever waits for a result is told, if the job ends."""
        if not await self.stores([draft], one=True):
            return
        self.waits += 1
        while True:
            try:
                await work.handle(draft.id).result()
            except JobError:
                break
            except StoreError:
                await asyncio.sleep(0.5)
                continue
            break
        self.waits -= 1
        if not self.judge.endings.get(draft.id):
            self.judge.broken("result() answered before the job had ended", draft.id)

    # --- the operator ---

    async def steers(self, what: str) -> None:
        queue = self.draw.choice(QUEUES)
        with contextlib.suppress(StoreError, JobError):
            if what == "pause":
                await queue.pause("by plan")
                await asyncio.sleep(self.draw.random() * self._lease_s)
                await queue.resume()
            elif what == "cron":
                await alpha.pause_cron("skipping")
                await asyncio.sleep(3)
                await alpha.resume_cron("skipping")
            else:
                await self._steers_jobs(queue, what)

    async def _steers_jobs(self, queue: Queue, what: str) -> None:
        dead = what in ("requeue", "delete")
        ids = [id for id, where in self.judge.accepted.items() if where == queue.full_name]
        if dead:
            ids = [id for id in ids if self.judge.endings.get(id, [""])[-1] == "dead"]
        if not ids:
            return
        some = self.draw.sample(ids, min(2, len(ids)))
        if dead:
            await (queue.dead.requeue(*some) if what == "requeue" else queue.dead.delete(*some))
            return
        for handle in map(queue.handle, some):
            await (handle.cancel("by plan") if what == "cancel" else handle.reschedule(delay=1))
