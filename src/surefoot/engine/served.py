"""One queue as a worker serves it: its tasks, and what its last claim said."""

from collections.abc import Mapping, Sequence
from typing import Final

from surefoot.brokers.answers import Claimed
from surefoot.client.schedules import CronEntry
from surefoot.core.names import UNDERSTANDS
from surefoot.core.spec import Spec
from surefoot.execution.outfit import fitted, fittings

REASONS_LIMIT: Final = 200
_ROUND_S: Final = 1.0


class Served:
    """A queue is known to be empty when its last claim brought less than asked, until it rings or its timer is due."""

    def __init__(self, queue: str, specs: Mapping[str, Spec], crons: Sequence[CronEntry], weight: int) -> None:
        self.queue = queue
        self.specs: Mapping[str, Spec] = {name: fitted(spec) for name, spec in specs.items()} if fittings else specs
        self.crons: tuple[CronEntry, ...] = tuple(crons)
        self.weight = weight
        self.empty: bool = False
        self.paused: bool = False
        self.chores: bool = False
        self.timer_at: float = 0.0
        self._reasons = parked_reasons(specs)
        self._parking = True
        self._round: tuple[str, ...] = self._reasons
        self._round_over = False
        self._next_round_at = 0.0

    def due(self, now: float) -> bool:
        """Whether a claim may bring something, as far as the last one told."""
        return not self.empty or now >= self.timer_at

    def reasons(self, now: float) -> tuple[str, ...]:
        """The parked reasons for the next claim, at most 200: all of them in the first claims, then where something
        is parked.

        A round offers each reason once; at most one round a second begins.
        """
        if not self._round and self._parking and now >= self._next_round_at:
            self._round = self._reasons
        some, self._round = self._round[:REASONS_LIMIT], self._round[REASONS_LIMIT:]
        self._round_over = bool(some) and not self._round
        if self._round_over:
            self._next_round_at = now + _ROUND_S
        return some

    def heard(self, claimed: Claimed, want: int, now: float, regained_at: float) -> None:
        """What a claim said. `regained_at`: when this worker trusts its clock again, if it does not now."""
        self.paused = claimed.paused
        if want:  # a claim of nothing says nothing of what is there
            self.empty = len(claimed.jobs) < want
        self.timer_at = now + claimed.wait_ms / 1000
        if regained_at > now:
            self.timer_at = min(self.timer_at, regained_at)
        self._parking = claimed.parking
        if (
            claimed.parking and not self._round_over
        ):  # something is parked, and this claim did not offer all we can serve
            self.timer_at = min(self.timer_at, now if self._round else max(now, self._next_round_at))
        self.chores = self.chores or claimed.chores


def parked_reasons(specs: Mapping[str, Spec]) -> tuple[str, ...]:
    """Every reason a job may be parked for that a worker with these tasks can serve."""
    found = [f"needs:{needs}" for needs in range(1, UNDERSTANDS + 1)]
    for name, spec in specs.items():
        found.append(f"task:{name}")
        found.extend(f"task:{name}@{schema}" for schema in range(2, spec.schema + 1))
    return tuple(found)
