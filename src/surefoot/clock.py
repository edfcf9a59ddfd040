"""The only file that reads time. Store time comes from the store; these are the clocks of this process.

`monotonic` measures spans and counts a suspended machine where the system can tell; `wall_ms` is for people and for
SQLite,
whose store clock is this machine's.
"""

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_SPAN_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def monotonic() -> float:
    """Seconds from an arbitrary start; never goes back."""
    return time.monotonic()


def with_suspend() -> float:
    """Seconds like `monotonic`, but a suspended machine's sleep counts (Linux)."""
    return time.clock_gettime(_SPAN_CLOCK)


def wall_ms() -> int:
    """Milliseconds since the epoch, UTC, by this machine's clock."""
    return time.time_ns() // 1_000_000


def wall_ns() -> int:
    """Nanoseconds since the epoch, UTC, by this machine's clock; the time-ordered half of an id."""
    return time.time_ns()


def sleep_blocking(seconds: float) -> None:
    """Block this thread."""
    time.sleep(seconds)


async def sleep(seconds: float) -> None:
    """Wait on the running loop."""
    await asyncio.sleep(seconds)


def call_later(loop: asyncio.AbstractEventLoop, seconds: float, call: "Callable[[], object]") -> asyncio.TimerHandle:
    """The one source of timers: `call` on `loop` after `seconds`."""
    return loop.call_later(seconds, call)
