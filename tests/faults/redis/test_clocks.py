"""Workers and producers whose clocks are an hour off, ahead and behind (R21): the server's clock rules alone."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.processes import Fleet, eventually
from tests.servers import Server

from surefoot import clock
from surefoot.core.job import moment

HOUR_S = 3_600
LATER_S = 1.5
ROUNDED_S = 0.01
"""How much earlier than said a moment may be, by rounding to milliseconds here and there."""


@pytest.fixture
def fleet(server: Server, tmp_path: Path) -> Iterator[Fleet]:
    one = Fleet(tmp_path, server.url, server)
    try:
        yield one
    finally:
        one.close()
        print(one.logs())


@pytest.mark.parametrize("off_s", [HOUR_S, -HOUR_S], ids=["ahead", "behind"])
def test_R21_clocks_that_are_an_hour_off_move_nothing(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, off_s: int
) -> None:
    """The producer's, one worker's, and the other worker's the other way."""
    workers = [fleet.start("--ticks", "--clock", str(seconds)) for seconds in (off_s, -off_s)]
    fleet.ready(*workers)
    real = clock.wall_ms
    monkeypatch.setattr(clock, "wall_ms", lambda: real() + off_s * 1_000)
    task, began = fleet.task("work"), time.time()
    at = moment(real() + round(LATER_S * 1_000))  # a moment of the server's clock, whatever the producer's shows
    later = fleet.took(
        [
            task.options(delay=LATER_S).draft(seconds=0),
            task.options(at=at).draft(seconds=0),
            task.options(delay=LATER_S, expires=30).draft(seconds=0),
            task.options(at=at, expires=30).draft(seconds=0),
        ]
    )
    [long] = fleet.enqueue("work", seconds=3)
    eventually("all have run", lambda: all(record and record.state == "completed" for record in fleet.records()))
    for id in later:
        [run] = fleet.ledger.of("started", id)
        assert run["at"] >= began + LATER_S - ROUNDED_S, "not before it was due"
    assert fleet.ledger.count("started", long) == 1, "nobody took its lease for over"
    assert fleet.ledger.count("event:lease_lost") == 0
    eventually("ticks have run", lambda: len(ticks(fleet)) >= 3)
    assert all(abs(tick_s - ran_s) < HOUR_S / 2 for tick_s, ran_s in ticks(fleet)), "ticks of the server's time"
    fleet.stop(*workers)
    assert len({tick_s for tick_s, _ in ticks(fleet)}) == len(ticks(fleet)), "each tick once"


def ticks(fleet: Fleet) -> list[tuple[float, float]]:
    """Of each tick that ran: its time, and when that was."""
    runs = [run for run in fleet.ledger.of("started") if run["job"].startswith("cron:ticks:")]
    return [(int(run["job"].rpartition(":")[2]) / 1_000, run["at"]) for run in runs]
