"""A worker's turn as a step function: what to say to the store now, and what its answers mean. Does no I/O and reads
no clock.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from surefoot import chance
from surefoot.brokers.answers import Claimed, Hold, Lease, Verdict
from surefoot.brokers.broker import Claim, Extend, NoRoom, Prune, Settle, Stats, Tick, Verb
from surefoot.client.session import new_id
from surefoot.core.codec import NewerEnvelope, UnreadableEnvelope, decode_envelope, encode_error, mark_begun
from surefoot.core.errors import StoreUnsuitable
from surefoot.core.job import Leased
from surefoot.core.lifecycle import Run, admit, decide, is_suspect, on_dead_job
from surefoot.core.outcome import Lost, Outcome, Raised, Returned, describe
from surefoot.core.spec import Spec
from surefoot.core.transition import Bury, Delay, Return, Transition
from surefoot.engine.crons import Crons
from surefoot.engine.drain import Drain
from surefoot.engine.report import Report
from surefoot.engine.served import Served
from surefoot.engine.trust import Trust
from surefoot.engine.unsettled import Settled, Unsettled, ran, settle_verb
from surefoot.execution.context import Running

log: Final = logging.getLogger("surefoot.worker")

_REFUSED_S: Final = 1.0

Deal = Callable[[Sequence[bool], int], list[int]]


class Bell(Protocol):
    """What a turn asks of the Waiter."""

    def rung(self, queue: str) -> bool: ...
    def clear(self, queue: str) -> None: ...


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a worker. Milliseconds; None is no limit."""

    concurrency: int
    lease_ms: int
    floor_ms: int
    dead_max: int | None = None
    dead_age_ms: int | None = None
    unknown_ms: int = 86_400_000


class Turn:
    """Settles what finished and claims what is free, in one call. Claims at most the free slots."""

    def __init__(
        self,
        served: Sequence[Served],
        unsettled: Unsettled,
        *,
        limits: Limits,
        deal: Deal,
        trust: Trust,
        waiter: Bell,
        crons: Crons,
        drain: Drain,
        report: Report,
        start: Callable[[Run, Served], None],
    ) -> None:
        self.served: tuple[Served, ...] = tuple(served)
        self.unsettled = unsettled
        self.limits = limits
        self.trust = trust
        self.crons = crons
        self._by_queue: Mapping[str, Served] = {one.queue: one for one in served}
        self._deal = deal
        self._waiter = waiter
        self._drain = drain
        self._report = report
        self._start = start
        self._away_until = 0.0
        self._refused_at: dict[str, float] = {}
        self._one_by_one: set[str] = set()
        self._suspects: list[tuple[Run, Served]] = []
        self._looked = False  # every queue was found empty after the last settle
        self._passing_on: set[str] = set()  # where a job was set apart: somebody else shall look when it is due
        self._late = False  # what the newest call leased may have been lost before its answer was read

    # --- what to say ---

    def free(self) -> int:
        """How many more jobs may run here."""
        return self.limits.concurrency - len(self.unsettled.running) - len(self._suspects)

    def plan(self, now: float) -> list[Verb[Any]]:
        """The verbs of the next call, at most one of a kind a queue; none: there is nothing to say now."""
        if now < self._away_until:
            return []
        if self._suspects and self._drain.leaving:
            self._hand_suspects_back()
        verbs = self._verbs(now)
        return [verb for verb in verbs if not self._stands_still(verb.queue, now)] if self._refused_at else verbs

    def _verbs(self, now: float) -> list[Verb[Any]]:
        verbs: list[Verb[Any]] = []
        for served in self.served:
            if self._stands_still(served.queue, now):
                continue
            batch = self.unsettled.take(served.queue, 1 if served.queue in self._one_by_one else None)
            if batch:
                verbs.append(settle_verb(served.queue, batch))
        if self._drain.leaving:
            return verbs
        if self._suspects and any(not self._stands_still(where.queue, now) for _, where in self._suspects):
            return verbs + self._marks()
        verbs += self._claims(now)
        verbs += self.crons.questions()
        verbs += self.crons.due(self.trust.estimate_ms(now))
        for served in self.served:
            if served.chores:
                limits = self.limits
                verbs.append(Prune(served.queue, limits.dead_max, limits.dead_age_ms, limits.unknown_ms))
        return verbs

    def last_words(self) -> list[Verb[Any]]:
        """A claim of nothing on each queue: it frees this worker's watch and passes a wake-up on (rule 7)."""
        return [self._claim(served, 0, 0.0) for served in self.served]

    def next_in(self, now: float) -> float:
        """Seconds until there may be something to say although nothing happens."""
        if now < self._away_until:
            return self._away_until - now
        still = {queue: at for queue, at in self._refused_at.items() if self._stands_still(queue, now)}
        timers = [self.limits.floor_ms / 1000, *[at + _REFUSED_S - now for at in still.values()]]
        if self._drain.leaving:
            return min(timers)
        if self.free() > 0:
            timers += [one.timer_at - now for one in self.served if one.queue not in still]
        tick = self.crons.next_in(self.trust.estimate_ms(now), still)
        if tick is not None:
            timers.append(tick)
        return max(0.0, min(timers))

    def idle(self) -> bool:
        """Whether every queue is paused or known to be empty, and nothing runs or waits for its settle (`burst`)."""
        return self._looked and not self._busy() and self._seem_empty()

    def looks_once_more(self) -> bool:
        """Before a burst ends: claim every queue once more, since the last settle may have brought jobs."""
        if self._looked or self._busy() or not self._seem_empty():
            return False
        self._looked = True
        for one in self.served:
            one.empty = False
        return True

    def _busy(self) -> bool:
        return bool(self.unsettled) or bool(self._suspects)

    def _seem_empty(self) -> bool:
        return all(one.paused or (one.empty and not self._waiter.rung(one.queue)) for one in self.served)

    def _marks(self) -> list[Verb[Any]]:
        """Suspects say in their notes that they begin: only then may a crash be held against them."""
        marks: list[Verb[Any]] = []
        for served in self.served:
            leases = [
                Lease(run.leased.id, run.leased.token, mark_begun(run.leased.note, run.attempt))
                for run, where in self._suspects
                if where is served
            ]
            if leases:
                marks.append(Extend(served.queue, tuple(leases), self.limits.lease_ms))
        return marks

    def _marked(self, verb: Extend, holds: Sequence[Hold]) -> None:
        held = {lease.id: hold.held for lease, hold in zip(verb.leases, holds, strict=True)}
        here = [one for one in self._suspects if one[1].queue == verb.queue]
        self._suspects = [one for one in self._suspects if one[1].queue != verb.queue]
        for run, served in here:
            if self._drain.leaving or self._late:
                self._hand_back(run.leased, served)
            elif held.get(run.leased.id):
                self._start(run, served)

    def _hand_suspects_back(self) -> None:
        for run, served in self._suspects:
            self._hand_back(run.leased, served)
        self._suspects = []

    def _hand_back(self, leased: Leased, served: Served) -> None:
        """What was not started goes back to its old place, uncharged."""
        self.unsettled.done(served.queue, Settled(Transition(leased.id, leased.token, Return())))

    def _stands_still(self, queue: str, now: float) -> bool:
        """Whether this queue was refused a moment ago; the others go on."""
        if not self._refused_at:
            return False
        at = self._refused_at.get(queue)
        return at is not None and now < at + _REFUSED_S

    def _regained_at(self, queue: str) -> float:
        """When leases of this queue may be believed to have ended: while it was refused, nobody could renew one."""
        at = self._refused_at.get(queue)
        regained = self.trust.regained_at()
        return regained if at is None else max(regained, at + self.limits.lease_ms / 1000)

    def _claims(self, now: float) -> list[Verb[Any]]:
        free = self.free()
        if free <= 0:
            # A full worker claims nothing, but a wake-up that reached it belongs to somebody else (rule 6).
            return [self._claim(one, 0, now) for one in self.served if self._waiter.rung(one.queue)]
        candidates = [
            (one.due(now) or self._waiter.rung(one.queue)) and not self._stands_still(one.queue, now)
            for one in self.served
        ]
        wants = self._deal(candidates, free)
        passing_on, self._passing_on = self._passing_on, set()
        return [
            self._claim(one, 0 if one.queue in passing_on else want, now)
            for one, want in zip(self.served, wants, strict=True)
            if want or one.queue in passing_on
        ]

    def _claim(self, served: Served, want: int, now: float) -> Claim:
        self._waiter.clear(served.queue)  # before the claim is sent: a wake-up during it needs another claim
        reasons = served.reasons(now) if want else ()
        limits = self.limits
        trust_ms = self.trust.until_ms(now) if now >= self._regained_at(served.queue) else 0
        return Claim(served.queue, want, limits.lease_ms, trust_ms, limits.floor_ms, reasons)

    # --- what the answers mean ---

    def heard(self, verbs: Sequence[Verb[Any]], answers: Sequence[Any], asked: float, now: float) -> None:
        """Take the answers of a call in; `asked` and `now` are when it was sent and answered."""
        self._late = now - asked > self.limits.lease_ms / 1000
        self.trust.answered(asked, now)  # whatever was asked: a tick may have waited out an outage too
        for verb, answer in zip(verbs, answers, strict=True):
            match verb:
                case Settle():
                    self._settled(verb, answer, now)
                case Claim():
                    self._claimed(verb, answer, asked, now)
                case Extend() if not isinstance(answer, Exception):
                    self._marked(verb, answer)
                case Stats() if not isinstance(answer, Exception):
                    self.crons.learn(verb.queue, answer.crons, answer.now_ms)
                case Tick() if not isinstance(answer, Exception):
                    self.crons.heard(verb, answer, self.trust.estimate_ms(now))
                case Prune() if not isinstance(answer, Exception):
                    self._by_queue[verb.queue].chores = answer >= verb.limit
                case _:
                    log.warning("queue %s: %s was refused: %s", verb.queue, type(verb).__name__.lower(), answer)
                    self._refused_at[verb.queue] = now

    def unheard(self, verbs: Sequence[Verb[Any]], now: float) -> None:
        """The call got no answer: what finished goes first in the next one."""
        for verb in verbs:
            if isinstance(verb, Settle):
                self.unsettled.unsent(verb.queue)
        self.trust.broken(now)
        self._away_until = now + _REFUSED_S

    def _claimed(self, verb: Claim, answer: Claimed | Exception, asked: float, now: float) -> None:
        served = self._by_queue[verb.queue]
        if isinstance(answer, Exception):
            log.warning("queue %s: the claim was refused: %s", verb.queue, answer)
            self._refused_at[verb.queue] = now
            return
        self.trust.heard(answer.now_ms, asked, now)
        served.heard(answer, verb.want, now, self._regained_at(verb.queue))
        for orphan in answer.orphans:
            self._report.event("dead", queue=verb.queue, job=orphan, reason="body_lost")
        for leased in answer.jobs[: answer.recovered]:
            spec = _spec_of(leased, served.specs)
            task = None if spec is None else spec.name
            self._report.event("crashed", queue=verb.queue, job=leased.id, task=task, crashes=leased.counts.crashes)
        for leased in answer.jobs:
            self._admit(served, leased, answer.now_ms)

    def _admit(self, served: Served, leased: Leased, now_ms: int) -> None:
        if self._drain.leaving or self._late:  # the stop came while the claim was on its way, or nobody renewed it
            self._hand_back(leased, served)
            return
        suspects, crashed = self._crashed() if leased.counts.crashes else (0, 0)
        admitted = admit(leased, served.specs, now_ms, suspects, crashed)
        if type(admitted) is Run:
            if leased.counts.crashes and is_suspect(leased, admitted.spec):
                self._suspects.append((admitted, served))  # it says that it begins, before it begins
            else:
                self._start(admitted, served)
            return
        assert type(admitted) is Transition
        if type(admitted.to) is Bury:
            admitted = self._told(admitted, _spec_of(leased, served.specs), leased.counts.runs, now_ms)
        elif type(admitted.to) is Delay:  # set apart: those who go together would all come back together
            spread = Delay(round(admitted.to.ms * chance.between(0.25, 1.75)), admitted.to.why)
            admitted = msgspec.structs.replace(admitted, to=spread)
            self._passing_on.add(served.queue)
        self.unsettled.done(served.queue, Settled(admitted))

    def _crashed(self) -> tuple[int, int]:
        """How many running jobs the next crash would quarantine, and how many have crashed before."""
        crashed = [one.run for one in self.unsettled.running if one.run.leased.counts.crashes]
        crashed += [run for run, _ in self._suspects]
        return sum(is_suspect(run.leased, run.spec) for run in crashed), len(crashed)

    def ended(self, running: Running, outcome: Outcome, now_ms: int) -> None:
        """A run came to an end: decide about its job, and keep the decision for the next call."""
        if type(outcome) is Lost:
            self.unsettled.drop(running)
            run = running.run
            self._report.event("lease_lost", queue=running.queue, job=run.leased.id, task=run.spec.name)
            return
        share = chance.share()
        started_ms = None if type(outcome) is Returned else running.started_ms
        try:
            transition = decide(running.run, outcome, now_ms, share, started_ms)
        except Exception as mistake:  # never leave a job in our hands because a decision about it failed
            log.exception("job %s: its outcome could not be decided on", running.run.leased.id)
            transition = decide(running.run, Raised(describe(mistake)), now_ms, share, started_ms)
        if type(transition.to) is Bury:
            transition = self._told(transition, running.run.spec, running.run.attempt, now_ms)
        self.unsettled.done(running.queue, ran(transition, running, outcome, now_ms))

    def _told(self, transition: Transition, spec: Spec | None, run: int, now_ms: int) -> Transition:
        """A death of a task with `on_dead` brings one more job into the queue, in the same step."""
        if spec is None or not spec.has_on_dead:
            return transition
        epitaph = on_dead_job(spec.name, transition.id, run, new_id(), now_ms)
        return msgspec.structs.replace(transition, effects=(epitaph,))

    def _settled(self, verb: Settle, answer: Sequence[Verdict] | Exception, now: float) -> None:
        if isinstance(answer, Exception):
            self._unsettlable(verb, answer, now)
            return
        self._looked = False  # a run may have enqueued, a settle may have brought effects
        batch = self.unsettled.answered(verb.queue)
        if not self.unsettled.has_done(verb.queue):
            self._one_by_one.discard(verb.queue)
        self._report.settled_all(verb.queue, batch, answer)

    def _unsettlable(self, verb: Settle, error: Exception, now: float) -> None:
        """One bad result must never block the others: settle one by one, and bury the one that the store refuses."""
        self.unsettled.unsent(verb.queue)
        self._refused_at[verb.queue] = now
        if isinstance(error, OSError | NoRoom | StoreUnsuitable):
            log.warning("queue %s: what finished is kept and settled later: %s", verb.queue, error)
            return
        if len(verb.transitions) > 1:
            self._one_by_one.add(verb.queue)
            del self._refused_at[verb.queue]
            return
        bad = self.unsettled.first(verb.queue)
        log.error("job %s: the store refuses its settle: %s", bad.transition.id, error)
        line = encode_error(describe(error), reason="unsettlable")
        buried = Transition(bad.transition.id, bad.transition.token, Bury("unsettlable"), bad.transition.bump, line)
        self.unsettled.swap_first(verb.queue, msgspec.structs.replace(bad, transition=buried))


def _spec_of(leased: Leased, specs: Mapping[str, Spec]) -> Spec | None:
    try:
        return specs.get(decode_envelope(leased.body).task)
    except (UnreadableEnvelope, NewerEnvelope):
        return None
