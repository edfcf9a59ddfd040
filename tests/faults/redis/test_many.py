"""Very many jobs due at one instant, and as many pending (R25): what a claim costs does not grow with them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.stores import START_MS, envelope
from tests.faults.redis.stage import FAR_MS, QUEUE, at
from tests.servers import Server, start

from surefoot.brokers.answers import Claimed
from surefoot.brokers.broker import PUT_LIMIT, VERB_LIMIT, Call, Claim, Put, Settle, Verb
from surefoot.brokers.redis.broker import RedisBroker
from surefoot.core.job import At, Due, Leased, NewJob
from surefoot.core.transition import Finish, Transition

FEW, MANY, VERY_MANY = 2_000, 20_000, 500_000
DUE_MS = START_MS + 60_000
LEASE_MS = 10_000
STEP = 100
"""So many due jobs a claim takes over, or as many as it wants if that is more."""


class Crowded:
    """A server with so many jobs pending and as many due at one instant, which has come; and who works there."""

    def __init__(self, server: Server, broker: RedisBroker, many: int) -> None:
        self.many = many
        self._server = server
        self._broker = broker
        self._number = 0
        self.now = START_MS
        self._put("ready", None)
        self._put("due", At(DUE_MS))
        self.now = DUE_MS

    def say(self, verb: Verb[Any]) -> Any:
        self._number += 1
        [answer] = self._broker.run_sync(Call("caller", self._number, "once", (verb,), self.now))
        assert not isinstance(answer, Exception), answer
        return answer

    def _put(self, kind: str, due: Due) -> None:
        body = envelope(kind)
        for first in range(0, self.many, PUT_LIMIT):
            jobs = [NewJob(f"{kind}{number:07}", body, due) for number in range(first, first + PUT_LIMIT)]
            assert {answer.word for answer in self.say(Put(QUEUE, tuple(jobs)))} == {"created"}

    def claim(self, want: int) -> list[Leased]:
        claimed: Claimed = self.say(Claim(QUEUE, want, LEASE_MS, FAR_MS))
        return claimed.jobs

    def forget(self, held: list[Leased]) -> None:
        """They are done, and nothing is kept of them."""
        steps = [Transition(one.id, one.token, Finish("completed"), "runs", keep_ms=0) for one in held]
        assert set(self.say(Settle(QUEUE, tuple(steps)))) == {"applied"}

    def scheduled(self) -> int:
        return int(self._server.say("ZCARD", f"{{{QUEUE}}}:scheduled"))

    def work_of(self, want: int) -> tuple[int, float]:
        """What the server did for one claim: how many commands, those inside the script too, and its microseconds."""
        self._server.say("CONFIG", "RESETSTAT")
        held = self.claim(want)
        done = self._server.say("INFO", "commandstats").decode()
        assert len(held) == want
        self.forget(held)
        calls = {name: int(calls) for name, calls in re.findall(r"cmdstat_(\S+?):calls=(\d+)", done)}
        [usec] = re.findall(r"cmdstat_eval(?:sha)?:\S*?usec_per_call=([\d.]+)", done)
        return sum(many for name, many in calls.items() if not name.startswith(("config", "info"))), float(usec)


@contextmanager
def crowded(place: Path, many: int) -> Iterator[Crowded]:
    with start(place) as server:
        broker = RedisBroker(at(server.port, timeout=60))
        try:
            yield Crowded(server, broker, many)
        finally:
            broker.close_sync()


def claims_stay_flat(place: Path, many: int) -> None:
    """The same number of commands as where there are few; a bounded step of those that are due; each job once."""
    with crowded(place / "few", FEW) as few:
        expected = [few.work_of(50) for _ in range(15)]
    with crowded(place / "many", many) as crowd:
        found = []
        for _ in range(15):
            before = crowd.scheduled()
            found.append(crowd.work_of(50))
            assert before - crowd.scheduled() == STEP
        assert [commands for commands, _ in found] == [commands for commands, _ in expected]
        print(f"microseconds a claim of 50: {FEW}: {mean(expected):.0f}, {many}: {mean(found):.0f}")
        ids: list[str] = []
        while held := crowd.claim(VERB_LIMIT):
            ids += [one.id for one in held]
            crowd.forget(held)
        left = range(15 * 50, many)
        assert ids == [f"ready{number:07}" for number in left] + [f"due{number:07}" for number in range(many)]
        assert crowd.scheduled() == 0


def mean(work: list[tuple[int, float]]) -> float:
    return sum(usec for _, usec in work) / len(work)


def test_R25_many_due_at_one_instant_and_as_many_pending(tmp_path: Path) -> None:
    claims_stay_flat(tmp_path, MANY)


@pytest.mark.faults_full
@pytest.mark.timeout(1_800)
def test_R25_very_many_due_at_one_instant_and_as_many_pending(tmp_path: Path) -> None:
    claims_stay_flat(tmp_path, VERY_MANY)
