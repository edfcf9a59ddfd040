"""The verb claim: leases jobs to a worker. What a crash, an unknown task or an expiry means, the worker decides."""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import msgspec

from surefoot.brokers.answers import Claimed
from surefoot.brokers.broker import Claim
from surefoot.brokers.sqlite.pieces import (
    bury,
    drop_periods,
    enter,
    forget_over,
    json_text,
    lose_body,
    park,
    ranked,
    ranks,
    recall,
    remember,
    traits_of,
    with_line,
)
from surefoot.brokers.sqlite.spoiled import count, moment, priority, raw, text
from surefoot.brokers.sqlite.statements import script
from surefoot.brokers.sqlite.tx import House, Tx
from surefoot.core.codec import encode_error
from surefoot.core.job import Counts, Leased

_CLAIM: Final = script("claim")
_ENDED: Final = _CLAIM["ended"]
_CRASH: Final = _CLAIM["crash"]
_DUE: Final = _CLAIM["due"]
_ANY_PARKED: Final = _CLAIM["any_parked"]
_JOB: Final = _CLAIM["job"]
_PARKED: Final = _CLAIM["parked"]
_PENDING: Final = _CLAIM["pending"]
_STILL_HELD: Final = _CLAIM["still_held"]
_LEASE: Final = _CLAIM["lease"]
_DETAILS: Final = _CLAIM["details"]
_AROUND: Final = _CLAIM["around"]
_RELEASE: Final = script("shared")["release"]

_PROMOTED_AT_ONCE: Final = 100
_CHORES_EVERY_MS: Final = 60_000
_TIDY_EVERY: Final = 64
_TIDY_MOST: Final = 10

Row: TypeAlias = Any
"""rank, id, enqueued, envelope, needs, traits, runs, due_set, note, seq: what a claim reads of a job."""


class Brought(msgspec.Struct, frozen=True):
    """What is remembered of a claim: enough to find its jobs again, as far as they are still held."""

    ids: list[str]
    orphans: tuple[str, ...] = ()
    recovered: tuple[str, ...] = ()


_brought: Final = msgspec.json.Decoder(Brought).decode


def claim(tx: Tx, verb: Claim) -> Claimed:
    """The verb claim. There is no watch: each process keeps the timer itself."""
    queue = verb.queue
    stored = recall(tx, queue, "claim", _brought)
    if stored is not None:
        return _again(tx, verb, stored)
    house = tx.found(queue)
    hands = _Hands(tx, verb)
    recovered = 0
    if house.paused is None:
        hands.take(_recover(tx, verb))
        recovered = len(hands.jobs)
        _promote(tx, queue, max(_PROMOTED_AT_ONCE, verb.want))
        _unpark(tx, verb, hands)
        if hands.room > 0:
            hands.take(tx.rows(_PENDING, queue=queue, most=hands.room))
    ids = [job.id for job in hands.jobs]
    remember(tx, queue, "claim", Brought(ids, tuple(hands.orphans), tuple(ids[:recovered])))
    tx.ended(queue, hands.orphans)
    if tx.number % _TIDY_EVERY == 0:
        forget_over(tx, queue, _TIDY_MOST)
        drop_periods(tx, queue, _TIDY_MOST)
    return _claimed(tx, house, verb, hands.jobs, hands.orphans, recovered)


def _claimed(tx: Tx, house: House, verb: Claim, jobs: list[Leased], orphans: Sequence[str], recovered: int) -> Claimed:
    """The answer, with what is around: who leaves pending jobs behind wakes the others.

    A lease that ended and was not recovered is no timer: it would spin.
    """
    parking, pending, due, lease = tx.row(_AROUND, queue=verb.queue, now=tx.now_ms)
    wait_ms = verb.floor_ms
    if house.paused is None:
        if pending:
            tx.wake(verb.queue)
        wait_ms = max(1, min([wait_ms, *[at - tx.now_ms for at in (due, lease) if moment(at) is not None]]))
    chores = house.pruned < tx.now_ms - _CHORES_EVERY_MS
    paused = house.paused is not None
    return Claimed(tx.now_ms, wait_ms, paused, jobs, bool(parking), chores, tuple(orphans), recovered)


def _again(tx: Tx, verb: Claim, stored: Brought) -> Claimed:
    """The same jobs, as far as this claim still holds them; the worker claims again at once. Nothing else happens."""
    rows = tx.rows(_STILL_HELD, queue=verb.queue, ids=json_text(stored.ids), token=tx.token)
    hands = _Hands(tx, verb)
    jobs = [_leased(tx, hands.sound(row)) for row in rows]
    recovered = sum(job.id in stored.recovered for job in jobs)
    parking = tx.row(_ANY_PARKED, queue=verb.queue) is not None
    paused = tx.house(verb.queue).paused is not None
    return Claimed(tx.now_ms, 1, paused, jobs, parking, orphans=stored.orphans, recovered=recovered)


def _recover(tx: Tx, verb: Claim) -> list[Row]:
    """Jobs whose lease has ended, charged with a crash; none if it is later than the worker believes."""
    queue = verb.queue
    if tx.now_ms > verb.trust_ms or verb.want <= 0:
        return []
    ended = tx.rows(_ENDED, queue=queue, until=tx.now_ms, most=verb.want)
    tx.count(queue, "recovered", len(ended))
    for seq, rank, level, since, caller, runs, errors in ended:
        line = encode_error(
            None, kind="crash", attempt=count(runs) + 1, caller=text(caller) or "-", started_ms=moment(since) or None,
            ended_ms=tx.now_ms,
        )  # fmt: skip
        # Anything but a number is damage: it was pending once.
        place = rank if type(rank) is int else ranks(tx, queue, priority(level), 1)[0]
        tx.do(_CRASH, seq=seq, rank=place, errors=with_line(line, errors))
    return [tx.row(_JOB, seq=seq) for seq, *_ in ended]


def _promote(tx: Tx, queue: str, most: int) -> None:
    """What is due goes to pending, or waits for a newer release; its place is given in the order of the due times."""
    rows = tx.rows(_DUE, queue=queue, now=tx.now_ms, most=most)
    if rows:
        able: list[tuple[int, int]] = []
        newer: list[tuple[int, int | None, int, str]] = []
        levels = [priority(level) for _, level, _ in rows]
        for (seq, _, needs), level, rank in zip(rows, levels, ranked(tx, queue, levels), strict=True):
            if type(needs) is int and needs > tx.understands:
                newer.append((seq, rank, level, f"needs:{needs}"))
            else:
                able.append((seq, rank))
        enter(tx, able)
        park(tx, queue, newer)


def _unpark(tx: Tx, verb: Claim, hands: "_Hands") -> None:
    """What is parked for something that this worker has comes before all that is pending."""
    if hands.room > 0 and verb.reasons and tx.row(_ANY_PARKED, queue=verb.queue):
        for reason in verb.reasons:
            if hands.room > 0:
                hands.take(tx.rows(_PARKED, queue=verb.queue, reason=reason, most=hands.room))


class _Hands:
    """The jobs that a claim hands out, and the ids of those whose body is gone: these are dead now."""

    def __init__(self, tx: Tx, verb: Claim) -> None:
        self._tx = tx
        self._verb = verb
        self.jobs: list[Leased] = []
        self.orphans: list[str] = []

    @property
    def room(self) -> int:
        """How many more it may take."""
        return self._verb.want - len(self.jobs)

    def take(self, rows: list[Row]) -> None:
        """Lease these jobs and hand them out, but for those that cannot be run here."""
        if not rows:
            return
        tx, jobs = self._tx, self.jobs
        token, understands = tx.token, tx.understands
        seqs: list[int] = []
        for row in rows:
            _, id, enqueued, body, needs, traits, runs, due_set, note, seq = row
            if type(body) is not bytes or type(needs) is not int or type(enqueued) is not int or type(id) is not str:
                row = self.sound(row)
                _, id, enqueued, body, needs, traits, runs, due_set, note, seq = row
            if body is None or needs > understands:
                self._put_aside(row)
                continue
            seqs.append(seq)
            if traits is not None and traits_of(traits).unique_until == "start":
                tx.do(_RELEASE, seq=seq)
            if runs or due_set is not None or note is not None:
                jobs.append(_leased(tx, row))
            else:
                jobs.append(Leased(id, token, enqueued, body))
        end = tx.now_ms + self._verb.lease_ms
        tx.do(_LEASE, seqs=json_text(seqs), end=end, token=token, now=tx.now_ms, caller=tx.caller)

    def sound(self, row: Row) -> Row:
        """A row in which somebody else left a value of another type: what cannot be read counts as absent."""
        rank, id, enqueued, body, needs, traits, runs, due_set, note, seq = row
        enqueued_ms = moment(enqueued)
        if enqueued_ms is None:
            enqueued_ms = self._tx.now_ms
        needs = needs if type(needs) is int else 1
        return rank, text(id), enqueued_ms, raw(body), needs, traits, runs, due_set, note, seq

    def _put_aside(self, row: Row) -> None:
        tx, queue = self._tx, self._verb.queue
        rank, id, _, body, needs, *_, seq = row
        *_, errors, level = tx.row(_DETAILS, seq=seq)
        if body is None:
            lose_body(tx, seq)
            bury(tx, queue, seq, "body_lost", errors)
            self.orphans.append(id)
        else:
            park(tx, queue, [(seq, rank, priority(level), f"needs:{needs}")])


def _leased(tx: Tx, row: Row) -> Leased:
    _, id, enqueued, body, _, _, runs, due_set, note, seq = row
    failures, crashes, interruptions, snoozes, cancel, _, _ = tx.row(_DETAILS, seq=seq)
    counts = Counts(
        count(runs), count(failures), count(crashes), count(interruptions), count(snoozes), moment(due_set)
    )  # fmt: skip
    return Leased(id, tx.token, enqueued, body or b"", counts, raw(note), text(cancel))
