"""docs/faults.md says what the tests say: each row has a test or a reason on each kind of store, each test its row."""

from __future__ import annotations

import pytest
from tests.faults import page
from tests.faults.rows import ROWS, SECTIONS


@pytest.fixture(scope="module")
def tests() -> list[page.Test]:
    return page.found()


def test_the_page_is_made_from_the_tests(tests: list[page.Test]) -> None:
    assert page.PAGE.read_text() == page.made(tests), "run: python -m tests.faults.page --write"


def test_every_row_has_a_test_or_a_reason_on_each_kind_of_store(tests: list[page.Test]) -> None:
    assert page.untested(tests) == []


def test_every_row_that_a_test_names_exists(tests: list[page.Test]) -> None:
    assert {row for test in tests for row in test.rows} <= set(ROWS)


def test_every_row_is_there_once() -> None:
    assert len(ROWS) == sum(map(len, SECTIONS.values()))


def test_tests_are_found_on_the_stores_that_they_run_on(tests: list[page.Test]) -> None:
    """A few whose stores are known, so that a rule that finds too much is seen."""
    known = {test.name: test for test in tests}
    both, file, server = {"file", "server"}, {"file"}, {"server"}
    assert known["test_W10_zombie_cannot_settle"].places == both
    assert known["test_R10_cut_everywhere"].places == server and known["test_R10_cut_everywhere"].full
    assert known["test_R10_stopped_at_any_point_of_a_life"].places == file
    assert known["test_D9_the_same_id_is_stored_once_wherever_it_stands"].places == both
    assert known["test_C1_a_fixed_hour_runs_once_on_both_days"].places == both
    assert known["test_W16_W17_what_is_no_exception_is_tried_again"].rows == ["W16", "W17"]
    assert not known["test_W10_zombie_cannot_settle"].full
