"""The queue as dicts and a moment of time: the specification that every broker is held against.

It answers the records of brokers/broker.py by rules alone. Where a store is free to choose (who comes first among
equals, how long a worker may sleep, when it drops what is over) a comment says so, and the suite allows it.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, Literal

from msgspec import UNSET
from msgspec.structs import replace
from tests.conformance.model_pieces import Pieces, Ties
from tests.conformance.model_state import A_MINUTE_MS, Holder, Job, Queue

from surefoot.brokers import answers as a
from surefoot.brokers import broker as b
from surefoot.core import transition as t
from surefoot.core.codec import encode_json
from surefoot.core.job import Leased, NewJob
from surefoot.core.names import State
from surefoot.core.sketch import decode

WAITING: Final[tuple[State, ...]] = ("scheduled", "pending", "parked")
PROMOTED: Final = 100
"""The most due jobs that a small claim makes pending."""


class Model:
    """Runs calls like a broker. `understands`: the version of its release; two models may share `queues`.

    `watched`: one idle worker watches the next timer for all, so that any other may sleep for the floor.
    """

    def __init__(
        self,
        understands: int = 1,
        ties: Ties = "arrival",
        queues: dict[str, Queue] | None = None,
        *,
        watched: bool = False,
    ) -> None:
        self.understands = understands
        self.ties: Ties = ties
        self.watched = watched
        self.queues: dict[str, Queue] = {} if queues is None else queues

    def run_sync(self, call: b.Call) -> list[Any]:
        b.counted(call)
        return [self._answer(call, verb) for verb in call.verbs]

    def _answer(self, call: b.Call, verb: b.Verb[Any]) -> Any:
        queue = self.queues.setdefault(verb.queue, Queue(epoch=f"{call.caller}.{call.now}"))
        turn = Turn(queue, call, self.understands, self.ties, watched=self.watched)
        if not isinstance(verb, b.NUMBERED):
            return turn.do(verb)
        lane = (type(verb).__name__, call.caller)
        number, tag, answer = queue.memory.get(lane, (0, "", None))
        if call.number < number:
            return b.Refused("STALE")
        if call.number == number:
            return turn.replay(answer) if call.tag == tag else b.Refused("CALLER")
        answer = turn.do(verb)
        queue.memory[lane] = (call.number, call.tag, answer)
        return answer


class Turn(Pieces):
    """One verb at one moment: the method with its name is its whole rule."""

    def do(self, verb: b.Verb[Any]) -> Any:
        first_due = self.queue.first_due()
        answer = getattr(self, type(verb).__name__.lower())(verb)
        if self.queue.first_due() < first_due:
            self.queue.token = True
        return answer

    def replay(self, answer: Any) -> Any:
        """The stored answer; of a claim, the jobs that are still held, as they are now."""
        if not isinstance(answer, a.Claimed):
            return answer
        held = [self.held(leased.id, self.token) for leased in answer.jobs]
        jobs = [self.leased(job) for job in held if job is not None]
        return a.Claimed(self.now, 1, self.queue.paused is not None, jobs)

    # Producers

    def put(self, verb: b.Put) -> list[a.PutAnswer]:
        limit = self.queue.max_length if verb.max_length is None else verb.max_length
        return self.put_jobs(verb.jobs, limit, verb.keep_ms)

    def put_jobs(self, jobs: Sequence[NewJob], limit: int | None, keep_ms: int | None) -> list[a.PutAnswer]:
        room = math.inf if limit is None else limit - len(self.within(*WAITING))
        known, stored, answers = set(self.queue.jobs), set[str](), list[a.PutAnswer]()
        for new in jobs:
            owner = self.owner(new.unique.key) if new.unique else None
            holder = self.queue.jobs.get(owner) if owner else None
            replaced = holder if new.unique and new.unique.replace and owner not in stored else None
            if new.id in known:
                answer = a.PutAnswer("exists")
            elif replaced and replaced.state in WAITING:
                answer = a.PutAnswer("replaced", owner)
                self.finish(replaced, "cancelled", keep_ms, reason="replaced")
            elif owner and not (replaced and replaced.state == "processing"):
                answer = a.PutAnswer("taken", owner)
            elif room <= 0 and not owner:
                answer = a.PutAnswer("full")
            else:
                answer = a.PutAnswer("created")
                room -= 1
            if answer.word in ("created", "replaced"):
                self.store(new)
                known.add(new.id)
                stored.add(new.id)
            answers.append(answer)
        return answers

    def tick(self, verb: b.Tick) -> a.TickWord:
        last = self.queue.ticks.get(verb.name)
        soon = self.now + A_MINUTE_MS  # a tick beyond it is from a clock that was wrong
        if last is not None and verb.tick_ms <= last <= soon:
            return "past"
        if verb.tick_ms > soon:
            return "early"
        word: a.TickWord = "paused"
        if verb.name not in self.queue.paused_crons:
            word = self.put_jobs([verb.job], self.queue.max_length, t.KEEP_MS)[0].word
        if word != "full":
            self.queue.ticks[verb.name] = verb.tick_ms
        return word

    # Workers

    def claim(self, verb: b.Claim) -> a.Claimed:
        taken, orphans, recovered = list[Job](), list[str](), 0
        if self.queue.paused is None:
            ended = self.timed("processing", "lease_ms", self.now) if self.now <= verb.trust_ms else []
            for job in ended[: verb.want]:
                self.crash(job)
                self.lease(job, verb.lease_ms, taken, orphans)
            recovered = len(taken)
            for job in self.timed("scheduled", "due_ms", self.now)[: max(PROMOTED, verb.want)]:
                if not self.park_newer(job):
                    self.enter(job)
            for reason in verb.reasons:
                for job in self.ranked("parked", reason)[: verb.want - len(taken)]:
                    self.lease(job, verb.lease_ms, taken, orphans)
            for job in self.ranked("pending")[: verb.want - len(taken)]:
                self.lease(job, verb.lease_ms, taken, orphans)
            if self.within("pending"):
                self.queue.token = True
        return a.Claimed(
            self.now,
            self.may_sleep_ms(verb),
            self.queue.paused is not None,
            [self.leased(job) for job in taken],
            parking=bool(self.within("parked")),
            chores=self.queue.pruned_ms < self.now - A_MINUTE_MS,
            orphans=tuple(orphans),
            recovered=recovered,
        )

    def may_sleep_ms(self, verb: b.Claim) -> int:
        """The longest sleep of a worker that found less than it wanted; a store may say less."""
        timers = [self.now + verb.floor_ms]
        if self.queue.paused is None and not self.watched:
            timers += [job.due_ms for job in self.queue.jobs.values() if job.due_ms is not None]
            ends = [job.lease_ms for job in self.queue.jobs.values() if job.lease_ms is not None]
            timers += [end for end in ends if end > self.now]  # one that ended, but beyond trust, would make it spin
        return max(1, min(timers) - self.now)

    def crash(self, job: Job) -> None:
        self.queue.events["recovered"] += 1
        job.count("runs", "crashes")
        facts = {"caller": job.caller, "started_ms": job.started_ms, "ended_ms": self.now}
        self.add_error(job, encode_json({"kind": "crash", "attempt": job.counts.runs, **facts}))

    def lease(self, job: Job, lease_ms: int, taken: list[Job], orphans: list[str]) -> None:
        if job.body is None:
            job.body = b""
            self.bury(job, "body_lost")
            orphans.append(job.id)
        elif not self.park_newer(job):
            if job.new.unique and job.new.unique.until == "start":
                self.release(job)
            mine = {"token": self.token, "caller": self.caller}
            job.go("processing", **mine, started_ms=self.now, lease_ms=self.now + lease_ms, cancel=job.cancel)
            taken.append(job)

    def leased(self, job: Job) -> Leased:
        assert job.token is not None and job.body is not None
        return Leased(job.id, job.token, job.enqueued_ms, job.body, job.counts, job.note, job.cancel)

    def held(self, id: str, token: str) -> Job | None:
        """The token decides, never the time: a lease that ended is good until somebody else has the job."""
        job = self.queue.jobs.get(id)
        return job if job is not None and job.token == token else None

    def extend(self, verb: b.Extend) -> list[a.Hold]:
        holds = []
        for lease in verb.leases:
            job = self.held(lease.id, lease.token)
            if job is not None:
                job.lease_ms = max(job.lease_ms or 0, self.now + verb.lease_ms)
                job.note = job.note if lease.note is None else lease.note
            holds.append(a.Hold(job is not None, job.cancel if job is not None else None))
        return holds

    def settle(self, verb: b.Settle) -> list[a.Verdict]:
        self.queue.times.update(decode(verb.times))
        return [self.settle_one(step) for step in verb.transitions]

    def settle_one(self, step: t.Transition) -> a.Verdict:
        job = self.held(step.id, step.token)
        if job is None:
            return "fenced"
        if step.error is not None:
            self.add_error(job, step.error)
        self.queue.events["failed"] += step.bump in ("failures", "crashes")
        if job.cancel is not None and isinstance(step.to, t.Delay | t.Return | t.Park):
            self.finish_run(job, step, "cancelled", reason=job.cancel)
            return "cancelled"
        match step.to:
            case t.Finish("cancelled", reason):
                self.finish_run(job, step, "cancelled", reason=(reason or b"").decode())
            case t.Finish(state, result):
                self.finish_run(job, step, state, result=result)
            case t.Bury(why):
                self.bump(job, step.bump)
                self.bury(job, why, has_line=step.error is not None)
            case t.Delay(ms, why):
                self.queue.events["retried"] += why == "retry"
                self.bump(job, step.bump)
                self.wait_until(job, self.now + ms)
            case t.Return():
                self.bump(job, step.bump)
                job.go("pending")
                self.queue.token = True
            case t.Park(why):
                self.bump(job, step.bump)
                self.park(job, why)
                self.queue.token = True
        self.put_jobs(step.effects, None, t.KEEP_MS)
        return "applied"

    def finish_run(self, job: Job, step: t.Transition, state: State, **facts: Any) -> None:
        if step.bump is not None:
            job.count("runs")
            facts |= {"started_ms": job.started_ms, "caller": job.caller}
        self.finish(job, state, step.keep_ms, **facts)

    def bump(self, job: Job, counter: t.Counter | None) -> None:
        if counter is not None:
            job.count(*{"runs", counter})
        if counter == "snoozes":  # a job that snoozes for months must not die of three reboots
            job.counts = replace(job.counts, crashes=0)

    # By hand

    def cancel(self, verb: b.Cancel) -> list[a.CancelWord]:
        words = [self.cancel_one(self.queue.jobs.get(id), verb) for id in verb.ids]
        met = [id for id, word in zip(verb.ids, words, strict=True) if word != "finished"]
        self.note("cancel", verb.who, met, verb.reason)
        return words

    def cancel_one(self, job: Job | None, verb: b.Cancel) -> a.CancelWord:
        if job is not None and job.state in WAITING:
            self.finish(job, "cancelled", verb.keep_ms, reason=verb.reason)
            return "cancelled"
        if job is not None and job.state == "processing":
            job.cancel = verb.reason if job.cancel is None else job.cancel
            return "requested"
        return "finished"

    def requeue(self, verb: b.Requeue) -> list[a.Requeued]:
        answers: list[a.Requeued] = []
        for id in verb.ids:
            before = sum(answer.word == "requeued" for answer in answers)
            due_ms = self.now + verb.first_ms + before * verb.every_us // 1_000
            answers.append(self.requeue_one(self.queue.jobs.get(id), due_ms))
        back = [id for id, answer in zip(verb.ids, answers, strict=True) if answer.word == "requeued"]
        self.note("requeue", verb.who, back)
        return answers

    def requeue_one(self, job: Job | None, due_ms: int) -> a.Requeued:
        if job is None or job.state != "dead":
            return a.Requeued("not_dead")
        unique = job.new.unique
        # A period is counted from the enqueue: it does not begin again, and whoever has the key now is no hindrance.
        if unique and not isinstance(unique.until, int):
            owner = self.owner(unique.key)
            if owner is not None:
                return a.Requeued("taken", owner)
            self.queue.keys[unique.key] = Holder(job.id, None)
        job.counts = replace(job.counts, failures=0, crashes=0, due_set_ms=due_ms)
        self.wait_until(job, due_ms)
        return a.Requeued("requeued")

    def move(self, verb: b.Move) -> list[bool]:
        return [self.move_one(self.queue.jobs.get(id), self.due(verb.due)) for id in verb.ids]

    def move_one(self, job: Job | None, due_ms: int) -> bool:
        if job is None or job.state not in WAITING:
            return False
        job.counts = replace(job.counts, due_set_ms=due_ms)
        if job.state != "pending" or due_ms > self.now:  # else it is due already and keeps its place in the line
            self.wait_until(job, due_ms)
        return True

    def amend(self, verb: b.Amend) -> Literal["amended", "not_dead"]:
        job = self.queue.jobs.get(verb.id)
        if job is None or job.state != "dead":
            return "not_dead"
        job.body = verb.envelope
        self.note("edit", verb.who, [verb.id])
        return "amended"

    def delete(self, verb: b.Delete) -> list[bool]:
        gone = [self.delete_one(self.queue.jobs.get(id)) for id in verb.ids]
        self.note("delete", verb.who, [id for id, went in zip(verb.ids, gone, strict=True) if went])
        return gone

    def delete_one(self, job: Job | None) -> bool:
        if job is None or job.state == "processing":
            return False
        self.forget(job)
        return True

    # The house

    def configure(self, verb: b.Configure) -> a.Config:
        queue = self.queue
        if verb.paused is not UNSET:
            before, queue.paused = queue.paused, self.pause_of(queue.paused, verb.paused)
            if verb.paused is None:
                queue.token = True
            if queue.paused != before:
                self.note("pause" if queue.paused else "resume", verb.who, [""], verb.paused or "")
        if verb.max_length is not UNSET:
            if queue.max_length != verb.max_length:
                self.note("limit", verb.who, ["none" if verb.max_length is None else str(verb.max_length)])
            queue.max_length = verb.max_length
        if verb.cron is not UNSET:
            name, why = verb.cron
            was = queue.paused_crons.pop(name, None)
            pause = self.pause_of(was, why)
            if pause is not None:
                queue.paused_crons[name] = pause
            if pause != was:
                self.note("pause_cron" if pause else "resume_cron", verb.who, [name], why or "")
        paused_ms, reason = queue.paused or (None, None)
        return a.Config(reason, paused_ms, queue.max_length)

    def beat(self, verb: b.Beat) -> str:
        self.queue.presences[verb.worker] = a.Presence(verb.worker, self.now, verb.presence)
        return self.queue.epoch

    def prune(self, verb: b.Prune) -> int:
        """What is over goes, the oldest dead letters first. (Nobody can see a key go whose period is over.)"""
        dead = self.timed("dead", "finished_ms", math.inf)
        beyond = 0 if verb.dead_max is None else max(0, len(dead) - verb.dead_max)
        oldest = -math.inf if verb.dead_age_ms is None else self.now - verb.dead_age_ms
        over = [job for place, job in enumerate(dead) if place < beyond or (job.finished_ms or 0) < oldest]
        over += [job for job in self.queue.jobs.values() if job.forget_ms <= self.now]
        parked = self.timed("parked", "parked_ms", self.now - verb.unknown_ms - 1)
        unknown = [job for job in parked if (job.reason or "").startswith("task:")]
        for job in over[: verb.limit]:
            self.forget(job)
        for job in unknown[: max(0, verb.limit - len(over))]:
            self.bury(job, "unknown")
        for presence in list(self.queue.presences.values()):
            if presence.seen_ms < self.now - 10 * A_MINUTE_MS:
                del self.queue.presences[presence.caller]
        self.queue.pruned_ms = self.now
        return min(verb.limit, len(over) + len(unknown))

    def repair(self, verb: b.Repair) -> list[a.RepairWord]:
        """Only for bodies that were lost: nothing else of the model can be taken away, and none of its keys."""
        return [self.repair_one(self.queue.jobs.get(id)) for id in verb.ids] + ["sound"] * len(verb.keys)

    # Reads

    def orphans(self, verb: b.Orphans) -> a.Damage:
        lost = [job.id for job in self.queue.jobs.values() if self.lost(job)]
        return a.Damage(tuple(lost), looked=len(self.queue.jobs))

    def get(self, verb: b.Get) -> list[a.Record | None]:
        jobs = [self.queue.jobs.get(id) for id in verb.ids]
        return [None if job is None else job.record() for job in jobs]

    def changes(self, verb: b.Changes) -> list[a.Change]:
        return self.queue.changes[: verb.limit]

    def stats(self, verb: b.Stats) -> a.QueueStats:
        return self.queue.stats(verb, self.now)
