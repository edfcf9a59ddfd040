"""The verbs about the queue itself: configure, beat, prune. No job changes its place here, but what is over goes."""

from typing import Final

import msgspec
from msgspec import UNSET

from surefoot.brokers.answers import Config
from surefoot.brokers.broker import Beat, Configure, Prune
from surefoot.brokers.sqlite.audit import note
from surefoot.brokers.sqlite.history import drop_old
from surefoot.brokers.sqlite.pieces import bury, drop_periods, forget, forget_over, recall, remember
from surefoot.brokers.sqlite.spoiled import text
from surefoot.brokers.sqlite.statements import script
from surefoot.brokers.sqlite.tx import House, Tx

_VALUE: Final = script("configure")["value"]
_PRESENT: Final = script("beat")["present"]
_PRUNE: Final = script("prune")
_COUNT_DEAD: Final = _PRUNE["count_dead"]
_OLDEST_DEAD: Final = _PRUNE["oldest_dead"]
_AGED_DEAD: Final = _PRUNE["aged_dead"]
_DROP_WORKERS: Final = _PRUNE["drop_workers"]
_MEND: Final = _PRUNE["mend"]
_UNKNOWN: Final = _PRUNE["unknown"]

_UNSEEN_MS: Final = 600_000
_DIGITS: Final = 15

_config: Final = msgspec.json.Decoder(Config).decode


def pause_of(house: House) -> tuple[int | None, str | None]:
    """Since when and why a queue is paused; both None if it is not."""
    return said(house.paused)


def said(word: object) -> tuple[int | None, str | None]:
    """A word of the form `<since> <reason>`; since 0 if somebody else wrote it: it holds nevertheless."""
    written = text(word)
    if written is None:
        return None, None
    since, _, reason = written.partition(" ")
    return (int(since) if since.isascii() and since.isdigit() and len(since) < _DIGITS else 0), reason


def configure(tx: Tx, verb: Configure) -> Config:
    """The verb configure. A queue that is paused again keeps its first moment; what was set already is no change."""
    queue, who = verb.queue, verb.who
    stored = recall(tx, queue, "configure", _config)
    if stored is not None:
        return stored
    house = tx.found(queue)
    if verb.paused is not UNSET:
        before, house.paused = house.paused, _held(tx, queue, "paused", house.paused, verb.paused)
        if verb.paused is None:
            tx.wake(queue)
        if house.paused != before:
            note(tx, queue, who, "resume" if verb.paused is None else "pause", [""], verb.paused or "")
    if verb.max_length is not UNSET:
        if verb.max_length != house.max_length:
            note(tx, queue, who, "limit", ["none" if verb.max_length is None else str(verb.max_length)])
        house.max_length = verb.max_length
        tx.set_word(queue, "max_length", verb.max_length)
    if verb.cron is not UNSET:
        name, reason = verb.cron
        word = f"cron_paused:{name}"
        was = text(tx.value(_VALUE, queue=queue, name=word))
        if _held(tx, queue, word, was, reason) != was:
            note(tx, queue, who, "resume_cron" if reason is None else "pause_cron", [name], reason or "")
    paused_ms, paused = pause_of(house)
    config = Config(paused, paused_ms, house.max_length)
    remember(tx, queue, "configure", config)
    return config


def _held(tx: Tx, queue: str, name: str, before: object, reason: str | None) -> str | None:
    """Set the word of a pause, or take it away; answers what stands there now."""
    since, _ = said(before)
    word = None if reason is None else f"{tx.now_ms if since is None else since} {reason}"
    tx.set_word(queue, name, word)
    return word


def beat(tx: Tx, verb: Beat) -> str:
    """The verb beat."""
    house = tx.found(verb.queue)
    tx.do(_PRESENT, queue=verb.queue, caller=verb.worker, presence=verb.presence, now=tx.now_ms)
    return house.epoch


def prune(tx: Tx, verb: Prune) -> int:
    """The verb prune: at most `limit` jobs a call, so that no worker freezes. Keys and workers go uncounted."""
    queue, now_ms, limit = verb.queue, tx.now_ms, verb.limit
    house = tx.found(queue)
    gone = 0
    if verb.dead_max is not None:
        beyond = tx.value(_COUNT_DEAD, queue=queue) - verb.dead_max
        if beyond > 0:
            rows = tx.rows(_OLDEST_DEAD, queue=queue, most=min(beyond, limit))
            forget(tx, [seq for seq, _ in rows])
            gone += len(rows)
    if verb.dead_age_ms is not None and gone < limit:
        rows = tx.rows(_AGED_DEAD, queue=queue, before=now_ms - verb.dead_age_ms, most=limit - gone)
        forget(tx, [seq for seq, _ in rows])
        gone += len(rows)
    if gone:
        tx.advance(queue, "total:pruned", gone)
    forgotten = forget_over(tx, queue, limit - gone)
    if forgotten:
        tx.advance(queue, "total:forgotten", forgotten)
        gone += forgotten
    drop_periods(tx, queue, limit)
    tx.do(_MEND, queue=queue, now=now_ms)
    tx.do(_DROP_WORKERS, queue=queue, before=now_ms - _UNSEEN_MS, most=limit)
    unknown = tx.rows(_UNKNOWN, queue=queue, before=now_ms - verb.unknown_ms, most=limit - gone)
    for seq, _, errors in unknown:
        bury(tx, queue, seq, "unknown", errors)
    tx.ended(queue, [id for _, id, _ in unknown])
    drop_old(tx, queue)
    house.pruned = now_ms
    tx.set_word(queue, "pruned", now_ms)
    return gone + len(unknown)
