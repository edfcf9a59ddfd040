"""`surefoot worker --processes` and what else needs a parent: its options, and the parent itself."""

import sys
from collections.abc import Callable
from typing import Any, Final

import click

from surefoot.cli.settings import Settings

_NEEDS_A_PARENT: Final = ("processes", "health", "recycle_after", "recycle_at")
_LOOPBACK: Final = "127.0.0.1"


def listen(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, int] | None:
    """A click callback: `8080`, which only this machine may ask, or `0.0.0.0:8080`."""
    if value is None:
        return None
    host, _, port = value.rpartition(":")
    if not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65_536:
        raise click.BadParameter(f"'{value}' is not a port; write 8080, or 0.0.0.0:8080.", ctx, param)
    return host.strip("[]") or _LOOPBACK, int(port)


def wanted(options: dict[str, Any]) -> bool:
    """Whether these options of `surefoot worker` need a parent."""
    return any(options[word] is not None for word in _NEEDS_A_PARENT)


def supervise(options: dict[str, Any], settings: Settings, say: Callable[[str], None]) -> int:
    """Run the same words in children, until they are told to leave; gives the exit code."""
    from surefoot.supervisor import Supervisor, command

    if options["reload"]:
        raise click.UsageError("--reload is for one worker that you work on; leave out --processes and what needs it.")
    try:
        supervisor = Supervisor(
            command(settings.line), options["processes"] or 1, say=say, burst=options["burst"], health=options["health"]
        )
    except OSError as error:
        host, port = options["health"]
        raise click.UsageError(
            f"nothing can listen on {host}:{port} ({error.strerror}); give --health another."
        ) from None
    sys.stdout.flush()
    return supervisor.run()
