"""Shell completion: the script for a shell, and the names that only the application knows.

While a shell asks, nothing here prints or fails: an application that cannot be loaded has no names.
"""

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click

from surefoot.cli.options import plain
from surefoot.cli.output import Output
from surefoot.cli.settings import read_settings
from surefoot.cli.target import load, queues_of
from surefoot.core.names import ON_DEAD_SUFFIX

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from surefoot.client.queue import Queue

ASKED: Final = "_SUREFOOT_COMPLETE"

_SHELLS: Final = {
    "bash": 'eval "$(surefoot completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(surefoot completion zsh)" in ~/.zshrc, below compinit',
    "fish": "surefoot completion fish > ~/.config/fish/completions/surefoot.fish",
}
_LONGEST_S: Final = 2.0
_NAMED: Final = {"queue": "queue", "task": "task", "name": "cron"}

_EXAMPLES: Final = f"""\b
Examples:
  surefoot completion bash      {_SHELLS["bash"]}
  surefoot completion zsh       {_SHELLS["zsh"]}
  surefoot completion fish      {_SHELLS["fish"]}
"""


@click.command("completion", epilog=_EXAMPLES, short_help="The completion script of a shell.")
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@plain
def completion(out: Output, *, shell: str) -> int:
    """Print the script that makes a shell complete commands, options, and names of queues, tasks and crons."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, "click knows these shells"
    root = click.get_current_context().find_root()
    script = kind(root.command, {}, "surefoot", ASKED).source_template % {
        "complete_func": "_surefoot_completion", "complete_var": ASKED, "prog_name": "surefoot",
    }  # fmt: skip
    if out.json:
        out.record({"shell": shell, "script": script, "where": _SHELLS[shell]})
        return 0
    out.answer(f"# {_SHELLS[shell]}\n{script}")
    return 0


def offer_names(commands: click.Group) -> None:
    """Let every option and argument that takes such a name offer those of the application."""
    _offer(commands, commands)


def _offer(root: click.Group, group: click.Group) -> None:
    for command in group.commands.values():
        if isinstance(command, click.Group):
            _offer(root, command)
            continue
        for param in command.params:
            noun = _NAMED.get(param.name or "")
            if noun is not None and (noun != "cron" or group.name == "cron"):
                param.type = _Name(root, noun)


class _Name(click.types.StringParamType):
    """Text that names a queue, a task or a cron of the application."""

    def __init__(self, root: click.Group, noun: str) -> None:
        self._root = root
        self._noun = noun

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem[str]]":
        """The names that begin so; none where the application is not named, not loaded or too slow."""
        from click.shell_completion import CompletionItem

        found: set[str] = set()
        with suppress(BaseException):
            for queue in _queues(self._root, _typed(ctx)):
                found.update(_names(queue, self._noun))
        return [CompletionItem(name) for name in sorted(found) if name.startswith(incomplete)]


def _typed(ctx: click.Context) -> str | None:
    """The application that was typed. Behind it stands an option without its value, so a TARGET may be unread yet."""
    target = ctx.params.get("target")
    takes_one = any(param.name == "target" for param in ctx.command.params)
    words = [*(target if isinstance(target, tuple) else [target] if target else []), *(ctx.args if takes_one else [])]
    return ctx.params.get("app") or (words[0] if words else None)


def _names(queue: "Queue", noun: str) -> list[str]:
    if noun == "queue":
        return [queue.name]
    if noun == "cron":
        return [entry.name for entry in queue.registry.crons]
    return [name for name in queue.registry.specs if not name.endswith(ON_DEAD_SUFFIX)]


def _queues(root: click.Group, typed: str | None) -> "list[Queue]":
    """The application's queues, loaded within a short time; what it prints meanwhile goes nowhere."""
    settings = read_settings(root)
    application = typed or os.environ.get("SUREFOOT_APP") or settings.app
    if not application:
        return []
    nowhere, stdout = os.open(os.devnull, os.O_WRONLY), os.dup(1)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)  # for good: what the application says at its end goes nowhere either
    signal.signal(signal.SIGALRM, _too_slow)
    signal.setitimer(signal.ITIMER_REAL, _LONGEST_S)
    try:
        return queues_of(load(application, folder=settings.folder))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.dup2(stdout, 1)


def _too_slow(*_: object) -> None:
    raise TimeoutError
