"""What Django does with its database connections around each request, around each job: old and broken ones are closed.

Without this a connection that the database has dropped fails every later job of its thread.
"""

import asyncio
import functools
from typing import Any, Final, cast

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from msgspec.structs import replace

from surefoot import clock
from surefoot.core.spec import Spec

_closing: Final = set[asyncio.Task[None]]()


def fresh(spec: Spec) -> Spec:
    """The same task; before and after each run, connections that are old or broken are closed where it uses them."""
    function = cast("Any", spec.function)

    @functools.wraps(function)
    def in_thread(*args: Any, **kwargs: Any) -> Any:
        close_old_connections()
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    @functools.wraps(function)
    async def on_loop(*args: Any, **kwargs: Any) -> Any:
        _close_soon()
        await clock.sleep(0)  # the closing stands in its thread's line before the handler's first query
        try:
            return await function(*args, **kwargs)
        finally:
            _close_soon()

    return replace(spec, function=on_loop if spec.signature.is_async else in_thread)


def _close_soon() -> None:
    """In the one thread that serves the database to coroutines. Nobody waits: what is asked for there later runs
    later, and a handler must not wait for another one's long query.
    """
    task = asyncio.get_running_loop().create_task(sync_to_async(close_old_connections)())
    _closing.add(task)
    task.add_done_callback(_closing.discard)
