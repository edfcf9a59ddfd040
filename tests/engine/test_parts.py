"""The engine's step functions, without a loop or a store: shares, trust, drain, what a queue's last claim said."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.brokers.answers import Claimed
from surefoot.core.errors import StoreUnavailable
from surefoot.core.job import Leased
from surefoot.core.signature import Signature
from surefoot.core.spec import Spec
from surefoot.engine.drain import Drain
from surefoot.engine.outage import Outage
from surefoot.engine.served import REASONS_LIMIT, Served
from surefoot.engine.shares import Fair, strict
from surefoot.engine.trust import SLIP_MS, Trust


def claimed(jobs: int = 0, wait_ms: int = 12_000, *, paused: bool = False, parking: bool = False) -> Claimed:
    leased = [Leased(str(place), "a.1", 0, b"") for place in range(jobs)]
    return Claimed(1_000_000, wait_ms, paused, leased, parking)


def nothing() -> None: ...


SIGNATURE = Signature(nothing, task="nothing")


class TestShares:
    def test_strict_gives_all_to_the_first_queue_that_may_have_work(self) -> None:
        assert strict([False, True, True], 7) == [0, 7, 0]
        assert strict([False, False], 7) == [0, 0]

    @given(st.lists(st.tuples(st.booleans(), st.integers(1, 9)), min_size=1, max_size=6), st.integers(1, 200))
    def test_fair_deals_every_free_slot_and_only_to_candidates(self, queues: list[tuple[bool, int]], free: int) -> None:
        candidates = [may_have for may_have, _ in queues]
        wants = Fair([weight for _, weight in queues])(candidates, free)
        assert sum(wants) == (free if any(candidates) else 0)
        assert all(may_have or want == 0 for may_have, want in zip(candidates, wants, strict=True))

    def test_fair_shares_one_slot_at_a_time_by_weight(self) -> None:
        deal, won = Fair([3, 1]), Counter[int]()
        for _ in range(400):
            won[deal([True, True], 1).index(1)] += 1
        assert won == {0: 300, 1: 100}

    def test_fair_deals_many_slots_by_weight(self) -> None:
        assert Fair([3, 1])([True, True], 100) == [75, 25]


class TestTrust:
    def test_nothing_is_believed_before_one_lease_of_contact(self) -> None:
        trust = Trust(10_000, now=100.0)
        assert trust.until_ms(100.0) == 0
        trust.heard(1_000_000, asked=100.0, now=100.1)
        assert trust.until_ms(105.0) == 0
        assert trust.until_ms(110.1) == 1_000_000 + 10_000 + SLIP_MS

    def test_a_call_that_took_longer_than_a_quarter_of_the_lease_breaks_contact(self) -> None:
        trust = Trust(10_000, now=0.0)
        trust.heard(1_000_000, asked=0.0, now=0.1)
        trust.heard(1_020_000, asked=17.0, now=20.1)
        assert trust.until_ms(21.0) == 0
        assert trust.until_ms(30.2) > 0

    def test_a_rest_that_ended_far_too_late_breaks_contact(self) -> None:
        trust = Trust(10_000, now=0.0)
        trust.heard(1_000_000, asked=0.0, now=0.0)
        trust.rested(until=15.0, now=15.1)
        assert trust.until_ms(15.1) > 0
        trust.rested(until=16.0, now=19.0)
        assert trust.until_ms(19.0) == 0
        assert trust.until_ms(29.0) > 0

    def test_a_jump_of_the_stores_clock_breaks_contact(self) -> None:
        trust = Trust(10_000, now=0.0)
        trust.heard(1_000_000, asked=0.0, now=0.0)
        trust.heard(1_015_000, asked=15.0, now=15.0)
        assert trust.until_ms(15.0) > 0
        trust.heard(1_615_000, asked=16.0, now=16.0)
        assert trust.until_ms(16.1) == 0

    def test_contact_begins_with_the_first_reply_after_a_failure_not_with_the_failure(self) -> None:
        trust = Trust(1_000, now=0.0)
        trust.heard(1_000_000, asked=0.0, now=0.0)
        trust.broken(5.0)
        trust.heard(1_005_900, asked=5.9, now=5.9)
        assert trust.until_ms(6.1) == 0
        assert trust.until_ms(7.0) > 0

    def test_no_jump_that_goes_unnoticed_ends_a_short_lease_that_is_renewed(self) -> None:
        """Whoever lives has renewed within a quarter of the lease: three quarters of it are left."""
        lease_ms = 2_000
        trust = Trust(lease_ms, now=0.0)
        trust.heard(1_000_000, asked=0.0, now=0.0)
        trust.heard(1_010_000, asked=10.0, now=10.0)
        assert 1_010_000 <= trust.until_ms(10.0) < 1_010_000 + 3 * lease_ms // 4
        trust.heard(1_010_100 + lease_ms // 2, asked=10.1, now=10.1)
        assert trust.until_ms(10.2) == 0


class TestDrain:
    def test_the_first_stop_gives_time_and_the_second_takes_it(self) -> None:
        drain = Drain(25)
        before = drain.leaving
        drain.stop(10.0)
        assert not before
        assert drain.leaving
        assert drain.cut_in(30.0) == 5.0
        drain.stop(31.0)
        assert drain.cut_in(31.0) == 0.0


class TestServed:
    def served(self, tasks: int = 0) -> Served:
        async def work() -> None: ...

        specs = [Spec(name=f"t{place}", function=work, signature=SIGNATURE) for place in range(tasks)]
        return Served("ns:q", {spec.name: spec for spec in specs}, (), 1)

    def test_a_queue_is_empty_when_its_claim_brought_less_than_asked_until_its_timer(self) -> None:
        served = Served("ns:q", {}, (), 1)
        assert served.due(0.0)
        served.heard(claimed(jobs=3, wait_ms=5_000), want=10, now=100.0, regained_at=0.0)
        assert not served.due(104.9)
        assert served.due(105.0)
        served.heard(claimed(jobs=10), want=10, now=106.0, regained_at=0.0)
        assert served.due(106.0)

    def test_a_worker_without_trust_wakes_itself_when_it_has_it_again(self) -> None:
        served = Served("ns:q", {}, (), 1)
        served.heard(claimed(wait_ms=12_000), want=1, now=100.0, regained_at=103.0)
        assert not served.due(102.9)
        assert served.due(103.0)

    def test_the_first_claims_offer_every_parked_reason_and_then_only_where_something_is_parked(self) -> None:
        served = self.served(tasks=250)
        first, second = served.reasons(0.0), served.reasons(0.0)
        assert len(first) == REASONS_LIMIT and len({*first, *second}) == 251
        served.heard(claimed(parking=False), want=1, now=0.0, regained_at=0.0)
        assert served.reasons(5.0) == ()

    def test_news_of_something_parked_makes_the_next_claim_offer_reasons_at_once_but_once_a_second(self) -> None:
        served = self.served(tasks=1)
        served.reasons(0.0)
        served.heard(claimed(parking=False), want=1, now=0.0, regained_at=0.0)
        assert served.reasons(10.0) == ()
        served.heard(claimed(parking=True), want=1, now=10.0, regained_at=0.0)
        assert served.due(10.0)
        assert len(served.reasons(10.0)) == 2
        served.heard(claimed(parking=True), want=1, now=10.0, regained_at=0.0)
        assert not served.due(10.5), "nothing of it was for us: no spinning"
        assert served.reasons(10.5) == ()
        assert len(served.reasons(11.0)) == 2


class TestOutage:
    def test_it_is_told_at_once_then_once_a_minute_and_anew_when_it_was_over(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        outage = Outage("the store is away")
        for now, told in ((1_000.0, 1), (1_030.0, 1), (1_060.0, 2), (1_061.0, 2)):
            outage.met(StoreUnavailable("refused"), now)
            assert caplog.text.count("the store is away: refused") == told
        outage.over()
        outage.met(StoreUnavailable("refused"), 1_062.0)
        assert caplog.text.count("the store is away: refused") == 3
