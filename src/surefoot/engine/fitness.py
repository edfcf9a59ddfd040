"""What a worker asks its server once, before it claims: whether it may drop jobs, what it keeps, and whether it lets
this user do all that a worker does. Asks no file.
"""

import logging
from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

from surefoot import clock
from surefoot.brokers.broker import Broker, Facts, NoAnswer
from surefoot.core.errors import StoreUnavailable, StoreUnsuitable
from surefoot.engine.outage import Outage

log: Final = logging.getLogger("surefoot.worker")

_DROPS: Final = "allkeys-"
"""How the eviction policies begin that drop keys without a time to live, as ours are."""


@runtime_checkable
class Guarded(Protocol):
    """A store whose users may not do everything."""

    async def entitled(self, queues: Sequence[str]) -> None:
        """StoreUnsuitable if this user may not do what a worker of these queues does."""
        ...


class Fitness:
    """Whether a store is fit for jobs, and this user for its work. What it keeps is only said; that it may drop jobs is
    refused.
    """

    def __init__(self, broker: Broker, queues: Sequence[str] = (), *, allow_eviction: bool) -> None:
        self._broker = broker
        self._queues = tuple(queues)
        self._allow_eviction = allow_eviction
        self._known = broker.address.startswith("sqlite")
        self._outage = Outage("the store does not answer; nothing is claimed until it does")

    async def look(self) -> bool:
        """Ask, if it is not yet known; False while the store is away. Raises StoreUnsuitable."""
        if self._known:
            return True
        try:
            facts = await self._broker.facts()
            if self._queues and isinstance(self._broker, Guarded):
                await self._broker.entitled(self._queues)
        except (NoAnswer, StoreUnavailable) as away:
            self._outage.met(away, clock.monotonic())
            return False
        self._judge(self._broker.address, facts)
        self._known = True
        return True

    def _judge(self, address: str, facts: Facts) -> None:
        if facts.eviction is None:
            log.warning(
                "%s does not say whether it may drop jobs when its memory is full; make sure that its maxmemory-policy "
                "is noeviction",
                address,
            )
        elif facts.eviction.startswith(_DROPS):
            may = f"{address} may drop jobs when its memory is full: its maxmemory-policy is {facts.eviction}"
            if not self._allow_eviction:
                raise StoreUnsuitable(
                    f"{may}. Set it to noeviction, or start the worker with --allow-eviction "
                    "(in Python: worker.allow_eviction = True)."
                )
            log.warning("%s, and this worker was told to allow it", may)
        match facts.keeps:
            case "nothing":
                log.warning(
                    "%s keeps nothing on disk: when it stops, every job in it is lost; set appendonly yes to keep them",
                    address,
                )
            case "snapshots":
                log.warning(
                    "%s keeps snapshots only: when it dies, all that came after the last one is lost; "
                    "set appendonly yes to keep it",
                    address,
                )
            case None:
                log.warning("%s does not say what it keeps on disk; make sure that appendonly is yes", address)
            case "log":
                pass
