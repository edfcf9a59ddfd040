"""Which queues a dashboard shows: those it was given, or all that the store at a URL holds. Opens nothing early."""

from collections.abc import Sequence
from typing import Final

from surefoot import clock
from surefoot.brokers.broker import Queues
from surefoot.client.queue import Queue
from surefoot.core.errors import UsageError
from surefoot.core.names import did_you_mean, is_name

_LOOK_AGAIN_S: Final = 15.0


class House:
    """The queues of one dashboard. Of a store at a URL the names are asked again every 15 s, while somebody looks."""

    def __init__(self, queues: Sequence[Queue], url: str | None, namespace: str | None) -> None:
        if bool(queues) == (url is not None):
            raise UsageError("Dashboard() shows queues, or all queues of a store at url=...: give one of them.")
        self._queues = {queue.name: queue for queue in queues}
        self._door = None if url is None else Queue(url, namespace=namespace)
        self._url, self._namespace = url, namespace
        self._looked = float("-inf")

    async def queues(self) -> list[Queue]:
        """All of them, by name."""
        if self._door is not None and clock.monotonic() - self._looked > _LOOK_AGAIN_S:
            prefix = f"{self._door.full_name.partition(':')[0]}:"
            (found,) = await self._door.sessions.ask([Queues(prefix)])
            self._looked = clock.monotonic()
            for name in (one.removeprefix(prefix) for one in found):
                if name not in self._queues and is_name(name):
                    self._queues[name] = Queue(self._url, name=name, namespace=self._namespace)
        return [self._queues[name] for name in sorted(self._queues)]

    async def queue(self, name: str) -> Queue:
        """The one of this name; UsageError where there is none."""
        known = {queue.name: queue for queue in await self.queues()}
        if name not in known:
            raise UsageError(f"there is no queue '{name}' here{did_you_mean(name, known) or '.'}")
        return known[name]

    async def close(self) -> None:
        """Close what the running loop opened."""
        for queue in self._queues.values():
            await queue.close()
        if self._door is not None:
            await self._door.close()
