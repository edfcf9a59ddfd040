"""A producer of the soak: enqueues in one of three ways until SIGTERM, cancels some, and notes what it was answered.

python -m tests.soak.producer loop|single|bulk RATE      RATE: jobs a second
"""

import asyncio
import random
import signal
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any, Final, Literal

from tests.soak.app import End, apart, jobs, ledger, looped, threaded

from surefoot import (
    Draft,
    JobHandle,
    Key,
    OutcomeUnknown,
    Queue,
    QueueFull,
    SurefootError,
    Task,
)

KEPT_S: Final = 86_400
BATCH: Final = 10
OPTIONS_LEFT: Final = 0.7
"""The share of jobs that have no option but their priority."""

leaving = threading.Event()


def draft() -> Draft[Any]:
    """A job of a random kind, and whether its outcome is kept."""
    task: Task[..., Any] = random.choices((looped, threaded, apart), (5, 3, 1))[0]
    seconds = random.choices((0.0, random.uniform(0, 0.3), random.uniform(1.5, 3)), (6, 6, 3))[0]
    ends: tuple[End, ...] = ("well", "fails", "always_fails", "later", "snoozes", "rejects")
    end = random.choices(ends, (70, 8, 2, 6, 8, 2))[0]
    options: dict[str, Any] = {"priority": random.choice(("high", "normal", "low"))}
    if random.random() > OPTIONS_LEFT:
        match random.choice(("delay", "expires", "key", "keep")):
            case "delay":
                options["delay"] = random.uniform(0, 2)
            case "expires":
                options["expires"] = random.uniform(0.01, 0.5)
            case "key":
                untils: tuple[Literal["finished", "started"] | float, ...] = ("finished", "started", 2.0)
                agains: tuple[Literal["keep", "replace", "raise"], ...] = ("keep", "replace", "raise")
                until, again = random.choice(untils), random.choice(agains)
                options["key"] = Key(f"k{random.randrange(10)}", until=until, duplicate=again)
            case _:
                options["keep_result"] = KEPT_S
    return task.options(**options).draft(seconds=seconds, end=end)


def note(one: Draft[Any], handle: JobHandle[Any]) -> None:
    """The store took it, or knows another one of its key."""
    if handle.id == one.id:
        ledger.write("accepted", one.id, kept=bool(one.options.get("keep_result_ms")))
    else:
        ledger.write("duplicate", one.id, of=handle.id)


def note_refusal(some: Sequence[Draft[Any]], error: SurefootError) -> None:
    """The store refused these, but for those that it had taken before."""
    taken = getattr(error, "accepted", ())
    for one in some:
        if one.id in taken:
            ledger.write("accepted", one.id, kept=bool(one.options.get("keep_result_ms")))
        else:
            ledger.write("refused", one.id, kind=type(error).__name__)


def note_unknown(some: Sequence[Draft[Any]]) -> None:
    """No answer: they are enqueued again until there is one."""
    for one in some:
        ledger.write("unknown", one.id)


def single() -> None:
    """One job after the other, blocking."""
    one = draft()
    while True:
        try:
            handle = jobs.enqueue_sync(one)
        except OutcomeUnknown:
            note_unknown([one])
            continue
        except SurefootError as error:
            return refused([one], error)
        note(one, handle)
        if random.random() < 0.03:
            cancel(handle)
        return None


def refused(some: Sequence[Draft[Any]], error: SurefootError) -> None:
    """A full queue gets some time."""
    note_refusal(some, error)
    if isinstance(error, QueueFull):
        leaving.wait(0.5)


def cancel(handle: JobHandle[Any]) -> None:
    """A job that may wait, run, or be over."""
    leaving.wait(random.uniform(0, 0.2))
    try:
        ledger.write("cancel", handle.id, answer=handle.cancel_sync(reason="soak"))
    except SurefootError as error:
        ledger.write("cancel", handle.id, answer=type(error).__name__)


def bulk() -> None:
    """Many in one call."""
    some = [draft() for _ in range(BATCH)]
    while True:
        try:
            handles = jobs.enqueue_many_sync(some)
        except OutcomeUnknown:
            note_unknown(some)
            continue
        except SurefootError as error:
            return refused(some, error)
        for one, handle in zip(some, handles, strict=True):
            note(one, handle)
        return None


async def one_of_many(queue: Queue) -> None:
    """One of those that travel together."""
    one = draft()
    while True:
        try:
            handle = await queue.enqueue(one)
        except OutcomeUnknown:
            note_unknown([one])
            continue
        except SurefootError as error:
            note_refusal([one], error)
            return
        note(one, handle)
        return


async def on_a_loop(rate: float) -> None:
    """Many at once from an event loop."""
    while not leaving.is_set():
        await asyncio.gather(*[one_of_many(jobs) for _ in range(BATCH)])
        await asyncio.sleep(BATCH / rate)


def leave(_number: int, _frame: FrameType | None) -> None:
    """What has begun is brought to its end."""
    leaving.set()


def main() -> None:
    """Until SIGTERM."""
    signal.signal(signal.SIGTERM, leave)
    way, rate = sys.argv[1], float(sys.argv[2])
    if way == "loop":
        asyncio.run(on_a_loop(rate))
        return
    produce, size = (single, 1) if way == "single" else (bulk, BATCH)
    while not leaving.is_set():
        began = time.monotonic()
        produce()
        leaving.wait(max(0.0, size / rate - (time.monotonic() - began)))


if __name__ == "__main__":
    main()
