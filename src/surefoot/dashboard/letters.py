"""Which dead letters are meant: by the words of a form, by a group of them. Pure: a record in, yes or no out."""

from typing import Final

from surefoot.brokers.answers import Record
from surefoot.client.groups import DeadGroup
from surefoot.client.records import newest_error, task_of

_LITERAL_LEAST: Final = 4


def words_of(group: DeadGroup) -> str:
    """Words that the errors of a group contain, to find its letters by: the longest part that does not vary."""
    longest = max(group.message.split("#"), key=len).strip()
    return longest if len(longest) >= _LITERAL_LEAST else group.kind or ""


def wanted(record: Record, *, task: str, error: str, reason: str) -> bool:
    """Whether a letter matches: as `queue.dead.find` reads the same words."""
    if (task and task_of(record) != task) or (reason and record.reason != reason):
        return False
    if not error:
        return True
    found, words = newest_error(record), error.casefold()
    return found is not None and (words in found.kind.casefold() or words in found.message.casefold())
