"""Event loops of our own: which kind, and how one is left whatever still hangs in it."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Final

_TIDY_S: Final = 1.0


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop of uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def run_in_new_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run to the end in a new loop. Unlike asyncio's own runner it does not wait for ever for a task that ignores its
    cancellation, nor for a thread that never returns: who was told to leave leaves.
    """
    loop = new_loop()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(main)
    finally:
        try:
            loop.run_until_complete(_tidy(loop))
        finally:
            asyncio.set_event_loop(None)
            loop.close()


async def _tidy(loop: asyncio.AbstractEventLoop) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_TIDY_S)
    await loop.shutdown_asyncgens()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_TIDY_S):
            await loop.shutdown_default_executor()
