"""`surefoot dead`: list, show, requeue, delete. What changes many jobs shows the count and asks first."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from surefoot.cli.exits import AnswerIsNo
from surefoot.cli.look import ago, errors_of, located, tell_job, tell_jobs, tell_some
from surefoot.cli.options import Body, duration, scoped
from surefoot.cli.output import Output, counted
from surefoot.cli.target import Scope
from surefoot.core.job import Job
from surefoot.core.names import DeadReason

if TYPE_CHECKING:
    from surefoot.client.queue import Queue

_REASONS: Final[tuple[str, ...]] = get_args(DeadReason)
_SHOWN: Final = 20

_EXAMPLES: Final = {
    "list": """\b
Examples:
  surefoot dead list
  surefoot dead list --task welcome --error timeout --since 1d
""",
    "requeue": """\b
Examples:
  surefoot dead requeue 01999c0e7d1a9b1f0d7e5a1c2f44
  surefoot dead requeue --task welcome --error ConnectionError --dry-run
  surefoot dead requeue --all --rate 50 --yes
""",
    "delete": """\b
Examples:
  surefoot dead delete 01999c0e7d1a9b1f0d7e5a1c2f44
  surefoot dead delete --until 30d --yes
""",
}


def _filtered(body: Body) -> Body:
    for option in (
        click.option("--until", metavar="D", callback=duration, help="Only those that died before the last D."),
        click.option(
            "--since", metavar="D", callback=duration, help="Only those that died in the last D: 90s, 2h, 1d."
        ),
        click.option("--reason", type=click.Choice(_REASONS), help="Only those that died of this."),
        click.option("--error", metavar="TEXT", help="Only with this in the error's kind or message, any case."),
        click.option("--task", help="Only of this task."),
    ):
        body = option(body)
    return body


def _changing(body: Body) -> Body:
    for option in (
        click.option("--dry-run", is_flag=True, help="Show what matches; change nothing."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--all", is_flag=True, help="Every dead job of the queues."),
    ):
        body = option(body)
    return body


@click.group("dead", short_help="Dead letters: list, show, requeue, delete.")
def dead() -> None:
    """Dead letters: jobs that will not be tried again by themselves."""


@dead.command("list", epilog=_EXAMPLES["list"], short_help="Dead jobs, newest first.")
@_filtered
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The most of each queue.")
@scoped(target=False)
def list_dead(out: Output, scope: Scope, *, limit: int, **filters: Any) -> int:
    """Dead jobs of the queues, newest first."""
    wanted = _wanted(filters)
    pages = [queue.dead.find_sync(limit=limit + 1, **wanted) for queue in scope.queues()]
    tell_some(out, limit, pages, "no dead job matches.")
    return 0


@dead.command("show", short_help="All that the store knows of one dead job.")
@click.argument("id")
@scoped(target=False)
def show_dead(out: Output, scope: Scope, *, id: str) -> int:
    """A dead job with its arguments and the error of each attempt."""
    queue, job = located(scope, id)
    if job.state != "dead":
        raise AnswerIsNo(f"job {id} is not dead but {job.state}: surefoot jobs show {id}")
    tell_job(out, job, errors_of(queue, id))
    return 0


@dead.command("requeue", epilog=_EXAMPLES["requeue"], short_help="Try dead jobs again.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_filtered
@_changing
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="At most so many a second.")
@scoped(target=False)
def requeue(out: Output, scope: Scope, *, rate: float | None, **asked: Any) -> int:
    """Put dead jobs back: failures and crashes start at 0, the id and the attempt number go on."""

    def change(queue: "Queue", ids: Sequence[str], wanted: Mapping[str, Any]) -> int:
        return queue.dead.requeue_sync(*ids, per_second=rate, **wanted)

    return _Change(out, scope, "requeue", "requeued", change).run(**asked)


@dead.command("delete", epilog=_EXAMPLES["delete"], short_help="Forget dead jobs.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_filtered
@_changing
@scoped(target=False)
def delete(out: Output, scope: Scope, **asked: Any) -> int:
    """Forget dead jobs for ever."""

    def change(queue: "Queue", ids: Sequence[str], wanted: Mapping[str, Any]) -> int:
        return queue.dead.delete_sync(*ids, **wanted)

    return _Change(out, scope, "delete", "deleted", change).run(**asked)


def _wanted(filters: Mapping[str, Any]) -> dict[str, Any]:
    given = {word: value for word, value in filters.items() if value is not None}
    return {word: ago(value) if word in ("since", "until") else value for word, value in given.items()}


class _Change:
    """One change of dead jobs, by id or by filter. Only what goes by a filter or --all asks: an id was meant."""

    def __init__(
        self,
        out: Output,
        scope: Scope,
        verb: str,
        done: str,
        change: Callable[["Queue", Sequence[str], Mapping[str, Any]], int],
    ) -> None:
        self._out = out
        self._scope = scope
        self._verb = verb
        self._done = done
        self._change = change

    def run(self, *, ids: tuple[str, ...], all: bool, yes: bool, dry_run: bool, **filters: Any) -> int:
        """Find, ask where many change, change, tell."""
        wanted = _wanted(filters)
        if ids and (wanted or all):
            raise click.UsageError("give ids, or filters, or --all: not ids and others together.")
        if not ids and not wanted and not all:
            raise click.UsageError(f"say which: surefoot dead {self._verb} ID, or a filter such as --task, or --all.")
        if ids:
            return self._by_id(list(dict.fromkeys(ids)), dry_run)
        return self._by_filter(wanted or {"everything": True}, wanted, yes, dry_run)

    def _by_id(self, ids: Sequence[str], dry_run: bool) -> int:
        queues = self._scope.queues()
        if dry_run:
            found = [job for queue in queues for id in ids if (job := queue.get_sync(id)) and job.state == "dead"]
            return self._rehearsed(found, len(found))
        changed = sum(self._change(queue, ids, {}) for queue in queues)
        self._tell(len(ids), changed)
        if changed < len(ids):
            unchanged = f"{len(ids) - changed:,} of {counted(len(ids), 'job')}"
            raise AnswerIsNo(f"{unchanged} not {self._done}: unknown, not dead, or its key is taken.")
        return 0

    def _by_filter(self, everything: Mapping[str, Any], wanted: Mapping[str, Any], yes: bool, dry_run: bool) -> int:
        counts = {queue: queue.dead.count_sync(**wanted) for queue in self._scope.queues()}
        total = sum(counts.values())
        if not total:
            raise AnswerIsNo("no dead job matches.")
        if dry_run:
            some = [job for queue in counts for job in queue.dead.find_sync(limit=_SHOWN, **wanted)]
            return self._rehearsed(some, total)
        if not yes:
            self._ask(counts, total)
        changed = sum(self._change(queue, (), everything) for queue, count in counts.items() if count)
        self._tell(total, changed)
        return 0

    def _ask(self, counts: Mapping["Queue", int], total: int) -> None:
        places = ", ".join(f"{queue.name} {count:,}" for queue, count in counts.items() if count)
        words = f"{counted(total, 'dead job')} ({places})"
        if not sys.stdin.isatty():
            raise click.UsageError(f"{words} would be {self._done}; without a terminal to ask on this needs --yes.")
        if not click.confirm(f"{words} will be {self._done}. Go on?", err=True):
            raise AnswerIsNo("nothing was changed.")

    def _rehearsed(self, found: Sequence[Job], total: int) -> int:
        if self._out.json:
            for job in found:
                self._out.record(job)
            return 0
        tell_jobs(self._out, found, "no dead job matches.")
        self._out.say(f"{counted(total, 'dead job')} would be {self._done}; nothing was changed.")
        return 0

    def _tell(self, matched: int, changed: int) -> None:
        if self._out.json:
            self._out.record({"verb": self._verb, "matched": matched, "changed": changed})
        else:
            some = "" if changed == matched else f"{changed:,} of "
            self._out.say(f"{some}{counted(matched, 'job')} {self._done}.")
