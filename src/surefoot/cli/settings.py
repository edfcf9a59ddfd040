"""Where options come from besides the command line: [tool.surefoot] of the nearest pyproject.toml, and variables.

A typed value wins over its variable, the variable over its key. Where a value came from can be told in a sentence.
"""

import tomllib
from collections.abc import Mapping
from datetime import date, time
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
from click.core import ParameterSource

from surefoot.core.names import did_you_mean


class Settings(NamedTuple):
    """[tool.surefoot] of the nearest pyproject.toml: the application, the folder of the file, defaults by command.

    `line`: the words of this call of the command line.
    """

    app: str | None
    folder: Path | None
    defaults: Mapping[str, Any]
    line: tuple[str, ...] = ()


NO_SETTINGS: Final = Settings(None, None, {})


def settings_of(ctx: click.Context) -> Settings:
    """The settings of this call of the command line."""
    return ctx.find_object(Settings) or NO_SETTINGS


def nearest(ctx: click.Context, target: object, **given: str | None) -> dict[str, str | None]:
    """Of options that say the same thing, only those that were given nearest. A TARGET is always typed."""
    known = {word: ctx.get_parameter_source(word) for word, value in given.items() if value is not None}
    places = [ParameterSource.COMMANDLINE if target else None, *known.values()]
    first = min((place for place in places if place is not None), default=None)
    return {word: value if known.get(word) == first else None for word, value in given.items()}


def origin(ctx: click.Context, param: click.Parameter) -> str | None:
    """The variable, or the key and its file, that a value came from; None where it was typed."""
    source = ctx.get_parameter_source(param.name or "")
    if source == ParameterSource.ENVIRONMENT:
        return f"{ctx.auto_envvar_prefix}_{param.name}".upper()
    folder = settings_of(ctx).folder
    if source == ParameterSource.DEFAULT_MAP and folder is not None:
        table = ".".join(ctx.command_path.split()[1:])
        return f"'{_key(param)}' of [tool.surefoot.{table}] in {folder / 'pyproject.toml'}"
    return None


def read_settings(commands: click.Group) -> Settings:
    """What the nearest pyproject.toml says; a key that nobody would read is refused with the nearest one that is."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise click.UsageError("the current directory is gone; change to one that is there.") from None
    files = (folder / "pyproject.toml" for folder in (here, *here.parents))
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        return NO_SETTINGS
    try:
        table = tomllib.loads(path.read_text("utf-8")).get("tool", {}).get("surefoot", {})
    except (OSError, ValueError) as broken:
        raise click.UsageError(f"cannot read {path}: {getattr(broken, 'strerror', None) or broken}.") from None
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
        if command is None:
            raise click.UsageError(f"{place} has no key '{key}'{did_you_mean(key, [*group.commands, *more]) or '.'}")
        where = place.replace("]", f".{key}]", 1)
        if not isinstance(value, dict):
            raise click.UsageError(f"{where} is not a table.")
        if isinstance(command, click.Group):
            found[key] = _defaults(value, command, where)
        else:
            options = [(_option(command, word, where), given) for word, given in value.items()]
            found[key] = {option.name: _default(option, given, where) for option, given in options}
    return found


def _option(command: click.Command, word: str, place: str) -> click.Option:
    options = {_key(one): one for one in command.params if isinstance(one, click.Option)}
    found = options.get(word.replace("_", "-"))
    if found is None:
        raise click.UsageError(f"{place} has no key '{word}'{did_you_mean(word, options) or '.'}")
    return found


def _key(param: click.Parameter) -> str:
    return next(name[2:] for name in param.opts if name.startswith("--"))


def _default(option: click.Option, value: object, place: str) -> str | list[str] | None:
    """The value as its variable would hold it, so that both are read by the same rules."""
    if option.multiple:
        return [_text(option, one, place) for one in (value if isinstance(value, list) else [value])]
    if isinstance(value, bool) and not option.is_flag and isinstance(option.flag_value, str):
        return option.flag_value if value else None
    return _text(option, value, place)


def _text(option: click.Option, value: object, place: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, date | time):
        return value.isoformat()
    kind = "a table" if isinstance(value, dict) else "a list"
    raise click.UsageError(f"{place}: '{_key(option)}' is {kind}, and one value is wanted.")
