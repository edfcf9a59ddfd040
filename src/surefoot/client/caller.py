"""Who speaks to the store, and how a call is said until it is answered: caller, number, tag, and resending.

A generator does it once for both kinds of session: it yields what to send or how long to wait, and does no I/O itself.
"""

import os
from collections.abc import Generator, Sequence
from typing import Any, Final, TypeAlias

from surefoot import chance, clock
from surefoot.brokers.broker import READS, Call, NoAnswer, NoRoom, Put, Refused, Verb
from surefoot.core.errors import OutcomeUnknown, StoreError, StoreUnavailable, StoreUnsuitable

PATIENCE_S: Final = 600.0
"""No call is said longer than this, a suspended machine's sleep included: less than the hour a store remembers it."""

_READS: Final = frozenset(READS)
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0

Exchange: TypeAlias = Generator[Call | float, list[Any], list[Any]]
"""Yields a Call to run or seconds to wait; returns an answer, or the exception it met, for each verb."""


def new_id() -> str:
    """An id for a job: 12 hex digits of milliseconds and 16 of chance, so that ids sort by time."""
    return f"{clock.wall_ns() // 1_000_000:012x}{chance.token(8).hex()}"


def new_caller() -> str:
    """80 random bits as 16 letters."""
    return chance.letters(16)


class Caller:
    """The identity and the growing number under which one sender speaks. A forked child is another sender."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Become somebody else: a clone speaks under this name, or the process was forked."""
        self.name: str = new_caller()
        self.number: int = 0
        self.pid: int = os.getpid()

    @property
    def forked(self) -> bool:
        """Whether this is a child of the process that the caller was made in."""
        return self.pid != os.getpid()

    def call(self, verbs: Sequence[Verb[Any]]) -> Call:
        """The next call."""
        self.number += 1
        return Call(self.name, self.number, chance.letters(4), tuple(verbs))

    def question(self, verbs: Sequence[Verb[Any]]) -> Call:
        """A call that only reads: it needs no number of its own."""
        return Call(self.name, self.number, "", tuple(verbs))


def only_reads(verbs: Sequence[Verb[Any]]) -> bool:
    """Whether these verbs change nothing."""
    for verb in verbs:  # noqa: SIM110  # a generator costs ten times as much, and every enqueue passes here
        if type(verb) not in _READS:
            return False
    return True


def exchange(caller: Caller, verbs: Sequence[Verb[Any]], seconds: float, address: str) -> Exchange:
    """Say these verbs until all are answered or the time is over; the same call under the same number, so never twice.

    Raises OutcomeUnknown if any sending may have been executed, StoreUnavailable if certainly none was.
    """
    if caller.forked:
        caller.renew()
    pid = caller.pid
    reads = only_reads(verbs)
    until = clock.with_suspend() + min(seconds, PATIENCE_S)
    answers: list[Any] = [None] * len(verbs)
    places = list(range(len(verbs)))
    call = caller.question(verbs) if reads else caller.call(verbs)
    repeated = maybe = False
    pause = _FIRST_PAUSE_S
    while True:
        if caller.pid != pid or caller.forked:
            raise StoreUnavailable("this process was forked while a call was on its way; the parent says it again.")
        trouble: Exception
        try:
            heard = yield call
        except (NoAnswer, StoreUnavailable) as away:
            trouble = away
            repeated = True
            maybe = maybe or (not reads and isinstance(away, NoAnswer | OutcomeUnknown))
        except StoreUnsuitable as unsuitable:
            if maybe:
                raise _unknown(verbs, address, seconds) from unsuitable
            raise
        else:
            places = _take(answers, places, heard, unsure=repeated and maybe, told=(verbs, address, seconds))
            if not places:
                return answers
            trouble = StoreUnavailable(f"{address} takes this sender for another one")
            caller.renew()
            call = caller.call([verbs[place] for place in places])
            repeated = maybe = False
        left = until - clock.with_suspend()
        if left <= 0:
            fault = _unknown(verbs, address, seconds, trouble) if maybe else _unavailable(trouble, verbs, address)
            raise fault from trouble
        yield min(left, pause * chance.between(0.5, 1))
        pause = min(pause * 2, _LONGEST_PAUSE_S)


def _take(
    answers: list[Any],
    places: list[int],
    heard: list[Any],
    *,
    unsure: bool,
    told: tuple[Sequence[Verb[Any]], str, float],
) -> list[int]:
    """Put what was heard into `answers`; gives the places that must be said again under another caller.

    A number that came late means: never executed, if it was sent once; after a repeat nobody knows. Nor when the store
    is full: it remembers nothing of what it refuses, and an earlier sending may come when there is room again.
    """
    again: list[int] = []
    for place, answer in zip(places, heard, strict=True):
        answers[place] = answer
        refused = type(answer) is Refused
        if unsure and (isinstance(answer, NoRoom) or (refused and answer.word == "STALE")):
            verbs, address, seconds = told
            answers[place] = _unknown([verbs[place]], address, seconds)
        elif refused:
            again.append(place)
    return again


def put_ids(verbs: Sequence[Verb[Any]]) -> tuple[str, ...]:
    """The ids of the jobs that these verbs store."""
    return tuple(job.id for verb in verbs if isinstance(verb, Put) for job in verb.jobs)


def for_verbs(error: StoreError, verbs: Sequence[Verb[Any]]) -> StoreError:
    """The error of a call that carried several callers' verbs, as it concerns one of them."""
    if type(error) is OutcomeUnknown:
        return OutcomeUnknown(str(error), job_ids=put_ids(verbs))
    if type(error) is StoreUnavailable:
        return StoreUnavailable(str(error))
    return error


def _unknown(
    verbs: Sequence[Verb[Any]], address: str, seconds: float, trouble: Exception | None = None
) -> OutcomeUnknown:
    """`trouble`: what the last sending met. A file that cannot be written is named with its cause."""
    said = str(trouble or "")
    head = said if said.startswith("cannot write") else f"no answer from {address} within {seconds:g} s"
    ids = put_ids(verbs)
    if not ids:
        return OutcomeUnknown(f"{head}; it may or may not have been done.")
    return OutcomeUnknown(
        f"{head}; it may or may not have been stored. Enqueue the same draft again: it is stored once.", job_ids=ids
    )


_NOBODY_THERE: Final = ("(connection refused)", "(no such file or directory)", "(no answer)")


def _unavailable(trouble: Exception, verbs: Sequence[Verb[Any]], address: str) -> StoreUnavailable:
    """What the broker said, if it was a whole sentence; else with what became of the call."""
    said = str(trouble)
    if said.endswith("."):
        return StoreUnavailable(said)
    jobs = len(put_ids(verbs))
    fate = "the job was not accepted" if jobs == 1 else "the jobs were not accepted" if jobs else "nothing was done"
    head = said if said.startswith("cannot reach") else f"cannot reach {address} ({said or 'no answer'})"
    advice = " Is the server running? Try `surefoot doctor`." if head.endswith(_NOBODY_THERE) else ""
    return StoreUnavailable(f"{head}; {fate}.{advice}")
