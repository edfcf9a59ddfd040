"""`surefoot worker`: puts a Worker together or takes the application's own, says what it serves, runs it."""

import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import click

from surefoot import clock
from surefoot.cli import logs
from surefoot.cli.exits import NotLoaded
from surefoot.cli.faults import fault_of
from surefoot.cli.options import app_option, duration, duration_above_zero, plain, queue_option
from surefoot.cli.output import Output, clean, counted
from surefoot.cli.reload import run_again
from surefoot.cli.settings import Settings, nearest, origin, settings_of
from surefoot.cli.supervise import listen, metered, supervise, wanted
from surefoot.cli.target import Scope, chosen, from_application, load, make_importable, opened, queues_of, raised
from surefoot.core.errors import ConfigError, SurefootError, UsageError
from surefoot.core.job import moment
from surefoot.core.names import ON_DEAD_SUFFIX

if TYPE_CHECKING:
    from surefoot.client.queue import Queue
    from surefoot.client.schedules import CronEntry
    from surefoot.worker import Worker

_WORKERS_OWN: Final = ("concurrency", "threads", "drain", "lease", "name")
_TASKS_LEAST: Final = 23
_SILENCE_S: Final = 1.0
_LEVEL: Final = click.Choice(logs.LEVELS, case_sensitive=False)

_EXAMPLES: Final = """\b
Examples:
  surefoot worker shop.worker:worker            the Worker that the application puts together
  surefoot worker shop.queues -c 20             all queues of a module, 20 jobs at once
  surefoot worker app:mail app:billing -q mail  queues by name
  surefoot worker shop.worker:worker --check    load everything, print it, leave: for CI
  surefoot worker app:mail --reload             start again whenever a file is saved
  surefoot worker app:mail -p 4 --health 8080   four processes, replaced when they die, and probes for them

\b
Ctrl-C (or SIGTERM) once: stop claiming, give running jobs the drain's seconds, hand the rest back.
Twice: hand everything back now. A third time: leave at once.
SIGHUP: replace the processes of --processes, one after the other. SIGUSR1: log what runs.

\b
With --log-format json each line of stderr is an object with time, level, logger and message, and where they apply
event, job, task, queue, attempt, duration_ms, worker, error, traceback.
"""


@click.command("worker", epilog=_EXAMPLES, short_help="Run a worker.")
@click.argument("target", nargs=-1, metavar="[TARGET]...")
@app_option
@queue_option
@click.option("-c", "--concurrency", type=click.IntRange(min=1), help="Running jobs at once (50).")
@click.option("--threads", type=click.IntRange(min=1), help="How many of them may be plain functions (20).")
@click.option("-p", "--processes", type=click.IntRange(min=1), help="Worker processes, each replaced when it dies (1).")
@click.option("--drain", metavar="D", callback=duration, help="Time for running jobs after a signal (25s).")
@click.option("--lease", metavar="D", callback=duration_above_zero, help="Time a silent worker keeps its jobs (10s).")
@click.option("-n", "--name", help="A name for people; else the host's.")
@click.option(
    "--import", metavar="PATTERN", multiple=True, help='Modules to load first: shop.jobs, "shop.*", "shop.**.jobs".'
)
@click.option("--burst", is_flag=True, help="Leave when there is nothing to do.")
@click.option("--reload", is_flag=True, help="Start again when a .py file changes (needs surefoot[reload]).")
@click.option("--recycle-after", metavar="JOBS", type=click.IntRange(min=1), help="Replace a process after so many.")
@click.option(
    "--recycle-at", metavar="MIB", type=click.FloatRange(min=0, min_open=True), help="Replace one above so much memory."
)
@click.option("--health", metavar="[HOST:]PORT", callback=listen, help="Answer GET /healthz and /readyz there.")
@click.option("-l", "--log-level", type=_LEVEL, help="The least that is logged (info).")
@click.option("--log-format", type=click.Choice(logs.FORMATS), help="text or json, one line an event (text).")
@click.option("--allow-eviction", is_flag=True, help="Start although the server may drop jobs when its memory is full.")
@click.option("--check", is_flag=True, help="Load everything, print queues, tasks and crons, leave.")
@plain
def worker(
    out: Output, *, target: tuple[str, ...], app: str | None, queue: tuple[str, ...], **options: Any
) -> int | None:
    """Run jobs of the application's queues until a signal.

    TARGET is module:queue, module:worker, module:factory, or module (all its queues). A Worker keeps its own options.
    """
    from surefoot.supervisor import held_by_a_parent

    ctx = click.get_current_context()
    settings = settings_of(ctx)
    held = held_by_a_parent()
    names = _applications(target, nearest(ctx, target, app=app)["app"], settings)
    if not held and wanted(options) and not options["check"]:
        return supervise(options, settings, _telling(options, out))
    if options["reload"] and not held:
        return _reload(options, settings, out)
    if options["check"] or options["log_format"] != "json":
        return _serve(names, queue, options, settings, out)
    try:
        return _serve(names, queue, options, settings, out)
    except (click.ClickException, SurefootError) as error:
        fault = fault_of(error)
        line = logs.json_line(logging.ERROR, fault.sentence, traceback=fault.lines or None, exit_code=fault.code)
        click.echo(line, err=True)
        return fault.code


def _reload(options: dict[str, Any], settings: Settings, out: Output) -> int:
    for word in ("burst", "check"):
        if options[word]:
            raise click.UsageError(f"--reload runs until it is stopped, and {_place(word)} leaves by itself; give one.")
    here = Path.cwd()
    outside = settings.folder is not None and settings.folder not in (here, *here.parents)
    folders = [here, settings.folder] if outside and settings.folder else [here]
    return run_again(settings.line, folders, _telling(options, out))


def _telling(options: dict[str, Any], out: Output) -> Callable[[str], None]:
    """How a parent of workers says something, beside their lines."""

    def say(sentence: str) -> None:
        if options["log_format"] == "json":
            click.echo(logs.json_line(logging.INFO, sentence), err=True)
        else:
            out.say(f"surefoot: {clean(sentence)}")

    return say


def _serve(
    names: tuple[str, ...], only: tuple[str, ...], options: dict[str, Any], settings: Settings, out: Output
) -> int | None:
    """Load, look, run until a signal."""
    from surefoot.supervisor import tell_ready

    make_importable(settings.folder)
    _load_imports(options["import"], out)
    built = _assembled(names, only, options, settings, out)
    _ready(built, out)
    if options["check"]:
        return _check(built, out)
    if options["allow_eviction"]:
        built.allow_eviction = True
    built.recycle_after = options["recycle_after"] or built.recycle_after
    built.recycle_at = options["recycle_at"] or built.recycle_at
    built.on_started = tell_ready
    _find_store(built, _telling(options, out))
    _set_up_logs(built, options, out)
    try:
        with metered(built, options):
            built.run(burst=options["burst"])
    except (ConfigError, UsageError) as fault:
        raise NotLoaded(str(fault)) from None
    except Exception as error:
        if isinstance(error, SurefootError) or not from_application(error):
            raise
        raise raised("the application raised", error, verbose=out.verbose) from None
    return None


def _find_store(built: "Worker", say: Callable[[str], None]) -> None:
    """Every queue finds its store there; one that does not answer is told of before it is given up."""

    def waits() -> None:
        first = built.queues[0]
        say(f"waiting for {first.broker.address}, which does not answer yet; up to {first.sessions.timeout:g} s.")

    notice = threading.Timer(_SILENCE_S, waits)
    notice.daemon = True
    notice.start()
    try:
        for one in built.queues:
            opened(one)
    finally:
        notice.cancel()


def _applications(target: tuple[str, ...], app: str | None, settings: Settings) -> tuple[str, ...]:
    if target and app is not None:
        raise click.UsageError(f"'{target[0]}' and --app {app} both name the application; give one of them.")
    application = Scope(None, app, None, (), default=settings.app).application
    names = target or ((application,) if application else ())
    if not names:
        raise click.UsageError(
            "a worker needs an application: surefoot worker module:queue, or set SUREFOOT_APP, or [tool.surefoot] app."
        )
    return names


def _assembled(
    names: tuple[str, ...], only: tuple[str, ...], options: dict[str, Any], settings: Settings, out: Output
) -> "Worker":
    """The application's own Worker as it is, or one for its queues."""
    from surefoot.worker import Worker

    loaded = [load(name, folder=settings.folder, verbose=out.verbose) for name in names]
    given = {word: options[word] for word in _WORKERS_OWN if options[word] is not None}
    for name, one in zip(names, loaded, strict=True):
        if not isinstance(one, Worker):
            continue
        if len(loaded) > 1:
            raise click.UsageError(f"'{name}' is a Worker and serves its own queues; name it alone.")
        for word in (*given, *(["queue"] if only else [])):
            raise click.UsageError(
                f"{_place(word)} does not apply: '{name}' is a Worker and has its own options; set it there, "
                "or name queues instead of the Worker."
            )
        return one
    queues = list(dict.fromkeys(queue for one in loaded for queue in queues_of(one)))
    try:
        return Worker(*chosen(queues, only, " and ".join(f"'{name}'" for name in names)), **given)
    except SurefootError as fault:
        raise click.UsageError(str(fault)) from None


def _place(word: str) -> str:
    """Where an option of this call came from, in the words of whoever has to change it."""
    ctx = click.get_current_context()
    param = next(one for one in ctx.command.params if one.name == word)
    return origin(ctx, param) or f"--{word}"


def _load_imports(patterns: Sequence[str], out: Output) -> None:
    from surefoot.engine.modules import load_modules

    for pattern in patterns:
        try:
            load_modules((pattern,))
        except ConfigError as fault:
            raise NotLoaded(f"cannot load '{pattern}': {fault}") from None
        except (Exception, SystemExit) as error:
            sentence = f"cannot load '{pattern}': it raised while it was imported"
            raise raised(sentence, error, verbose=out.verbose) from None


def _ready(built: "Worker", out: Output) -> None:
    """What the worker would find at its start, found before it opens the store."""
    try:
        built.load()
    except ConfigError as fault:
        raise NotLoaded(str(fault)) from None
    except (Exception, SystemExit) as error:
        raise raised("cannot load the worker's imports", error, verbose=out.verbose) from None


def _set_up_logs(built: "Worker", options: dict[str, Any], out: Output) -> None:
    level = options["log_level"] or ("debug" if out.verbose else "warning" if out.quiet else "info")
    form = options["log_format"] or "text"
    if logs.already_set_up():
        if options["log_level"] or options["log_format"]:
            out.say("surefoot: the application has set up logging itself; --log-level and --log-format are not used.")
        form = "text"
    else:
        logs.set_up(level, form, sys.stderr, coloured=out.coloured(sys.stderr))
        if form == "json":
            facts = _start_record(built, "") | {"queues": [queue.name for queue in built.queues]}
            told = ("pid", "version", "url", "namespace", "queues", "threads")
            logs.start_fields(**{key: facts[key] for key in told}, drain_ms=built.drain * 1000)
    if out.json:
        logs.at_start(lambda worker_id: out.record(_start_record(built, worker_id)), beside=form == "json")
    elif form == "text" and not out.quiet:  # among JSON lines the log's own line says it
        logs.at_start(lambda worker_id: out.say("\n".join(map(clean, _start_lines(built, worker_id)))))


def _start_record(built: "Worker", worker_id: str) -> dict[str, Any]:
    first = built.queues[0]
    return {
        "id": worker_id, "name": built.name, "pid": os.getpid(), "version": _release(), "url": first.broker.address,
        "namespace": _namespace(first), "queues": [_queue_record(queue) for queue in built.queues],
        "concurrency": built.concurrency, "threads": built.threads, "drain": built.drain,
    }  # fmt: skip


def _queue_record(queue: "Queue") -> dict[str, Any]:
    crons = [
        {"name": one.name, "task": one.task, "expression": one.schedule.expression, "timezone": one.schedule.timezone}
        for one in queue.registry.crons
    ]
    return {"queue": queue.name, "tasks": _tasks(queue), "crons": crons, "declared": sorted(queue.registry.declared)}


def _release() -> str:
    from importlib.metadata import version

    return version("surefoot")


def _namespace(queue: "Queue") -> str:
    return queue.full_name.partition(":")[0]


def _start_lines(built: "Worker", worker_id: str) -> list[str]:
    """What a worker says when it begins: who it is, what it serves, how it stops."""
    first = built.queues[0]
    who = f"{built.name}:{os.getpid()} ({worker_id})"
    return [
        f"surefoot {_release()}  worker {who}  {first.broker.address}  namespace {_namespace(first)}",
        *_served_lines(built.queues),
        f"  {built.concurrency} at once ({built.threads} threads), drain {built.drain:g} s. "
        "Ctrl-C once to drain, twice to stop now.",
    ]


def _served_lines(queues: "tuple[Queue, ...]") -> list[str]:
    """One line a queue with its tasks; cron lines beside them, the first on the same line."""
    tasks = {queue: ", ".join(_enqueued_tasks(queue)) for queue in queues}
    names_width = max(len(queue.name) for queue in queues) + 3
    tasks_width = max(_TASKS_LEAST, *(len(words) for words in tasks.values())) + 3
    lines = []
    for queue in queues:
        crons = [_cron_words(entry) for entry in queue.registry.crons] or [""]
        head = f"  {queue.name:<{names_width}}{tasks[queue]:<{tasks_width}}"
        lines += [f"{head if place == 0 else ' ' * len(head)}{words}".rstrip() for place, words in enumerate(crons)]
    return lines


def _tasks(queue: "Queue") -> list[str]:
    """The names of a queue's tasks, without aliases and what runs when one of their jobs dies."""
    specs = queue.registry.specs.items()
    return sorted(name for name, spec in specs if name == spec.name and not name.endswith(ON_DEAD_SUFFIX))


def _enqueued_tasks(queue: "Queue") -> list[str]:
    """The tasks that are not there for a cron line alone: that line names them."""
    crons = {entry.task for entry in queue.registry.crons if entry.task == entry.name}
    return [name for name in _tasks(queue) if name not in crons]


def _cron_words(entry: "CronEntry") -> str:
    schedule, now_ms = entry.schedule, clock.wall_ms()
    words = f"cron {entry.name}  {schedule.expression}"
    next_ms = schedule.next_ms(now_ms)
    if schedule.interval_ms is not None or next_ms is None:
        return words
    next_at = moment(next_ms).astimezone(ZoneInfo(schedule.timezone))
    return f"{words}  {schedule.timezone}  next {_soon(next_at, moment(now_ms))}"


def _soon(at: datetime, now: datetime) -> str:
    return f"{at:%a %H:%M}" if at - now < timedelta(days=6) else f"{at:%Y-%m-%d %H:%M}"


def _check(built: "Worker", out: Output) -> int:
    if out.json:
        for queue in built.queues:
            out.record(_queue_record(queue))
        return 0
    for line in _served_lines(built.queues):
        out.answer(clean(line))
    for queue in built.queues:
        if queue.registry.declared:
            elsewhere = ", ".join(sorted(queue.registry.declared))
            out.say(f"  {queue.name} declares what nothing here implements: {elsewhere}")
    tasks = sum(len(_tasks(queue)) for queue in built.queues)
    crons = sum(len(queue.registry.crons) for queue in built.queues)
    out.say(f"  {counted(len(built.queues), 'queue')}, {counted(tasks, 'task')}, {counted(crons, 'cron')}: all loaded.")
    return 0
