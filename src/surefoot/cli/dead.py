"""`surefoot dead`: list, show, requeue, edit, delete. What changes many jobs shows the count and asks first."""

import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, get_args

import click
import msgspec

from surefoot.cli.bulk import SHOWN, ask, changing, check_choice, rehearse
from surefoot.cli.exits import AnswerIsNo
from surefoot.cli.look import ago, errors_of, located, tell_job, tell_some
from surefoot.cli.options import Body, duration, scoped
from surefoot.cli.output import Column, Output, clean, counted, when
from surefoot.cli.sending import application_code
from surefoot.cli.target import Scope
from surefoot.core.codec import NewerEnvelope, UnreadableEnvelope, decode_envelope, decode_json, encode_json
from surefoot.core.errors import InvalidArguments, UsageError, duration_words
from surefoot.core.job import Job
from surefoot.core.names import DeadReason

if TYPE_CHECKING:
    from surefoot.brokers.broker import Broker, Verb
    from surefoot.client.dead import DeadLetters
    from surefoot.client.groups import DeadGroup
    from surefoot.client.queue import Queue

_REASONS: Final[tuple[str, ...]] = get_args(DeadReason)

_GROUPS: Final = (
    Column("dead", right=True),
    *(Column(title) for title in ("queue", "task", "reason", "last died", "newest")),
    Column("error"),
)

_EXAMPLES: Final = {
    "list": """\b
Examples:
  surefoot dead list
  surefoot dead list --task welcome --error timeout --since 1d
  surefoot dead list --group
""",
    "requeue": """\b
Examples:
  surefoot dead requeue 01999c0e7d1a9b1f0d7e5a1c2f44
  surefoot dead requeue --task welcome --error ConnectionError --dry-run
  surefoot dead requeue --all --rate 50 --yes
""",
    "edit": """\b
Examples:
  surefoot dead edit 01999c0e7d1a9b1f0d7e5a1c2f44 month=may
  surefoot dead edit 01999c0e7d1a9b1f0d7e5a1c2f44 lines:='[1, 2]' note:=null --dry-run

KEY=VALUE is read by the parameter's type if the application is loaded, else as text; KEY:=JSON is JSON.
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


@click.group("dead", short_help="Dead letters: list, show, requeue, edit, delete.")
def dead() -> None:
    """Dead letters: jobs that will not be tried again by themselves."""


@dead.command("list", epilog=_EXAMPLES["list"], short_help="Dead jobs, newest first.")
@_filtered
@click.option("--group", is_flag=True, help="One line an error, with how many died of it, the most frequent first.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The most of each queue.")
@scoped(target=False)
def list_dead(out: Output, scope: Scope, *, limit: int, group: bool, **filters: Any) -> int:
    """Dead jobs of the queues, newest first, or grouped by what they died of."""
    wanted = _wanted(filters)
    if group:
        return _tell_groups(out, scope, limit, wanted)
    pages = [queue.dead.find_sync(limit=limit + 1, **wanted) for queue in scope.queues()]
    tell_some(out, limit, pages, "no dead job matches.")
    return 0


def _tell_groups(out: Output, scope: Scope, limit: int, wanted: Mapping[str, Any]) -> int:
    """What they died of: reads every letter, however many there are."""
    found = [(queue.name, one) for queue in scope.queues() for one in queue.dead.groups_sync(limit=limit, **wanted)]
    found.sort(key=lambda one: one[1].count, reverse=True)
    if not found:
        raise AnswerIsNo("no dead job matches.")
    if out.json:
        for name, one in found:
            out.record({"queue": name, **msgspec.structs.asdict(one)})
    else:
        out.table(
            _GROUPS,
            [
                (f"{one.count:,}", name, one.task, one.reason or "", when(one.last_at) or "", one.newest, _died_of(one))
                for name, one in found
            ],
        )
    return 0


def _died_of(group: "DeadGroup") -> str:
    return ": ".join(word for word in (group.kind, group.message) if word)


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
@changing("dead job")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="At most so many a second of each queue."
)
@scoped(target=False)
def requeue(out: Output, scope: Scope, *, rate: float | None, **asked: Any) -> int:
    """Put dead jobs back: failures and crashes start at 0, the id and the attempt number go on.

    With --rate they come due one after the other. They are scheduled at once, so this command need not stay.
    """

    def change(letters: "DeadLetters", ids: Sequence[str], wanted: Mapping[str, Any]) -> int:
        return letters.requeue_sync(*ids, per_second=rate, **wanted)

    return _Change(out, scope, "requeue", "requeued", change, rate=rate).run(**asked)


@dead.command("edit", epilog=_EXAMPLES["edit"], short_help="Change arguments of a dead job.")
@click.argument("id")
@click.argument("words", nargs=-1, metavar="KEY=VALUE|KEY:=JSON...")
@click.option("--dry-run", is_flag=True, help="Check and show; change nothing.")
@scoped(target=False)
def edit(out: Output, scope: Scope, *, id: str, words: tuple[str, ...], dry_run: bool) -> int:
    """Change the named arguments of a dead job, checked as at enqueue. It keeps its id and stays dead."""
    from surefoot.cli.arguments import told, written

    if not words:
        raise click.UsageError(f"say what changes: surefoot dead edit {id} KEY=VALUE.")
    queue, job = located(scope, id)
    if job.state != "dead":
        raise AnswerIsNo(f"job {id} is not dead but {job.state}; only a dead job can be edited.")
    given = written(words, None, queue.specs.get(job.task) or queue.declared.get(job.task))
    try:
        with application_code(out, f"the code that reads arguments of {job.task}"):
            new = _rehearsed(queue, job, given) if dry_run else queue.dead.edit_sync(id, **given).arguments
    except InvalidArguments as fault:
        raise told(fault, words) from None
    if out.json:
        record = {"id": id, "queue": job.queue, "task": job.task, "old": job.arguments, "new": new, "dry_run": dry_run}
        out.record(record)
        return 0
    old = job.arguments
    changed = [name for name in dict.fromkeys((*old, *new)) if name in given or _shown(old, name) != _shown(new, name)]
    out.facts([(name, f"{_shown(old, name)} -> {_shown(new, name)}") for name in changed], indent="")
    what = "would be edited; nothing was changed." if dry_run else f"is edited: surefoot dead requeue {id}"
    out.say(clean(f"job {id} ({job.task}) {what}"))
    return 0


def _rehearsed(queue: "Queue", job: Job, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the arguments would be, checked by the signature of the task, if it is known here."""
    from surefoot.brokers.broker import Get

    ((record,),) = queue.sessions.ask_sync([Get(queue.full_name, (job.id,))])
    try:
        schema = decode_envelope(b"" if record is None else record.body).schema
    except (NewerEnvelope, UnreadableEnvelope):
        raise UsageError(f"job {job.id} cannot be read here, so its arguments cannot be changed.") from None
    old = dict(job.arguments)
    spec = queue.specs.get(job.task) or queue.declared.get(job.task)
    if spec is None:
        return {**old, **given}
    if spec.upcast is not None and schema < spec.schema:
        old = spec.upcast(schema, old)
    payload = encode_json({**old, **given})
    spec.signature.load(payload)
    new: dict[str, Any] = decode_json(payload)
    return new


def _shown(arguments: Mapping[str, Any], name: str) -> str:
    return encode_json(arguments[name]).decode() if name in arguments else "(not given)"


@dead.command("delete", epilog=_EXAMPLES["delete"], short_help="Forget dead jobs.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_filtered
@changing("dead job")
@scoped(target=False)
def delete(out: Output, scope: Scope, **asked: Any) -> int:
    """Forget dead jobs for ever."""

    def change(letters: "DeadLetters", ids: Sequence[str], wanted: Mapping[str, Any]) -> int:
        return letters.delete_sync(*ids, **wanted)

    return _Change(out, scope, "delete", "deleted", change).run(**asked)


def _wanted(filters: Mapping[str, Any]) -> dict[str, Any]:
    given = {word: value for word, value in filters.items() if value is not None}
    return {word: ago(value) if word in ("since", "until") else value for word, value in given.items()}


class _Change:
    """One change of dead jobs, by id or by filter. Only what goes by a filter or --all asks: an id was meant.

    `rate`: how many a second come due in each queue, None for all at once. A terminal sees how far it is.
    """

    def __init__(
        self,
        out: Output,
        scope: Scope,
        verb: str,
        done: str,
        change: Callable[["DeadLetters", Sequence[str], Mapping[str, Any]], int],
        *,
        rate: float | None = None,
    ) -> None:
        self._out = out
        self._scope = scope
        self._verb = verb
        self._done = done
        self._change = change
        self._rate = rate
        self._shows = rate is not None and not out.quiet and sys.stderr.isatty()
        self._last_due_s = 0.0
        self._total = 0
        self._changed = 0

    def run(self, *, ids: tuple[str, ...], all: bool, yes: bool, dry_run: bool, **filters: Any) -> int:
        """Find, ask where many change, change, tell."""
        wanted = _wanted(filters)
        check_choice(f"dead {self._verb}", ids, filtered=bool(wanted), all=all)
        if ids:
            return self._by_id(list(dict.fromkeys(ids)), dry_run)
        return self._by_filter(wanted or {"everything": True}, wanted, yes, dry_run)

    def _by_id(self, ids: Sequence[str], dry_run: bool) -> int:
        queues = self._scope.queues()
        if dry_run:
            found = [job for queue in queues for id in ids if (job := queue.get_sync(id)) and job.state == "dead"]
            return rehearse(self._out, found, len(found), "dead job", self._done)
        changed = self._made(queues, ids, {}, len(ids))
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
            some = [job for queue in counts for job in queue.dead.find_sync(limit=SHOWN, **wanted)]
            return rehearse(self._out, some, total, "dead job", self._done)
        if not yes:
            ask(counts, "dead job", self._done)
        self._made([queue for queue, count in counts.items() if count], (), everything, total)
        return 0

    def _made(self, queues: Sequence["Queue"], ids: Sequence[str], wanted: Mapping[str, Any], total: int) -> int:
        """Change them and tell how many; also if it is interrupted."""
        from surefoot.client.dead import DeadLetters

        self._total = total
        try:
            for queue in queues:
                changed = self._change(DeadLetters(_Counted(queue, self._heard)), ids, wanted)
                if self._rate is not None:
                    self._last_due_s = max(self._last_due_s, (changed - 1) / self._rate)
        finally:
            if self._shows:
                click.echo(err=True)
            self._tell(total, self._changed)
        return self._changed

    def _heard(self, more: int) -> None:
        self._changed += more
        if self._shows:
            click.echo(f"\r{self._changed:,} of {self._total:,}", err=True, nl=False)

    def _tell(self, matched: int, changed: int) -> None:
        if self._out.json:
            self._out.record({"verb": self._verb, "matched": matched, "changed": changed})
        else:
            some = "" if changed == matched else f"{changed:,} of "
            until = f"; the last one is due in {duration_words(self._last_due_s)}" if self._last_due_s >= 1 else ""
            self._out.say(f"{some}{counted(matched, 'job')} {self._done}{until}.")


class _Counted:
    """A queue as its dead letters see it, which tells after each call how many of them it changed."""

    def __init__(self, queue: "Queue", tell: Callable[[int], None]) -> None:
        self.name = queue.name
        self.full_name = queue.full_name
        self.spoken = queue.spoken
        self.specs = queue.specs
        self.declared = queue.declared
        self._sessions = queue.sessions
        self._tell = tell

    @property
    def sessions(self) -> "_Counted":
        """The ways to the store: this, which counts what goes through it."""
        return self

    @property
    def broker(self) -> "Broker":
        """The border to the store."""
        return self._sessions.broker

    def ask(self, verbs: "Sequence[Verb[Any]]") -> Coroutine[Any, Any, list[Any]]:
        """Ask from the running event loop: nobody does here."""
        return self._sessions.ask(verbs)

    def ask_sync(self, verbs: "Sequence[Verb[Any]]") -> list[Any]:
        """Ask from this thread."""
        from surefoot.brokers.broker import Delete, Requeue

        answers = self._sessions.ask_sync(verbs)
        for verb, answer in zip(verbs, answers, strict=True):
            if isinstance(verb, Requeue):
                self._tell(sum(one.word == "requeued" for one in answer))
            elif isinstance(verb, Delete):
                self._tell(sum(answer))
        return answers
