"""What a decision about a job needs to know of its task. Not the client's Task: no queue, no store."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import msgspec

from surefoot.core.retry import Retry
from surefoot.core.signature import Signature
from surefoot.core.transition import KEEP_MS

Executor: TypeAlias = Literal["loop", "thread", "process"]
Upcast: TypeAlias = Callable[[int, dict[str, Any]], dict[str, Any]]


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """One task as a worker serves it: the function, its signature, its policies. Milliseconds; None is no limit or
    for ever.
    """

    name: str
    function: Callable[..., object]
    signature: Signature
    executor: Executor = "thread"
    schema: int = 1
    upcast: Upcast | None = None
    retry: Retry = Retry()
    timeout_ms: int | None = 3_600_000
    expires_ms: int | None = None
    keep_ms: int | None = KEEP_MS
    has_on_dead: bool = False
