"""Fault rows that need the whole way of a job and no struck process: odd values (D8), an outage of many jobs (D7)."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from tests.engine.stage import burst, known

from surefoot import Queue, Reject, Retry, current_job

CROWD = 400
BASE_S = 100
SHARE = 0.1
"""The most of a crowd that one second of fifty may get: five times its share, which chance does not reach."""

VALUES: dict[str, Any] = {
    "more than 53 bits": 2**53 + 1,
    "the largest of 64 bits": [2**63 - 1, -(2**63), 2**64 - 1],
    "more than 64 bits": 10**30,
    "floats": [0.1, 1e308, 5e-324, -0.0, 1.0],
    "one and true": [1, 1.0, True, 0, False, None],
    "empty": [[], {}, "", [[]], {"": {}}],
    "nested": [[[[[[[[[[{"a": [{"b": []}]}]]]]]]]]]],
    "letters": "a\x00b\u2028\x1b[31m\n\"'\\\U0001f600",
    "as Lua or SQL would read it": ["nil", "NULL", "1e3", "0x10", "'; --", "%d", "\\u0000"],
}


def same(one: Any, other: Any) -> bool:
    """Equal and of the same kind, all the way down."""
    if type(one) is not type(other):
        return False
    match one:
        case list():
            return len(one) == len(other) and all(map(same, one, other))
        case dict():
            return list(one) == list(other) and all(map(same, one.values(), other.values()))
        case float():
            return bool(one == other) and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)


async def test_D8_values_come_back_the_same_on_every_way(jobs: Queue) -> None:
    """As an argument, as a result, in a dead letter, after an edit and a requeue."""

    @jobs.task(name="echo", keep_result=60)
    async def echo(value: Any) -> Any:
        if current_job().attempt == 1:
            raise Reject("look at it first")
        return value

    handles = await jobs.enqueue_many([echo.options(id=name).draft(value) for name, value in VALUES.items()])
    await burst(jobs)
    for handle in handles:
        dead = await known(handle)
        assert dead.state == "dead" and same(dead.arguments["value"], VALUES[handle.id]), handle.id
        edited = await jobs.dead.edit(handle.id, value=VALUES[handle.id])
        assert same(edited.arguments["value"], VALUES[handle.id]), handle.id
    assert await jobs.dead.requeue(*VALUES) == len(VALUES)
    await burst(jobs)
    for handle in handles:
        assert same(await handle.result(timeout=0), VALUES[handle.id]), handle.id


async def test_D7_retries_of_an_outage_spread_over_the_whole_jitter(jobs: Queue) -> None:
    @jobs.task(name="down", retry=Retry(base=BASE_S, cap=BASE_S, jitter=0.5))
    async def down() -> None:
        raise ConnectionError("everything is away")

    handles = await jobs.enqueue_many([down.draft() for _ in range(CROWD)])
    await burst(jobs, concurrency=100)
    waits = Counter[int]()
    for handle in handles:
        job = await known(handle)
        assert job.state == "scheduled" and job.failures == 1 and job.finished_at is None
        waits[int((job.due_at - job.enqueued_at).total_seconds())] += 1
    assert sum(waits.values()) == CROWD
    assert min(waits) >= BASE_S // 2 and max(waits) <= BASE_S + 10, "a slow machine settles late"
    assert max(waits.values()) <= SHARE * CROWD, f"{waits.most_common(3)}"
    assert len(waits) > BASE_S // 4
