"""on_commit: a job that is stored when the database transaction commits, and never if it is rolled back."""

import asyncio
from typing import TypeVar

from django.db import transaction
from msgspec import UNSET

from surefoot.client.handle import JobHandle
from surefoot.client.queue import Queue
from surefoot.client.store import residents
from surefoot.core.errors import SyncInsideLoop, UsageError
from surefoot.core.job import Draft

R = TypeVar("R")


def on_commit(draft: Draft[R], *, using: str | None = None, queue: Queue | None = None) -> JobHandle[R]:
    """Store this job when the current transaction commits; outside one, at once. The handle has the job's id already.

    `using`: the alias of the database whose transaction it is. `queue`: only if two queues of this process have the
    draft's name. A store that is away at the commit raises its error there: the rows are committed, the job is not
    stored. A key that another job holds: the store does not know the handle's id.
    """
    if asyncio._get_running_loop() is not None:
        raise SyncInsideLoop(
            "on_commit() was called on the thread of a running event loop, where Django has no transaction; call it "
            "in the function that opens the transaction, and await that with sync_to_async."
        )
    home = _home(draft, queue)
    stored: list[JobHandle[R]] = []
    transaction.on_commit(lambda: stored.append(home.enqueue_sync(draft)), using=using)
    if stored:
        return stored[0]
    return JobHandle(home, draft.id, draft.task, False, draft.options.get("keep_result_ms", UNSET))


def _home(draft: Draft[R], queue: Queue | None) -> Queue:
    """The queue that a draft is for: it names it, and a process rarely has two of one name."""
    if not isinstance(draft, Draft):
        raise UsageError(f"on_commit() takes a draft, not {draft!r}: write on_commit(task.draft(...)).")
    if queue is not None:
        if queue.name != draft.queue:
            raise UsageError(f"the draft {draft.id} of {draft.task} is for queue '{draft.queue}', not '{queue.name}'.")
        return queue
    named = [one for one in residents() if isinstance(one, Queue) and one.name == draft.queue]
    found = [one for one in named if draft.task in one.tasks] or named
    places = {(one.broker, one.full_name): one for one in found}
    if len(places) != 1:
        many = f"{len(places)} queues" if places else "no queue"
        raise UsageError(
            f"on_commit(): {many} of this process {'are' if places else 'is'} named '{draft.queue}'; write "
            f"on_commit({draft.task}.draft(...), queue=...)."
        )
    return found[0]
