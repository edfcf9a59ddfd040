"""What somebody else spoiled in a row: SQLite keeps any value in any column. Read as far as it can be, so that one row
stops no other. Runs no statement.
"""

from surefoot.core.job import LAST_MS
from surefoot.core.names import NORMAL_PRIORITY

_MOST = 10**15


def count(value: object) -> int:
    """A number of things, 0 for anything else."""
    return value if type(value) is int and 0 <= value < _MOST else 0


def moment(value: object) -> int | None:
    """A moment in ms, None for anything else."""
    return value if type(value) is int and 0 <= value < LAST_MS else None


def priority(value: object) -> int:
    """A priority from 0 to 9, the normal one for anything else."""
    return value if type(value) is int and 0 <= value <= 9 else NORMAL_PRIORITY


def raw(value: object) -> bytes | None:
    """Bytes as they are, text as its bytes, a number as it is written; None stays."""
    if value is None or isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else str(value)).encode("utf-8", "replace")


def text(value: object) -> str | None:
    """Text as it is, bytes as their text; None stays."""
    if value is None or isinstance(value, str):
        return value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
