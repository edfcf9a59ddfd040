"""`surefoot worker --processes` and what else needs a parent: its options, and the parent itself."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import click

from surefoot.cli.settings import Settings

if TYPE_CHECKING:
    from surefoot.core.events import Event
    from surefoot.engine.meter import Figures
    from surefoot.health import Page
    from surefoot.worker import Worker

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


def _measured(options: dict[str, Any]) -> bool:
    """Whether somebody will ask for metrics, and there is what makes a page of them."""
    return options["health"] is not None and find_spec("prometheus_client") is not None


@contextmanager
def metered(built: "Worker", options: dict[str, Any]) -> Iterator[None]:
    """While it runs, this worker counts what it does, and tells its parent, if somebody may ask for it."""
    if not _measured(options):
        yield
        return
    from surefoot.engine.meter import Meter
    from surefoot.supervisor import tell_figures, tell_last_figures

    meter, own = Meter(), built.on_event

    def both(event: "Event") -> None:
        meter(event)
        if own is not None:
            own(event)

    built.on_event = both
    tell_figures(meter)
    try:
        yield
    finally:
        tell_last_figures(meter)


def supervise(options: dict[str, Any], settings: Settings, say: Callable[[str], None]) -> int:
    """Run the same words in children, until they are told to leave; gives the exit code."""
    from surefoot.supervisor import Supervisor, command

    if options["reload"]:
        raise click.UsageError("--reload is for one worker that you work on; leave out --processes and what needs it.")
    try:
        supervisor = Supervisor(
            command(settings.line), options["processes"] or 1, say=say, burst=options["burst"],
            health=options["health"], metrics=_page_of if _measured(options) else _no_page,
        )  # fmt: skip
    except OSError as error:
        host, port = options["health"]
        raise click.UsageError(
            f"nothing can listen on {host}:{port} ({error.strerror}); give --health another."
        ) from None
    sys.stdout.flush()
    return supervisor.run()


def _page_of(figures: "Figures") -> "Page":
    from surefoot.metrics import page_of

    return page_of(figures)


def _no_page(figures: "Figures") -> "Page":
    return 501, "text/plain; charset=utf-8", b"metrics need the client of Prometheus: pip install surefoot[metrics]\n"
