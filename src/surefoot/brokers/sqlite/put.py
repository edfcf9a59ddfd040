"""Puts jobs into a queue: the verbs put and tick, and the effects of a settle."""

from collections.abc import Sequence
from typing import Final

import msgspec

from surefoot.brokers.answers import PutAnswer, TickWord
from surefoot.brokers.broker import Put, Tick
from surefoot.brokers.sqlite.pieces import (
    drop_periods,
    due_ms,
    first_due,
    forget,
    json_text,
    keep_until,
    ranked,
    recall,
    remember,
)
from surefoot.brokers.sqlite.spoiled import moment
from surefoot.brokers.sqlite.statements import script
from surefoot.brokers.sqlite.tx import Tx
from surefoot.core.codec import encode_json
from surefoot.core.job import NewJob, Unique
from surefoot.core.transition import KEEP_MS

_PUT: Final = script("put")
_NEXT_SEQ: Final = _PUT["next_seq"]
_KNOWN: Final = _PUT["known"]
_WAITING: Final = _PUT["waiting"]
_INSERT_JOB: Final = _PUT["insert_job"]
_INSERT_PLAIN: Final = _PUT["insert_plain"]
_INSERT_BODY: Final = _PUT["insert_body"]
_HOLDERS: Final = _PUT["holders"]
_PERIODS: Final = _PUT["periods"]
_HOLD_PERIOD: Final = _PUT["hold_period"]
_END_PERIOD: Final = _PUT["end_period"]
_HAND_OVER: Final = _PUT["hand_over"]
_REPLACE: Final = _PUT["replace"]
_TICK: Final = script("tick")
_CRON: Final = _TICK["cron"]

_WAITS: Final = frozenset({"scheduled", "pending", "parked"})
_CREATED: Final = PutAnswer("created")
_EXISTS: Final = PutAnswer("exists")
_FULL: Final = PutAnswer("full")
_AHEAD_MS: Final = 60_000
"""How far from the store's time a tick may lie and still be believed."""

_put_answers: Final = msgspec.json.Decoder(list[PutAnswer]).decode
_tick_word: Final = msgspec.json.Decoder(TickWord).decode


def put(tx: Tx, verb: Put) -> list[PutAnswer]:
    """The verb put."""
    queue = verb.queue
    stored = recall(tx, queue, "put", _put_answers)
    if stored is not None:
        return stored
    house = tx.found(queue)
    limit = house.max_length if verb.max_length is None else verb.max_length
    answers = store(tx, queue, verb.jobs, limit, verb.keep_ms)
    remember(tx, queue, "put", answers)
    return answers


def tick(tx: Tx, verb: Tick) -> TickWord:
    """The verb tick: one job a tick, whoever asks; a tick that a wrong clock stored counts as unset."""
    queue = verb.queue
    stored: TickWord | None = recall(tx, queue, "tick", _tick_word)
    if stored is not None:
        return stored
    house = tx.found(queue)
    word = _fire(tx, verb, house.max_length)
    remember(tx, queue, "tick", word)
    return word


def _fire(tx: Tx, verb: Tick, limit: int | None) -> TickWord:
    queue, latest_ms = verb.queue, tx.now_ms + _AHEAD_MS
    cron = dict(tx.rows(_CRON, queue=queue, last=f"tick:{verb.name}", paused=f"cron_paused:{verb.name}"))
    last_ms = moment(cron.get(f"tick:{verb.name}"))
    if last_ms is not None and verb.tick_ms <= last_ms <= latest_ms:
        return "past"
    if verb.tick_ms > latest_ms:
        return "early"
    word: TickWord = "paused"
    if f"cron_paused:{verb.name}" not in cron:
        word = store(tx, queue, (verb.job,), limit, KEEP_MS)[0].word
    if word != "full":
        tx.set_word(queue, f"tick:{verb.name}", verb.tick_ms)
    return word


def store(tx: Tx, queue: str, jobs: Sequence[NewJob], limit: int | None, keep_ms: int | None) -> list[PutAnswer]:
    """Store what can be stored; each job stands alone. `limit` is the most jobs that may wait, None for no limit."""
    known = {row[0] for row in tx.rows(_KNOWN, ids=json_text([job.id for job in jobs]), queue=queue)}
    room = None if limit is None else max(0, limit - tx.value(_WAITING, queue=queue, most=limit))
    keys = _Keys(tx, queue, jobs, keep_ms)
    head = first_due(tx, queue) if keys.any or any(job.due is not None for job in jobs) else None
    fresh: list[NewJob] = []
    answers: list[PutAnswer] = []
    for job in jobs:
        if job.id in known:
            answers.append(_EXISTS)
            continue
        answer = _CREATED if job.unique is None else keys.ask(job.unique)
        if answer is _CREATED and room is not None:
            if room <= 0 and not (job.unique and keys.runs(job.unique)):
                answers.append(_FULL)
                continue
            room -= 1
        if answer.word != "taken":
            known.add(job.id)
            fresh.append(job)
            if job.unique is not None:
                keys.take(job.unique, job.id, replaced=answer.word == "replaced")
        answers.append(answer)
    keys.close()
    _insert(tx, queue, fresh, head)
    tx.count(queue, "enqueued", len(fresh))
    return answers


def _insert(tx: Tx, queue: str, jobs: list[NewJob], head: int | None) -> None:
    """The rows of new jobs. Wakes if one is due, or if the head of scheduled is another one now."""
    if not jobs:
        return
    now_ms = tx.now_ms
    seq: int = tx.value(_NEXT_SEQ)
    dues = [None if job.due is None else due_ms(job.due, now_ms) for job in jobs]
    places = ranked(tx, queue, [job.priority for job, due in zip(jobs, dues, strict=True) if due is None])
    first = jobs[0].priority
    if len(places) == len(jobs) and all([job.priority == first and _is_plain(job) for job in jobs]):
        tx.do(
            _INSERT_PLAIN, ids=json_text([job.id for job in jobs]), queue=queue, seq=seq, priority=first,
            rank=places[0], enqueued=now_ms,
        )  # fmt: skip
    else:
        ranks = iter(places)
        rows = []
        for place, (job, due) in enumerate(zip(jobs, dues, strict=True), seq):
            key, traits = (None, None) if job.unique is None else _held(job.unique)
            state, rank = ("pending", next(ranks)) if due is None else ("scheduled", None)
            rows.append((queue, place, job.id, state, job.priority, rank, due, key, job.needs, now_ms, traits))
        tx.many(_INSERT_JOB, rows)
    tx.many(_INSERT_BODY, [(place, job.envelope) for place, job in enumerate(jobs, seq)])
    if None in dues or first_due(tx, queue) != head:
        tx.wake(queue)


def _is_plain(job: NewJob) -> bool:
    return job.unique is None and job.needs == 1


def _held(unique: Unique) -> tuple[str | None, str]:
    """The key as its job's row holds it (a period is held elsewhere), and as its traits tell of it."""
    held = unique.key if isinstance(unique.until, str) else None
    words: dict[str, object] = {"unique": unique.key}
    if unique.until != "done":
        words["unique_until"] = unique.until
    return held, encode_json(words).decode()


class _Keys:
    """Who holds the keys of one put. A job of the same call that took a key comes before every older holder."""

    def __init__(self, tx: Tx, queue: str, jobs: Sequence[NewJob], keep_ms: int | None) -> None:
        self._tx = tx
        self._queue = queue
        self._keep_ms = keep_ms
        self._taken: dict[str, str] = {}
        self._holders: dict[str, tuple[str, int | None, str | None]] = {}
        self._replaced: list[tuple[str, int]] = []
        self._periods = 0
        wanted = {job.unique.key for job in jobs if job.unique is not None}
        self.any = bool(wanted)
        if wanted:
            text = json_text(wanted)
            for key, *holder in tx.rows(_HOLDERS, queue=queue, keys=text):
                self._holders[key] = (holder[0], holder[1], holder[2])
            for key, *holder in tx.rows(_PERIODS, queue=queue, keys=text, now=tx.now_ms):
                self._holders[key] = (holder[0], holder[1], holder[2])

    def ask(self, unique: Unique) -> PutAnswer:
        """What a new job with this key would be told, if there is room for it."""
        mine = self._taken.get(unique.key)
        if mine is not None:
            return PutAnswer("taken", mine)
        holder = self._holders.get(unique.key)
        if holder is None:
            return _CREATED
        owner, _, state = holder
        if unique.replace and state in _WAITS:
            return PutAnswer("replaced", owner)
        if unique.replace and state == "processing":
            return _CREATED
        return PutAnswer("taken", owner)

    def runs(self, unique: Unique) -> bool:
        """Whether the key would pass on from a running job: such a put is not refused for want of room."""
        return unique.key in self._holders

    def take(self, unique: Unique, id: str, *, replaced: bool) -> None:
        """The key goes to the new job; a waiting holder that is replaced leaves its place."""
        tx, queue, key = self._tx, self._queue, unique.key
        self._taken[key] = id
        holder = self._holders.get(key)
        if replaced:
            assert holder is not None and holder[1] is not None
            self._replaced.append((holder[0], holder[1]))
        elif holder is not None:
            tx.do(_HAND_OVER, queue=queue, key=key)
        if isinstance(unique.until, int):
            self._periods += 1
            tx.do(_HOLD_PERIOD, queue=queue, key=key, id=id, until=tx.now_ms + unique.until)
        else:
            tx.do(_END_PERIOD, queue=queue, key=key)

    def close(self) -> None:
        """The replaced end as cancelled, and some periods that are over are let go."""
        tx, queue = self._tx, self._queue
        if self._replaced:
            seqs = [seq for _, seq in self._replaced]
            if self._keep_ms == 0:
                forget(tx, seqs)
            else:
                until = keep_until(tx.now_ms, self._keep_ms)
                tx.many(_REPLACE, [(seq, tx.now_ms, until) for seq in seqs])
            tx.ended(queue, [id for id, _ in self._replaced])
            tx.count(queue, "cancelled", len(self._replaced))
        if self._periods:
            drop_periods(tx, queue, 2 * self._periods + 10)
