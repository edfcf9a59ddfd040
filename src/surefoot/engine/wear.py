"""When a worker process has done its share: after so many jobs, or above so much memory. Then it drains."""

import os

from surefoot import clock

_LOOK_EVERY_S = 1.0


class Wear:
    """Counts the runs of one life of a worker, and looks at its resident memory, at most once a second."""

    def __init__(self, jobs: int | None, resident_bytes: int | None) -> None:
        self._jobs = jobs
        self._bytes = resident_bytes
        self._ended = 0
        self._look_at = 0.0

    def worn(self) -> bool:
        """A run has ended: whether it was the last that this process should take."""
        self._ended += 1
        if self._jobs is not None and self._ended >= self._jobs:
            return True
        if self._bytes is None or clock.monotonic() < self._look_at:
            return False
        self._look_at = clock.monotonic() + _LOOK_EVERY_S
        import psutil

        return int(psutil.Process(os.getpid()).memory_info().rss) > self._bytes
