"""Ready-made records for the tests of core: a task, a claimed job, an admitted run. No test lives here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from surefoot.core.codec import encode_envelope, encode_json
from surefoot.core.job import NO_COUNTS, Counts, Draft, Due, Leased
from surefoot.core.lifecycle import Run, admit
from surefoot.core.signature import Signature
from surefoot.core.spec import Spec
from surefoot.core.transition import Transition

NOW_MS = 1_800_000_000_000
TOKEN = "aaaabbbbccccdddd.7"


def welcome(address: str, width: int = 800) -> str:
    return f"{address} {width}"


def silent(address: str) -> None: ...


def spec(function: Callable[..., object] = welcome, **options: Any) -> Spec:
    name = options.pop("name", function.__name__)
    return Spec(name=name, function=function, signature=Signature(function, task=name), **options)


def body(
    payload: object = None,
    *,
    task: str = "welcome",
    due: Due = None,
    schema: int = 1,
    **options: int | None,
) -> bytes:
    arguments = encode_json({"address": "a@b.c"} if payload is None else payload)
    draft: Draft[Any] = Draft(
        id="job-1", queue="mail", task=task, payload=arguments, due=due, schema=schema, options=options
    )
    return encode_envelope(draft, NOW_MS)


def leased(
    envelope: bytes | None = None, *, counts: Counts = NO_COUNTS, cancel: str | None = None, enqueued_ms: int = NOW_MS
) -> Leased:
    return Leased("job-1", TOKEN, enqueued_ms, body() if envelope is None else envelope, counts, None, cancel)


def admitted(job: Leased, task: Spec | None = None, *, now_ms: int = NOW_MS, suspects: int = 0) -> Run | Transition:
    found = spec() if task is None else task
    return admit(job, {found.name: found}, now_ms, suspects)


def run_of(job: Leased | None = None, task: Spec | None = None, *, now_ms: int = NOW_MS) -> Run:
    run = admitted(leased() if job is None else job, task, now_ms=now_ms)
    assert isinstance(run, Run), run
    return run
