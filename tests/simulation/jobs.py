"""The queues and tasks of every life. A handler does what the life's plan says of its job; the plan is the seed's."""

from __future__ import annotations

from typing import Final, Protocol

from surefoot import Job, Queue, Retry, current_job
from surefoot.execution.context import JobContext


class Stage(Protocol):
    """The life that is being played."""

    async def act(self, job: JobContext, n: int) -> int: ...


class _Theatre:
    stage: Stage | None = None


theatre: Final = _Theatre()

alpha: Final = Queue("sqlite:///never-opened.db", name="alpha", keep_result=900)
beta: Final = Queue("sqlite:///never-opened.db", name="beta", keep_result=900)
QUEUES: Final = (alpha, beta)

_SHORT: Final = Retry(max_attempts=3, base=0.5, cap=2)


async def _play(n: int) -> int:
    assert theatre.stage is not None
    return await theatre.stage.act(current_job(), n)


@alpha.task(retry=_SHORT, timeout=30)
async def work(n: int) -> int:
    return await _play(n)


@alpha.task(retry=_SHORT, timeout=1)
async def brief(n: int) -> int:
    return await _play(n)


async def mourn(job: Job) -> None:
    """What a task with `on_dead` calls for its dead."""


@alpha.task(retry=Retry(max_attempts=1, max_crashes=2), timeout=2, on_dead=mourn)
async def frail(n: int) -> int:
    return await _play(n)


@alpha.task(retry=_SHORT)
async def rare(n: int) -> int:
    return await _play(n)


@alpha.every(3, retry=_SHORT)
async def skipping(n: int = 0) -> int:
    return await _play(n)


@beta.task(retry=Retry(max_attempts=2, base=0.2), keep_result=0)
async def forgotten(n: int) -> int:
    return await _play(n)


@beta.task(retry=_SHORT, timeout=5)
async def other(n: int) -> int:
    return await _play(n)


@beta.every(4, overlap="allow")
async def overlapping(n: int = 0) -> int:
    return await _play(n)


TASKS: Final = {"alpha": (work, work, brief, frail, rare), "beta": (other, forgotten)}
