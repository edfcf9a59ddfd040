"""The two decisions about a job: `admit` before the run, `decide` after it. Pure and total: neither reads a store, a
clock or chance.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias, assert_never

import msgspec
from msgspec import UNSET, Raw

from surefoot.core.codec import (
    Envelope,
    NewerEnvelope,
    UnreadableEnvelope,
    decode_envelope,
    encode_envelope,
    encode_error,
    encode_json,
    run_begun,
)
from surefoot.core.errors import ErrorInfo, InvalidArguments
from surefoot.core.job import Draft, Leased, NewJob
from surefoot.core.names import ON_DEAD_SUFFIX, is_name
from surefoot.core.outcome import (
    Cancelled,
    Crashed,
    Interrupted,
    Lost,
    Outcome,
    Raised,
    Rejected,
    RetriedLater,
    Returned,
    Snoozed,
    TimedOut,
    describe,
)
from surefoot.core.spec import Spec
from surefoot.core.transition import KEEP_MS, Bury, Counter, DecidedReason, Delay, Finish, Park, Return, Transition

APART_MS: Final = 2_000
"""How long a suspect waits while another suspect runs here: no two of them may die together."""


class Run(msgspec.Struct, frozen=True):
    """An admitted job: all that the run and the decision after it need. `attempt` is the number of this run, from 1."""

    leased: Leased
    envelope: Envelope
    spec: Spec
    arguments: Any
    attempt: int
    timeout_ms: int | None


Admitted: TypeAlias = Run | Transition
Times: TypeAlias = tuple[int | None, int]
"""When a run started, if known, and when it ended."""


def admit(leased: Leased, specs: Mapping[str, Spec], now_ms: int, suspects: int, crashed: int = 0) -> Admitted:
    """What to do with a claimed job before its run; the first case that holds decides.

    `specs` are the tasks that this worker has, by every name they are known under. `crashed` is the number of jobs in
    this worker's hands that have crashed before, `suspects` how many of them the next crash would quarantine.
    """
    if leased.cancel is not None:
        return _cancelled(leased, leased.cancel, specs)
    try:
        envelope = decode_envelope(leased.body)
    except UnreadableEnvelope as broken:
        return _invalid(leased, "UnreadableEnvelope", str(broken))
    except NewerEnvelope as newer:
        return Transition(leased.id, leased.token, Park(f"needs:{newer.needs}"))
    spec = specs.get(envelope.task)
    if leased.counts.runs == 0 and _expired(leased, envelope, spec, now_ms):
        return _finish(leased, "expired", None, spec, envelope)
    if spec is None:
        if not is_name(envelope.task):
            return _invalid(leased, "UnreadableEnvelope", f"{envelope.task[:80]!r} cannot be the name of a task")
        return Transition(leased.id, leased.token, Park(f"task:{envelope.task}"))
    if envelope.schema > spec.schema:
        return Transition(leased.id, leased.token, Park(f"task:{envelope.task}@{envelope.schema}"))
    if leased.counts.crashes >= spec.retry.max_crashes and _began_its_last_crash(leased, spec):
        return _bury(leased, "crash_loop", None)
    try:
        arguments = spec.signature.load(upcast(envelope, spec))
    except InvalidArguments as wrong:
        return _invalid(leased, "InvalidArguments", str(wrong))
    except BaseException as failed:  # the application's own upcast, which may raise anything
        error = describe(failed)
        return _invalid(leased, error.kind, f"upcast from schema {envelope.schema} failed: {error.message}")
    if leased.counts.crashes and _in_bad_company(leased, spec, suspects, crashed):
        return Transition(leased.id, leased.token, Delay(APART_MS, "apart"))
    timeout_ms = spec.timeout_ms if envelope.options.timeout_ms is UNSET else envelope.options.timeout_ms
    return Run(leased, envelope, spec, arguments, leased.counts.runs + 1, timeout_ms)


def _in_bad_company(leased: Leased, spec: Spec, suspects: int, crashed: int) -> bool:
    """Whether this job, which has crashed, must wait so that one killer never quarantines another job. Tasks may differ
    in `max_crashes`, so a suspect runs beside no other job that has crashed, and such a job beside no suspect.
    """
    return suspects > 0 or (crashed > 0 and is_suspect(leased, spec))


def _began_its_last_crash(leased: Leased, spec: Spec) -> bool:
    """Whether the run that crashed last had begun. A suspect says so in its note before it begins: one that was only in
    the hands of a worker when another job killed that worker is not charged with its last crash.
    """
    return spec.retry.max_crashes == 1 or run_begun(leased.note) == leased.counts.runs


def is_suspect(leased: Leased, spec: Spec) -> bool:
    """Whether one more crash quarantines this job, if it has begun by then."""
    return leased.counts.crashes >= spec.retry.max_crashes - 1 > 0


def decide(run: Run, outcome: Outcome, now_ms: int, chance: float, started_ms: int | None = None) -> Transition:
    """What a run's outcome means for its job.

    `now_ms` is the store's time, `chance` a number from [0, 1) for the jitter; `started_ms` goes into the error line.
    """
    leased = run.leased
    times = (started_ms, now_ms)
    match outcome:
        case Returned(value):
            keep_ms = _keep_ms(run.spec, run.envelope)
            result = None if keep_ms == 0 else _encoded(run.spec, value)
            return Transition(leased.id, leased.token, Finish("completed", result), "runs", None, keep_ms)
        case Raised(error, retry):
            return _failed(run, error, times, chance, retry=retry)
        case TimedOut(seconds):
            return _failed(run, _timeout_error(run, seconds), times, chance, retry=True)
        case Snoozed(ms, until_ms):
            wait_ms = max(0, (until_ms or 0) - now_ms) if ms is None else ms
            return _move(run, Delay(wait_ms, "snooze"), "snoozes")
        case RetriedLater(ms, _, error):
            return _failed(run, error, times, chance, retry=True, own_delay_ms=ms)
        case Rejected(error):
            return _dead(run, "rejected", "failures", error, times)
        case Cancelled(reason):
            keep_ms = _at_least_told(_keep_ms(run.spec, run.envelope))
            return Transition(leased.id, leased.token, Finish("cancelled", _text(reason)), "runs", None, keep_ms)
        case Interrupted(started):
            return _move(run, Return(), "interruptions" if started else None)
        case Crashed(error):
            crashes = leased.counts.crashes + 1
            if crashes >= run.spec.retry.max_crashes:
                return _dead(run, "crash_loop", "crashes", error, times)
            wait_ms = round(run.spec.retry.delay(crashes, chance) * 1000)
            return _move(run, Delay(wait_ms, "retry"), "crashes", _line(run, error, times))
        case Lost():
            raise ValueError("a run that lost its lease settles nothing")
        case _:
            assert_never(outcome)


def first_due_ms(leased: Leased, envelope: Envelope) -> int:
    """When the job was first due: what `expires` and `within` count from. A requeue or a reschedule sets it anew."""
    if leased.counts.due_set_ms is not None:
        return leased.counts.due_set_ms
    if envelope.options.due_ms is not UNSET:
        return max(envelope.options.due_ms, leased.enqueued_ms)
    if envelope.options.delay_ms is not UNSET:
        return leased.enqueued_ms + envelope.options.delay_ms
    return leased.enqueued_ms


def on_dead_job(task: str, dead_id: str, run: int, new_id: str, created_ms: int) -> NewJob:
    """The job that enters beside a death, for a task that has `on_dead`: its payload names the dead job and its run."""
    draft: Draft[None] = Draft(
        id=new_id, queue="", task=task + ON_DEAD_SUFFIX, payload=encode_json({"id": dead_id, "run": run}),
        options={"keep_result_ms": 0},
    )  # fmt: skip
    return NewJob(new_id, encode_envelope(draft, created_ms))


def max_attempts(run: Run) -> int | None:
    """How many failures the job may have, None without a limit: the job's own number, else the task's."""
    own = run.envelope.options.max_attempts
    return run.spec.retry.max_attempts if own is UNSET else own


def is_last_attempt(run: Run) -> bool:
    """Whether the next failure of this job is the end."""
    most = max_attempts(run)
    return most is not None and run.leased.counts.failures + 1 >= most


def _failed(
    run: Run, error: ErrorInfo, times: Times, chance: float, *, retry: bool, own_delay_ms: int | None = None
) -> Transition:
    failures = run.leased.counts.failures + 1
    if not retry or is_last_attempt(run):
        return _dead(run, "exhausted", "failures", error, times)
    wait_ms = round(run.spec.retry.delay(failures, chance) * 1000) if own_delay_ms is None else own_delay_ms
    within = run.spec.retry.within
    if within is not None and times[1] + wait_ms > first_due_ms(run.leased, run.envelope) + within * 1000:
        return _dead(run, "exhausted", "failures", error, times)
    return _move(run, Delay(wait_ms, "retry"), "failures", _line(run, error, times))


def _move(run: Run, to: Delay | Return, bump: Counter | None, line: bytes | None = None) -> Transition:
    """A step after which the job waits again; were it cancelled meanwhile, it ends with this keep time."""
    keep_ms = _at_least_told(_keep_ms(run.spec, run.envelope))
    return Transition(run.leased.id, run.leased.token, to, bump, line, keep_ms)


def _dead(run: Run, reason: DecidedReason, bump: Counter, error: ErrorInfo, times: Times) -> Transition:
    return Transition(run.leased.id, run.leased.token, Bury(reason), bump, _line(run, error, times, reason))


def _bury(leased: Leased, reason: DecidedReason, error: ErrorInfo | None) -> Transition:
    return Transition(leased.id, leased.token, Bury(reason), None, encode_error(error, reason=reason))


def _invalid(leased: Leased, kind: str, message: str) -> Transition:
    return _bury(leased, "invalid", ErrorInfo(kind=kind, kinds=(kind,), message=message))


def _line(run: Run, error: ErrorInfo, times: Times, reason: str | None = None) -> bytes:
    caller = run.leased.token.partition(".")[0]
    started_ms, ended_ms = times
    return encode_error(
        error, attempt=run.attempt, started_ms=started_ms, ended_ms=ended_ms, caller=caller, reason=reason
    )


def _cancelled(leased: Leased, reason: str, specs: Mapping[str, Spec]) -> Transition:
    """Cancelled before its run; kept as its task says, as far as the envelope can be read."""
    try:
        envelope = decode_envelope(leased.body)
    except (UnreadableEnvelope, NewerEnvelope):
        return _finish(leased, "cancelled", _text(reason), None)
    return _finish(leased, "cancelled", _text(reason), specs.get(envelope.task), envelope)


def _text(words: str) -> bytes:
    return words.encode("utf-8", "backslashreplace")


def _finish(
    leased: Leased, state: Any, result: bytes | None, spec: Spec | None, envelope: Envelope | None = None
) -> Transition:
    """An end before the run. Who waits is told, so it is kept at least as long as an outcome is by default."""
    keep_ms = KEEP_MS if spec is None else _at_least_told(_keep_ms(spec, envelope))
    return Transition(leased.id, leased.token, Finish(state, result), None, None, keep_ms)


def _encoded(spec: Spec, value: object) -> bytes:
    """A result as it is stored; a child process has encoded its own."""
    return bytes(value) if type(value) is Raw else spec.signature.encode_result(value)


def _keep_ms(spec: Spec, envelope: Envelope | None) -> int | None:
    if envelope is None or envelope.options.keep_result_ms is UNSET:
        return spec.keep_ms
    return envelope.options.keep_result_ms


def _at_least_told(keep_ms: int | None) -> int | None:
    return None if keep_ms is None else max(keep_ms, KEEP_MS)


def _expired(leased: Leased, envelope: Envelope, spec: Spec | None, now_ms: int) -> bool:
    options = envelope.options
    if options.expires_at_ms is not UNSET:
        return options.expires_at_ms < now_ms
    after_ms = options.expires_after_ms
    if after_ms is UNSET:
        after_ms = spec.expires_ms if spec is not None else None
    return after_ms is not None and first_due_ms(leased, envelope) + after_ms < now_ms


def upcast(envelope: Envelope, spec: Spec) -> bytes | Raw:
    """The arguments as the task's newest schema has them. Raises whatever the application's own `upcast` raises."""
    if envelope.schema == spec.schema or spec.upcast is None:
        return envelope.payload
    return encode_json(spec.upcast(envelope.schema, msgspec.json.decode(envelope.payload)))


def _timeout_error(run: Run, seconds: float) -> ErrorInfo:
    return ErrorInfo(
        kind="TimeoutError",
        kinds=("TimeoutError", "OSError", "Exception", "BaseException"),
        message=f"{run.spec.name} did not finish within {seconds:g} s",
    )
