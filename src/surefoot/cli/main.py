"""The command `surefoot`: its group, what becomes of errors, exit codes. The commands themselves live beside it."""

import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from surefoot.cli.dead import dead
from surefoot.cli.exits import INTERRUPTED, NO, STORE, USAGE, NotLoaded
from surefoot.cli.look import explain, jobs, stats
from surefoot.cli.options import plain, read_settings
from surefoot.cli.output import Output, clean
from surefoot.cli.steer import pause, resume
from surefoot.cli.worker import worker
from surefoot.core.errors import JobNotFound, StoreError, SurefootError
from surefoot.core.names import did_you_mean

_EXAMPLES: Final = """\b
Examples:
  surefoot demo                   the whole story in a minute: no server, no configuration
  surefoot worker app:mail        run the jobs of the queue `mail` in app.py
  surefoot stats app:mail         what waits, what runs, what died

\b
TARGET is module:queue, module:worker, module:factory, or module (all its queues); else SUREFOOT_APP, or
[tool.surefoot] app in pyproject.toml. Without an application: --url or SUREFOOT_URL, and --queue.
Every option has a variable, SUREFOOT_<COMMAND>_<OPTION>, and a key in [tool.surefoot.<command>].

\b
Exit codes: 0 done, 1 the answer is no, 2 wrong usage, 3 the application cannot be loaded, 4 the store cannot be
reached, 75 stuck: restart me, 130 and 143 stopped at once.
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
    settings = read_settings(commands)
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


for _command in (worker, stats, jobs, explain, dead, pause, resume, version, demo):
    commands.add_command(_command)


def run(args: Sequence[str]) -> int:
    """Run one command line; gives the exit code. A user's mistake is one sentence on stderr, no traceback of ours."""
    try:
        code: Any = commands.main(args=list(args), prog_name="surefoot", standalone_mode=False)
    except click.Abort:
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as asked:
        click.echo(asked.ctx.get_help(), err=True)
        return USAGE
    except click.ClickException as fault:
        _complain(_sentence(fault), fault.lines if isinstance(fault, NotLoaded) else "")
        return fault.exit_code
    except SurefootError as fault:
        _complain(str(fault))
        return STORE if isinstance(fault, StoreError) else NO if isinstance(fault, JobNotFound) else USAGE
    return code if isinstance(code, int) else 0


def _complain(sentence: str, lines: str = "") -> None:
    click.echo(f"surefoot: {clean(sentence)}", err=True)
    if lines:
        click.echo(lines, err=True)


def _sentence(fault: click.ClickException) -> str:
    """The fault in the words of this house: what was given, the nearest known, where to read on."""
    if not isinstance(fault, click.UsageError):
        return fault.format_message()
    help_of = fault.ctx.command_path if fault.ctx else "surefoot"
    if isinstance(fault, click.NoSuchOption):
        known = [name for one in fault.ctx.command.params for name in one.opts] if fault.ctx else []
        said = f"there is no option '{fault.option_name}'{did_you_mean(fault.option_name, known) or '.'}"
    elif isinstance(fault, click.exceptions.NoSuchCommand):
        group = fault.ctx.command if fault.ctx else commands
        known = list(group.commands) if isinstance(group, click.Group) else []
        said = f"there is no command '{fault.command_name}'{did_you_mean(fault.command_name, known) or '.'}"
    else:
        message = fault.format_message()
        said = message[:1].lower() + message[1:]
        if not said.endswith((".", "?")):
            said += "."
    return f"{said} See `{help_of} --help`."


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
