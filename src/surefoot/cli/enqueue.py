"""`surefoot enqueue`: store one job of a task by hand, and wait for its result if asked to."""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from surefoot import clock
from surefoot.cli.exits import INTERRUPTED, AnswerIsNo
from surefoot.cli.look import holder
from surefoot.cli.options import duration, scoped
from surefoot.cli.output import Output, clean, when
from surefoot.cli.sending import sent
from surefoot.cli.target import Scope
from surefoot.core.codec import decode_json, encode_json
from surefoot.core.errors import (
    ErrorInfo,
    InvalidArguments,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    ResultTimeout,
)
from surefoot.core.job import After, At, Draft, moment
from surefoot.core.names import PRIORITIES, did_you_mean

if TYPE_CHECKING:
    from surefoot.client.handle import JobHandle
    from surefoot.client.queue import Queue
    from surefoot.client.task import Task

TIME_RAN_OUT: Final = 5

_FOREVER: Final = "forever"
_KEEP_S: Final = 300
_ENDS: Final[Mapping[type[JobError], str]] = {JobFailed: "dead", JobCancelled: "cancelled", JobExpired: "expired"}

_EXAMPLES: Final = """\b
Examples:
  surefoot enqueue welcome address=ann@example.com language=fr
  surefoot enqueue report month=2026-11-01 lines:='[1, 2, 3]' --delay 10m --key nov
  surefoot enqueue report --args '{"month": "2026-11-01"}' --priority high --wait 30s
  surefoot enqueue welcome address=ann@example.com --url redis://localhost:6379/0 -q mail

KEY=VALUE is read by the parameter's type if the application is loaded, else as text: true, 5, 2026-11-01, 90s;
bytes are base64. KEY:=JSON is JSON: lists, objects, null. The id is printed on stdout; with --wait, the result.
"""


class _Enqueue(click.Command):
    """A command whose --wait may stand before anything: only what begins with a digit is its time."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`--wait address=a@b.c` waits for ever, and the next word is an argument of the task."""
        following = [*args, ""][1:]
        words = [
            f"--wait={_FOREVER}" if word == "--wait" and not after[:1].isdigit() else word
            for word, after in zip(args, following, strict=True)
        ]
        return super().parse_args(ctx, words)


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value.strip())
        here = at.astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(f"'{value}' is no moment; write it like 2026-12-24T18:00+01:00.", ctx, param) from None
    if at.tzinfo is None:
        example = here.isoformat(timespec="minutes")
        raise click.BadParameter(f"'{value}' has no time zone; write {example} for this machine's.", ctx, param)
    return at


def _priority(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    if value in PRIORITIES:
        return PRIORITIES[value]
    if re.fullmatch("[0-9]", value):
        return int(value)
    guess = did_you_mean(value, PRIORITIES) or "; give high, normal, low, or a number from 0 (first) to 9."
    raise click.BadParameter(f"'{value}' is no priority{guess}", ctx, param)


def _patience(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    return math.inf if value == _FOREVER else duration(ctx, param, value)


@click.command("enqueue", cls=_Enqueue, epilog=_EXAMPLES, short_help="Store one job.")
@click.argument("task")
@click.argument("words", nargs=-1, metavar="[KEY=VALUE|KEY:=JSON]...")
@click.option("--args", metavar="JSON", help="Arguments as one JSON object by parameter name.")
@click.option("--delay", metavar="D", callback=duration, help="Due in D: 90s, 5m, 2h, 1d.")
@click.option("--at", metavar="T", callback=_moment, help="Due at T: 2026-12-24T18:00+01:00.")
@click.option("--key", metavar="K", help="One job of the task and this key at a time.")
@click.option("--priority", metavar="P", callback=_priority, help="high, normal, low, or 0 (first) to 9.")
@click.option(
    "--wait", metavar="[D]", is_flag=False, flag_value=_FOREVER, callback=_patience, help="Wait for the result, D long."
)
@click.option("--dry-run", is_flag=True, help="Check and show the job; store nothing.")
@scoped(target=False)
def enqueue(
    out: Output,
    scope: Scope,
    *,
    task: str,
    words: tuple[str, ...],
    args: str | None,
    wait: float | None,
    dry_run: bool,
    **options: Any,
) -> int:
    """Store one job of TASK with these arguments. When this returns 0, the store has it."""
    if options["delay"] is not None and options["at"] is not None:
        raise click.UsageError("--delay and --at both say when; give one of them.")
    from surefoot.cli.arguments import told, written

    queue, found = _found(scope, task)
    try:
        draft = _draft(queue, found, written(words, args, found.spec), options, waits=wait is not None)
    except InvalidArguments as fault:
        raise told(fault, words) from None
    if dry_run:
        return _rehearse(out, draft)
    handle = sent(out, queue, draft)
    _tell(out, draft, handle, waits=wait is not None)
    return 0 if wait is None else _Waiting(out, queue, found, handle).run(wait)


def _found(scope: Scope, name: str) -> tuple["Queue", "Task[..., Any]"]:
    """The task of this name and its queue. Without an application any name will do, and one queue must be named."""
    if scope.application is None and len(scope.names) != 1:
        raise click.UsageError("without an application one queue must be named: -q NAME.")
    queues = scope.queues()
    if scope.application is None:
        return queues[0], queues[0].by_name(name)
    aliased = (spec for queue in queues if (spec := queue.specs.get(name)) and spec.name in queue.tasks)
    own = next((spec.name for spec in aliased), name)
    queue = holder({queue: queue.tasks for queue in queues}, "task", own)
    return queue, queue.tasks[own]


def _draft(
    queue: "Queue", task: "Task[..., Any]", values: dict[str, Any], options: Mapping[str, Any], *, waits: bool
) -> Draft[Any]:
    """The job. One that is waited for keeps its outcome for a while, also if its task keeps none."""
    from surefoot.cli.arguments import call_of

    known = task.spec is not None and not task.known.declared
    keeps = known and task.spec is not None and task.spec.keep_ms != 0
    own = task.options(
        queue=queue,
        delay=options["delay"],
        at=options["at"],
        key=options["key"],
        keep_result=_KEEP_S if waits and not keeps else None,
    )
    args, named = call_of(values, task.spec)
    draft: Draft[Any] = own.draft(*args, **named)
    priority = options["priority"]
    return draft if priority is None else msgspec.structs.replace(draft, priority=priority)


def _due(draft: Draft[Any]) -> datetime | None:
    match draft.due:
        case After(ms):
            return moment(clock.wall_ms() + ms)
        case At(ms):
            return moment(ms)
        case None:
            return None


def _rehearse(out: Output, draft: Draft[Any]) -> int:
    due, key = _due(draft), None if draft.key is None else draft.key.value
    if out.json:
        out.record({
            "queue": draft.queue, "task": draft.task, "arguments": draft.arguments, "priority": draft.priority,
            "key": key, "due_at": due, "dry_run": True,
        })  # fmt: skip
        return 0
    pairs = [
        ("queue", draft.queue),
        ("task", draft.task),
        ("priority", str(draft.priority)),
        ("key", key),
        ("due", when(due) or "now"),
    ]
    out.facts(pairs, indent="")
    out.answer("arguments")
    out.block(msgspec.json.format(draft.payload).decode(), indent="  ")
    out.say("nothing was stored.")
    return 0


def _tell(out: Output, draft: Draft[Any], handle: "JobHandle[Any]", *, waits: bool) -> None:
    """The id on stdout, unless the answer is yet to come; what became of the job on stderr."""
    if handle.duplicate and draft.key is not None:
        said = f"nothing was stored: the key '{draft.key.value}' is taken by this job of {draft.task}"
    else:
        due = _due(draft)
        said = f"{draft.task} is enqueued on queue '{draft.queue}'" + (f", due {when(due)}" if due else "")
    if waits:
        out.say(clean(f"job {handle.id}: {said}."))
        return
    if out.json:
        out.record(_record(handle))
        return
    out.answer(clean(handle.id))
    out.say(clean(f"{said}."))


def _record(
    handle: "JobHandle[Any]", state: str | None = None, result: bytes = b"null", error: ErrorInfo | None = None
) -> dict[str, Any]:
    """The keys of --json; `state`, `result` and `error` are null where nobody waited for them."""
    return {
        "id": handle.id, "queue": handle.queue, "task": handle.task, "duplicate": handle.duplicate,
        "state": state, "result": msgspec.Raw(result), "error": error,
    }  # fmt: skip


class _TimeRanOut(click.ClickException):
    """The job had not ended in the time that --wait gave it; it goes on."""

    exit_code = TIME_RAN_OUT


class _Waiting:
    """Waits for one job's end and tells it. However the waiting ends, the job is left alone."""

    def __init__(self, out: Output, queue: "Queue", task: "Task[..., Any]", handle: "JobHandle[Any]") -> None:
        self._out = out
        self._queue = queue
        self._task = task
        self._handle = handle

    def run(self, seconds: float) -> int:
        """The exit code: 0 it is completed, 1 it ended otherwise, 5 time ran out, 130 interrupted."""
        handle = self._handle
        try:
            if not self._queue.workers_sync():
                self._out.say(f"no worker is alive on queue '{handle.queue}': the job waits for one.")
            value = handle.result_sync(None if seconds == math.inf else seconds)
        except KeyboardInterrupt:
            self._record(None)
            self._out.say("")  # after the ^C of the terminal
            self._out.say(clean(f"job {handle.id} goes on: surefoot explain {handle.id}"))
            return INTERRUPTED
        except ResultTimeout as late:
            self._record(late.state)
            raise _TimeRanOut(f"{late} {handle.explain_sync().sentence}") from None
        except (JobFailed, JobCancelled, JobExpired) as ended:
            self._record(_ENDS[type(ended)], error=getattr(ended, "error", None))
            raise AnswerIsNo(f"{ended} (surefoot jobs show {handle.id})") from None
        except JobError as lost:
            self._record(None)
            raise AnswerIsNo(str(lost)) from None
        self._tell(value)
        return 0

    def _record(self, state: str | None, result: bytes = b"null", error: ErrorInfo | None = None) -> None:
        if self._out.json:
            self._out.record(_record(self._handle, state, result, error))

    def _tell(self, value: Any) -> None:
        spec = self._task.spec
        raw = encode_json(value) if spec is None else spec.signature.encode_result(value)
        self._record("completed", raw)
        if self._out.json:
            return
        plain = decode_json(raw)
        if plain is None:
            self._out.say(f"{self._task.name} is completed; it returned nothing.")
        else:
            self._out.block(plain if isinstance(plain, str) else msgspec.json.format(raw).decode(), indent="")
