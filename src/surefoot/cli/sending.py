"""Calls that run code of the application: storing a job, changing a letter; and what a command says of their errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from surefoot.cli.exits import AnswerIsNo, StoreFault
from surefoot.cli.output import Output
from surefoot.cli.target import from_application, raised
from surefoot.core.errors import NotReplicated, OutcomeUnknown, QueueFull, SurefootError
from surefoot.core.job import Draft

if TYPE_CHECKING:
    from surefoot.client.handle import JobHandle
    from surefoot.client.queue import Queue


@contextmanager
def application_code(out: Output, what: str) -> Iterator[None]:
    """What the application raises here is told as one sentence and its own traceback; `what` is the code that runs."""
    try:
        yield
    except SurefootError:
        raise
    except Exception as error:
        if not from_application(error):
            raise
        raise raised(f"{what} raised; nothing was stored", error, verbose=out.verbose) from None


def sent(out: Output, queue: "Queue", draft: Draft[Any]) -> "JobHandle[Any]":
    """The handle of the stored job. The same command again would be another job: where that could double it, say so."""
    try:
        with application_code(out, f"before_enqueue of queue '{queue.name}'"):
            return queue.enqueue_sync(draft)
    except QueueFull as full:
        raise AnswerIsNo(str(full)) from None
    except OutcomeUnknown as unknown:
        if isinstance(unknown, NotReplicated):
            raise
        head = str(unknown).partition(" Enqueue the same draft")[0]
        raise StoreFault(
            f"{head} Before you enqueue it again, see whether it is: surefoot explain {draft.id}"
        ) from None
