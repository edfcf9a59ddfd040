"""The ledger of a life, outside the queue: what was accepted, refused, started, ended. It holds promises at each step.

It looks at every step of the store and at every first and last line of a handler. It never acts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tests.simulation.kernel import Broken, Kernel
from tests.simulation.server import OVER, Place
from tests.simulation.story import Story

from surefoot.brokers import broker as b
from surefoot.core.job import Counts, Unique
from surefoot.core.lifecycle import Run
from surefoot.core.transition import Delay, Finish, Return, Transition

Seen: TypeAlias = tuple[str, str | None, Counts, int | None]
"""A job as a step left it: state, token, counts, the end of its lease."""

_ENDS: Final = OVER - {"dead"}
_LOOKS: Final = (b.Get, b.Find, b.Stats, b.Queues, b.Beat, b.Configure)


@dataclass
class Ran:
    """One run of a handler: of which worker, and how it ended ("" while it goes on)."""

    id: str
    attempt: int
    token: str
    worker: str
    how: str = ""


class Judge:
    """Raises Broken at the step that breaks a promise. `alive`: why the worker of this caller could have renewed."""

    def __init__(self, kernel: Kernel, story: Story, alive: Callable[[str], str | None]) -> None:
        self._kernel = kernel
        self._story = story
        self._alive = alive
        self._census: dict[str, dict[str, Seen]] = {}
        self._now_ms = 0
        self.told: Callable[[str, str], object] = lambda queue, id: None
        self.may_stop: Callable[[str], bool] = lambda caller: True
        self.may_be_late: Callable[[str, float], bool] = lambda token, since: True
        self.known: set[str] = set()
        self.accepted: dict[str, str] = {}  # id -> queue
        self.refused: set[str] = set()
        self.sent_again: set[str] = set()
        self.shared_keys: set[str] = set()  # a job may replace another one here: two that wait are right
        self.endings: dict[str, list[str]] = {}
        self.runs: dict[tuple[str, str], Ran] = {}
        self.going: dict[str, list[Ran]] = {}
        self.effects: set[str] = set()
        self._tokens: dict[str, set[str]] = {}
        self._leased_at: dict[str, float] = {}
        self.started: set[str] = set()
        self.dealt: dict[tuple[str, str], float] = {}

    def broken(self, what: str, *ids: str) -> None:
        self._story.tell("***", lambda: what)
        broken = Broken(f"{what} ({', '.join(ids)})" if ids else what, *ids)
        self._kernel.broken = self._kernel.broken or broken
        raise broken

    # --- producers ---

    def stores(self, queue: str, id: str) -> None:
        """The enqueue was acknowledged."""
        if id not in self.known:
            self.broken("accepted, but the store never had it", id)
        self.accepted[id] = queue

    def stores_nothing(self, id: str) -> None:
        """The enqueue said that it certainly stored nothing."""
        self.refused.add(id)
        if id in self.known:
            self.broken("the enqueue raised StoreUnavailable, and the job is stored", id)

    # --- handlers ---

    def deals(self, run: Run) -> None:
        """A worker read what it had claimed, and starts it; from here on its keeper renews."""
        self.dealt[run.leased.id, run.leased.token] = self._kernel.now

    def starts(self, id: str, token: str, attempt: int, worker: str) -> Ran:
        ran = Ran(id, attempt, token, worker)
        if (id, token) in self.runs:
            self.broken(f"started twice under one token ({token})", id)
        if token not in self._tokens.get(id, ()):
            self.broken(f"started under a token that no claim gave ({token})", id)
        again = [one for one in self.runs.values() if one.id == id and one.attempt == attempt]
        if again and id not in self.sent_again:
            self.broken(f"two runs with the attempt {attempt}", id)
        if self._token_now(id) != token and not self.may_be_late(token, self.dealt[id, token]):
            self.broken(f"started although its lease is lost ({token})", id)
        self.runs[id, token] = ran
        self.going.setdefault(id, []).append(ran)
        self.started.add(id)
        self._story.tell(worker, lambda: f"starts {id[-6:]} attempt {attempt}")
        return ran

    def ends(self, ran: Ran, how: str) -> None:
        ran.how = how
        self.going[ran.id].remove(ran)
        self._story.tell(ran.worker, lambda: f"ends {ran.id[-6:]} attempt {ran.attempt}: {how}")

    def stops_running(self, worker: str) -> None:
        """A worker is dead: nothing of it goes on."""
        for id, runs in self.going.items():
            self.going[id] = [one for one in runs if one.worker != worker]

    def _token_now(self, id: str) -> str | None:
        for census in self._census.values():
            if id in census:
                return census[id][1]
        return None

    # --- the store ---

    def saw(
        self, name: str, jobs: Mapping[str, Place], call: b.Call, verb: b.Verb[Any], answer: Any, *, again: bool
    ) -> None:
        if isinstance(verb, _LOOKS):
            return
        assert call.now is not None
        self._now_ms = call.now
        before = self._census.get(name, {})
        after: dict[str, Seen] = {id: (j.state, j.token, j.counts, j.lease_ms) for id, j in jobs.items()}
        self._census[name] = after
        if isinstance(verb, b.Settle) and not again:
            self._settles(verb, answer, before)
        if after == before:
            return
        for id in (*before, *(id for id in after if id not in before)):
            was, now = before.get(id), after.get(id)
            if was == now:
                continue
            if again:
                self.broken(f"a repeated {type(verb).__name__.lower()} changed the job", id)
            if was is None:
                self._appears(id, verb)
            elif now is None:
                self._vanishes(id, was, verb)
            else:
                self._changes(id, was, now, call, verb)
            self._ended(name, id, was, now, verb)
        self._keys(jobs)

    def _appears(self, id: str, verb: b.Verb[Any]) -> None:
        match verb:
            case b.Put(jobs=jobs) if any(job.id == id for job in jobs):
                pass
            case b.Tick(job=job) if job.id == id:
                pass
            case b.Settle(transitions=steps) if any(job.id == id for step in steps for job in step.effects):
                self.effects.add(id)
            case _:
                self.broken(f"{type(verb).__name__.lower()} brought a job from nowhere", id)
        if id in self.refused:
            self.broken("the enqueue raised StoreUnavailable, and later the job is stored", id)
        if id in self.endings and id not in self.sent_again:
            self.broken("a job that had ended is stored again", id)
        self.known.add(id)

    def _vanishes(self, id: str, was: Seen, verb: b.Verb[Any]) -> None:
        if was[0] in OVER:
            return
        match verb:
            case b.Settle(transitions=steps) if any(s.id == id and s.token == was[1] and s.keep_ms == 0 for s in steps):
                self.endings.setdefault(id, []).append("completed")
            case b.Delete(ids=ids) if id in ids:
                self.endings.setdefault(id, []).append("deleted")
            case _:
                self.broken(f"{was[0]} before, and in no place after a {type(verb).__name__.lower()}", id)

    def _changes(self, id: str, was: Seen, now: Seen, call: b.Call, verb: b.Verb[Any]) -> None:
        state, token, counts, lease_ms = was
        word = type(verb).__name__.lower()
        if state in _ENDS:
            self.broken(f"{state}, and then {now[0]} by a {word}", id)
        if state == "dead" and now[0] != "dead" and not isinstance(verb, b.Requeue):
            self.broken(f"dead, and then {now[0]} by a {word}", id)
        if now[1] is not None and now[1] != token:
            self._leased(id, was, now[1], call, verb)
        elif token is not None and now[1] is None:
            owners = isinstance(verb, b.Settle) and any(s.id == id and s.token == token for s in verb.transitions)
            if not owners and not (isinstance(verb, b.Claim) and (lease_ms or 0) <= self._now_ms):
                self.broken(f"a {word} without its token took it from its worker", id)
        elif now[1] is not None and (now[3] or 0) < (lease_ms or 0):
            self.broken(f"a {word} shortened its lease", id)
        self._counts(id, counts, now[2], verb)

    def _leased(self, id: str, was: Seen, token: str, call: b.Call, verb: b.Verb[Any]) -> None:
        used = self._tokens.setdefault(id, set())
        if not isinstance(verb, b.Claim) or token != f"{call.caller}.{call.number}" or token in used:
            self.broken(f"leased under a wrong or used token ({token})", id)
        used.add(token)
        self._leased_at[token] = self._kernel.now
        if was[1] is None:
            return
        if (was[3] or 0) > self._now_ms:
            self.broken("two valid tokens: taken over before its lease ended", id)
        # What a claim brought, and a busy loop has not read yet, nobody renews.
        unread = (id, was[1]) not in self.dealt and self.may_be_late(was[1], self._leased_at[was[1]])
        why = self._alive(was[1].partition(".")[0])
        if why is not None and not unread:
            self.broken(f"taken from a worker that {why}", id)

    def _counts(self, id: str, was: Counts, now: Counts, verb: b.Verb[Any]) -> None:
        if now.runs < was.runs or now.runs > was.runs + 1 or now.interruptions < was.interruptions:
            self.broken(f"runs went from {was.runs} to {now.runs}", id)
        if now.failures < was.failures and not isinstance(verb, b.Requeue):
            self.broken("failures went back", id)
        if now.crashes > was.crashes and not isinstance(verb, b.Claim):
            self.broken("a crash was counted without a lost lease", id)

    def _ended(self, name: str, id: str, was: Seen | None, now: Seen | None, verb: b.Verb[Any]) -> None:
        state = None if now is None else now[0]
        if state in OVER and (was is None or was[0] != state):
            past = self.endings.setdefault(id, [])
            if state in _ENDS and any(end in _ENDS for end in past) and id not in self.sent_again:
                self.broken(f"ended as {past[-1]} and again as {state}", id)
            past.append(str(state))
        if state in OVER or state is None:
            self.told(name, id)

    def _keys(self, jobs: Mapping[str, Place]) -> None:
        held: dict[str, str] = {}
        for id, job in jobs.items():
            unique: Unique | None = job.new.unique
            if unique is None or unique.until != "done" or job.state in OVER or unique.key in self.shared_keys:
                continue
            if unique.key in held:
                self.broken(f"the key {unique.key} is held twice", held[unique.key], id)
            held[unique.key] = id

    def _settles(self, verb: b.Settle, verdicts: Any, before: dict[str, Seen]) -> None:
        if isinstance(verdicts, Exception):
            return
        for step, verdict in zip(verb.transitions, verdicts, strict=True):
            holder = before[step.id][1] if step.id in before else None
            if verdict != "fenced" and holder != step.token:
                self.broken(f"a settle under {step.token} was {verdict}, the lease is {holder}", step.id)
            if step.id not in self.effects:
                self._honest(step)

    def _honest(self, step: Transition) -> None:
        """What a worker says of a run is what its handler did."""
        ran = self.runs.get((step.id, step.token))
        how = "never started" if ran is None else ran.how or "still running"
        match step.bump, step.to:
            case None, _:
                right = ran is None
            case "runs", Finish("completed"):
                right = how == "returned"
            case "runs", _:
                right = how in ("cancelled", "gave up", "raised")
            case "failures", _:
                right = how in ("raised", "cancelled", "later", "rejected")
            case "snoozes", Delay():
                right = how == "snoozed"
            case "interruptions", Return():
                right = ran is not None and self.may_stop(step.token.partition(".")[0])
            case _:
                right = False
        if not right:
            self.broken(f"settled as {type(step.to).__name__} with bump {step.bump}, but its run: {how}", step.id)

    # --- what must be in the end ---

    def undone(self) -> dict[str, str]:
        """Accepted jobs that have not ended, and where they are."""
        found: dict[str, str] = {}
        for id, queue in self.accepted.items():
            now = self._census.get(queue, {}).get(id)
            if now is not None and now[0] not in OVER:
                found[id] = now[0]
            elif now is None and id not in self.endings:
                self.broken("accepted, and in no place", id)
        return found

    def left_behind(self, caller: str) -> list[str]:
        """The jobs that this caller still holds."""
        mark = f"{caller}."
        return [id for census in self._census.values() for id, now in census.items() if (now[1] or "").startswith(mark)]

    def open(self) -> list[str]:
        """Every job that has not ended, whoever stored it."""
        return [id for census in self._census.values() for id, now in census.items() if now[0] not in OVER]
