"""What a process that runs jobs is given besides the application: errands that each child process does first, and what
is put around every task. Said once a process, by libraries and by whoever starts the worker.
"""

import logging
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from surefoot.core.spec import Spec

errands: Final[dict[str, dict[str, Any]]] = {}
"""What each child process does before it loads the application: `module:function`, and its keyword arguments."""

fittings: Final[list[Callable[[Spec], Spec]]] = []
"""What is put around every task that this process serves, by a library that keeps something in each thread: a
middleware runs on the loop, not where a plain function does.
"""


class Errand(msgspec.Struct, frozen=True):
    """A function that a child process calls before it loads the application, and its arguments, plain data."""

    function: str
    arguments: Mapping[str, Any]


def errands_now() -> tuple[Errand, ...]:
    """The errands of a child that starts now."""
    return tuple(Errand(function, arguments) for function, arguments in errands.items())


def run_errand(errand: Errand) -> None:
    """In the child: do it."""
    pkgutil.resolve_name(errand.function)(**errand.arguments)


def fitted(spec: Spec) -> Spec:
    """The task with all that this process puts around it."""
    for fit in fittings:
        spec = fit(spec)
    return spec


def log_plainly() -> None:
    """Lines on stderr, where neither the application nor the command line has set up logging; in the children too."""
    handlers = [handler for name in ("", "surefoot", "surefoot.worker") for handler in logging.getLogger(name).handlers]
    if all(isinstance(one, logging.NullHandler) for one in handlers):
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s")
        errands[f"{__name__}:log_plainly"] = {}
