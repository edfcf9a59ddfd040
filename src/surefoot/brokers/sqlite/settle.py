"""The verbs of whoever holds a lease: settle applies transitions, extend renews. Both are fenced by token."""

from collections import Counter
from typing import Any, Final, assert_never

import msgspec

from surefoot.brokers.answers import Hold, Verdict
from surefoot.brokers.broker import Extend, Settle
from surefoot.brokers.sqlite.pieces import (
    first_due,
    forget,
    forget_over,
    json_text,
    keep_until,
    ranked,
    recall,
    remember,
    with_line,
)
from surefoot.brokers.sqlite.put import store
from surefoot.brokers.sqlite.spoiled import priority, text
from surefoot.brokers.sqlite.statements import Statement, script
from surefoot.brokers.sqlite.tx import Tx
from surefoot.core.codec import encode_error
from surefoot.core.transition import KEEP_MS, Bury, Delay, Finish, Park, Return, Transition

_SETTLE: Final = script("settle")
_HELD: Final = _SETTLE["held"]
_FINISH: Final = _SETTLE["finish"]
_KEEP_RESULT: Final = _SETTLE["keep_result"]
_BURY: Final = _SETTLE["bury"]
_AGAIN: Final = _SETTLE["again"]
_EXTEND: Final = script("extend")
_LEASES: Final = _EXTEND["leases"]
_RENEW: Final = _EXTEND["renew"]

# runs, failures, crashes, interruptions, snoozes: what a bump adds.
_BUMPS: Final[dict[str | None, tuple[int, int, int, int, int]]] = {
    None: (0, 0, 0, 0, 0),
    "runs": (1, 0, 0, 0, 0),
    "failures": (1, 1, 0, 0, 0),
    "crashes": (1, 0, 1, 0, 0),
    "interruptions": (1, 0, 0, 1, 0),
    "snoozes": (1, 0, 0, 0, 1),
}
_HELD_YET: Final = Hold(True)
_LOST: Final = Hold(False)

_verdicts: Final = msgspec.json.Decoder(list[Verdict]).decode


def settle(tx: Tx, verb: Settle) -> list[Verdict]:
    """The verb settle."""
    queue = verb.queue
    stored = recall(tx, queue, "settle", _verdicts)
    if stored is not None:
        return stored
    tx.found(queue)
    ids = json_text([transition.id for transition in verb.transitions])
    held = {row[0]: row for row in tx.rows(_HELD, ids=ids, queue=queue)}
    batch = _Batch(tx, queue)
    verdicts: list[Verdict] = []
    for transition in verb.transitions:
        row = held.get(transition.id)
        if row is None or row[2] != transition.token:
            verdicts.append("fenced")
            continue
        del held[transition.id]
        verdicts.append(batch.take(transition, row))
    batch.write()
    tx.timed(queue, verb.times)
    remember(tx, queue, "settle", verdicts)
    return verdicts


class _Batch:
    """The transitions of one settle, sorted by what they write. Effects come right after their transition."""

    def __init__(self, tx: Tx, queue: str) -> None:
        self._tx = tx
        self._queue = queue
        self._clear()

    def _clear(self) -> None:
        self._forgotten: list[int] = []
        self._alike: dict[tuple[Statement, tuple[object, ...]], list[int]] = {}
        self._results: list[tuple[int, bytes]] = []
        self._enter: list[tuple[int, int, tuple[object, ...]]] = []
        self._earliest: int | None = None
        self._wakes = False
        self._ended: list[str] = []
        self._counts: Counter[str] = Counter()

    def take(self, transition: Transition, row: Any) -> Verdict:
        """Sort one in. `row`: id, seq, token, cancel, errors, priority of its job."""
        to = transition.to
        cancel = text(row[3])
        if transition.bump == "failures" or transition.bump == "crashes":  # noqa: PLR1714 (a set costs more here)
            self._counts["failed"] += 1
        if cancel is not None and not isinstance(to, Finish | Bury):
            self._finish(Finish("cancelled", cancel.encode()), transition, row)
            return "cancelled"
        if type(to) is Finish:
            self._finish(to, transition, row)
        elif type(to) is Bury:
            self._bury(to, transition, row)
        else:
            self._wait(transition, row)
        if transition.effects:
            self.write()
            store(self._tx, self._queue, transition.effects, None, KEEP_MS)
        return "applied"

    def _as(self, statement: Statement, seq: int, *values: object) -> None:
        """Write this row; rows with the same values are written at once."""
        self._alike.setdefault((statement, values), []).append(seq)

    def _finish(self, to: Finish, transition: Transition, row: Any) -> None:
        seq: int = row[1]
        state, keep_ms = to.state, transition.keep_ms
        self._ended.append(transition.id)
        self._counts[state] += 1
        if keep_ms == 0:
            self._forgotten.append(seq)
            return
        reason = None
        if state == "cancelled":
            reason = (to.result or b"").decode("utf-8", "replace")
        elif to.result is not None:
            self._results.append((seq, to.result))
        ran = 0 if transition.bump is None else 1
        now_ms = self._tx.now_ms
        self._as(_FINISH, seq, state, keep_until(now_ms, keep_ms), reason, ran, _errors(transition, row), now_ms)

    def _bury(self, to: Bury, transition: Transition, row: Any) -> None:
        now_ms, reason = self._tx.now_ms, to.reason
        self._ended.append(transition.id)
        self._counts["dead"] += 1
        line = transition.error
        if line is None:
            line = encode_error(None, reason=reason, ended_ms=now_ms)
        self._as(_BURY, row[1], now_ms, reason, *_BUMPS[transition.bump], with_line(line, row[4]))

    def _wait(self, transition: Transition, row: Any) -> None:
        to, seq, now_ms = transition.to, row[1], self._tx.now_ms
        facts = (*_BUMPS[transition.bump], _errors(transition, row))
        match to:
            case Delay(ms, why):
                if why == "retry":
                    self._counts["retried"] += 1
                if ms <= 0:
                    self._enter.append((seq, priority(row[5]), facts))
                else:
                    due = now_ms + ms
                    self._earliest = due if self._earliest is None else min(due, self._earliest)
                    self._as(_AGAIN, seq, "scheduled", due, None, None, *facts)
            case Return():
                self._wakes = True
                self._as(_AGAIN, seq, "pending", None, None, None, *facts)
            case Park(reason):
                self._wakes = True  # somebody else may know the task
                self._as(_AGAIN, seq, "parked", now_ms, None, reason, *facts)
            case Finish() | Bury():
                raise AssertionError("an end is sorted in elsewhere")
            case _ as never:
                assert_never(never)

    def write(self) -> None:
        """Write all that was sorted in, and tell."""
        tx, queue = self._tx, self._queue
        if self._earliest is not None:
            head = first_due(tx, queue)
            self._wakes = self._wakes or head is None or self._earliest < head
        if self._enter:
            places = ranked(tx, queue, [level for _, level, _ in self._enter])
            self._wakes = True
            for place, (seq, _, facts) in zip(places, self._enter, strict=True):
                self._as(_AGAIN, seq, "pending", None, place, None, *facts)
        forget(tx, self._forgotten)
        for (statement, values), seqs in self._alike.items():
            tx.connection.execute(statement.text, statement.row((json_text(seqs), *values)))
        tx.many(_KEEP_RESULT, self._results)
        kept = sum(len(seqs) for (statement, _), seqs in self._alike.items() if statement is _FINISH)
        if kept:
            forget_over(tx, queue, 2 * kept + 10)
        if self._wakes:
            tx.wake(queue)
        tx.ended(queue, self._ended)
        for event, count in self._counts.items():
            tx.count(queue, event, count)
        self._clear()


def _errors(transition: Transition, row: Any) -> bytes | None:
    return None if transition.error is None else with_line(transition.error, row[4])


def extend(tx: Tx, verb: Extend) -> list[Hold]:
    """The verb extend: never shortens a lease; an ended one that nobody took is good."""
    ids = json_text([lease.id for lease in verb.leases])
    rows = {row[0]: row for row in tx.rows(_LEASES, ids=ids, queue=verb.queue)}
    end = tx.now_ms + verb.lease_ms
    renewed: list[tuple[object, ...]] = []
    holds: list[Hold] = []
    for lease in verb.leases:
        row = rows.get(lease.id)
        if row is None or row[2] != lease.token:
            holds.append(_LOST)
            continue
        renewed.append((row[1], end, lease.note))
        holds.append(_HELD_YET if row[3] is None else Hold(True, text(row[3])))
    tx.many(_RENEW, renewed)
    return holds
