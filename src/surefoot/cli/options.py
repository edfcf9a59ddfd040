"""What several commands share: kinds of values, the options that all have, and [tool.surefoot] as defaults."""

import functools
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import click

from surefoot.cli.output import Output
from surefoot.cli.target import Scope
from surefoot.core.names import NAME_RULE, did_you_mean, is_name

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
            settings = click.get_current_context().find_object(Settings) or NO_SETTINGS
            scope = Scope(
                rest.pop("target", None), app, url, queue,
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


class Settings(NamedTuple):
    """[tool.surefoot] of the nearest pyproject.toml: the application, the folder of the file, defaults by command."""

    app: str | None
    folder: Path | None
    defaults: Mapping[str, Any]


NO_SETTINGS: Final = Settings(None, None, {})


def read_settings(commands: click.Group) -> Settings:
    """What the nearest pyproject.toml says; a key that nobody would read is refused with the nearest one that is."""
    here = Path.cwd()
    files = (folder / "pyproject.toml" for folder in (here, *here.parents))
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        return NO_SETTINGS
    try:
        table = tomllib.loads(path.read_text("utf-8")).get("tool", {}).get("surefoot", {})
    except (OSError, ValueError) as broken:
        raise click.UsageError(f"cannot read {path}: {broken}.") from None
    place = f"[tool.surefoot] in {path}"
    if not isinstance(table, dict):
        raise click.UsageError(f"{place} is not a table.")
    app = table.pop("app", None)
    if app is not None and not isinstance(app, str):
        raise click.UsageError(f'{place}: app = {app!r} is not text; write app = "module:queue".')
    return Settings(app, path.parent, _defaults(table, commands, place, ("app",)))


def _defaults(table: Mapping[str, Any], group: click.Group, place: str, more: tuple[str, ...] = ()) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        command = group.commands.get(key)
        if command is None or not isinstance(value, dict):
            raise click.UsageError(f"{place} has no key '{key}'{did_you_mean(key, [*group.commands, *more]) or '.'}")
        where = place.replace("]", f".{key}]", 1)
        if isinstance(command, click.Group):
            found[key] = _defaults(value, command, where)
        else:
            found[key] = {}
            for word, given in value.items():
                option = _option(command, word, where)
                listed = option.multiple and not isinstance(given, list)
                found[key][option.name] = [given] if listed else given
    return found


def _option(command: click.Command, word: str, place: str) -> click.Option:
    params = [one for one in command.params if isinstance(one, click.Option)]
    options = {name[2:]: one for one in params for name in one.opts if name.startswith("--")}
    found = options.get(word.replace("_", "-"))
    if found is None:
        raise click.UsageError(f"{place} has no key '{word}'{did_you_mean(word, options) or '.'}")
    return found
