"""The verbs orphans and repair: jobs without a body, bodies without a job, keys whose holder is over.

Within a transaction of ours none of these can arise: somebody else wrote to the file, or it was damaged.
"""

from typing import Any, Final

import msgspec

from surefoot.brokers.answers import Damage, RepairWord
from surefoot.brokers.broker import Orphans, Repair
from surefoot.brokers.sqlite.pieces import bury, json_text, lose_body, places, ranks
from surefoot.brokers.sqlite.statements import script
from surefoot.brokers.sqlite.tx import Tx
from surefoot.core.names import NORMAL_PRIORITY, is_id

_ORPHANS: Final = script("orphans")
_PAGE: Final = _ORPHANS["page"]
_STRAYS: Final = _ORPHANS["strays"]
_KEYS: Final = _ORPHANS["keys"]
_REPAIR: Final = script("repair")
_LOOK: Final = _REPAIR["look"]
_ADOPT: Final = _REPAIR["adopt"]
_FREE: Final = _REPAIR["free"]

_AT_ONCE: Final = 2_000
_STRAYS_MOST: Final = 1_000
_OVER: Final = frozenset({"dead", "completed", "cancelled", "expired"})


class _Named(msgspec.Struct, frozen=True):
    """As much of an envelope as says whose it is."""

    id: str


_decode: Final = msgspec.json.Decoder(_Named).decode


def orphans(tx: Tx, verb: Orphans) -> Damage:
    """The verb orphans: pages of jobs; the first page tells of the stray bodies and the keys too."""
    queue = verb.queue
    first = verb.cursor is None
    rows = tx.rows(_PAGE, queue=queue, seq=0 if verb.cursor is None else int(verb.cursor), most=_AT_ONCE)
    return Damage(
        lost=tuple([id for _, id, state, at, lost in rows if lost and not _runs(state, at, tx.now_ms)]),
        strays=tuple(_strays(tx, queue)) if first else (),
        keys=tuple([key for (key,) in tx.rows(_KEYS, queue=queue, most=_STRAYS_MOST)]) if first else (),
        nameless=True,
        looked=len(rows),
        cursor=str(rows[-1][0]) if len(rows) == _AT_ONCE else None,
    )


def repair(tx: Tx, verb: Repair) -> list[RepairWord]:
    """The verb repair. A stray body becomes a job of this queue: whoever asks says which one it is."""
    queue = verb.queue
    tx.found(queue)
    known: dict[str, Any] = {row[0]: row for row in tx.rows(_LOOK, queue=queue, ids=json_text(verb.ids))}
    strays = _strays(tx, queue) if any(id not in known for id in verb.ids) else {}
    words: list[RepairWord] = []
    for id in verb.ids:
        row, stray = known.pop(id, None), strays.pop(id, None)
        words.append("sound" if row is None else _fill(tx, queue, row))
        if row is None and stray is not None:
            (rank,) = ranks(tx, queue, NORMAL_PRIORITY, 1)
            tx.do(_ADOPT, seq=stray, queue=queue, id=id, priority=NORMAL_PRIORITY, rank=rank, now=tx.now_ms)
            tx.wake(queue)
            words[-1] = "returned"
    return words + ["freed" if tx.do(_FREE, queue=queue, key=key) else "sound" for key in verb.keys]


def _fill(tx: Tx, queue: str, row: Any) -> RepairWord:
    """An empty body stands for the lost one. Whoever runs the job has it whole until its lease ends."""
    id, seq, state, at, errors, lost = row
    if not lost or _runs(state, at, tx.now_ms):
        return "sound"
    lose_body(tx, seq)
    if state in _OVER:
        return "filled"
    bury(tx, queue, seq, "body_lost", errors)
    tx.ended(queue, [id])
    return "buried"


def _runs(state: str, at: int | None, now_ms: int) -> bool:
    return state == "processing" and at is not None and at > now_ms


def _strays(tx: Tx, queue: str) -> dict[str, int]:
    """The rows of bodies that no job has, by id; `body-<row>` where the envelope names none, or one that is there."""
    ids = {seq: _id_in(envelope) or f"body-{seq}" for seq, envelope in tx.rows(_STRAYS, most=_STRAYS_MOST)}
    found: dict[str, int] = {}
    there = places(tx, queue, list(ids.values()))
    for seq, id in ids.items():
        found[f"body-{seq}" if id in there or id in found else id] = seq
    return found


def _id_in(envelope: bytes) -> str | None:
    try:
        id = _decode(envelope).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return id if is_id(id) else None
