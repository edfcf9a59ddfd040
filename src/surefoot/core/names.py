"""The words that travel and the rules for names, ids and keys. Imports nothing of surefoot."""

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

State: TypeAlias = Literal["scheduled", "pending", "parked", "processing", "completed", "dead", "cancelled", "expired"]
"""Where a job is."""
Priority: TypeAlias = Literal["high", "normal", "low"]
"""A priority in words; the store keeps 2, 5 or 8, where other producers may use 0 (first) to 9."""
DeadReason: TypeAlias = Literal["exhausted", "rejected", "crash_loop", "invalid", "unsettlable", "body_lost", "unknown"]
WaitReason: TypeAlias = Literal[
    "running", "finished", "not_due", "paused", "limited", "full_workers", "behind", "no_worker",
    "unknown_task", "newer_version", "lease_lost",
]  # fmt: skip

PRIORITIES: Final[dict[str, int]] = {"high": 2, "normal": 5, "low": 8}
NORMAL_PRIORITY: Final = PRIORITIES["normal"]

UNDERSTANDS: Final = 1
"""The newest `needs` that this release can serve; a job that needs more is parked under `needs:<n>`."""

LAYOUT: Final = 1
"""The layout of the store that this release reads and writes; another one is refused as LAYOUT."""

ENVELOPE_VERSION: Final = 1

ON_DEAD_SUFFIX: Final = ":on_dead"

NAME_RULE: Final = "1 to 128 letters, digits or _ . : -"
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}\Z")
_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,128}\Z")
_ID_LIMIT = 128
_FIRST_PRINTABLE = 0x20


def is_name(text: object) -> bool:
    """Whether `text` may name a queue, a task or a worker."""
    return isinstance(text, str) and _NAME.match(text) is not None


def is_namespace(text: object) -> bool:
    """Whether `text` may be a namespace: a name without a colon, since the colon ends it in every key."""
    return isinstance(text, str) and _NAMESPACE.match(text) is not None


def is_id(text: object) -> bool:
    """Whether `text` may be an id, a key or a group: 1 to 128 bytes of UTF-8, none below a space."""
    if not isinstance(text, str) or not text or not is_text(text):
        return False
    raw = text.encode()
    return len(raw) <= _ID_LIMIT and all(byte >= _FIRST_PRINTABLE for byte in raw)


def is_text(value: object) -> bool:
    """Whether `value` is text that UTF-8 can carry: no half of a surrogate pair."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def nearest(word: str, known: "Iterable[str]") -> str | None:
    """The known word that `word` was most likely meant to be, or None."""
    found = get_close_matches(word[:_ID_LIMIT], list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(word: str, known: "Iterable[str]", shape: str = "'{}'") -> str:
    """`; did you mean 'language'?`, or nothing if no known word is near."""
    found = nearest(word, known)
    return f"; did you mean {shape.format(found)}?" if found else ""
