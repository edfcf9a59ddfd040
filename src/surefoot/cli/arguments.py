"""Arguments of a task as a command line writes them: `key=value` by the parameter's type, `key:=json`, an object.

Whether they fit the task is not said here: its signature says it.
"""

import inspect
import re
import typing
from collections.abc import Sequence
from inspect import Parameter
from itertools import takewhile
from types import GenericAlias
from typing import Any, Final

import click
import msgspec

from surefoot.core.codec import decode_json, encode_json
from surefoot.core.errors import InvalidArguments, UsageError
from surefoot.core.parameter import Wire, show
from surefoot.core.spec import Spec

_WORD: Final = re.compile(r"([^\W\d]\w*)(:?=)(.*)\Z", re.DOTALL)
_BY_POSITION: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_OPTIONS: Final = ("delay", "at", "key", "priority")


def written(words: Sequence[str], whole: str | None, spec: Spec | None) -> dict[str, Any]:
    """JSON values by parameter name. Without a spec nothing is known of the types: what follows `=` is text."""
    given = {} if whole is None else _object(whole)
    for word in words:
        found = _WORD.match(word)
        if found is None:
            raise click.UsageError(f"{show(word)} is no argument: write KEY=VALUE, or KEY:=JSON.")
        name, equals, text = found.groups()
        if name in given:
            raise click.UsageError(f"'{name}' is given twice.")
        given[name] = _json(name, text) if equals == ":=" else _typed(text, _hint(spec, name))
    return given


def call_of(values: dict[str, Any], spec: Spec | None) -> tuple[list[Any], dict[str, Any]]:
    """The values as the call that has them, each of the parameter's own type as far as it fits."""
    named = {name: _value(value, _hint(spec, name)) for name, value in values.items()}
    if spec is None:
        return [], named
    kinds = {name: found.kind for name, found in inspect.signature(spec.function).parameters.items()}
    many = next((name for name, kind in kinds.items() if kind is Parameter.VAR_POSITIONAL and name in named), None)
    wanted = _BY_POSITION if many else (Parameter.POSITIONAL_ONLY,)
    first = [name for name, kind in kinds.items() if kind in wanted]
    args = [named.pop(name) for name in takewhile(named.__contains__, list(first))]
    if many and len(args) == len(first) and isinstance(named[many], list | tuple):
        args += named.pop(many)
    return args, named


def told(fault: InvalidArguments, words: Sequence[str]) -> Exception:
    """The fault with the way out that a command line has: an option of the same name, or JSON."""
    sentence, name = str(fault), fault.parameter
    text = next((word.partition("=")[2] for word in words if word.startswith(f"{name}=")), None)
    if name in _OPTIONS and "it is an option" in sentence:
        head = sentence.partition("; ")[0]
        return UsageError(f"{head}; it is an option: --{name} {text or '...'}")
    if text is not None and text.startswith(("[", "{")):
        return UsageError(f"{sentence} JSON is written with :=, {name}:={text}")
    return fault


def _object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (ValueError, RecursionError) as broken:
        raise click.UsageError(f"--args {show(text)} is no JSON object by parameter name: {broken}.") from None


def _json(name: str, text: str) -> Any:
    try:
        return decode_json(text)
    except (ValueError, RecursionError) as broken:
        raise click.UsageError(
            f"{name}:={show(text)} is no JSON: {broken}. Text is written {name}=TEXT; quote the whole for the shell."
        ) from None


def _hint(spec: Spec | None, name: str) -> Any:
    """The type of a parameter; Any where it has none, or nothing is known."""
    if spec is None:
        return Any
    hints = typing.get_type_hints(spec.function, include_extras=True)
    for parameter in inspect.signature(spec.function).parameters.values():
        hint: Any = hints.get(parameter.name, Any)
        if parameter.name == name:
            return GenericAlias(list, (hint,)) if parameter.kind is Parameter.VAR_POSITIONAL else hint
        if parameter.kind is Parameter.VAR_KEYWORD:
            return hint
    return Any


def _typed(text: str, hint: Any) -> Any:
    """The JSON value that `text` is for this type; the text itself where it is none. Durations: 90, 90s, 5m, 2h, 1d."""
    spellings = (text, f"PT{text}".upper(), f"P{text}".upper()) if text[:1].isdigit() else (text,)
    raw = next((raw for spelling in spellings if (raw := _spelled(spelling, hint)) is not None), None)
    if raw is None or (raw == b"null" and text != "null"):  # NaN is a float, and would be null
        return text
    return decode_json(raw)


def _spelled(text: str, hint: Any) -> bytes | None:
    try:
        return Wire(hint).write(msgspec.convert(text, hint, strict=False))
    except Exception:  # a type may check with code of the application, which may raise anything
        return None


def _value(value: Any, hint: Any) -> Any:
    try:
        return Wire(hint).read(encode_json(value))
    except Exception:  # the same; the signature says what does not fit
        return value
