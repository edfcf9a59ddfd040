"""Handlers that raise what nobody expects: groups, texts that fail, huge texts, CancelledError, SystemExit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from tests.engine.stage import burst, known

from surefoot import Job, Queue, Retry

LANES = pytest.mark.parametrize("lane", ["loop", "thread"])
SECRET = "the-secret-in-a-local-variable"


class Mute(Exception):
    """Its text cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Deadly(Exception):
    """Its text ends the process, if one lets it."""

    def __str__(self) -> str:
        raise SystemExit(3)


async def failed(jobs: Queue, lane: str, fail: Callable[[], NoReturn]) -> Job:
    """Run one job that fails, and one good one after it in the same worker."""

    @jobs.task(name="plain", retry=Retry(max_attempts=1))
    def plain() -> None:
        secret = SECRET
        assert secret
        fail()

    @jobs.task(name="coroutine", retry=Retry(max_attempts=1))
    async def coroutine() -> None:
        secret = SECRET
        assert secret
        fail()

    @jobs.task(name="good", keep_result=60)
    async def good() -> str:
        return "served"

    bad: Any = await (plain if lane == "thread" else coroutine).enqueue()
    after = await good.enqueue()
    await burst(jobs, concurrency=1)
    assert await after.result(timeout=0) == "served"
    job = await known(bad)
    assert (job.state, job.reason, job.failures, job.runs) == ("dead", "exhausted", 1, 1)
    assert job.error is not None
    assert SECRET not in job.error.traceback + job.error.message
    assert len(job.error.message) <= 3_000 and len(job.error.traceback) <= 15_000
    return job


def raiser(error: BaseException) -> Callable[[], NoReturn]:
    def fail() -> NoReturn:
        raise error

    return fail


@LANES
@pytest.mark.parametrize(
    ("error", "name", "message"),
    [
        (ValueError("plain"), "ValueError", "plain"),
        (ExceptionGroup("some", [ValueError("one"), KeyError("two")]), "ExceptionGroup", "some (2 sub-exceptions)"),
        (Mute(), "Mute", "could not be made"),
        (Deadly(), "Deadly", "could not be made"),
        (ValueError("x" * 10_000_000), "ValueError", "characters left out"),
        (ValueError("half a pair \ud800"), "ValueError", "half a pair"),
    ],
    ids=["plain", "group", "mute", "deadly", "10 MB", "surrogate"],
)
async def test_W15_whatever_an_exception_is_made_of_it_is_a_failed_attempt(
    jobs: Queue, lane: str, error: Exception, name: str, message: str
) -> None:
    job = await failed(jobs, lane, raiser(error))
    assert job.error is not None
    assert job.error.kind == name and message in job.error.message


@LANES
async def test_W16_a_cancelled_error_of_the_handlers_own_is_a_failed_attempt(jobs: Queue, lane: str) -> None:
    job = await failed(jobs, lane, raiser(asyncio.CancelledError("mine")))
    assert job.error is not None and job.error.kind == "CancelledError"


@LANES
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
async def test_W17_what_would_end_the_process_is_a_failed_attempt_and_one_warning(
    jobs: Queue, lane: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="surefoot"):
        job = await failed(jobs, lane, raiser(error))
    assert job.error is not None and job.error.kind == type(error).__name__
    warnings = [line for line in caplog.records if line.levelno == logging.WARNING and job.id in line.getMessage()]
    assert len(warnings) == 1


def endless(depth: int = 0) -> NoReturn:
    endless(depth + 1)
    raise AssertionError


@LANES
async def test_W18_recursion_and_memory_errors_are_recorded(jobs: Queue, lane: str) -> None:
    job = await failed(jobs, lane, endless)
    assert job.error is not None and job.error.kind == "RecursionError"


@LANES
async def test_W18_a_memory_error_is_recorded(jobs: Queue, lane: str) -> None:
    job = await failed(jobs, lane, raiser(MemoryError()))
    assert job.error is not None and job.error.kind == "MemoryError"


async def test_a_plain_function_that_returns_a_coroutine_fails_with_a_sentence(jobs: Queue) -> None:
    async def inner() -> None: ...

    @jobs.task(name="forgot", retry=Retry(max_attempts=1))
    def forgot() -> Any:
        return inner()

    job = await forgot.enqueue()
    await burst(jobs)
    stored = await known(job)
    assert stored.error is not None
    assert stored.error.message == "forgot is a plain function but returned a coroutine; write `async def forgot`."


async def test_S5_an_exception_is_kept_as_words_and_never_built_again(jobs: Queue) -> None:
    built: list[str] = []

    class Counted(Exception):
        def __init__(self) -> None:
            super().__init__("counted")
            built.append("once")

    def fail() -> NoReturn:
        raise Counted

    job = await failed(jobs, "loop", fail)
    with pytest.raises(Exception, match="counted") as caught:
        await jobs.handle(job.id).result(timeout=0)
    assert type(caught.value).__name__ == "JobFailed"
    assert built == ["once"]
    assert job.error is not None and job.error.kinds[-2:] == ("Exception", "BaseException")
