"""How a worker leaves: stop claiming, give running jobs some seconds, hand back the rest. A step function of time
and signals.
"""

from collections.abc import Callable


class Drain:
    """Where a worker is on its way out. The first stop starts the drain, the second cuts it short.

    `began` is called once, when nothing new is claimed any more.
    """

    def __init__(self, seconds: float) -> None:
        self.began: Callable[[], object] = lambda: None
        self._seconds = seconds
        self._cut_at: float | None = None
        self.stops: int = 0

    @property
    def leaving(self) -> bool:
        """Whether nothing new is claimed any more."""
        return self._cut_at is not None

    def stop(self, now: float) -> None:
        """Somebody wants the worker to go."""
        self.stops += 1
        self.begin(now)
        if self.stops > 1:
            self._cut_at = now

    def begin(self, now: float) -> None:
        """The worker goes, although nobody asked for it."""
        if self._cut_at is None:
            self._cut_at = now + self._seconds
            self.began()

    def cut_in(self, now: float) -> float:
        """Seconds until running jobs are handed back."""
        return 0.0 if self._cut_at is None else max(0.0, self._cut_at - now)
