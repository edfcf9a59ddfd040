"""Dead letters that died of the same thing, counted: which error kills most. Talks to no store."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final, final

import msgspec

from surefoot.brokers.answers import Record
from surefoot.client.records import newest_error, task_of
from surefoot.core.job import moment
from surefoot.core.names import DeadReason

_MESSAGE_MOST: Final = 200
# What differs from job to job: identifiers of hexadecimal digits, and every other number, with its sign and point.
_VARIES: Final = re.compile(r"\b(?=[0-9a-f-]*\d)[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b|[-+]?\d+(?:[.,:]\d+)*", re.IGNORECASE)


@final
class DeadGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters of one task that died of one error: `message` is its first line with `#` for numbers and ids.

    `kind` is None where no run failed: then `reason` says all. `newest` is the id of the last one.
    """

    task: str
    kind: str | None
    message: str
    reason: DeadReason | None
    count: int
    first_at: datetime
    last_at: datetime
    newest: str


def first_line(message: str) -> str:
    """The first line of a message, with what differs from job to job left open."""
    line = message.strip().partition("\n")[0][: 4 * _MESSAGE_MOST]
    return _VARIES.sub("#", line)[:_MESSAGE_MOST]


class Groups:
    """Counts letters as they are read; keeps no letter."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str | None, str, str | None], tuple[int, int, int, str]] = {}

    def take(self, records: Iterable[Record]) -> None:
        """Count these."""
        for record in records:
            error = newest_error(record)
            kind, message = (None, "") if error is None else (error.kind, first_line(error.message))
            of = (task_of(record), kind, message, record.reason)
            died_ms = record.finished_ms or 0
            count, first_ms, last_ms, newest = self._found.get(of, (0, died_ms, died_ms, record.id))
            newest = record.id if died_ms > last_ms else newest
            self._found[of] = (count + 1, min(first_ms, died_ms), max(last_ms, died_ms), newest)

    def largest(self, limit: int) -> list[DeadGroup]:
        """The groups with the most letters first, at most so many."""
        ordered = sorted(self._found.items(), key=lambda one: (-one[1][0], -one[1][2], one[0][0]))[:limit]
        return [
            DeadGroup(
                task=task, kind=kind, message=message, reason=reason,  # type: ignore[arg-type]  # the store's words
                count=count, first_at=moment(first_ms), last_at=moment(last_ms), newest=newest,
            )
            for (task, kind, message, reason), (count, first_ms, last_ms, newest) in ordered
        ]  # fmt: skip
