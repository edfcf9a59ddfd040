"""The writing verbs as steps: one script each, its arguments out, its answer in. What a script does stands in lua/."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, TypeVar, assert_never, cast

from msgspec import UNSET
from msgspec.structs import replace
from redis.exceptions import NoPermissionError, NoScriptError

from surefoot.brokers.answers import Claimed, Config, Hold, PutAnswer, PutWord, Requeued
from surefoot.brokers.broker import (
    Amend,
    Beat,
    Call,
    Cancel,
    Claim,
    Configure,
    Delete,
    Extend,
    Move,
    NoAnswer,
    Prune,
    Put,
    Repair,
    Requeue,
    Settle,
    Tick,
)
from surefoot.brokers.redis.scripts import Script
from surefoot.brokers.redis.spoiled import body_of, counts_of, moment, named, number
from surefoot.brokers.redis.steps import Steps
from surefoot.core.codec import encode_json
from surefoot.core.job import After, At, Due, Leased, NewJob
from surefoot.core.transition import KEEP_MS, Bury, Delay, Finish, Park, Return, Transition

T = TypeVar("T")

Word: TypeAlias = str | bytes | int
Words: TypeAlias = Sequence[Word]

_CREATED: Final = PutAnswer("created")


def write(
    script: Script,
    call: Call,
    queue: str,
    arguments: Mapping[str, Word],
    rest: Iterable[Word],
    understood: Callable[[Any], T],
) -> Steps[T]:
    """Run a script by its digest, once the server knows it. An error reply is raised.

    It is sent whole at first, and not only after a NOSCRIPT: what follows it in the pipeline would run before it then.
    """
    who: dict[str, Word] = {"now": call.now or 0, "caller": call.caller, "call": call.number, "tag": call.tag}
    words = [*script.words({**who, **arguments}), *rest]
    (reply,) = yield [(*script.head(queue), *words)]
    if isinstance(reply, NoScriptError):
        script.known.discard(queue)
        (reply,) = yield [(*script.head(queue), *words)]
    if isinstance(reply, Exception):
        raise (yield from named(queue, reply))
    script.known.add(queue)
    return understood(reply)


# --- producers ---


def put(script: Script, call: Call, verb: Put) -> Steps[list[PutAnswer]]:
    """The verb put."""
    limit = -1 if verb.max_length is None else verb.max_length
    named = {"max_length": limit, "keep_ms": _kept(verb.keep_ms), "many": len(verb.jobs)}
    words = [word for job in verb.jobs for word in _job(job)]
    steps = write(script, call, verb.queue, named, words, _put_answers)
    return _replicated(steps, verb.replicas, verb.within_ms) if verb.replicas else steps


def _replicated(steps: Steps[list[PutAnswer]], wanted: int, within_ms: int) -> Steps[list[PutAnswer]]:
    """A put, and behind it on its connection the question how many replicas have it."""
    answers: list[PutAnswer] = []
    confirmed: Any = None
    try:
        commands = next(steps)
        while True:
            *replies, confirmed = yield [*commands, ("WAIT", wanted, within_ms)]
            commands = steps.send(replies)
    except StopIteration as end:
        answers = end.value
    if isinstance(confirmed, NoPermissionError):
        raise confirmed
    if isinstance(confirmed, Exception):  # the server has become a replica since it stored them
        raise NoAnswer(f"nobody can say how many replicas confirmed it: {confirmed}") from confirmed
    if confirmed >= wanted:
        return answers
    return [replace(answer, confirmed=confirmed) for answer in answers]


def tick(script: Script, call: Call, verb: Tick) -> Steps[Any]:
    """The verb tick."""
    named: dict[str, Word] = {"name": verb.name, "tick_ms": verb.tick_ms, "keep_ms": KEEP_MS}
    return write(script, call, verb.queue, named, _job(verb.job), lambda reply: reply.decode().partition(":")[0])


def _job(job: NewJob) -> Words:
    unique = job.unique
    if unique is None and job.priority == _PLAIN.priority and job.needs == _PLAIN.needs:
        return job.id, job.envelope, _due(job.due), job.priority, "", "", "", ""
    traits: dict[str, object] = {}
    if job.priority != _PLAIN.priority:
        traits["priority"] = job.priority
    if job.needs != _PLAIN.needs:
        traits["needs"] = job.needs
    head: Words = (job.id, job.envelope, _due(job.due), job.priority)
    if unique is None:
        return *head, "", "", "", encode_json(traits)
    traits["unique"] = unique.key
    if unique.until != "done":
        traits["unique_until"] = unique.until
    return *head, unique.key, unique.until, "replace" if unique.replace else "", encode_json(traits)


_PLAIN: Final = NewJob("", b"")


def _due(due: Due) -> Word:
    match due:
        case None:
            return ""
        case After(ms):
            return f"+{max(0, ms)}"
        case At(ms):
            return ms


def _kept(keep_ms: int | None) -> int:
    return -1 if keep_ms is None else keep_ms


def _put_answers(reply: bytes) -> list[PutAnswer]:
    return [_CREATED if line == b"created" else _put_answer(line) for line in reply.split(b"\n")] if reply else []


def _put_answer(line: bytes) -> PutAnswer:
    word, _, other = line.decode().partition(":")
    return PutAnswer(cast("PutWord", word), other or None)


# --- workers ---


def claim(script: Script, call: Call, verb: Claim) -> Steps[Claimed]:
    """The verb claim."""
    token = f"{call.caller}.{call.number}"
    named = {"want": verb.want, "lease_ms": verb.lease_ms, "trust_ms": verb.trust_ms, "floor_ms": verb.floor_ms}
    return write(script, call, verb.queue, named, verb.reasons, lambda reply: _claimed(token, reply))


def _claimed(token: str, reply: list[Any]) -> Claimed:
    now, wait_ms, paused, ids, bodies, counts, notes, cancels, parking, chores, orphans, recovered = reply
    now_ms = int(now)
    jobs = []
    for place, (id, body) in enumerate(zip(ids, bodies, strict=True)):
        enqueued_ms, envelope = body_of(body, now_ms)
        try:
            name = id.decode()
        except UnicodeDecodeError:  # somebody else's: nobody can say its id, and its lease ends by itself
            recovered -= place < recovered
            continue
        if counts:
            why = cancels[place] if cancels else None
            jobs.append(
                Leased(
                    name, token, enqueued_ms, envelope, counts_of(counts[place]), notes[place],
                    None if why is None else why.decode("utf-8", "replace"),
                )
            )  # fmt: skip
        else:
            jobs.append(Leased(name, token, enqueued_ms, envelope))
    lost = tuple([id.decode("utf-8", "replace") for id in orphans])
    return Claimed(now_ms, wait_ms, paused == 1, jobs, parking == 1, chores == 1, lost, recovered)


def settle(script: Script, call: Call, verb: Settle) -> Steps[list[Any]]:
    """The verb settle."""
    return write(script, call, verb.queue, {"times": verb.times}, _grouped(verb.transitions), _lines)


def _grouped(transitions: Sequence[Transition]) -> list[Word]:
    """Neighbours that take the same step, as most of a batch do, say it once."""
    words: list[Word] = []
    first: Transition | None = None
    many = counted = 0
    for one in transitions:
        if first is None or not _same_step(first, one):
            first, many = one, 0
            to, when = _target(one)
            words += (
                one.token, to, when, _kept(one.keep_ms), one.bump or "", one.error or b"", 0, len(one.effects),
            )  # fmt: skip
            counted = len(words) - 2
        to_ = one.to
        words += (one.id, (to_.result or b"") if type(to_) is Finish else b"")
        many += 1
        words[counted] = many
        for job in one.effects:
            words += _job(job)
    return words


def _same_step(one: Transition, other: Transition) -> bool:
    """Whether two jobs differ in their ids and results alone."""
    if one.token != other.token or one.keep_ms != other.keep_ms or one.bump != other.bump or one.error != other.error:
        return False
    to, too = one.to, other.to
    same = to.state == too.state if type(to) is Finish and type(too) is Finish else to == too
    return same and not one.effects and not other.effects


def _target(transition: Transition) -> tuple[str, Word]:
    """Where a job goes, and when or why."""
    to = transition.to
    match to:
        case Finish(state):
            return state, ""
        case Bury(reason):
            return "dead", reason
        case Delay(ms, why):
            return "retry" if why == "retry" else "scheduled", max(0, ms)
        case Return():
            return "pending", ""
        case Park(reason):
            return "parked", reason
        case _ as never:
            assert_never(never)


def extend(script: Script, call: Call, verb: Extend) -> Steps[list[Hold]]:
    """The verb extend."""
    words: list[Word] = []
    for lease in verb.leases:
        words += (lease.id, lease.token, b"" if lease.note is None else b"+" + lease.note)
    named = {"lease_ms": verb.lease_ms, "many": len(verb.leases)}
    return write(script, call, verb.queue, named, words, lambda reply: [_hold(line) for line in reply])


def _hold(line: bytes) -> Hold:
    word, found, reason = line.partition(b":")
    return Hold(word != b"lost", reason.decode("utf-8", "replace") if found else None)


# --- by hand ---


def cancel(script: Script, call: Call, verb: Cancel) -> Steps[list[Any]]:
    """The verb cancel."""
    named: dict[str, Word] = {"keep_ms": _kept(verb.keep_ms), "reason": verb.reason, "who": verb.who}
    return write(script, call, verb.queue, named, verb.ids, _lines)


def requeue(script: Script, call: Call, verb: Requeue) -> Steps[list[Requeued]]:
    """The verb requeue."""
    named: dict[str, Word] = {"who": verb.who, "every_us": verb.every_us, "first_ms": verb.first_ms}
    return write(script, call, verb.queue, named, verb.ids, lambda reply: [_requeued(line) for line in _lines(reply)])


def _requeued(line: str) -> Requeued:
    word, _, other = line.partition(":")
    return Requeued(cast("Literal['requeued', 'taken', 'not_dead']", word), other or None)


def move(script: Script, call: Call, verb: Move) -> Steps[list[bool]]:
    """The verb move."""
    return write(script, call, verb.queue, {"due": _due(verb.due)}, verb.ids, _flags)


def amend(script: Script, call: Call, verb: Amend) -> Steps[Any]:
    """The verb amend."""
    named: dict[str, Word] = {"id": verb.id, "envelope": verb.envelope, "who": verb.who}
    return write(script, call, verb.queue, named, (), bytes.decode)


def delete(script: Script, call: Call, verb: Delete) -> Steps[list[bool]]:
    """The verb delete."""
    return write(script, call, verb.queue, {"who": verb.who}, verb.ids, _flags)


def _lines(reply: bytes) -> list[str]:
    return reply.decode().split("\n") if reply else []


def _flags(reply: bytes) -> list[bool]:
    return [line == "1" for line in _lines(reply)]


# --- the house ---


def configure(script: Script, call: Call, verb: Configure) -> Steps[Config]:
    """The verb configure."""
    paused = "" if verb.paused is UNSET else _pause(verb.paused)
    limit: Word = "" if verb.max_length is UNSET else "-" if verb.max_length is None else verb.max_length
    cron, word = ("", "") if verb.cron is UNSET else (verb.cron[0], _pause(verb.cron[1]))
    named: dict[str, Word] = {
        "paused": paused, "max_length": limit, "cron": cron, "cron_word": word, "who": verb.who,
    }  # fmt: skip
    return write(script, call, verb.queue, named, (), _config)


def _pause(reason: str | None) -> str:
    return "-" if reason is None else f"+{reason}"


def _config(reply: bytes) -> Config:
    limit, _, paused = reply.partition(b"\n")
    since, _, reason = paused.partition(b" ")
    if not paused:
        return Config(None, None, number(limit))
    return Config(reason.decode("utf-8", "replace"), moment(since) or 0, number(limit))


def beat(script: Script, call: Call, verb: Beat) -> Steps[str]:
    """The verb beat."""
    return write(script, call, verb.queue, {"worker": verb.worker, "presence": verb.presence}, (), bytes.decode)


def prune(script: Script, call: Call, verb: Prune) -> Steps[int]:
    """The verb prune."""
    named = {
        "dead_max": -1 if verb.dead_max is None else verb.dead_max,
        "dead_age_ms": -1 if verb.dead_age_ms is None else verb.dead_age_ms,
        "unknown_ms": verb.unknown_ms,
        "limit": verb.limit,
    }
    return write(script, call, verb.queue, named, (), int)


def repair(script: Script, call: Call, verb: Repair) -> Steps[list[Any]]:
    """The verb repair."""
    return write(script, call, verb.queue, {"many": len(verb.ids)}, (*verb.ids, *verb.keys), _lines)
