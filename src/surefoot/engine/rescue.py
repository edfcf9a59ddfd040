"""What the keeper's thread does when the loop is gone for good: settle the culprit, hand the others back, leave with
75.
"""

import logging
import os
from collections.abc import Callable, Sequence
from typing import Final

from surefoot import clock
from surefoot.brokers.broker import VERB_LIMIT, Settle
from surefoot.client.session import SyncSession
from surefoot.core.errors import StoreError
from surefoot.core.lifecycle import decide
from surefoot.core.outcome import Interrupted, Outcome, TimedOut
from surefoot.core.transition import Transition
from surefoot.engine.unsettled import Unsettled
from surefoot.execution.context import Running

log: Final = logging.getLogger("surefoot.worker")

EXIT_STUCK: Final = 75


class Rescue:
    """Judges a silent loop. It acts only when the run that blocks it is past its deadline: before that, the run may
    be right.
    """

    def __init__(
        self,
        unsettled: Unsettled,
        queues: Sequence[str],
        session: SyncSession,
        culprit: Callable[[], Running | None],
        now_ms: Callable[[], int],
    ) -> None:
        self._unsettled = unsettled
        self._queues = tuple(queues)
        self._session = session
        self._culprit = culprit
        self._now_ms = now_ms

    def judge(self, silent: float) -> None:
        """Called from the keeper's thread while the loop has not turned for 3 leases."""
        culprit = self._culprit()
        if culprit is None or culprit.deadline is None or clock.monotonic() < culprit.deadline:
            return
        run = culprit.run
        log.error(
            "job %s %s blocks the loop for %.0f s and is out of time: it is settled as timed out, the worker leaves",
            run.leased.id, run.spec.name, silent,
        )  # fmt: skip
        for queue in self._queues:
            self._settle(
                queue, [self._transition(one, culprit) for one in list(self._unsettled.running) if one.queue == queue]
            )
        os._exit(EXIT_STUCK)

    def _transition(self, running: Running, culprit: Running) -> Transition:
        outcome: Outcome = Interrupted(started=bool(running.started))
        if running is culprit:
            outcome = TimedOut(running.limit or 0.0)
        return decide(running.run, outcome, self._now_ms(), 0.5, running.started_ms)

    def _settle(self, queue: str, transitions: list[Transition]) -> None:
        finished = [item.transition for item in self._unsettled.finished(queue)] + transitions
        for place in range(0, len(finished), VERB_LIMIT):
            try:
                self._session.ask(
                    [Settle(queue, tuple(finished[place : place + VERB_LIMIT]))], deadline=5.0, urgent=True
                )
            except StoreError as error:
                log.error("queue %s: the leases end by themselves: %s", queue, error)
