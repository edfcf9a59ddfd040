"""Notices a test that waits for a job which nobody will run, and says so instead of hanging for ever."""

from typing import Final

from surefoot import clock
from surefoot.core.errors import UsageError
from surefoot.core.names import State

_HOPELESS_S: Final = 1.0
_ASKED: Final = 3


class Patience:
    """Counts who is asked for again and again while nothing moves, as `result()` does."""

    def __init__(self) -> None:
        self._asked: dict[str, tuple[float, int]] = {}

    def moved(self) -> None:
        """Something was stored, or a worker was at work: all hopes are new."""
        self._asked.clear()

    def asked(self, id: str, state: State | None, *, in_job: bool) -> None:
        """Somebody asked for this job. UsageError if it cannot come."""
        if state not in ("scheduled", "pending", "parked"):
            self._asked.pop(id, None)
            return
        since, count = self._asked.get(id, (clock.monotonic(), 0))
        self._asked[id] = since, count + 1
        if count + 1 < _ASKED or clock.monotonic() - since < _HOPELESS_S:
            return
        if state == "scheduled":
            raise UsageError(
                f"job {id} is scheduled, and the clock of a sandbox stands still: call box.advance() before result()."
            )
        if in_job:
            raise UsageError(
                f"a job waits for job {id}, which is {state}: a sandbox runs one job after the other; use "
                'sandbox(mode="inline").'
            )
        raise UsageError(
            f"job {id} is {state}, and in a sandbox nothing runs by itself: call box.drain() before result(), or use "
            'sandbox(mode="inline").'
        )
