"""`surefoot workers`: who is alive, what it serves, how much it runs."""

from typing import TYPE_CHECKING, Final

import click
import msgspec

from surefoot import clock
from surefoot.cli.exits import AnswerIsNo
from surefoot.cli.options import scoped
from surefoot.cli.output import Column, Output, age
from surefoot.cli.target import Scope
from surefoot.core.job import moment

if TYPE_CHECKING:
    from surefoot.client.records import WorkerInfo

_WORKERS: Final = (
    *(Column(title) for title in ("name", "id", "host")),
    Column("pid", right=True),
    *(Column(title) for title in ("version", "queues")),
    Column("running", right=True),
    Column("seen", right=True),
    Column(""),
)

_EXAMPLES: Final = """\b
Examples:
  surefoot workers app:mail
  surefoot workers --url redis://localhost:6379/0 --json

Alive is who was seen in the last 45 s. The id is new at each start: jobs and logs name a worker by it.
"""


@click.command("workers", epilog=_EXAMPLES, short_help="Who is alive.")
@scoped(target=True)
def workers(out: Output, scope: Scope) -> int:
    """The living workers of the queues."""
    found: dict[str, WorkerInfo] = {}
    for queue in scope.queues():
        for one in queue.workers_sync():
            found[one.id] = one if one.id not in found else _merged(found[one.id], one)
    if not found:
        raise AnswerIsNo("no worker is alive: none was seen in the last 45 s.")
    ordered = sorted(found.values(), key=lambda one: (one.name, one.pid, one.id))
    if out.json:
        for one in ordered:
            out.record(one)
    else:
        out.table(_WORKERS, [_row(one) for one in ordered])
    return 0


def _merged(one: "WorkerInfo", other: "WorkerInfo") -> "WorkerInfo":
    """One worker as it said of itself on two of its queues: it has other tasks on each."""
    newer = one if one.seen_at >= other.seen_at else other
    return msgspec.structs.replace(
        newer, tasks=sorted({*one.tasks, *other.tasks}), crons=sorted({*one.crons, *other.crons})
    )


def _row(one: "WorkerInfo") -> tuple[str, ...]:
    seen_s = max(0.0, (moment(clock.wall_ms()) - one.seen_at).total_seconds())
    return (
        one.name, one.id, one.host, str(one.pid), one.version, ", ".join(one.queues),
        f"{one.running:,}/{one.concurrency:,}", age(seen_s), "draining" if one.draining else "",
    )  # fmt: skip
