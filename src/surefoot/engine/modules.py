"""Loads the modules that register tasks, by name or pattern. Swallows nothing: a module that fails stops the start."""

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from types import ModuleType

from surefoot.core.errors import ConfigError


def load_modules(patterns: Sequence[str]) -> list[str]:
    """Import `shop.jobs`, `shop.*` (children), `shop.**.jobs` (any depth); answer the names.

    A pattern that matches nothing is a ConfigError; whatever an import raises comes through.
    """
    names: list[str] = []
    for pattern in patterns:
        if "*" in pattern:
            found = sorted(set(_matching(pattern)))
            if not found:
                raise ConfigError(
                    f"imports={pattern!r} matches no module; give a module's name, or a pattern like 'shop.**.jobs'."
                )
        else:
            found = [pattern]
        for name in found:
            _load(name)
        names += found
    return names


def _load(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name is not None and (name == missing.name or name.startswith(missing.name + ".")):
            raise ConfigError(f"imports={name!r}: there is no module {missing.name}.") from None
        raise


def _matching(pattern: str) -> Iterator[str]:
    parts = pattern.split(".")
    fixed = next(place for place, part in enumerate(parts) if "*" in part)
    if fixed == 0:
        raise ConfigError(f"imports={pattern!r}: a pattern begins with the name of a package, like 'shop.*'.")
    yield from _below(".".join(parts[:fixed]), parts[fixed:])


def _below(package: str, rest: Sequence[str]) -> Iterator[str]:
    """The modules under `package` whose remaining names fit `rest`; `**` is any number of packages, also none."""
    first, more = rest[0], rest[1:]
    module = _load(package)
    children = list(pkgutil.iter_modules(getattr(module, "__path__", [])))
    if first == "**":
        if more:
            yield from _below(package, more)
        for child in children:
            if child.ispkg:
                yield from _below(f"{package}.{child.name}", rest)
            if not more:
                yield f"{package}.{child.name}"
        return
    for child in children:
        if first in ("*", child.name):
            name = f"{package}.{child.name}"
            if not more:
                yield name
            elif child.ispkg:
                yield from _below(name, more)
