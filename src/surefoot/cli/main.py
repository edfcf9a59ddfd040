"""The command `surefoot`: its group, what becomes of errors, exit codes. The commands themselves live beside it."""

import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from surefoot.cli.audit import audit
from surefoot.cli.bench import bench
from surefoot.cli.cancel import cancel
from surefoot.cli.completion import ASKED, completion, offer_names
from surefoot.cli.cron import cron
from surefoot.cli.dashboard import dashboard
from surefoot.cli.dead import dead
from surefoot.cli.doctor import doctor
from surefoot.cli.enqueue import enqueue
from surefoot.cli.exits import INTERRUPTED, USAGE
from surefoot.cli.faults import fault_of
from surefoot.cli.init import init
from surefoot.cli.look import explain, jobs, stats
from surefoot.cli.metrics import metrics
from surefoot.cli.options import plain
from surefoot.cli.output import Output, clean
from surefoot.cli.settings import read_settings
from surefoot.cli.steer import pause, resume
from surefoot.cli.top import top
from surefoot.cli.worker import worker
from surefoot.cli.workers import workers
from surefoot.core.errors import SurefootError

_EXAMPLES: Final = """\b
Examples:
  surefoot demo                   the whole story in a minute: no server, no configuration
  surefoot init                   the first files of an application, with tests
  surefoot worker app:mail        run the jobs of the queue `mail` in app.py
  surefoot stats app:mail         what waits, what runs, what died

\b
TARGET is module:queue, module:worker, module:factory, or module (all its queues); else SUREFOOT_APP, or
[tool.surefoot] app in pyproject.toml. Without an application: --url or SUREFOOT_URL, and --queue.
Every option has a variable, SUREFOOT_<COMMAND>_<OPTION>, and a key in [tool.surefoot.<command>].

\b
Exit codes: 0 done, 1 the answer is no, 2 wrong usage, 3 the application cannot be loaded, 4 the store cannot be
reached, 5 time ran out, 75 stuck: restart me, 130 and 143 stopped at once.
"""

_SETTINGS: Final = {
    "auto_envvar_prefix": "SUREFOOT",
    "help_option_names": ["-h", "--help"],
    "max_content_width": 110,
}


@click.group(epilog=_EXAMPLES, context_settings=_SETTINGS)
@click.version_option(package_name="surefoot", message="%(prog)s %(version)s", allow_from_autoenv=False)
@click.pass_context
def commands(ctx: click.Context) -> None:
    """A job queue that does not drop what it carries."""
    settings = read_settings(commands)._replace(line=ctx.obj or ())
    ctx.obj = settings
    ctx.default_map = dict(settings.defaults)


@click.command("version", short_help="Versions of surefoot, Python and SQLite.")
@plain
def version(out: Output) -> int:
    """The versions that a report of a mistake should name."""
    import importlib.metadata
    import platform
    import sqlite3

    release = importlib.metadata.version("surefoot")
    versions = {"surefoot": release, "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    if out.json:
        out.record(versions)
    else:
        out.answer(f"surefoot {release} (Python {versions['python']}, SQLite {versions['sqlite']})")
    return 0


@click.command("demo", short_help="The whole story in a minute.")
@click.option("--redis", metavar="URL", help="Tell it on this server, in a namespace of its own.")
@click.option("--fast", is_flag=True, help="The same with short leases and delays.")
def demo(*, redis: str | None, fast: bool) -> int:
    """The whole story in a minute: enqueue, work, fail, retry, kill -9, recovery, dead letter, requeue; lost: 0."""
    from surefoot.cli.demo import run as tell

    return tell(redis=redis, fast=fast)


for _command in (
    worker,
    stats,
    jobs,
    explain,
    dead,
    pause,
    resume,
    version,
    demo,
    enqueue,
    cancel,
    cron,
    workers,
    audit,
    init,
    top,
    completion,
    dashboard,
    doctor,
    bench,
    metrics,
):
    commands.add_command(_command)


def run(args: Sequence[str]) -> int:
    """Run one command line; gives the exit code. A user's mistake is one sentence on stderr, no traceback of ours."""
    try:
        code: Any = commands.main(args=list(args), prog_name="surefoot", standalone_mode=False, obj=tuple(args))
    except click.Abort:
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as asked:
        click.echo(asked.ctx.get_help(), err=True)
        return USAGE
    except (click.ClickException, SurefootError) as error:
        fault = fault_of(error)
        click.echo(f"surefoot: {clean(fault.sentence)}", err=True)
        if fault.lines:
            click.echo(fault.lines, err=True)
        return fault.code
    return code if isinstance(code, int) else 0


def main() -> None:
    """The console script."""
    if ASKED in os.environ:
        _answer_a_shell()
    sys.exit(run(sys.argv[1:]))


def _answer_a_shell() -> NoReturn:
    """What a completion script asks for. Leaves at once: the application may have threads, and more to print."""
    code = 0
    try:
        offer_names(commands)
        run(())
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    except Exception:
        code = 1  # a shell that asks wants no traceback in the middle of a line
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
