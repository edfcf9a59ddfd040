"""Commands that steer whole queues: pause and resume."""

from typing import Final

import click

from surefoot.cli.exits import AnswerIsNo
from surefoot.cli.options import scoped
from surefoot.cli.output import Output, clean, counted
from surefoot.cli.target import Scope

_EXAMPLES: Final = {
    "pause": """\b
Examples:
  surefoot pause app:mail --reason "provider down"
  surefoot pause -q billing -q mail

A paused queue takes jobs and loses none; running jobs go on. Durable: it stays paused until `surefoot resume`.
""",
    "resume": """\b
Example:
  surefoot resume -q billing
""",
}


@click.command("pause", epilog=_EXAMPLES["pause"], short_help="Hold a queue's work.")
@click.option("--reason", metavar="TEXT", help="Why; `stats` and `explain` show it.")
@scoped(target=True)
def pause(out: Output, scope: Scope, *, reason: str | None) -> int:
    """Hold the work of the queues: nothing new starts until `surefoot resume`."""
    return _steer(out, scope, pausing=True, reason=reason)


@click.command("resume", epilog=_EXAMPLES["resume"], short_help="Let a queue's work go on.")
@scoped(target=True)
def resume(out: Output, scope: Scope) -> int:
    """Let the work of the queues go on."""
    return _steer(out, scope, pausing=False)


def _steer(out: Output, scope: Scope, *, pausing: bool, reason: str | None = None) -> int:
    queues = scope.queues()
    if not queues:
        raise AnswerIsNo("there is no queue in this store yet.")
    for queue in queues:
        if pausing:
            queue.pause_sync(reason)
        else:
            queue.resume_sync()
        now = queue.stats_sync()
        if out.json:
            pause = None if now.paused is None else {"since": now.paused.since, "reason": now.paused.reason}
            out.record({"queue": queue.name, "paused": pause, "pending": now.pending})
            continue
        word = "paused" if pausing else "resumed"
        why = f" ({reason})" if reason else ""
        out.say(clean(f"queue '{queue.name}' is {word}{why}; {counted(now.pending, 'job')} pending."))
    return 0
