"""The steps that several verbs share: enter, park, release, bury, forget, and the memory of each caller's last answer.

Named as the protocol names them. No verb lives here.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from surefoot import chance
from surefoot.brokers.broker import Refused
from surefoot.brokers.sqlite.spoiled import moment, raw
from surefoot.brokers.sqlite.statements import script
from surefoot.brokers.sqlite.tx import Tx
from surefoot.core.codec import ERROR_LINE_LIMIT, ERRORS_KEPT, encode_error, encode_json
from surefoot.core.job import After, At, Due

T = TypeVar("T")

_SHARED: Final = script("shared")
_RECALL: Final = _SHARED["recall"]
_REMEMBER: Final = _SHARED["remember"]
_FORGET_CALLERS: Final = _SHARED["forget_callers"]
_FIRST_DUE: Final = _SHARED["first_due"]
_ENTER: Final = _SHARED["enter"]
_PARK: Final = _SHARED["park"]
_BURY: Final = _SHARED["bury"]
_LOST_BODY: Final = _SHARED["lost_body"]
_FORGET_JOBS: Final = _SHARED["forget_jobs"]
_FORGET_BODIES: Final = _SHARED["forget_bodies"]
_OVER: Final = _SHARED["over"]
_DROP_PERIODS: Final = _SHARED["drop_periods"]
_PLACES: Final = _SHARED["places"]

NEVER: Final = 2**63 - 1
"""The moment to forget what is kept for ever."""
_BAND: Final = 2**50
_STEP: Final = 64
_CALLER_UNUSED_MS: Final = 3_600_000


def json_text(items: Iterable[str | int]) -> str:
    """A JSON array as the text that json_each reads; SQLite takes no bytes there."""
    return encode_json(list(items)).decode()


# --- places ---


def ranks(tx: Tx, queue: str, priority: int, many: int) -> range:
    """The next places at the tail of a priority. Multiples of 64: places between two are kept free."""
    last = (priority - 5) * _BAND + int(tx.advance(queue, f"tail:{priority}", _STEP * many))
    return range(last - _STEP * (many - 1), last + 1, _STEP)


def ranked(tx: Tx, queue: str, priorities: Sequence[int]) -> list[int]:
    """A place at the tail for each of these jobs, in their order within each priority."""
    if not priorities:
        return []
    first = priorities[0]
    if priorities.count(first) == len(priorities):
        return list(ranks(tx, queue, first, len(priorities)))
    each = {priority: iter(ranks(tx, queue, priority, priorities.count(priority))) for priority in set(priorities)}
    return [next(each[priority]) for priority in priorities]


def enter(tx: Tx, jobs: Sequence[tuple[int, int]]) -> None:
    """Into pending: (seq, place). The only way in, but for new rows and a hand-back. Whoever waits is not woken yet."""
    tx.many(_ENTER, jobs)


def enter_last(tx: Tx, queue: str, jobs: Sequence[tuple[int, int]]) -> None:
    """Into pending at the tail: (seq, priority), in this order."""
    if jobs:
        places = ranked(tx, queue, [priority for _, priority in jobs])
        enter(tx, [(seq, place) for (seq, _), place in zip(jobs, places, strict=True)])
        tx.wake(queue)


def park(tx: Tx, queue: str, jobs: Sequence[tuple[int, int | None, int, str]]) -> None:
    """(seq, rank or None, priority, reason) wait for a worker that can; one without a rank gets it from the counter."""
    rankless = [priority for _, rank, priority, _ in jobs if rank is None]
    places = iter(ranked(tx, queue, rankless))
    tx.many(_PARK, [(tx.now_ms, seq, next(places) if rank is None else rank, reason) for seq, rank, _, reason in jobs])


def bury(tx: Tx, queue: str, seq: int, reason: str, errors: object) -> None:
    """Into the dead letters by the store's own doing; the new error line says why."""
    line = encode_error(None, reason=reason, ended_ms=tx.now_ms)
    tx.do(_BURY, now=tx.now_ms, seq=seq, reason=reason, errors=with_line(line, errors))
    tx.count(queue, "dead")


def lose_body(tx: Tx, seq: int) -> None:
    """An empty placeholder where the envelope is gone, so that the job still stands somewhere."""
    tx.do(_LOST_BODY, seq=seq, envelope=b"")


def forget(tx: Tx, seqs: Sequence[int]) -> None:
    """Nothing is known of these jobs any more. A period of a key stays."""
    if seqs:
        text = json_text(seqs)
        tx.do(_FORGET_JOBS, seqs=text)
        tx.do(_FORGET_BODIES, seqs=text)


def forget_over(tx: Tx, queue: str, most: int) -> int:
    """Forget kept jobs whose time is over; answers how many went."""
    seqs = [row[0] for row in tx.rows(_OVER, queue=queue, now=tx.now_ms, most=most)]
    forget(tx, seqs)
    return len(seqs)


def drop_periods(tx: Tx, queue: str, most: int) -> int:
    """Let go of keys whose period is over; answers how many went."""
    return tx.do(_DROP_PERIODS, queue=queue, now=tx.now_ms, most=most)


def places(tx: Tx, queue: str, ids: Sequence[str]) -> dict[str, list[Any]]:
    """Where these jobs are: id to [id, seq, state, priority, traits]; a verb may mark what it moved."""
    return {row[0]: list(row) for row in tx.rows(_PLACES, queue=queue, ids=json_text(ids))}


# --- times ---


def keep_until(now_ms: int, keep_ms: int | None) -> int:
    """The moment to forget an outcome."""
    return NEVER if keep_ms is None else now_ms + keep_ms


def due_ms(due: Due, now_ms: int) -> int | None:
    """The moment a job waits for; None: it is due."""
    match due:
        case After(ms):
            return now_ms + ms if ms > 0 else None
        case At(ms):
            return ms if ms > now_ms else None
        case None:
            return None


def first_due(tx: Tx, queue: str) -> int | None:
    """The head of scheduled."""
    return moment(tx.value(_FIRST_DUE, queue=queue))


# --- error lines ---


def with_line(line: bytes, before: object) -> bytes:
    """The newest line before the others, ten in all, each at most 16 KiB."""
    errors = raw(before)
    line = line[:ERROR_LINE_LIMIT].replace(b"\n", b" ")
    return line if not errors else b"\n".join([line, *errors.split(b"\n")[: ERRORS_KEPT - 1]])


# --- traits ---


class Traits(msgspec.Struct, frozen=True):
    """What must be known of a job that is not plain. `unique_until`: how long it holds its key `unique`."""

    unique: str | None = None
    unique_until: str | int = "done"


PLAIN: Final = Traits()
_decode_traits: Final = msgspec.json.Decoder(Traits).decode


def traits_of(text: str | None) -> Traits:
    """Traits as they stand in the store, none if they are spoiled. Words that this release does not know stay."""
    try:
        return PLAIN if text is None else _decode_traits(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError):
        return PLAIN


# --- call memory ---


def recall(tx: Tx, queue: str, verb: str, decode: Callable[[bytes], T]) -> "T | None":
    """The stored answer if this very call was executed before, None if it is new.

    Refused: another sender uses this caller (another tag), or a lower number came late. Also drops some callers that
    were not used for an hour.
    """
    found = tx.row(_RECALL, queue=queue, verb=verb, id=tx.caller)
    if found is not None:
        call, tag, answer = found
        if type(call) is not int:
            found = None  # somebody else's: nobody can say what was answered
        elif call == tx.number:
            if tag != tx.tag:
                raise Refused("CALLER")
            return decode(answer)
        elif call > tx.number:
            raise Refused("STALE")
    most = 4 if found is None else 8 if tx.number % 64 == 0 else 0
    if most:
        anywhere = chance.letters(4)
        tx.do(_FORGET_CALLERS, queue=queue, verb=verb, before=tx.now_ms - _CALLER_UNUSED_MS, id=anywhere, most=most)
    return None


def remember(tx: Tx, queue: str, verb: str, answer: object) -> None:
    """Keep the answer of this call, so that a repeat gets it again and changes nothing."""
    tx.do(
        _REMEMBER, queue=queue, verb=verb, id=tx.caller, call=tx.number, tag=tx.tag, answer=encode_json(answer),
        now=tx.now_ms,
    )  # fmt: skip
