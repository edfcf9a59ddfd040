"""`surefoot audit`: the last changes by hand: who paused, cancelled, requeued, edited or deleted what, and when."""

from typing import TYPE_CHECKING, Final

import click

from surefoot.cli.exits import AnswerIsNo
from surefoot.cli.options import scoped
from surefoot.cli.output import Column, Output, when
from surefoot.cli.target import Scope

if TYPE_CHECKING:
    from surefoot.client.records import Change

_CHANGES: Final = (
    *(Column(title) for title in ("at", "queue", "who", "what")),
    Column("jobs", right=True),
    Column("of"),
    Column("reason"),
)
_NO_JOBS: Final = frozenset({"pause", "resume", "pause_cron", "resume_cron", "limit"})

_EXAMPLES: Final = """\b
Examples:
  surefoot audit
  surefoot audit app:billing --limit 20
  surefoot audit --url redis://localhost:6379/0 --json

A queue remembers its last 1,000 changes by hand, by whatever way they came: this command, the dashboard, or code.
"""


@click.command("audit", epilog=_EXAMPLES, short_help="Who changed what by hand.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The most of each queue.")
@scoped(target=True)
def audit(out: Output, scope: Scope, *, limit: int) -> int:
    """The last changes by hand, newest first."""
    found = [(change, queue.name) for queue in scope.queues() for change in queue.changes_sync(limit)]
    found.sort(key=lambda one: one[0].at, reverse=True)
    if not found:
        raise AnswerIsNo("nothing was changed by hand yet.")
    if out.json:
        for change, queue in found:
            out.record({"queue": queue, **_record(change)})
    else:
        out.table(_CHANGES, [_row(change, queue) for change, queue in found])
    return 0


def _record(change: "Change") -> dict[str, object]:
    import msgspec

    return msgspec.structs.asdict(change)


def _row(change: "Change", queue: str) -> tuple[str, ...]:
    more = change.many - len(change.names)
    names = ", ".join(change.names) + (f" and {more:,} more" if more > 0 and change.names else "")
    many = "" if change.what in _NO_JOBS else f"{change.many:,}"
    what = change.what.replace("_", " ")
    return (when(change.at) or "", queue, change.who, what, many, names, change.reason or "")
