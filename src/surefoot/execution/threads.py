"""The lane for plain functions: a pool of our own threads that take several jobs a wake-up.

A thread cannot be killed: one that outlives its job's deadline is given up and replaced, and counts as stuck until
it returns.
"""

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections import deque
from collections.abc import Callable

from surefoot import clock
from surefoot.core.outcome import Interrupted, Lost, Outcome, TimedOut
from surefoot.execution.context import JobContext, Running, Stop, enter_job
from surefoot.execution.middleware import raised, returned

_NEXT_WAKE_S = 0.00005


class Piece:
    """One call of a plain function in the pool. `future`: who awaits it, where middleware stays on the loop."""

    __slots__ = ("begun", "context", "finished", "future", "given_up", "running")

    def __init__(self, running: Running, future: "asyncio.Future[Ended] | None" = None) -> None:
        self.running: Running = running
        self.future: asyncio.Future[Ended] | None = future
        self.context: contextvars.Context | None = contextvars.copy_context() if future is not None else None
        self.begun: bool = False
        self.finished: bool = False
        self.given_up: bool = False


class Ended:
    """How a function in a thread ended: a value or an exception."""

    __slots__ = ("error", "value")

    def __init__(self, value: object, error: BaseException | None) -> None:
        self.value: object = value
        self.error: BaseException | None = error


class ThreadLane:
    """Runs plain functions on at most `limit` threads; results ring the loop once a batch.

    A job that waits here for a thread has not started: its time has not begun and it can be handed back uncharged.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        done: Callable[[Running, Outcome], None],
        began: Callable[[Running], None],
        limit: int,
        gave_up: Callable[[Running], None] | None = None,
    ) -> None:
        self._loop = loop
        self._done = done
        self._began = began
        self._gave_up = gave_up
        self._limit = limit
        self._pieces: deque[Piece] = deque()
        self._sleepers: deque[threading.Lock] = deque()
        self._news: deque[tuple[Piece, Ended | None]] = deque()  # begun (None) and ended, in their order
        self._edge = threading.Lock()  # a piece is finished by its thread or given up by the loop, never both
        self._rung = False
        self._threads = 0
        self._closed = False
        self.stuck: set[Piece] = set()

    def start(self, running: Running) -> None:
        """Queue it for a thread, and see that one is awake."""
        piece = Piece(running)
        running.work = piece
        self._push(piece)

    async def call(self, running: Running) -> object:
        """Run the function of `running` in a thread and wait for it; cancelling gives the thread up."""
        piece = Piece(running, self._loop.create_future())
        assert piece.future is not None
        self._push(piece)
        try:
            ended = await piece.future
        except asyncio.CancelledError:
            if not self._take_back(piece):
                self._give_up(piece)
            raise
        if ended.error is not None:
            raise ended.error
        return ended.value

    def stop(self, running: Running, why: Stop) -> None:
        """Take a job back that has not started; tell a started one, and give it up where it must not go on."""
        if running.stop is None or why == "lost":
            running.stop = why
        piece: Piece = running.work
        if self._take_back(piece):
            self._done(running, Lost() if why == "lost" else Interrupted(started=False))
        elif why in ("timeout", "drain") and self._give_up(piece):
            self._done(running, TimedOut(running.limit or 0.0) if why == "timeout" else Interrupted(started=True))

    def waiting(self) -> list[Running]:
        """The jobs that no thread has begun."""
        return [piece.running for piece in list(self._pieces) if piece.future is None]

    def drain(self) -> None:
        """The worker drains: what no thread has begun goes back."""
        for running in self.waiting():
            self.stop(running, "drain")

    def close(self) -> None:
        """Let idle threads go; a busy one ends with its job. Nothing is joined: a stuck thread would hang the exit."""
        self._closed = True
        while self._sleepers:
            self._wake()

    def _push(self, piece: Piece) -> None:
        self._pieces.append(piece)
        if not self._sleepers and self._threads < self._limit:
            self._new_thread()
        else:
            self._wake()

    def _take_back(self, piece: Piece) -> bool:
        try:
            self._pieces.remove(piece)
        except ValueError:
            return False
        return True

    def _give_up(self, piece: Piece) -> bool:
        """Leave a piece to its thread for good; False if it just finished, or has not begun: it sees `stop` first."""
        with self._edge:
            if piece.finished or piece.given_up or not piece.begun:
                return False
            piece.given_up = True
        self.stuck.add(piece)
        self._threads -= 1  # its thread leaves the pool when it returns; another takes its place
        if self._pieces and self._threads < self._limit:
            self._new_thread()
        if self._gave_up is not None:
            self._gave_up(piece.running)
        return True

    def _new_thread(self) -> None:
        self._threads += 1
        threading.Thread(target=self._serve, name="surefoot-job", daemon=True).start()

    def _wake(self) -> None:
        """One sleeper now; while jobs are left, another soon: a burst of no-ops wakes one thread, of slow jobs all."""
        try:
            self._sleepers.popleft().release()
        except IndexError:
            return
        if self._pieces:
            clock.call_later(self._loop, _NEXT_WAKE_S, self._more)

    def _more(self) -> None:
        if not self._pieces:
            return
        if self._sleepers:
            self._wake()
        elif self._threads < self._limit:
            self._new_thread()
            clock.call_later(self._loop, _NEXT_WAKE_S, self._more)

    def _serve(self) -> None:
        """One thread of the pool: take what waits, lie down, be woken."""
        me = threading.Lock()
        me.acquire()
        while not self._closed:
            try:
                while True:
                    if not self._run(self._pieces.popleft()):
                        return
            except IndexError:
                pass
            self._sleepers.append(me)
            if self._pieces or self._closed:  # something came between the look and lying down
                try:
                    self._sleepers.remove(me)
                    continue
                except ValueError:
                    pass  # somebody is waking this thread already
            me.acquire()

    def _run(self, piece: Piece) -> bool:
        """Run one piece here; False if it was given up meanwhile, and this thread with it."""
        running = piece.running
        with self._edge:
            piece.begun = True
        ended = self._ended(piece) if running.stop is None else Ended(None, None)
        with self._edge:
            piece.finished = True
        self._news.append((piece, ended))
        self._ring()
        return not piece.given_up

    def _ended(self, piece: Piece) -> Ended:
        running = piece.running
        if piece.context is not None:
            return piece.context.run(call_plain, running)
        running.begin()
        self._news.append((piece, None))
        self._ring()
        return contextvars.copy_context().run(_in_job, running)

    def _ring(self) -> None:
        if not self._rung:
            self._rung = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: the worker has left, the lease ends by itself
                self._loop.call_soon_threadsafe(self._collect)

    def _collect(self) -> None:
        self._rung = False  # before the look: a later result rings again
        while self._news:
            piece, ended = self._news.popleft()
            if ended is None:
                if not piece.given_up:
                    self._began(piece.running)
            elif piece.given_up:
                self.stuck.discard(piece)
            elif piece.future is None:
                self._done(piece.running, _outcome(piece.running, ended))
            elif not piece.future.done():
                piece.future.set_result(ended)


def _in_job(running: Running) -> Ended:
    enter_job(JobContext(running))
    return call_plain(running)


def call_plain(running: Running) -> Ended:
    """Call the plain function of a run, here and now; whatever it raises is caught."""
    spec = running.run.spec
    try:
        value = spec.signature.call(spec.function, running.run.arguments)
        if inspect.iscoroutine(value):
            value.close()
            raise TypeError(f"{spec.name} is a plain function but returned a coroutine; write `async def {spec.name}`.")
    except BaseException as error:
        return Ended(None, error)
    return Ended(value, None)


def _outcome(running: Running, ended: Ended) -> Outcome:
    if not running.started:
        return Lost() if running.stop == "lost" else Interrupted(started=False)
    if ended.error is not None:
        return raised(running, ended.error)
    return returned(running, ended.value)
