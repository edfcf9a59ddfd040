"""What a fault says on the command line, and the exit code that it gives. Prints nothing."""

import re
from typing import Final, NamedTuple

import click

from surefoot.cli.exits import NO, STORE, USAGE, NotLoaded
from surefoot.cli.settings import origin
from surefoot.core.errors import JobNotFound, StoreError, SurefootError
from surefoot.core.names import did_you_mean

_KINDS: Final = re.compile(r"is not a valid (integer|float|boolean)(?: range)?\.(?: Recognized values: .*)?")
_KIND_WORDS: Final = {
    "integer": "is not a whole number.", "float": "is not a number.", "boolean": "is neither true nor false."
}  # fmt: skip
_ELSEWHERE: Final = {
    ("worker", "--url"): 'queues name their own store, Queue("redis://..."), or SUREFOOT_URL names it',
    ("enqueue", "--timeout"): "a run's time is its task's (timeout=60); to wait so long for the result give --wait D",
    ("enqueue", "--max-attempts"): "attempts are the task's: retry=Retry(max_attempts=5)",
    ("enqueue", "--expires"): "that is the task's (expires=60), or is said in Python: task.options(expires=60)",
}
"""Options that people look for at a command, by its name, and where that is said instead."""


class Fault(NamedTuple):
    """One sentence, the lines of a traceback of the application if it raised, and the exit code."""

    sentence: str
    lines: str
    code: int


def fault_of(error: click.ClickException | SurefootError) -> Fault:
    """What an error of a command says. Whatever is not here is a mistake of ours and keeps its traceback."""
    if isinstance(error, click.ClickException):
        return Fault(_sentence(error), error.lines if isinstance(error, NotLoaded) else "", error.exit_code)
    code = STORE if isinstance(error, StoreError) else NO if isinstance(error, JobNotFound) else USAGE
    return Fault(str(error), "", code)


def _sentence(error: click.ClickException) -> str:
    """The error in the words of this house: what was given, the nearest known, where to read on."""
    if not isinstance(error, click.UsageError):
        return error.format_message()
    help_of = error.ctx.command_path if error.ctx else "surefoot"
    if isinstance(error, click.NoSuchOption):
        said = f"there is no option '{error.option_name}'{_instead(error.option_name, error.ctx)}"
    elif isinstance(error, click.exceptions.NoSuchCommand):
        group = error.ctx.command if error.ctx else None
        known = list(group.commands) if isinstance(group, click.Group) else []
        said = f"there is no command '{error.command_name}'{did_you_mean(error.command_name, known)}"
    elif type(error) is click.BadParameter and error.ctx is not None and error.param is not None:
        place = origin(error.ctx, error.param) or error.param.get_error_hint(error.ctx)
        said = f"invalid value for {place}: {_KINDS.sub(lambda kind: _KIND_WORDS[kind[1]], error.message)}"
    else:
        message = error.format_message()
        said = message if message[1:2].isupper() else message[:1].lower() + message[1:]
    return f"{said}{'' if said.endswith(('.', '?')) else '.'} See `{help_of} --help`."


def _instead(option: str, ctx: click.Context | None) -> str:
    """The way out for an option that a command does not have: where that is said, or the nearest that it has."""
    if ctx is None:
        return ""
    elsewhere = _ELSEWHERE.get((ctx.command.name or "", option))
    known = [name for one in ctx.command.params for name in one.opts]
    return f": {elsewhere}" if elsewhere else did_you_mean(option, known)
