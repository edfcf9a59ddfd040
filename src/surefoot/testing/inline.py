"""Mode "inline": what was just stored runs before its enqueue returns, and what it raised is raised there."""

import asyncio
import contextvars
from collections.abc import Sequence
from typing import Final

from surefoot.testing.hands import Hands, Notes
from surefoot.testing.stand import Endless, from_handler, home_loop, is_for_the_test
from surefoot.testing.twins import OwnLoop
from surefoot.testing.world import End, Put, World

_DEEPEST: Final = 100
_ANNOUNCED_S: Final = 5.0
_depth: Final[contextvars.ContextVar[int]] = contextvars.ContextVar("surefoot_inline_depth", default=0)


class RunNow:
    """Runs whatever is due now; each job at most once an enqueue, so that one which comes back at once is no loop."""

    def __init__(self, state: object, loop: OwnLoop) -> None:
        self._state = state
        self._loop = loop

    async def here(self, world: World, put: Sequence[Put]) -> None:
        """On the running loop."""
        __tracebackhide__ = True
        depth = _depth.get()
        if depth == _DEEPEST:
            raise Endless(
                f'{_DEEPEST} jobs run inside each other: with mode="inline" a job that enqueues itself never ends; '
                'give the last one a delay, or use mode="hold".'
            )
        token = _depth.set(depth + 1)
        ends = [world.expect(one.id) for one in put]
        try:
            others = await self._run(world)
            errors = [await _error_of(world, one, end) for one, end in zip(put, ends, strict=True)]
        finally:
            _depth.reset(token)
            for one, end in zip(put, ends, strict=True):
                if end.done():
                    world.ends.pop(one.id, None)
        for error in [*errors, *others]:
            if error is not None:
                raise from_handler(error)

    def blocking(self, world: World, put: Sequence[Put]) -> None:
        """In this thread; from the thread of a job, on the loop where that job was started."""
        __tracebackhide__ = True
        home = home_loop.get()
        if home is not None and home.is_running():
            asyncio.run_coroutine_threadsafe(self.here(world, put), home).result()
        else:
            self._loop.run(self.here(world, put))

    async def _run(self, world: World) -> list[BaseException | None]:
        """Run what is due; the errors of jobs that no enqueue waits for."""
        notes = Notes(world)
        hands = Hands(world, world.served(), None, notes, self._state)
        seen: set[str] = set()
        try:
            while await hands.turn():
                if hands.taken is None:
                    continue
                id = hands.taken.run.leased.id
                if id in seen:
                    await hands.put_back()
                    break
                seen.add(id)
                ended = await hands.run()
                if is_for_the_test(ended.error):
                    assert ended.error is not None
                    await hands.leave()
                    raise ended.error
        finally:
            hands.close()
        return notes.unheard


async def _error_of(world: World, put: Put, end: End) -> BaseException | None:
    """What a job raised; one that another enqueue has in its hands is waited for."""
    if not end.done():
        job = world.job(put.queue, put.id)
        runs = job is not None and job.state == "processing"
        ran = put.created and (job is None or job.runs > 0)  # it is settled, and who ran it is about to say so
        if not runs and not ran:
            return None
        await asyncio.wait({asyncio.wrap_future(end)}, timeout=None if runs else _ANNOUNCED_S)
    return end.result() if end.done() else None
