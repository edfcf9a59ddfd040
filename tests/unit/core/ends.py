"""A call through both ends of a signature, for the tests of Signature. No test lives here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from surefoot.core.errors import InvalidArguments
from surefoot.core.signature import Signature


def signature(function: Callable[..., Any]) -> Signature:
    return Signature(function, task=function.__name__)


def through(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Bind a call, load what travelled, call the function with it."""
    ends = signature(function)
    return ends.call(function, ends.load(ends.bind(args, kwargs)))


def refusal(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(InvalidArguments) as told:
        signature(function).bind(args, kwargs)
    assert told.value.task == function.__name__
    return str(told.value)


def unreadable(function: Callable[..., Any], payload: bytes) -> str:
    with pytest.raises(InvalidArguments) as told:
        signature(function).load(payload)
    assert told.value.task == function.__name__
    return str(told.value)


def equal(given: object, arrived: object) -> bool:
    """Equal, and of the same kinds all the way down."""
    if type(given) is not type(arrived):
        return False
    if isinstance(given, dict) and isinstance(arrived, dict):
        return list(given) == list(arrived) and all(equal(given[key], arrived[key]) for key in given)
    if isinstance(given, list | tuple) and isinstance(arrived, list | tuple):
        return len(given) == len(arrived) and all(map(equal, given, arrived))
    return given == arrived
