"""What several commands share: kinds of values, and the options that all have."""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import click

from surefoot.cli.output import Output
from surefoot.cli.settings import nearest, settings_of
from surefoot.cli.target import Scope
from surefoot.core.names import NAME_RULE, is_name

Body: TypeAlias = Callable[..., int | None]

_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?) ?([smhd]?)\Z")


def duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """A click callback: seconds as people write them, 90, 90s, 5m, 2h, 1d."""
    if value is None:
        return None
    found = _DURATION.match(value.strip())
    if found is None:
        raise click.BadParameter(f"'{value}' is not a duration; write 90, 90s, 5m, 2h or 1d.", ctx, param)
    return float(found[1]) * _SECONDS[found[2]]


def duration_above_zero(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """A click callback like `duration`, for what cannot be 0."""
    seconds = duration(ctx, param, value)
    if seconds == 0:
        raise click.BadParameter(f"'{value}' must be above 0.", ctx, param)
    return seconds


def names(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> tuple[str, ...]:
    """A click callback: queue names, from options that were repeated or hold commas."""
    found = tuple(dict.fromkeys(name.strip() for given in value for name in given.split(",") if name.strip()))
    for name in found:
        if not is_name(name):
            raise click.BadParameter(f"'{name}' is not a name; give {NAME_RULE}.", ctx, param)
    return found


def plain(body: Body) -> Body:
    """The options that every command has; the command gets an Output."""

    @functools.wraps(body)
    def command(*, json: bool, quiet: bool, verbose: bool, no_color: bool, **rest: Any) -> int | None:
        return body(Output(json=json, quiet=quiet, verbose=verbose, no_color=no_color), **rest)

    return _decorated(
        command,
        click.option("--json", is_flag=True, help="One JSON object a line on stdout, and nothing else there."),
        click.option("--quiet", is_flag=True, help="No messages beside the answer."),
        click.option("--verbose", is_flag=True, help="More words: whole tracebacks of the application, debug logs."),
        click.option("--no-color", is_flag=True, help="No colours (also: NO_COLOR)."),
    )


app_option: Final = click.option(
    "-A", "--app", metavar="MODULE:NAME", help="The application, else SUREFOOT_APP or [tool.surefoot] app."
)
queue_option: Final = click.option(
    "-q", "-Q", "--queue", metavar="NAME", multiple=True, callback=names, help="Only this queue; may be repeated."
)


def scoped(*, target: bool) -> Callable[[Body], Body]:
    """The options that say which queues; the command gets an Output and a Scope. `target`: it takes TARGET too."""

    def wrap(body: Body) -> Body:
        @functools.wraps(body)
        def command(
            out: Output, *, app: str | None, url: str | None, queue: tuple[str, ...], **rest: Any
        ) -> int | None:
            ctx = click.get_current_context()
            settings = settings_of(ctx)
            target = rest.pop("target", None)
            given = nearest(ctx, target, app=app, url=url)
            scope = Scope(
                target, given["app"], given["url"], queue,
                default=settings.app, folder=settings.folder, verbose=out.verbose,
            )  # fmt: skip
            return body(out, scope, **rest)

        argument = [click.argument("target", required=False)] if target else []
        url = click.option("--url", metavar="URL", help="The store, where there is no application (else SUREFOOT_URL).")
        return plain(_decorated(command, *argument, app_option, url, queue_option))

    return wrap


def _decorated(body: Body, *decorators: Callable[[Body], Body]) -> Body:
    for decorator in reversed(decorators):
        body = decorator(body)
    return body
