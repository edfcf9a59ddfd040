"""Renews all leases from a thread of its own, so that a handler that blocks the loop keeps its jobs.

`Keeper` is a step function of time and answers; `KeeperThread` is its shell. It also beats, carries progress, brings
cancel
requests, and notices a loop that no longer turns.
"""

import asyncio
import contextlib
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from surefoot import clock
from surefoot.brokers.answers import Hold
from surefoot.brokers.broker import VERB_LIMIT, Beat, Extend, Verb
from surefoot.client.session import SyncSession
from surefoot.core.errors import StoreError
from surefoot.core.job import Progress
from surefoot.engine.outage import Outage
from surefoot.engine.unsettled import Held, Unsettled
from surefoot.execution.context import Running

log: Final = logging.getLogger("surefoot.worker")

BEAT_S: Final = 15.0
_STACK_FRAMES: Final = 3
_GOODBYE_S: Final = 2.0


class News(msgspec.Struct, frozen=True):
    """What a renewal said of a run; `progress` is what it carried."""

    running: Running
    hold: Hold
    progress: Progress | None


class Keeper:
    """Which leases to renew and when: a quarter of a lease after the last time. Beats on each queue every 15 s and
    on change.
    """

    def __init__(
        self,
        unsettled: Unsettled,
        queues: Sequence[str],
        lease_ms: int,
        presence: Callable[[str, bool], bytes],
        worker: Callable[[], str],
    ) -> None:
        self._unsettled = unsettled
        self._queues = tuple(queues)
        self._lease_ms = lease_ms
        self._presence = presence
        self._worker = worker
        self._extend_at = 0.0
        self._beat_at = 0.0
        self._asked: list[tuple[Extend, list[Held]]] = []
        self._epochs: dict[str, str] = {}

    def beat_soon(self) -> None:
        """Something that the presence says has changed."""
        self._beat_at = 0.0

    def next_in(self, now: float) -> float:
        """Seconds until the next step."""
        return max(0.0, min(self._extend_at, self._beat_at) - now)

    def calls(self, now: float) -> list[list[Verb[Any]]]:
        """What to say now: one list of verbs a round trip."""
        rounds: list[list[Verb[Any]]] = []
        if now >= self._extend_at:
            self._extend_at = now + self._lease_ms / 4000
            self._asked = []
            for queue in self._queues:
                held = self._unsettled.leases(queue)
                for place in range(0, len(held), VERB_LIMIT):
                    some = held[place : place + VERB_LIMIT]
                    extend = Extend(queue, tuple(one.lease for one in some), self._lease_ms)
                    self._asked.append((extend, some))
                    rounds.append([extend])
        if now >= self._beat_at:
            self._beat_at = now + BEAT_S
            rounds.append(self._beats(left=False))
        return rounds

    def farewell(self) -> list[Verb[Any]]:
        """What a worker that leaves says: it is not alive any more."""
        return self._beats(left=True)

    def _beats(self, *, left: bool) -> list[Verb[Any]]:
        return [Beat(queue, self._worker(), self._presence(queue, left)) for queue in self._queues]

    def heard(self, verbs: Sequence[Verb[Any]], answers: Sequence[Any]) -> list[News]:
        """The runs for which a renewal brought news: a lost lease, a cancel request, progress that was stored."""
        news: list[News] = []
        emptied: list[str] = []
        for verb, answer in zip(verbs, answers, strict=True):
            if isinstance(answer, Exception):
                log.warning("the lease keeper was refused: %s", answer)
            elif isinstance(verb, Beat):
                if self._epochs.setdefault(verb.queue, answer) != answer:
                    self._epochs[verb.queue] = answer
                    emptied.append(verb.queue)
            elif isinstance(verb, Extend):
                asked = next(some for extend, some in self._asked if extend is verb)
                for one, hold in zip(asked, answer, strict=True):
                    if one.running is not None and (not hold.held or hold.cancel is not None or one.progress):
                        news.append(News(one.running, hold, one.progress))
                if not any(hold.held for hold in answer):
                    self.beat_soon()  # perhaps the whole store is another one
        if emptied:
            log.error("the store was emptied or replaced; what it held before is gone (%s)", ", ".join(emptied))
        return news


class Pulse:
    """The loop's heartbeat, read by the keeper's thread: when it last turned, and what it was doing."""

    def __init__(self, loop: asyncio.AbstractEventLoop, every: float) -> None:
        self._loop = loop
        self._every = every
        self._timer: asyncio.TimerHandle | None = None
        self.thread: int = threading.get_ident()
        self.at: float = clock.monotonic()
        self._tick()

    def stop(self) -> None:
        """The worker leaves."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self.at = clock.monotonic()
        self._timer = clock.call_later(self._loop, self._every, self._tick)

    def stack(self) -> str:
        """Where the loop's thread is now: the innermost frames."""
        frame = sys._current_frames().get(self.thread)
        return "" if frame is None else "".join(traceback.format_stack(frame)[-_STACK_FRAMES:])


class KeeperThread:
    """The shell of a Keeper: runs its steps against the store and watches the loop's pulse."""

    def __init__(
        self,
        keeper: Keeper,
        session: SyncSession,
        pulse: Pulse,
        *,
        lease_ms: int,
        on_news: Callable[[list[News]], object],
        on_away: Callable[[], object],
        on_blocked: Callable[[float, str], None],
        on_gone: Callable[[float], None],
    ) -> None:
        self._keeper = keeper
        self._session = session
        self._pulse = pulse
        self._lease_s = lease_ms / 1000
        self._on_news = on_news
        self._on_away = on_away
        self._on_blocked = on_blocked
        self._on_gone = on_gone
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._told = 0.0
        self._outage = Outage("leases could not be renewed; running jobs go on")
        self._thread = threading.Thread(target=self._serve, name="surefoot-keeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def beat_soon(self) -> None:
        """Say at once what has changed."""
        self._keeper.beat_soon()
        self._bell.set()

    def stop(self) -> None:
        """Say goodbye and end. On the loop's thread; does not wait."""
        self._pulse.stop()
        self._stopping.set()
        self._bell.set()

    def goodbye(self) -> None:
        """Wait until it has ended, but not for a store that is away. Blocks."""
        self._thread.join(_GOODBYE_S)

    def _serve(self) -> None:
        look = min(self._lease_s / 4, 1.0)
        while True:
            self._bell.wait(min(look, self._keeper.next_in(clock.monotonic())) or 0.001)
            self._bell.clear()
            if self._stopping.is_set():
                self._say_goodbye()
                return
            try:
                self._step()
                self._watch()
            except Exception:
                log.exception("the lease keeper met an error of its own; it goes on")

    def _say_goodbye(self) -> None:
        with contextlib.suppress(Exception):  # whoever looks will see in 45 s that it is gone
            self._session.ask(self._keeper.farewell(), deadline=_GOODBYE_S / 2, urgent=True, apart=True)

    def _step(self) -> None:
        news: list[News] = []
        for verbs in self._keeper.calls(clock.monotonic()):
            try:
                answers = self._session.ask(verbs, deadline=self._lease_s / 4, urgent=True, apart=True)
            except StoreError as away:
                with contextlib.suppress(RuntimeError):  # the store may be away for longer than the loop is there
                    self._on_away()
                self._outage.met(away, clock.monotonic())
                break
            self._outage.over()
            news += self._keeper.heard(verbs, answers)
        if news:
            self._on_news(news)

    def _watch(self) -> None:
        now = clock.monotonic()
        at, silent = self._pulse.at, now - self._pulse.at
        if silent > max(0.5, min(self._lease_s / 2, 5.0)) and self._told != at:
            self._told = at
            self._on_blocked(silent, self._pulse.stack())
        if silent > 3 * self._lease_s:
            self._on_gone(silent)
