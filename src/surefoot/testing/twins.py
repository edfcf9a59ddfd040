"""The blocking twins of the kit, for tests without an event loop. One loop a sandbox: what an async handler opens on it
lives on from one call to the next.
"""

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from surefoot.client.operation import inside_loop

P = ParamSpec("P")
R = TypeVar("R")

blocks: Final[contextvars.ContextVar[bool]] = contextvars.ContextVar("surefoot_test_blocks", default=False)
"""Whether the test blocks in a twin: then its own thread has nothing else to do."""


class OwnLoop:
    """Runs coroutines to their end, from any thread without a running loop."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._busy = threading.Lock()

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """What `work` returns. Sees the caller's context variables."""
        if not self._busy.acquire(blocking=False):  # another thread is at it: a loop for this once
            with _runner() as other:
                return other.run(work, context=_blocking())
        try:
            if self._runner is None:
                self._runner = _runner()
            return self._runner.run(work, context=_blocking())
        finally:
            self._busy.release()

    def close(self) -> None:
        """Close the loop, from wherever."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        if asyncio._get_running_loop() is None:
            runner.close()
        else:  # a loop cannot be closed by running it inside another one
            closer = threading.Thread(target=runner.close)
            closer.start()
            closer.join()


def _blocking() -> contextvars.Context:
    context = contextvars.copy_context()
    context.run(blocks.set, True)
    return context


def _runner() -> asyncio.Runner:
    return asyncio.Runner(loop_factory=asyncio.new_event_loop)  # with a factory the thread's own loop stays as it is


class HasLoop(Protocol):
    """Whatever has blocking twins."""

    @property
    def loop(self) -> OwnLoop: ...


S = TypeVar("S", bound=HasLoop)


def twin(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[S, P], R]:
    """The blocking form of a method, made by one line of the class body."""
    name = method.__name__

    @functools.wraps(method)
    def blocking(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if asyncio._get_running_loop() is not None:
            raise inside_loop(f"{name}_sync", f"box.{name}")
        return self.loop.run(method(self, *args, **kwargs))

    blocking.__name__ = f"{name}_sync"
    blocking.__qualname__ = f"{method.__qualname__}_sync"
    blocking.__doc__ = f"The blocking twin of `{name}`."
    return blocking
