"""`surefoot cancel`: ends waiting jobs and asks running ones to stop, by id, or many after a question."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from surefoot.cli.bulk import SHOWN, ask, changing, check_choice, rehearse
from surefoot.cli.exits import AnswerIsNo
from surefoot.cli.look import group_option
from surefoot.cli.options import scoped
from surefoot.cli.output import Output, clean, counted
from surefoot.cli.target import Scope

if TYPE_CHECKING:
    from surefoot.brokers.answers import Record
    from surefoot.client.queue import Queue

_NAMED: Final = 10
"""How many jobs that were not cancelled are named in a sentence."""

_EXAMPLES: Final = """\b
Examples:
  surefoot cancel 01999c0e7d1a9b1f0d7e5a1c2f44
  surefoot cancel --task welcome --reason "wrong template" --dry-run
  surefoot cancel --all -q mail --yes

A waiting job ends at once; a running one is asked, and ends as cancelled when its handler meets that.
"""


@click.command("cancel", epilog=_EXAMPLES, short_help="End jobs.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--task", help="Every waiting or running job of this task.")
@click.option("--reason", metavar="TEXT", help="Why; whoever waits for the job is told.")
@changing("waiting or running job")
@group_option
@scoped(target=False)
def cancel(
    out: Output,
    scope: Scope,
    *,
    ids: tuple[str, ...],
    task: str | None,
    reason: str | None,
    all: bool,
    yes: bool,
    dry_run: bool,
) -> int:
    """End jobs: waiting ones at once, running ones are asked to stop."""
    check_choice("cancel", ids, filtered=task is not None, all=all)
    queues = scope.queues()
    done = _Cancelled(out, reason)
    if ids:
        chosen = tuple(dict.fromkeys(ids))
        return _rehearse_ids(out, queues, chosen) if dry_run else done.by_id(queues, chosen)
    counts = {queue: _count(queue, task) for queue in queues}
    total = sum(counts.values())
    if not total:
        raise AnswerIsNo("no waiting or running job matches.")
    if dry_run:
        return _rehearse(out, queues, task, total)
    if not yes:
        ask(counts, "job", "cancelled")
    return done.by_filter([queue for queue, count in counts.items() if count], task, total)


class _Cancelled:
    """Cancels jobs, and tells how many ended, how many were asked, and which were neither."""

    def __init__(self, out: Output, reason: str | None) -> None:
        self._out = out
        self._reason = reason or ""
        self._ended = 0
        self._asked = 0
        self._over: dict[str, str] = {}

    def by_id(self, queues: Sequence["Queue"], ids: Sequence[str]) -> int:
        """Cancel these jobs, in whichever queue they are."""
        unknown = dict.fromkeys(ids)
        for queue in queues:
            found = _known(queue, ids)
            for record in found:
                unknown.pop(record.id, None)
            self._cancel(queue, found)
        left = [*(f"{id} ({state})" for id, state in self._over.items()), *(f"{id} (unknown)" for id in unknown)]
        if self._out.json or len(left) < len(ids):
            self._tell(len(ids), list(unknown))
        if left:
            named = ", ".join(left[:_NAMED]) + (f" and {len(left) - _NAMED:,} more" if len(left) > _NAMED else "")
            sentence = f"{len(left):,} of {counted(len(ids), 'job')} not cancelled: {named}."
            if len(left) == len(ids):
                raise AnswerIsNo(sentence)
            self._out.say(clean(sentence))
        return 0

    def by_filter(self, queues: Sequence["Queue"], task: str | None, total: int) -> int:
        """Cancel all that is waiting or running, of one task or of all; what was done is told even if interrupted."""
        try:
            for queue in queues:
                for records in _unfinished(queue, task):
                    self._cancel(queue, records)
        finally:
            self._tell(total, [])
        return 0

    def _cancel(self, queue: "Queue", records: Sequence["Record"]) -> None:
        from surefoot.brokers.broker import VERB_LIMIT, Cancel
        from surefoot.client.who import who

        for start in range(0, len(records), VERB_LIMIT):
            some = records[start : start + VERB_LIMIT]
            verb = Cancel(queue.full_name, tuple(record.id for record in some), self._reason, who=who())
            (words,) = queue.sessions.ask_sync([verb])
            self._ended += words.count("cancelled")
            self._asked += words.count("requested")
            over = (record for record, word in zip(some, words, strict=True) if word == "finished")
            self._over |= {record.id: record.state for record in over}

    def _tell(self, matched: int, unknown: Sequence[str]) -> None:
        if self._out.json:
            self._out.record({
                "verb": "cancel", "matched": matched, "cancelled": self._ended, "requested": self._asked,
                "finished": list(self._over), "unknown": unknown,
            })  # fmt: skip
            return
        asked = f"{counted(self._asked, 'running job')} asked to stop"
        if self._ended or not self._asked:
            asked = f"{counted(self._ended, 'job')} cancelled" + (f", {asked}" if self._asked else "")
        self._out.say(f"{asked}.")


def _known(queue: "Queue", ids: Sequence[str]) -> list["Record"]:
    from surefoot.brokers.broker import VERB_LIMIT, Get

    found: list[Record] = []
    for start in range(0, len(ids), VERB_LIMIT):
        (records,) = queue.sessions.ask_sync([Get(queue.full_name, tuple(ids[start : start + VERB_LIMIT]))])
        found += [record for record in records if record is not None]
    return found


def _unfinished(queue: "Queue", task: str | None) -> Iterator[list["Record"]]:
    """Pages of all that is waiting or running, of one task or of all."""
    from surefoot.brokers.broker import VERB_LIMIT, Find
    from surefoot.client.look import WAITING
    from surefoot.client.records import task_of

    for state in (*WAITING, "processing"):
        cursor = None
        while True:
            (page,) = queue.sessions.ask_sync([Find(queue.full_name, state, cursor, VERB_LIMIT)])
            yield [record for record in page.records if task is None or task_of(record) == task]
            cursor = page.cursor
            if cursor is None:
                break


def _count(queue: "Queue", task: str | None) -> int:
    if task is not None:
        return sum(map(len, _unfinished(queue, task)))
    now = queue.stats_sync()
    return now.scheduled + now.pending + now.parked + now.processing


def _rehearse(out: Output, queues: Sequence["Queue"], task: str | None, total: int) -> int:
    from surefoot.client.records import job_of

    found = []
    for queue in queues:
        some: list[Record] = []
        for records in _unfinished(queue, task):
            some += records
            if len(some) >= SHOWN:
                break
        found += [job_of(record, queue.name, queue.specs) for record in some[:SHOWN]]
    return rehearse(out, found, total, "job", "cancelled")


def _rehearse_ids(out: Output, queues: Sequence["Queue"], ids: Sequence[str]) -> int:
    from surefoot.client.look import WAITING
    from surefoot.client.records import job_of

    states = (*WAITING, "processing")
    found = [job_of(one, queue.name, queue.specs) for queue in queues for one in _known(queue, ids)]
    found = [job for job in found if job.state in states]
    return rehearse(out, found, len(found), "waiting or running job", "cancelled")
