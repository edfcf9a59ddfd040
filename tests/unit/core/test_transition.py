"""The table of legal moves."""

from __future__ import annotations

from typing import get_args

import pytest

from surefoot.core.names import State
from surefoot.core.transition import END, MOVES, START, legal

STATES: tuple[State, ...] = get_args(State)


def test_every_state_has_its_row_and_every_move_leads_to_a_state() -> None:
    assert set(MOVES) == {START, *STATES}
    assert {after for row in MOVES.values() for after in row} <= {*STATES, END}
    assert all(why for row in MOVES.values() for why in row.values())


def test_every_state_can_be_reached_and_left() -> None:
    reached, edge = {START}, [START]
    while edge:
        for after in MOVES.get(edge.pop(), {}):
            if after not in reached:
                reached.add(after)
                edge.append(after)
    assert reached == {START, END, *STATES}


@pytest.mark.parametrize("state", ["completed", "cancelled", "expired"])
def test_what_is_finished_is_only_forgotten(state: State) -> None:
    assert set(MOVES[state]) == {END}


def test_only_a_requeue_brings_a_dead_letter_back() -> None:
    assert MOVES["dead"] == {"pending": "requeue", END: "delete, prune"}


def test_a_job_runs_only_out_of_a_claim() -> None:
    assert {before for before, row in MOVES.items() if "processing" in row} == {
        "scheduled",
        "pending",
        "parked",
        "processing",
    }
    assert {before for before, row in MOVES.items() if "completed" in row} == {"processing"}


@pytest.mark.parametrize("before", [None, *STATES])
@pytest.mark.parametrize("after", [None, *STATES])
def test_legal_reads_the_table_and_staying_is_no_move(before: State | None, after: State | None) -> None:
    assert legal(before, after) == (before == after or (after or END) in MOVES[before or START])


def test_nothing_goes_from_an_end_to_another() -> None:
    assert not legal("completed", "dead")
    assert not legal("dead", "completed")
    assert not legal("cancelled", "pending")
    assert not legal(None, "processing")
    assert legal(None, "pending")
    assert legal("processing", None)


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        MOVES["dead"] = {}  # type: ignore[index]
