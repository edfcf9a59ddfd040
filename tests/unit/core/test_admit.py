"""`admit`: what to do with a claimed job before its run. Every row of the table, in its order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.unit.core.cases import NOW_MS, TOKEN, admitted, body, leased, run_of, silent, spec

from surefoot.core.codec import decode_error, mark_begun
from surefoot.core.errors import Reject
from surefoot.core.job import After, At, Counts
from surefoot.core.lifecycle import Run, admit, first_due_ms, is_suspect
from surefoot.core.retry import Retry
from surefoot.core.transition import KEEP_MS, Bury, Delay, Finish, Park, Transition

SECOND = 1_000


def moved(found: Run | Transition) -> Transition:
    assert isinstance(found, Transition), found
    assert (found.id, found.token, found.bump, found.effects) == ("job-1", TOKEN, None, ())
    return found


def reason(found: Run | Transition) -> str:
    line = moved(found).error
    assert line is not None
    told = decode_error(line)
    assert told.reason is not None
    assert moved(found).to == Bury(told.reason)  # type: ignore[arg-type]
    return f"{told.reason}: {told.kind}: {told.message}"


# The rows, in their order.


def test_a_cancel_request_ends_the_job_before_anything_is_looked_at() -> None:
    found = moved(admitted(leased(b"no envelope", cancel="stop it")))
    assert (found.to, found.keep_ms) == (Finish("cancelled", b"stop it"), KEEP_MS)
    assert moved(admitted(leased(cancel=""))).to == Finish("cancelled", b"")


@pytest.mark.parametrize("raw", [b"", b"\xff\x00", body()[:-5], b"[]", b'{"version":0}'])
def test_D2_an_unreadable_envelope_is_buried_as_invalid(raw: bytes) -> None:
    assert reason(admitted(leased(raw))).startswith("invalid: UnreadableEnvelope: ")


def test_D2_a_task_name_that_cannot_be_one_is_invalid() -> None:
    assert "cannot be the name of a task" in reason(admitted(leased(body(task="<img>"))))
    assert len(reason(admitted(leased(body(task="x" * 500_000))))) < 500


def test_D3_a_newer_envelope_waits_for_a_worker_that_understands_it() -> None:
    assert moved(admitted(leased(b'{"version":3}'))).to == Park("needs:3")
    assert moved(admitted(leased(b'{"version":1,"needs":2}'))).to == Park("needs:2")


def test_D11_a_job_that_comes_too_late_expires() -> None:
    found = moved(admitted(leased(body(expires_after_ms=SECOND)), now_ms=NOW_MS + SECOND + 1))
    assert (found.to, found.keep_ms, found.error) == (Finish("expired"), KEEP_MS, None)
    assert isinstance(admitted(leased(body(expires_after_ms=SECOND)), now_ms=NOW_MS + SECOND), Run)


def test_expiry_comes_before_a_task_that_nobody_here_knows() -> None:
    late = leased(body(task="unknown", expires_after_ms=SECOND))
    assert moved(admitted(late, now_ms=NOW_MS + 2 * SECOND)).to == Finish("expired")


def test_D3_an_unknown_task_waits_for_a_worker_that_has_it() -> None:
    assert moved(admitted(leased(body(task="other")))).to == Park("task:other")
    assert moved(admit(leased(), {}, NOW_MS, 5)).to == Park("task:welcome")
    assert moved(admit(leased(counts=Counts(runs=9, crashes=9)), {}, NOW_MS, 5)).to == Park("task:welcome")


def test_D3_a_newer_schema_waits_for_a_worker_that_knows_it() -> None:
    assert moved(admitted(leased(body(schema=3)), spec(schema=2))).to == Park("task:welcome@3")


@pytest.mark.parametrize(("most", "crashes"), [(3, 3), (3, 4), (1, 1)])
def test_W14_a_job_that_took_its_worker_too_often_is_quarantined(most: int, crashes: int) -> None:
    job = leased(body("not even an object"), counts=Counts(runs=crashes, crashes=crashes))
    job = msgspec.structs.replace(job, note=mark_begun(None, crashes))
    found = moved(admitted(job, spec(retry=Retry(max_crashes=most))))
    assert found.to == Bury("crash_loop")
    assert decode_error(found.error or b"").reason == "crash_loop"


def test_W14_a_crash_before_the_job_began_is_not_held_against_a_suspect() -> None:
    job = leased(counts=Counts(runs=3, crashes=3))
    assert isinstance(admitted(job), Run)
    earlier = msgspec.structs.replace(job, note=mark_begun(None, 2))
    assert isinstance(admitted(earlier), Run)
    assert is_suspect(earlier, spec())


def test_D4_arguments_that_do_not_fit_are_invalid_without_a_run() -> None:
    told = reason(admitted(leased(body({"address": 42}))))
    assert told == "invalid: InvalidArguments: welcome() got 42 (an int) for 'address', which is a str."
    assert "is missing 'address'" in reason(admitted(leased(body({}))))
    assert reason(admitted(leased(body([])))).startswith("invalid: InvalidArguments: ")


@pytest.mark.parametrize(("crashes", "suspects", "apart"), [(2, 1, True), (2, 0, False), (1, 1, True), (0, 9, False)])
def test_W14_what_has_crashed_runs_beside_no_suspect(crashes: int, suspects: int, apart: bool) -> None:
    found = admitted(leased(counts=Counts(runs=crashes, crashes=crashes)), suspects=suspects)
    assert isinstance(found, Run) is not apart
    if apart:
        assert moved(found).to == Delay(2_000, "apart")


def test_with_one_allowed_crash_nobody_is_a_suspect() -> None:
    assert not is_suspect(leased(), spec(retry=Retry(max_crashes=1)))
    assert isinstance(admitted(leased(), spec(retry=Retry(max_crashes=1)), suspects=5), Run)


# What runs.


@pytest.mark.parametrize("runs", [0, 1, 41])
def test_attempt_is_the_number_of_started_runs_plus_one(runs: int) -> None:
    run = run_of(leased(counts=Counts(runs=runs)))
    assert run.attempt == runs + 1
    assert (run.arguments.address, run.spec.name, run.leased.id) == ("a@b.c", "welcome", "job-1")


@pytest.mark.parametrize(
    ("own", "task", "expected"),
    [({}, 5_000, 5_000), ({}, None, None), ({"timeout_ms": 7}, 5_000, 7), ({"timeout_ms": None}, 5_000, None)],
)  # fmt: skip
def test_the_time_limit_is_the_job_s_own_or_the_task_s(own: Any, task: int | None, expected: int | None) -> None:
    assert run_of(leased(body(**own)), spec(timeout_ms=task)).timeout_ms == expected


def test_a_task_is_found_under_every_name_it_is_known_by() -> None:
    task = spec()
    found = admit(leased(body(task="old")), {"welcome": task, "old": task}, NOW_MS, 0)
    assert isinstance(found, Run)
    assert found.spec.name == "welcome"


# Older schemas.


def rename(old: int, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"address": arguments["mail"], "width": old}


def broken(_: int, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"address": arguments["nothing"]}


def nonsense(_: int, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"address": object()}


def rejecting(_: int, arguments: dict[str, Any]) -> dict[str, Any]:
    raise Reject("no")


def test_an_older_schema_passes_through_upcast_before_the_check() -> None:
    run = run_of(leased(body({"mail": "x"}, schema=2)), spec(schema=4, upcast=rename))
    assert (run.arguments.address, run.arguments.width) == ("x", 2)
    assert run_of(leased(body(schema=4)), spec(schema=4, upcast=rename)).arguments.address == "a@b.c"
    assert run_of(leased(body(schema=1)), spec(schema=4)).arguments.address == "a@b.c"


@pytest.mark.parametrize(
    ("upcast", "words"),
    [
        (broken, "invalid: KeyError: upcast from schema 1 failed: 'nothing'"),
        (nonsense, "invalid: TypeError: upcast from schema 1 failed: "),
        (rename, "invalid: KeyError: "),
        (lambda old, arguments: {"address": 5}, "invalid: InvalidArguments: welcome() got 5 (an int)"),
        (lambda old, arguments: None, "invalid: InvalidArguments: welcome() got arguments that are no JSON object"),
    ],
)
def test_an_upcast_that_fails_makes_the_job_invalid(upcast: Callable[..., Any], words: str) -> None:
    assert reason(admitted(leased(), spec(schema=2, upcast=upcast))).startswith(words)


# D11: from when expiry counts.


@pytest.mark.parametrize(
    ("due", "due_set_ms", "first"),
    [
        (None, None, NOW_MS),
        (After(5_000), None, NOW_MS + 5_000),
        (At(NOW_MS + 9_000), None, NOW_MS + 9_000),
        (At(NOW_MS - 9_000), None, NOW_MS),
        (After(5_000), NOW_MS + 60_000, NOW_MS + 60_000),
        (At(NOW_MS + 9_000), NOW_MS - 60_000, NOW_MS - 60_000),
        (None, 0, 0),
    ],
)
def test_D11_the_first_due_time_is_what_expiry_counts_from(due: Any, due_set_ms: int | None, first: int) -> None:
    job = leased(body(due=due, expires_after_ms=SECOND), counts=Counts(due_set_ms=due_set_ms))
    assert first_due_ms(job, run_of(job, now_ms=first).envelope) == first
    assert isinstance(admitted(job, now_ms=first + SECOND), Run)
    assert moved(admitted(job, now_ms=first + SECOND + 1)).to == Finish("expired")


@pytest.mark.parametrize(
    "counts",
    [
        Counts(1, failures=1),
        Counts(1, crashes=1),
        Counts(1, interruptions=1),
        Counts(1, snoozes=1),
        Counts(2, due_set_ms=NOW_MS),
    ],
    ids=["retry", "lost lease", "interruption", "snooze", "requeue"],
)
def test_D11_a_job_that_has_started_once_does_not_expire(counts: Counts) -> None:
    job = leased(body(expires_after_ms=SECOND), counts=counts)
    assert isinstance(admitted(job, now_ms=NOW_MS + 1_000 * SECOND), Run)
    assert isinstance(admitted(leased(body(expires_at_ms=NOW_MS), counts=counts), now_ms=NOW_MS + SECOND), Run)


@pytest.mark.parametrize(
    ("own", "task_ms", "late_ms"),
    [
        ({}, SECOND, SECOND),
        ({"expires_after_ms": 2 * SECOND}, SECOND, 2 * SECOND),
        ({"expires_at_ms": NOW_MS + 3 * SECOND}, SECOND, 3 * SECOND),
        ({"expires_after_ms": 0}, SECOND, 0),
    ],
)
def test_D11_the_job_s_own_limit_wins_over_the_task_s(own: Any, task_ms: int, late_ms: int) -> None:
    task = spec(expires_ms=task_ms)
    assert isinstance(admitted(leased(body(**own)), task, now_ms=NOW_MS + late_ms), Run)
    assert moved(admitted(leased(body(**own)), task, now_ms=NOW_MS + late_ms + 1)).to == Finish("expired")


def test_D11_no_limit_is_no_limit() -> None:
    far = NOW_MS * 2
    assert isinstance(admitted(leased(body(expires_after_ms=None)), spec(expires_ms=SECOND), now_ms=far), Run)
    assert isinstance(admitted(leased(), now_ms=far), Run)


@pytest.mark.parametrize(
    ("own", "task_ms", "kept"),
    [
        ({}, 0, KEEP_MS),
        ({}, None, None),
        ({"keep_result_ms": 9 * KEEP_MS}, 0, 9 * KEEP_MS),
        ({"keep_result_ms": None}, 0, None),
        ({"keep_result_ms": 1}, None, KEEP_MS),
    ],
)
def test_whoever_waits_for_an_expired_job_is_told(own: Any, task_ms: int | None, kept: int | None) -> None:
    found = admitted(
        leased(body(expires_after_ms=0, **own)), spec(silent, name="welcome", keep_ms=task_ms), now_ms=NOW_MS + 1
    )
    assert moved(found).keep_ms == kept


def test_a_transition_is_a_record_that_can_be_written() -> None:
    assert msgspec.json.encode(moved(admitted(leased(body(task="other")))))
