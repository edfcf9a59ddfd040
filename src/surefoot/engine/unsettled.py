"""What is in this worker's hands: jobs that run, and jobs that finished and are not settled yet. All of them hold
leases.
"""

from collections.abc import Iterable

import msgspec

from surefoot.brokers.answers import Lease
from surefoot.brokers.broker import BYTES_LIMIT, VERB_LIMIT, Settle
from surefoot.core import sketch
from surefoot.core.codec import encode_note
from surefoot.core.job import Progress, moment_ms
from surefoot.core.lifecycle import first_due_ms
from surefoot.core.outcome import Outcome
from surefoot.core.transition import Finish, Transition
from surefoot.execution.context import Running


class Settled(msgspec.Struct, frozen=True):
    """A job on its way back to the store. `running` and `outcome` are None if its handler was never begun.

    `waited_ms`: from its due time to its first run, None for a later one; `ran_ms`: how long the handler ran.
    """

    transition: Transition
    running: Running | None = None
    outcome: Outcome | None = None
    waited_ms: int | None = None
    ran_ms: int | None = None


class Held(msgspec.Struct, frozen=True):
    """A lease to renew, with its run if that still goes on, and the progress that travels with it."""

    lease: Lease
    running: Running | None = None
    progress: Progress | None = None


class Unsettled:
    """The leases that the keeper renews and the settles that the next turn carries.

    Read by the keeper's thread: it only ever copies whole containers, which is one step under the interpreter lock.
    """

    def __init__(self, queues: Iterable[str]) -> None:
        self.running: dict[Running, None] = {}
        self._done: dict[str, list[Settled]] = {queue: [] for queue in queues}
        self._sent: dict[str, list[Settled]] = {queue: [] for queue in queues}

    def __bool__(self) -> bool:
        return bool(self.running) or self.any_done() or any(self._sent.values())

    def begin(self, running: Running) -> None:
        """A job is in a lane now."""
        self.running[running] = None

    def done(self, queue: str, settled: Settled) -> None:
        """A job waits for its settle."""
        if settled.running is not None:
            self.running.pop(settled.running, None)
        self._done[queue].append(settled)

    def drop(self, running: Running) -> None:
        """A job whose lease is lost: nothing of it is settled here."""
        self.running.pop(running, None)

    def forget_all(self) -> None:
        """The worker goes although the store does not answer: the leases end by themselves."""
        self.running.clear()
        for queue in self._done:
            self._done[queue], self._sent[queue] = [], []

    def any_done(self) -> bool:
        """Whether a settle waits to be sent."""
        return any(self._done.values())

    def has_done(self, queue: str) -> bool:
        """Whether a settle of this queue waits to be sent."""
        return bool(self._done[queue])

    def first(self, queue: str) -> Settled:
        """The item that the next Settle of this queue begins with."""
        return self._done[queue][0]

    def swap_first(self, queue: str, instead: Settled) -> None:
        """Another decision for that item."""
        self._done[queue][0] = instead

    def take(self, queue: str, most: int | None = None) -> list[Settled]:
        """What the next Settle of this queue carries, bounded; it counts as sent until `answered` or `unsent`."""
        waiting = self._done[queue]
        count = _fitting(waiting) if most is None else most
        batch = self._sent[queue] = waiting[:count]  # first: the keeper must not miss it between the two
        self._done[queue] = waiting[count:]
        return batch

    def answered(self, queue: str) -> list[Settled]:
        """The batch that was sent, now that its verdicts are here."""
        batch, self._sent[queue] = self._sent[queue], []
        return batch

    def unsent(self, queue: str) -> None:
        """The call failed: its batch goes first in the next one."""
        self._done[queue] = self._sent[queue] + self._done[queue]
        self._sent[queue] = []

    def leases(self, queue: str) -> "list[Held]":
        """All leases held on one queue."""
        held: list[Held] = []
        for running in list(self.running):
            if running.queue == queue:
                leased = running.run.leased
                progress = running.note if running.note is not running.carried else None
                note = None if progress is None else encode_note(progress, moment_ms(progress.at), running.run.attempt)
                held.append(Held(Lease(leased.id, leased.token, note), running, progress))
        for item in self.finished(queue):
            held.append(Held(Lease(item.transition.id, item.transition.token)))
        return held

    def finished(self, queue: str) -> list[Settled]:
        """All that waits for a settle or its answer on one queue."""
        return self._sent[queue] + self._done[queue]


def ran(transition: Transition, running: Running, outcome: Outcome, now_ms: int) -> Settled:
    """A run that ended now, with how long it waited and lasted."""
    if not running.started:
        return Settled(transition, running, outcome)
    run, started_ms = running.run, running.started_ms
    waited_ms = None if run.attempt > 1 else max(0, started_ms - first_due_ms(run.leased, run.envelope))
    return Settled(transition, running, outcome, waited_ms, max(0, now_ms - started_ms))


def settle_verb(queue: str, batch: list[Settled]) -> Settle:
    """The batch as a verb, with how long its jobs waited and ran."""
    times: sketch.Times = {}
    for item in batch:
        if item.waited_ms is not None:
            sketch.add(times, "waiting", item.waited_ms)
        if item.ran_ms is not None:
            sketch.add(times, "running", item.ran_ms)
    return Settle(queue, tuple([item.transition for item in batch]), sketch.encode(times))


def _size(item: Settled) -> int:
    move = item.transition.to
    size = len(item.transition.error or b"")
    if type(move) is Finish and move.result is not None:
        size += len(move.result)
    return size


def _fitting(waiting: list[Settled]) -> int:
    """How many items from the front fit one verb; at least one."""
    total = 0
    for count, item in enumerate(waiting):
        if count == VERB_LIMIT:
            return count
        total += _size(item)
        if total > BYTES_LIMIT and count:
            return count
    return len(waiting)
