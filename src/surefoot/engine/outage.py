"""How a worker tells that its store is away: at once, then once a minute. Decides nothing, and reads no clock."""

import logging
from typing import Final

from surefoot.brokers.broker import NoAnswer
from surefoot.core.errors import StoreError

log: Final = logging.getLogger("surefoot.worker")

_SAY_AGAIN_S: Final = 60.0


class Outage:
    """A trouble that lasts, in the words of one who meets it again and again."""

    def __init__(self, words: str) -> None:
        self._words = words
        self._say_at = 0.0

    def met(self, trouble: StoreError | NoAnswer, now: float) -> None:
        """It is there, or still there."""
        if now >= self._say_at:
            self._say_at = now + _SAY_AGAIN_S
            log.warning("%s: %s", self._words, trouble)

    def over(self) -> None:
        """It has passed: the next one is told at once."""
        self._say_at = 0.0
