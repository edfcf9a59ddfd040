"""What the stateful test draws: few ids, keys, callers and times, so that they meet often."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from hypothesis import strategies as st
from tests.conformance.stores import START_MS

from surefoot.brokers.broker import Beat, Configure, Prune, Verb
from surefoot.core.codec import encode_error
from surefoot.core.errors import ErrorInfo
from surefoot.core.job import After, At, NewJob, Unique
from surefoot.core.sketch import encode
from surefoot.core.transition import Bury, Counter, Delay, Finish, Move, Park, Return, Transition

IDS = tuple("abcdefgh")
KEYS = ("welcome k", "welcome l")
REASONS = ("task:welcome", "task:welcome@2", "needs:2")
CRONS = ("nightly", "hourly")
PERIOD_MS = 5_000

ids = st.sampled_from(IDS)
bodies = st.binary(max_size=6)
results = st.binary(min_size=1, max_size=6)  # JSON is never empty
keeps = st.sampled_from((0, PERIOD_MS, 300_000, None))
times = st.dictionaries(st.sampled_from((1_000, 1_001, 2_399)), st.integers(1, 3)).map(encode)
spans = st.sampled_from((0, 1, 700, PERIOD_MS, 20_000))
dues = st.one_of(st.none(), st.none(), spans.map(After), spans.map(lambda ms: At(START_MS + ms)))
uniques = st.builds(Unique, st.sampled_from(KEYS), st.sampled_from(("done", "done", "start", PERIOD_MS)), st.booleans())
jobs = st.builds(
    NewJob,
    ids,
    bodies,
    dues,
    st.sampled_from((5, 5, 2, 8)),
    st.one_of(st.none(), uniques),
    st.sampled_from((1, 1, 1, 2)),
)
leases_ms = st.sampled_from((10_000, 1_000))
pauses_ms = st.sampled_from((0, 0, 1, 700, 10_000))
steps_ms = st.sampled_from((1, 700, PERIOD_MS, 10_000, 61_000, 600_000, -2_000))

counters: st.SearchStrategy[Counter | None] = st.sampled_from(
    (None, "runs", "failures", "crashes", "interruptions", "snoozes")
)
moves: st.SearchStrategy[Move] = st.one_of(
    st.builds(Finish, st.just("completed"), st.one_of(st.none(), results)),
    st.builds(Finish, st.just("cancelled"), st.sampled_from((None, b"enough"))),
    st.just(Finish("expired")),
    st.builds(Bury, st.sampled_from(("exhausted", "rejected", "crash_loop", "invalid", "unsettlable"))),
    st.builds(Delay, spans, st.sampled_from(("retry", "snooze", "apart"))),
    st.just(Return()),
    st.builds(Park, st.sampled_from(REASONS)),
)


Claimed: TypeAlias = tuple[str, str]
"""The id of a job that was claimed, and its token then."""


@st.composite
def claims(draw: st.DrawFn, good: list[Claimed], ever: list[Claimed]) -> Claimed:
    """Mostly a lease that is good, else one that was, or the token of another job."""
    chosen = draw(st.sampled_from(good or ever))
    match draw(st.integers(0, 9)):
        case 9:
            return draw(st.sampled_from(ever))
        case 8:
            return chosen[0], draw(st.sampled_from(ever))[1]
        case _:
            return chosen


@st.composite
def transitions(draw: st.DrawFn, good: list[Claimed], ever: list[Claimed], over: set[str]) -> Transition:
    """`over`: ids of no effect, since the store may or may not forget these jobs before it takes the effects."""
    id, token = draw(claims(good, ever))
    to = draw(moves)
    error = None
    if draw(st.booleans()):
        reason = to.reason if isinstance(to, Bury) else None
        error = encode_error(ErrorInfo(kind=draw(st.sampled_from("XYZ"))), reason=reason)
    effects = draw(st.lists(jobs, max_size=2)) if draw(st.integers(0, 4)) == 4 else []
    return Transition(
        id, token, to, draw(counters), error, draw(keeps), tuple(job for job in effects if job.id not in over)
    )


def house_verbs(queue: str, callers: Sequence[str]) -> st.SearchStrategy[Verb[Any]]:
    """A queue that is paused or short stops much of the rest: it is open again soon."""
    open_again = Configure(queue, paused=None, max_length=None)
    closed = [Configure(queue, paused="night"), Configure(queue, paused=""), Configure(queue, max_length=3)]
    crons = [Configure(queue, cron=cron) for cron in (("nightly", "x"), ("nightly", None), ("hourly", ""))]
    pruned = [Prune(queue, most, age_ms, 60_000) for most in (None, 0, 1) for age_ms in (None, PERIOD_MS)]
    return st.one_of(
        st.just(open_again),
        st.sampled_from(closed),
        st.just(open_again),
        st.sampled_from(crons),
        st.sampled_from(pruned),
        st.builds(Beat, st.just(queue), st.sampled_from(callers), bodies),
    )
