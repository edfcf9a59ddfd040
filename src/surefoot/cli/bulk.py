"""What verbs for many jobs share: which jobs are meant, the count, the question, the rehearsal. They change nothing."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import click

from surefoot.cli.exits import AnswerIsNo
from surefoot.cli.look import tell_jobs
from surefoot.cli.options import Body
from surefoot.cli.output import Output, counted
from surefoot.core.job import Job

if TYPE_CHECKING:
    from surefoot.client.queue import Queue

SHOWN: Final = 20
"""How many jobs of each queue a rehearsal shows."""


def changing(noun: str) -> Callable[[Body], Body]:
    """The options of a verb for many jobs: --all, --yes and --dry-run; `noun` says of what."""

    def wrap(body: Body) -> Body:
        for option in (
            click.option("--dry-run", is_flag=True, help="Show what matches; change nothing."),
            click.option("--yes", is_flag=True, help="Do not ask."),
            click.option("--all", is_flag=True, help=f"Every {noun} of the queues."),
        ):
            body = option(body)
        return body

    return wrap


def check_choice(command: str, ids: Sequence[str], *, filtered: bool, all: bool) -> None:
    """UsageError unless ids, or filters, or --all say which jobs are meant."""
    if ids and (filtered or all):
        raise click.UsageError("give ids, or filters, or --all: not ids and others together.")
    if not ids and not filtered and not all:
        raise click.UsageError(f"say which: surefoot {command} ID, or a filter such as --task, or --all.")


def ask(counts: Mapping["Queue", int], noun: str, done: str) -> None:
    """Ask on the terminal whether so many jobs are to be changed; UsageError where nobody can be asked."""
    total = sum(counts.values())
    places = ", ".join(f"{queue.name} {count:,}" for queue, count in counts.items() if count)
    words = f"{counted(total, noun)} ({places})"
    if not sys.stdin.isatty():
        raise click.UsageError(f"{words} would be {done}; without a terminal to ask on this needs --yes.")
    if not click.confirm(f"{words} will be {done}. Go on?", err=True):
        raise AnswerIsNo("nothing was changed.")


def rehearse(out: Output, found: Sequence[Job], total: int, noun: str, done: str) -> int:
    """Show what would be changed."""
    tell_jobs(out, found, f"no {noun} matches.")
    if not out.json:
        out.say(f"{counted(total, noun)} would be {done}; nothing was changed.")
    return 0
