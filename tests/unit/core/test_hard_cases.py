"""Hard cases that core once got wrong: hostile text, huge numbers, other people's bytes, and two tasks of different
patience.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.core.cases import NOW_MS, admitted, body, leased, run_of, spec

from surefoot.core.codec import ERROR_LINE_LIMIT, decode_error, decode_note, encode_error, encode_note
from surefoot.core.errors import LONGEST_S, ConfigError, ErrorInfo, Reject
from surefoot.core.job import Counts, Key, Progress, moment
from surefoot.core.lifecycle import Run, admit, decide, is_suspect
from surefoot.core.outcome import MESSAGE_LIMIT, Cancelled, Crashed, Raised, describe
from surefoot.core.retry import Retry
from surefoot.core.transition import Bury, Finish, Transition

ERROR = ErrorInfo(kind="E")
INTEGER_LIMIT = 2**63 - 1


def test_half_a_surrogate_pair_in_a_cancel_s_reason_breaks_no_decision() -> None:
    assert isinstance(decide(run_of(), Cancelled("\ud800"), NOW_MS, 0.0).to, Finish)


def test_half_a_surrogate_pair_in_a_cancel_request_breaks_no_admission() -> None:
    assert isinstance(admitted(leased(cancel="\ud800")), Transition)


@pytest.mark.parametrize("outcome", [Raised(ERROR), Crashed(ERROR)])
def test_a_huge_cap_breaks_no_decision(outcome: Any) -> None:
    run = run_of(None, spec(retry=Retry(base=LONGEST_S, cap=LONGEST_S, jitter=0)))
    assert decide(run, outcome, NOW_MS, 0.0).bump is not None
    with pytest.raises(ConfigError, match="longer than 100 years"):
        Retry(cap=1e306)


@pytest.mark.parametrize("options", [{"factor": 10**400}, {"base": 10**400}, {"cap": 10**400}])
def test_a_number_that_no_float_holds_is_a_config_error(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Retry(**options)


def test_a_key_s_period_fits_the_store() -> None:
    assert int(Key("k", until=LONGEST_S).unique("t").until) <= INTEGER_LIMIT
    with pytest.raises(ConfigError):
        Key("k", until=1e300)


def raises(signal: BaseException) -> Any:
    def upcast(_: int, arguments: dict[str, Any]) -> dict[str, Any]:
        raise signal

    return upcast


@pytest.mark.parametrize("signal", [SystemExit(3), Reject("no")])
def test_an_upcast_that_raises_what_is_no_exception_makes_the_job_invalid(signal: BaseException) -> None:
    found: Any = admitted(leased(), spec(schema=2, upcast=raises(signal)))
    assert found.to == Bury("invalid")


def test_a_cancelled_job_is_kept_as_long_as_its_task_says() -> None:
    found = admitted(leased(cancel="x"), spec(keep_ms=None))
    assert isinstance(found, Transition)
    assert found.keep_ms is None


def test_an_error_line_is_bounded_whatever_the_class_is_called() -> None:
    assert len(encode_error(ErrorInfo(kind="K" * 20_000))) <= ERROR_LINE_LIMIT


def test_a_message_of_half_surrogate_pairs_is_bounded() -> None:
    assert len(describe(ValueError("\ud800" * 5_000)).message) <= MESSAGE_LIMIT + 50


@pytest.mark.parametrize("read", [decode_error, decode_note])
def test_deep_nesting_in_a_line_of_somebody_else_s_making_is_told(read: Any) -> None:
    read(b'{"done":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_a_note_with_an_impossible_time_is_no_progress() -> None:
    assert decode_note(b'{"done":1,"at_ms":99999999999999999999}') is None


def test_a_note_with_half_a_surrogate_pair_can_be_written() -> None:
    assert encode_note(Progress(1, None, "\ud800", moment(0)), 0)


def test_W14_a_killer_with_more_patience_quarantines_nobody_else() -> None:
    """The killer may crash ten times, the good job three; both have crashed twice together, and run together again."""
    killer = spec(name="killer", retry=Retry(max_crashes=10))
    good = spec(name="welcome", retry=Retry(max_crashes=3))
    tasks = {"killer": killer, "welcome": good}
    twice = Counts(runs=2, crashes=2)
    first = admit(leased(body(task="killer"), counts=twice), tasks, NOW_MS, 0)
    suspects = int(is_suspect(leased(counts=twice), killer))
    second = admit(leased(body(task="welcome"), counts=twice), tasks, NOW_MS, suspects, crashed=1)
    assert not (isinstance(first, Run) and isinstance(second, Run)), "the next crash quarantines the good one"
