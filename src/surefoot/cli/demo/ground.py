"""The store that the story stands on: a file in its folder, or a namespace of its own on somebody's server.

On a server it touches no key but its own, and removes those by name: nothing is flushed, nothing is searched for.
"""

from pathlib import Path
from typing import Final, Protocol

from surefoot import chance
from surefoot.brokers.connect import parse
from surefoot.cli.demo.app import shop
from surefoot.core.errors import ConfigError, StoreError

_KEPT: Final = {
    "log": ", a log of every change on disk",
    "snapshots": ", snapshots on disk from time to time",
    "nothing": ", nothing on disk",
    None: "",
}


class Ground(Protocol):
    """A store for as long as the story lasts. `url` may hold a password: it is for processes, not for people."""

    @property
    def url(self) -> str: ...

    async def told(self) -> str:
        """Where the story takes place, for people; asked once the queue is open."""
        ...

    async def clear(self) -> None:
        """Leave nothing of the story in the store. StoreError with a sentence if that cannot be done."""
        ...


class File:
    """A SQLite file in the story's folder; it goes with the folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "jobs.db"
        self.url: str = f"sqlite:///{self._path}"

    async def told(self) -> str:
        return f"One queue in {self._path}; nothing else is used, nothing stays behind."

    async def clear(self) -> None:
        pass


class Namespace:
    """A namespace with a name by chance on a Redis or Valkey server that may be in use for other things."""

    def __init__(self, url: str) -> None:
        address = parse(url)
        if address.scheme == "sqlite":
            raise ConfigError(
                f"--redis takes the URL of a server, such as redis://localhost:6379/0, not {address.url}."
            )
        self._name = f"demo-{chance.token(4).hex()}"
        self._shown = address.url
        address_only, _, query = url.partition("#")[0].partition("?")
        options = [one for one in query.split("&") if one and not one.startswith("namespace=")]
        self.url: str = f"{address_only}?{'&'.join([*options, f'namespace={self._name}'])}"

    async def told(self) -> str:
        facts = await shop.broker.facts()
        server = f"{self._shown} ({facts.software}{_KEPT[facts.keeps]})"
        return f"One queue at {server}, in a namespace of its own, {self._name}: its keys are removed at the end."

    async def clear(self) -> None:
        from surefoot.brokers.redis.broker import RedisBroker
        from surefoot.brokers.redis.connection import Connections
        from surefoot.brokers.redis.names import key
        from surefoot.brokers.redis.scripts import scripts

        assert isinstance(shop.broker, RedisBroker)
        keys = {key(shop.full_name, name) for script in scripts().values() for name in script.keys}
        connections = Connections(shop.broker.server)
        try:
            (removed,) = await connections.send(("UNLINK", *sorted(keys)))
            if isinstance(removed, Exception):
                raise removed
        except Exception as met:
            raise StoreError(
                f"the keys {{{shop.full_name}}}:* were not removed ({str(met).rstrip('.')}); remove them by hand."
            ) from met
        finally:
            await connections.close()
