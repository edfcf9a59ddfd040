"""A public operation is one generator that yields steps and returns its value; two short drivers run it.

So each operation is written once, and its blocking twin is one line of the class body. No operation lives here.
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any, Final, ParamSpec, Protocol, TypeAlias, TypeVar

import msgspec

from surefoot import clock
from surefoot.brokers.broker import Broker, Verb
from surefoot.core.errors import SyncInsideLoop

P = ParamSpec("P")
R = TypeVar("R")

_ASK_AGAIN_S: Final = (1.0, 5.0)
_ASK_AGAIN_SYNC_S: Final = (0.02, 1.0)


class Ask(msgspec.Struct, frozen=True):
    """Run these verbs in one round trip; the step's value is the list of their answers."""

    verbs: tuple[Verb[Any], ...]


class Sleep(msgspec.Struct, frozen=True):
    """Wait so many seconds."""

    seconds: float


class Watch(msgspec.Struct, frozen=True):
    """Wait until this job may have ended, at most `seconds`; `turn` counts the watches of one operation, from 0."""

    queue: str
    id: str
    seconds: float
    turn: int


Step: TypeAlias = Ask | Sleep | Watch
Steps: TypeAlias = Generator[Step, Any, R]


class Sessions(Protocol):
    """The ways from this process to one store."""

    @property
    def broker(self) -> Broker: ...
    def ask(self, verbs: Sequence[Verb[Any]]) -> Coroutine[Any, Any, list[Any]]: ...
    def ask_sync(self, verbs: Sequence[Verb[Any]]) -> list[Any]: ...


class Owner(Protocol):
    """Whatever has operations. `spoken` is how its users write it, for sentences."""

    @property
    def sessions(self) -> Sessions: ...
    @property
    def spoken(self) -> str: ...


def operation(steps: Callable[P, Steps[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """A method that gives steps, as the method that is awaited."""

    @functools.wraps(steps)
    async def awaited(*args: P.args, **kwargs: P.kwargs) -> R:
        return await _drive(args[0], steps(*args, **kwargs))  # type: ignore[arg-type]  # a method: its object comes first

    # The types have no word for a function that carries something; `twin` reads it back.
    awaited._surefoot_steps = steps  # type: ignore[attr-defined]
    return awaited


def twin(method: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """The blocking form of an operation, made by one line of the class body."""
    steps: Callable[P, Steps[R]] = method._surefoot_steps  # type: ignore[attr-defined]
    name = method.__name__

    @functools.wraps(steps)
    def blocking(*args: P.args, **kwargs: P.kwargs) -> R:
        owner: Any = args[0]
        if asyncio._get_running_loop() is not None:
            raise inside_loop(f"{name}_sync", f"{owner.spoken}.{name}")
        return _drive_sync(owner, steps(*args, **kwargs))

    blocking.__name__ = f"{name}_sync"
    blocking.__qualname__ = f"{steps.__qualname__}_sync"
    blocking.__doc__ = f"The blocking twin of `{name}`."
    return blocking


def inside_loop(called: str, instead: str) -> SyncInsideLoop:
    """The error for a blocking call on the thread of a running loop."""
    return SyncInsideLoop(f"{called}() would block the event loop that is running here; write `await {instead}(...)`.")


async def _drive(owner: Owner, steps: Steps[R]) -> R:
    answer: Any = None
    error: Exception | None = None
    ear: _Ear | None = None
    try:
        while True:
            try:
                step = steps.send(answer) if error is None else steps.throw(error)
            except StopIteration as end:
                value: R = end.value
                return value
            answer, error = None, None
            try:
                if type(step) is Ask:
                    answer = await owner.sessions.ask(step.verbs)
                elif type(step) is Watch:
                    ear = ear or _Ear(owner.sessions.broker)
                    await ear.hear(step)
                else:
                    assert type(step) is Sleep
                    await clock.sleep(step.seconds)
            except Exception as met:
                error = met
    finally:
        if ear is not None:
            ear.close()


def _drive_sync(owner: Owner, steps: Steps[R]) -> R:
    answer: Any = None
    error: Exception | None = None
    while True:
        try:
            step = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as end:
            value: R = end.value
            return value
        answer, error = None, None
        try:
            if type(step) is Ask:
                answer = owner.sessions.ask_sync(step.verbs)
            elif type(step) is Watch:
                clock.sleep_blocking(min(step.seconds, _again(step.turn, *_ASK_AGAIN_SYNC_S)))
            else:
                assert type(step) is Sleep
                clock.sleep_blocking(step.seconds)
        except Exception as met:
            error = met


def _again(turn: int, first: float, most: float) -> float:
    return min(most, first * 1.5 ** min(turn, 20))


class _Ear:
    """Listens for the end of one job, also while the operation asks: an end between a question and a wait is heard."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._listening: asyncio.Future[None] | None = None

    async def hear(self, step: Watch) -> None:
        """The first time only begin to listen: the next question may find that the job has ended before."""
        if self._listening is None:
            await self._listen(step)
            return
        seconds = min(step.seconds, _again(step.turn, *_ASK_AGAIN_S))
        done, _ = await asyncio.wait({self._listening}, timeout=seconds)
        if done and self._listening.exception() is not None:
            await clock.sleep(seconds)
        if done:
            await self._listen(step)

    async def _listen(self, step: Watch) -> None:
        self._listening = asyncio.ensure_future(self._broker.ended(step.queue, step.id, _ASK_AGAIN_S[1]))
        await clock.sleep(0)  # it has begun before anybody asks again

    def close(self) -> None:
        """Nobody listens any more."""
        if self._listening is not None and not self._listening.cancel() and not self._listening.cancelled():
            self._listening.exception()
