"""An answer of the store that all who ask within the same moment share: ten viewers cost it what one does."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final

from surefoot import clock

_KEPT: Final = 200


class Fresh:
    """Answers by question, each for a short time. One that is being asked for is waited for, not asked again."""

    def __init__(self) -> None:
        self._answers: dict[Hashable, tuple[float, Any]] = {}
        self._asking: dict[Hashable, asyncio.Task[Any]] = {}

    async def get(self, question: Hashable, seconds: float, ask: Callable[[], Awaitable[Any]]) -> Any:
        """The answer, at most so many seconds old."""
        known = self._answers.get(question)
        if known is not None and clock.monotonic() - known[0] < seconds:
            return known[1]
        task = self._asking.get(question)
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            task = asyncio.ensure_future(self._ask(question, ask))
            self._asking[question] = task
            task.add_done_callback(lambda done: self._over(question, done))
        return await asyncio.shield(task)  # a viewer who leaves does not end it for the others

    def forget(self) -> None:
        """Something was changed: whoever looks next is told how it is now."""
        self._answers.clear()
        self._asking.clear()

    async def _ask(self, question: Hashable, ask: Callable[[], Awaitable[Any]]) -> Any:
        answer = await ask()
        if len(self._answers) >= _KEPT:
            self._answers.clear()
        self._answers[question] = (clock.monotonic(), answer)
        return answer

    def _over(self, question: Hashable, done: asyncio.Task[Any]) -> None:
        if self._asking.get(question) is done:
            del self._asking[question]
        if not done.cancelled():
            done.exception()  # whoever waited has been told
