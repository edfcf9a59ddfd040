"""The verbs of whoever holds a lease: settle applies transitions, extend renews. Both are fenced by token."""

from typing import Any, Final, assert_never

import msgspec

from surefoot.brokers.broker import Extend, Hold, Settle, Verdict
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
from surefoot.brokers.sqlite.statements import script
from surefoot.brokers.sqlite.tx import Tx
from surefoot.core.codec import encode_error
from surefoot.core.transition import KEEP_MS, Bury, Counter, Delay, Finish, Park, Return, Transition

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
_BUMPS: Final[dict[Counter | None, tuple[int, int, int, int, int]]] = {
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
    """PROTOCOL 4, settle."""
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
        self._finished: list[tuple[object, ...]] = []
        self._results: list[tuple[int, bytes]] = []
        self._dead: list[tuple[object, ...]] = []
        self._again: list[tuple[object, ...]] = []
        self._enter: list[tuple[int, int, tuple[int, int, int, int, int], bytes | None]] = []
        self._earliest: int | None = None
        self._wakes = False
        self._ended: list[str] = []

    def take(self, transition: Transition, row: Any) -> Verdict:
        """Sort one in. `row`: id, seq, token, cancel, errors, priority of its job."""
        to = transition.to
        cancel: str | None = row[3]
        if cancel is not None and not isinstance(to, Finish | Bury):
            self._finish(Finish("cancelled", cancel.encode()), transition, row)
            return "cancelled"
        if type(to) is Finish:
            self._finish(to, transition, row)
        else:
            self._wait_or_bury(transition, row)
        if transition.effects:
            self.write()
            store(self._tx, self._queue, transition.effects, None, KEEP_MS)
        return "applied"

    def _finish(self, to: Finish, transition: Transition, row: Any) -> None:
        seq: int = row[1]
        self._ended.append(transition.id)
        self._tx.count(self._queue, to.state)
        self._count_failure(transition)
        if transition.keep_ms == 0:
            self._forgotten.append(seq)
            return
        reason = None
        if to.state == "cancelled":
            reason = (to.result or b"").decode("utf-8", "replace")
        elif to.result is not None:
            self._results.append((seq, to.result))
        ran = 0 if transition.bump is None else 1
        forget_ms = keep_until(self._tx.now_ms, transition.keep_ms)
        self._finished.append((seq, to.state, reason, ran, _errors(transition, row), self._tx.now_ms, forget_ms))

    def _wait_or_bury(self, transition: Transition, row: Any) -> None:
        to, seq, now_ms = transition.to, row[1], self._tx.now_ms
        bumps, errors = _BUMPS[transition.bump], _errors(transition, row)
        self._count_failure(transition)
        match to:
            case Bury(reason):
                self._ended.append(transition.id)
                self._tx.count(self._queue, "dead")
                if errors is None:
                    errors = with_line(encode_error(None, reason=reason, ended_ms=now_ms), row[4])
                self._dead.append((seq, reason, *bumps, errors, now_ms))
            case Delay(ms, why):
                if why == "retry":
                    self._tx.count(self._queue, "retried")
                if ms <= 0:
                    self._enter.append((seq, row[5], bumps, errors))
                else:
                    due = now_ms + ms
                    self._earliest = due if self._earliest is None else min(due, self._earliest)
                    self._again.append((seq, "scheduled", None, due, None, None, *bumps, errors))
            case Return():
                self._wakes = True
                self._again.append((seq, "pending", None, None, None, None, *bumps, errors))
            case Park(reason):
                self._wakes = True  # somebody else may know the task
                self._again.append((seq, "parked", None, None, reason, now_ms, *bumps, errors))
            case Finish():
                raise AssertionError("a finish is sorted in elsewhere")
            case _ as never:
                assert_never(never)

    def _count_failure(self, transition: Transition) -> None:
        if transition.bump in {"failures", "crashes"}:
            self._tx.count(self._queue, "failed")

    def write(self) -> None:
        """Write all that was sorted in, and tell."""
        tx, queue = self._tx, self._queue
        if self._earliest is not None:
            head = first_due(tx, queue)
            self._wakes = self._wakes or head is None or self._earliest < head
        if self._enter:
            places = ranked(tx, queue, [priority for _, priority, _, _ in self._enter])
            self._wakes = True
            for place, (seq, _, bumps, errors) in zip(places, self._enter, strict=True):
                self._again.append((seq, "pending", place, None, None, None, *bumps, errors))
        if self._forgotten:
            forget(tx, self._forgotten)
        tx.many(_FINISH, self._finished)
        tx.many(_KEEP_RESULT, self._results)
        tx.many(_BURY, self._dead)
        tx.many(_AGAIN, self._again)
        if self._finished:
            forget_over(tx, queue, 2 * len(self._finished) + 10)
        if self._wakes:
            tx.wake(queue)
        tx.ended(queue, self._ended)
        self._clear()


def _errors(transition: Transition, row: Any) -> bytes | None:
    return None if transition.error is None else with_line(transition.error, row[4])


def extend(tx: Tx, verb: Extend) -> list[Hold]:
    """PROTOCOL 4, extend: never shortens a lease; an ended one that nobody took is good."""
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
        holds.append(_HELD_YET if row[3] is None else Hold(True, row[3]))
    tx.many(_RENEW, renewed)
    return holds
