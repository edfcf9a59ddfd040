"""What a queue says to whoever gives it something else than drafts: a task and its arguments, a name, a function."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final, ParamSpec, Protocol, TypeVar, cast

from surefoot.core.errors import UsageError
from surefoot.core.job import Draft

P = ParamSpec("P")
R = TypeVar("R")

_SHOWN: Final = 60


class Named(Protocol):
    """A queue, as far as sentences need it."""

    @property
    def name(self) -> str: ...


def one_draft(method: Callable[P, R]) -> Callable[P, R]:
    """A method of a queue that takes one draft: anything else is answered with what to write. Its type stays."""

    @functools.wraps(method)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        queue, *given = cast("tuple[Any, ...]", args)
        if len(given) != 1 or kwargs or not isinstance(given[0], Draft):
            raise wanted(queue, tuple(given), kwargs)
        return method(*args, **kwargs)

    return checked


def many_drafts(method: Callable[P, R]) -> Callable[P, R]:
    """The same for a list of them; what is in the list is looked at where it is stored."""

    @functools.wraps(method)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        queue, *given = cast("tuple[Any, ...]", args)
        if len(given) != 1 or kwargs or not isinstance(given[0], Iterable) or isinstance(given[0], str | bytes):
            name = _spoken(given[0]) if given else "task"
            raise UsageError(
                f"queue '{queue.name}' takes one list of drafts: write enqueue_many([{name}.draft(...), ...])."
            )
        return method(*args, **kwargs)

    return checked


def wanted(queue: Named, args: tuple[Any, ...], kwargs: dict[str, Any]) -> UsageError:
    """The error for a call of `enqueue` with something else than one draft."""
    head = f"queue '{queue.name}' takes drafts"
    if not args:
        return UsageError(f"{head}: write enqueue(task.draft(...)).")
    first, rest = args[0], args[1:]
    given = _written(rest, kwargs)
    if isinstance(first, Draft):
        return UsageError(f"{head}, one a call: write enqueue(draft), or enqueue_many([draft, ...]).")
    if _is_task(first):
        return UsageError(f"{head}: write {_spoken(first)}.enqueue({given}).")
    if isinstance(first, str):
        return UsageError(f"{head}: write {queue.name}.by_name({first!r}).enqueue({_written((), kwargs) or '...'}).")
    if isinstance(first, list | tuple):
        return UsageError(f"{head}, one a call: write enqueue_many([task.draft(...), ...]).")
    if inspect.isroutine(first):
        name = _spoken(first)
        return UsageError(f"{head}: write @{queue.name}.task above the function {name}, then {name}.enqueue({given}).")
    return UsageError(f"{head}, not {_short(first)}: write enqueue(task.draft(...)).")


def not_a_draft(queue: Named, given: object) -> UsageError:
    """The error for one thing in a list of drafts."""
    name = _spoken(given) if _is_task(given) else "task"
    return UsageError(f"queue '{queue.name}' takes drafts, not {_short(given)}: write {name}.draft(...).")


def _is_task(thing: object) -> bool:
    return callable(getattr(thing, "draft", None)) and hasattr(thing, "spoken")


def _spoken(thing: object) -> str:
    return str(getattr(thing, "spoken", None) or getattr(thing, "__name__", "task"))


def _written(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    words = [*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]
    written = ", ".join(words)
    return written if len(written) <= _SHOWN else "..."


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."
