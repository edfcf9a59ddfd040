"""The trail of changes by hand: `note` adds to it within a verb's own transaction, the verb changes reads it."""

from collections.abc import Sequence
from typing import Final, cast, get_args

import msgspec

from surefoot.brokers.answers import CHANGE_BYTES, CHANGE_NAMES, CHANGES_KEPT, Change, ChangeWord
from surefoot.brokers.broker import Changes
from surefoot.brokers.sqlite.pieces import json_text
from surefoot.brokers.sqlite.spoiled import count, moment, raw, text
from surefoot.brokers.sqlite.statements import script
from surefoot.brokers.sqlite.tx import Tx

_AUDIT: Final = script("changes")
_ADD: Final = _AUDIT["add"]
_CUT: Final = _AUDIT["cut"]
_CHANGES: Final = _AUDIT["changes"]

_WORDS: Final = frozenset(get_args(ChangeWord))
_CONTROL: Final = dict.fromkeys([*range(32), 127], " ")
_names: Final = msgspec.json.Decoder(tuple[str, ...]).decode


def note(tx: Tx, queue: str, who: str, what: ChangeWord, names: Sequence[str], reason: str = "") -> None:
    """Remember a change of these jobs, or of what else is named. Nothing changed is nothing to tell."""
    if names:
        first = json_text([_line(name) for name in names[:CHANGE_NAMES]])
        tx.do(
            _ADD, queue=queue, now=tx.now_ms, who=_line(who), what=what, many=len(names), reason=_line(reason),
            names=first,
        )  # fmt: skip
        tx.do(_CUT, queue=queue, most=CHANGES_KEPT)


def _line(words: str) -> str:
    return words.encode()[:CHANGE_BYTES].decode("utf-8", "replace").translate(_CONTROL)


def changes(tx: Tx, verb: Changes) -> list[Change]:
    """The verb changes. A row that somebody else wrote is passed over."""
    rows = tx.rows(_CHANGES, queue=verb.queue, most=verb.limit)
    return [
        Change(
            moment(at) or 0, text(who) or "", cast("ChangeWord", what), count(many), text(reason) or "", named(names)
        )
        for at, who, what, many, reason, names in rows
        if what in _WORDS
    ]


def named(names: object) -> tuple[str, ...]:
    """The names as they are stored; none if they cannot be read."""
    try:
        return tuple(filter(None, _names(raw(names) or b"[]")))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ()
