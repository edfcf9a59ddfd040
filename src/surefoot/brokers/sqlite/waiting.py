"""The verbs that change jobs by hand: cancel, requeue, move, amend, delete. A running job is only ever asked to end."""

from typing import Final, Literal

import msgspec

from surefoot.brokers.answers import CancelWord, Requeued
from surefoot.brokers.broker import Amend, Cancel, Delete, Move, Requeue
from surefoot.brokers.sqlite.audit import note
from surefoot.brokers.sqlite.pieces import (
    due_ms,
    enter_last,
    first_due,
    forget,
    json_text,
    keep_until,
    places,
    recall,
    remember,
    traits_of,
)
from surefoot.brokers.sqlite.spoiled import priority
from surefoot.brokers.sqlite.statements import script
from surefoot.brokers.sqlite.tx import Tx

_CANCEL: Final = script("cancel")
_END_WAITING: Final = _CANCEL["end_waiting"]
_ASK_RUNNING: Final = _CANCEL["ask_running"]
_REQUEUE: Final = script("requeue")
_HOLDER: Final = _REQUEUE["holder"]
_REVIVE: Final = _REQUEUE["revive"]
_END_PERIOD: Final = _REQUEUE["end_period"]
_MOVE: Final = script("move")
_SCHEDULE: Final = _MOVE["schedule"]
_DUE_SET: Final = _MOVE["due_set"]
_REWRITE: Final = script("amend")["rewrite"]
_DELETE: Final = script("delete")
_DELETE_JOBS: Final = _DELETE["jobs"]
_DELETE_BODIES: Final = _DELETE["bodies"]

_WAITS: Final = frozenset({"scheduled", "pending", "parked"})
_NOT_DEAD: Final = Requeued("not_dead")
_REQUEUED: Final = Requeued("requeued")

_cancel_words: Final = msgspec.json.Decoder(list[CancelWord]).decode
_requeued: Final = msgspec.json.Decoder(list[Requeued]).decode
_flags: Final = msgspec.json.Decoder(list[bool]).decode
_amended: Final = msgspec.json.Decoder(Literal["amended", "not_dead"]).decode


def cancel(tx: Tx, verb: Cancel) -> list[CancelWord]:
    """The verb cancel."""
    queue = verb.queue
    stored = recall(tx, queue, "cancel", _cancel_words)
    if stored is not None:
        return stored
    tx.found(queue)
    found = places(tx, queue, verb.ids)
    words: list[CancelWord] = []
    over: list[tuple[str, int]] = []
    for id in verb.ids:
        place = found.get(id)
        if place is None or place[2] not in _WAITS | {"processing"}:
            words.append("finished")
        elif place[2] == "processing":
            tx.do(_ASK_RUNNING, seq=place[1], reason=verb.reason)
            words.append("requested")
        else:
            over.append((id, place[1]))
            place[2] = "cancelled"
            words.append("cancelled")
    if verb.keep_ms == 0:
        forget(tx, [seq for _, seq in over])
    else:
        until = keep_until(tx.now_ms, verb.keep_ms)
        tx.many(_END_WAITING, [(seq, verb.reason, tx.now_ms, until) for _, seq in over])
    tx.ended(queue, [id for id, _ in over])
    tx.count(queue, "cancelled", len(over))
    met = [id for id, word in zip(verb.ids, words, strict=True) if word != "finished"]
    note(tx, queue, verb.who, "cancel", met, verb.reason)
    remember(tx, queue, "cancel", words)
    return words


def requeue(tx: Tx, verb: Requeue) -> list[Requeued]:
    """The verb requeue. Keys are taken again one by one: two dead letters of one key cannot both come back."""
    queue = verb.queue
    stored = recall(tx, queue, "requeue", _requeued)
    if stored is not None:
        return stored
    tx.found(queue)
    found = places(tx, queue, verb.ids)
    answers: list[Requeued] = []
    back: list[tuple[int, int]] = []
    later: list[tuple[int, int]] = []
    head = first_due(tx, queue)
    for id in verb.ids:
        place = found.get(id)
        if place is None or place[2] != "dead":
            answers.append(_NOT_DEAD)
            continue
        _, seq, _, level, text = place
        traits = traits_of(text)
        key = traits.unique if isinstance(traits.unique_until, str) else None
        holder: str | None = None if key is None else tx.value(_HOLDER, queue=queue, key=key, now=tx.now_ms)
        if holder is not None:
            answers.append(Requeued("taken", holder))
            continue
        if key is not None:
            tx.do(_END_PERIOD, queue=queue, key=key)
        wait_ms = verb.first_ms + (len(back) + len(later)) * verb.every_us // 1_000
        due = tx.now_ms + wait_ms
        tx.do(_REVIVE, seq=seq, key=key, now=due)
        if wait_ms > 0:
            later.append((seq, due))
        else:
            back.append((seq, priority(level)))
        place[2] = "pending"
        answers.append(_REQUEUED)
    tx.many(_SCHEDULE, later)
    if later and first_due(tx, queue) != head:
        tx.wake(queue)
    enter_last(tx, queue, back)
    requeued = [id for id, answer in zip(verb.ids, answers, strict=True) if answer.word == "requeued"]
    note(tx, queue, verb.who, "requeue", requeued)
    remember(tx, queue, "requeue", answers)
    return answers


def move(tx: Tx, verb: Move) -> list[bool]:
    """The verb move: a pending job that is due now keeps its place."""
    queue = verb.queue
    stored = recall(tx, queue, "move", _flags)
    if stored is not None:
        return stored
    tx.found(queue)
    found = places(tx, queue, verb.ids)
    head = first_due(tx, queue)
    due = due_ms(verb.due, tx.now_ms)
    waiting = {id: place for id, place in found.items() if place[2] in _WAITS}
    if due is not None:
        tx.many(_SCHEDULE, [(place[1], due) for place in waiting.values()])
    else:
        tx.many(_DUE_SET, [(place[1], tx.now_ms) for place in waiting.values()])
        coming = [waiting[id] for id in dict.fromkeys(verb.ids) if id in waiting and waiting[id][2] != "pending"]
        enter_last(tx, queue, [(place[1], priority(place[3])) for place in coming])
    if first_due(tx, queue) != head:
        tx.wake(queue)
    answers = [id in waiting for id in verb.ids]
    remember(tx, queue, "move", answers)
    return answers


def amend(tx: Tx, verb: Amend) -> Literal["amended", "not_dead"]:
    """The verb amend."""
    queue = verb.queue
    stored: Literal["amended", "not_dead"] | None = recall(tx, queue, "amend", _amended)
    if stored is not None:
        return stored
    tx.found(queue)
    place = places(tx, queue, [verb.id]).get(verb.id)
    word: Literal["amended", "not_dead"] = "not_dead"
    if place is not None and place[2] == "dead":
        tx.do(_REWRITE, seq=place[1], envelope=verb.envelope)
        word = "amended"
        note(tx, queue, verb.who, "edit", [verb.id])
    remember(tx, queue, "amend", word)
    return word


def delete(tx: Tx, verb: Delete) -> list[bool]:
    """The verb delete."""
    queue = verb.queue
    stored = recall(tx, queue, "delete", _flags)
    if stored is not None:
        return stored
    tx.found(queue)
    found = places(tx, queue, verb.ids)
    gone: list[int] = []
    answers: list[bool] = []
    for id in verb.ids:
        place = found.pop(id, None)
        answers.append(place is not None and place[2] != "processing")
        if place is not None and answers[-1]:
            gone.append(place[1])
    text = json_text(gone)
    tx.do(_DELETE_JOBS, seqs=text)
    tx.do(_DELETE_BODIES, seqs=text)
    forgotten = [id for id, went in zip(verb.ids, answers, strict=True) if went]
    tx.ended(queue, forgotten)
    note(tx, queue, verb.who, "delete", forgotten)
    remember(tx, queue, "delete", answers)
    return answers
