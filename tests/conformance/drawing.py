"""What the stateful test draws: few ids, keys, callers and times, so that they meet often."""

from hypothesis import strategies as st
from tests.conformance.stores import START_MS

from surefoot.core.codec import encode_error
from surefoot.core.errors import ErrorInfo
from surefoot.core.job import After, At, NewJob, Unique
from surefoot.core.transition import Bury, Counter, Delay, Finish, Move, Park, Return, Transition

IDS = tuple("abcdefgh")
KEYS = ("welcome k", "welcome l")
REASONS = ("task:welcome", "task:welcome@2", "needs:2")
CRONS = ("nightly", "hourly")
PERIOD_MS = 5_000

ids = st.sampled_from(IDS)
some_ids = st.lists(ids, min_size=1, max_size=3).map(tuple)
bodies = st.binary(max_size=6)
keeps = st.sampled_from((0, PERIOD_MS, 300_000, None))
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
steps_ms = st.sampled_from((1, 700, PERIOD_MS, 10_000, 61_000, 600_000, -2_000))

counters: st.SearchStrategy[Counter | None] = st.sampled_from(
    (None, "runs", "failures", "crashes", "interruptions", "snoozes")
)
moves: st.SearchStrategy[Move] = st.one_of(
    st.builds(Finish, st.just("completed"), st.one_of(st.none(), bodies)),
    st.builds(Finish, st.just("cancelled"), st.sampled_from((None, b"enough"))),
    st.just(Finish("expired")),
    st.builds(Bury, st.sampled_from(("exhausted", "rejected", "crash_loop", "invalid", "unsettlable"))),
    st.builds(Delay, spans, st.sampled_from(("retry", "snooze", "apart"))),
    st.just(Return()),
    st.builds(Park, st.sampled_from(REASONS)),
)


@st.composite
def transitions(draw: st.DrawFn, held: list[tuple[str, str]]) -> Transition:
    """A step for a job that was once claimed, mostly with its own token, sometimes with that of another."""
    id, token = draw(st.sampled_from(held))
    if draw(st.integers(0, 9)) == 0:
        token = draw(st.sampled_from(held))[1]
    to = draw(moves)
    error = None
    if draw(st.booleans()):
        reason = to.reason if isinstance(to, Bury) else None
        error = encode_error(ErrorInfo(kind=draw(st.sampled_from("XYZ"))), reason=reason)
    effects = tuple(draw(st.lists(jobs, max_size=2))) if draw(st.integers(0, 4)) == 0 else ()
    return Transition(id, token, to, draw(counters), error, draw(keeps), effects)
