"""Hands, clocks and lost wake-ups against claims (D10, R24): one of the two wins, never both, never neither."""

import random

from tests.faults.processes import Fleet, eventually


def test_D10_cancel_racing_a_claim(fleet: Fleet, dice: random.Random) -> None:
    worker = fleet.start("--concurrency", "3")
    fleet.ready(worker)
    words: dict[str, str] = {}

    def both_have_won() -> bool:
        ids = fleet.enqueue("work", 100, seconds=0.01)
        for id in dice.sample(ids, 50):
            words[id] = fleet.queue.handle(id).cancel_sync("changed my mind")
        eventually("every job ended", fleet.over)  # or the next hundred would stand behind these, and never run
        return {"cancelled", "requested"} <= set(words.values())

    eventually("cancels and claims have both won", both_have_won)
    fleet.all_over().assert_nothing_lost()
    for id in fleet.accepted:
        state, starts = fleet.record(id).state, fleet.ledger.count("started", id)
        match words.get(id):
            case "cancelled":
                assert (state, starts) == ("cancelled", 0)
            case "requested":
                assert state in {"completed", "cancelled"}
                assert starts <= 1
            case _:
                assert (state, starts) == ("completed", 1)


def test_D10_expiry_racing_a_claim(fleet: Fleet, dice: random.Random) -> None:
    task = fleet.task("work")
    worker = fleet.start("--concurrency", "1")
    fleet.ready(worker)

    def both_have_won() -> bool:
        drafts = [task.options(expires=dice.uniform(0.05, 1.0)).draft(seconds=0.01) for _ in range(100)]
        ids = fleet.took(drafts)
        eventually("every job ended", fleet.over)
        return len({fleet.record(id).state for id in ids}) == 2

    eventually("expiry and claims have both won", both_have_won)
    fleet.all_over().assert_nothing_lost()
    for id in fleet.accepted:
        state, starts = fleet.record(id).state, fleet.ledger.count("started", id)
        assert (state, starts) in (("completed", 1), ("expired", 0))


def test_D10_pause_racing_a_claim(fleet: Fleet, dice: random.Random) -> None:
    workers = [fleet.start("--concurrency", "2") for _ in range(2)]
    fleet.ready(*workers)
    ids = fleet.enqueue("work", 300, seconds=0.01)
    for _ in range(10):
        fleet.moment(dice.randrange(1, 60))
        fleet.queue.pause_sync()
        started = fleet.ledger.count("started")
        eventually("what was claimed before is done", lambda: fleet.queue.stats_sync().processing == 0)
        pending = fleet.queue.stats_sync().pending
        assert fleet.ledger.count("ended") == len(ids) - pending, "claimed and run, or waiting"
        assert fleet.ledger.count("started") <= started + 4, "only what was in the workers' hands"
        fleet.queue.resume_sync()
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert verdict.started == len(ids)


def test_R24_every_wake_up_lost(fleet: Fleet) -> None:
    deaf = [fleet.start("--deaf") for _ in range(2)]
    fleet.ready(*deaf)
    now = fleet.enqueue("work", 5, seconds=0)
    later = fleet.took([fleet.task("work").options(delay=1.5).draft(seconds=0) for _ in range(5)])
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert verdict.ended == len(now) + len(later)
    assert fleet.ledger.count("swallowed") > 0, "there were wake-ups to lose"


def test_R24_ended_lease_is_taken_without_a_wake_up(fleet: Fleet) -> None:
    crew = [fleet.start("--deaf") for _ in range(3)]
    fleet.ready(*crew)
    fleet.took([fleet.task("work").options(delay=2).draft(seconds=0)])
    eventually("two leases are over: all trust the clock and have gone to sleep again", fleet.over)
    [id] = fleet.enqueue("work", seconds=60, later=0)
    fleet.told("started", 1, id)
    [run] = fleet.ledger.of("started", id)
    [dying] = [worker for worker in crew if worker.pid == run["pid"]]
    fleet.kill(dying)
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert verdict.doubled == {id: [f"worker {fleet.id_of(dying)} (process {dying.pid}) was struck"]}
