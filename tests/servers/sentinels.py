"""A primary, its replicas, and sentinels that watch over them: failovers by hand, or by the death of the primary."""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers.conversation import HOST, PATIENCE_S, Refusal
from tests.servers.server import Server, start, started

NAME = "mymaster"
"""The primary, as sentinels know it."""
QUORUM = 2
SENTINELS = 3
DOWN_AFTER_MS = 500
"""A primary that is silent for so long is down; on a slow machine that is now and then one that lives."""
FAILOVER_TIMEOUT_MS = 3_000


class Sentinel(Server):
    """One sentinel."""

    _words = ("--sentinel",)


class Watched:
    """Servers of which one leads, and three sentinels that choose another when that one is silent."""

    def __init__(
        self, folder: Path, kind: str, *, replicas: int, options: Mapping[str, str], sentinel_options: Mapping[str, str]
    ) -> None:
        self._open = contextlib.ExitStack()
        words = {"repl-diskless-sync-delay": "0", **options}
        with contextlib.ExitStack() as failing:
            failing.callback(self.close)
            self.servers: list[Server] = []
            for number in range(replicas + 1):
                self.servers.append(self._open.enter_context(start(folder / f"server-{number}", kind, options=words)))
            first, *others = self.servers
            for other in others:
                other.follow(first)
            watches = {
                "sentinel monitor": f"{NAME} {HOST} {first.port} {QUORUM}",
                "sentinel down-after-milliseconds": f"{NAME} {DOWN_AFTER_MS}",
                "sentinel failover-timeout": f"{NAME} {FAILOVER_TIMEOUT_MS}",
                **sentinel_options,
            }
            self.sentinels: list[Server] = []
            for number in range(SENTINELS):
                place = folder / f"sentinel-{number}"
                self.sentinels.append(self._open.enter_context(started(Sentinel, place, kind, watches)))
            self._until("the sentinels know all", self._all_known)
            failing.pop_all()

    @property
    def url(self) -> str:
        return self.url_with()

    def url_with(self, login: str = "", query: str = "") -> str:
        """The URL of the store."""
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{login}{hosts}/{NAME}/0{query}"

    def _all_known(self) -> bool:
        for sentinel in self.sentinels:
            flat = sentinel.say("SENTINEL", "MASTER", NAME)
            told = dict(zip(flat[::2], flat[1::2], strict=True))
            if int(told[b"num-slaves"]) < len(self.servers) - 1 or int(told[b"num-other-sentinels"]) < SENTINELS - 1:
                return False
        return True

    def named(self) -> Server:
        """The server that most sentinels say leads."""
        votes = [int(sentinel.say("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1]) for sentinel in self.sentinels]
        port = max(votes, key=votes.count)
        return next(server for server in self.servers if server.port == port)

    def primary(self) -> Server:
        """The server that leads, as all sentinels say, and it itself."""
        self._until("one leads", lambda: self._leads() is not None)
        found = self._leads()
        assert found is not None
        return found

    def _leads(self) -> Server | None:
        found = self.named()
        try:
            if not found.running:
                return None
            with found.conversation(seconds=1) as talk:  # it may be frozen
                return found if talk.say("ROLE")[0] == b"master" else None
        except (OSError, Refusal):
            return None

    def fail_over(self) -> Server:
        """Have the sentinels choose another primary while the old one lives; the new one."""
        old = self.primary()
        self._until("they agree to it", self._told_to_fail_over)
        self._until("another leads", lambda: self._leads() not in (None, old))
        return self.primary()

    def _told_to_fail_over(self) -> bool:
        try:
            self.sentinels[0].say("SENTINEL", "FAILOVER", NAME)
        except Refusal:  # one is under way, or no replica is good enough yet
            return False
        return True

    def after_death_of(self, old: Server) -> Server:
        """The server that leads when the old one does not any more."""
        self._until("another leads", lambda: self._leads() not in (None, old))
        return self.primary()

    def _until(self, what: str, condition: object) -> None:
        assert callable(condition)
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, f"never happened: {what}"
            time.sleep(0.02)

    def close(self) -> None:
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def watched(
    folder: Path,
    kind: str = "valkey-9",
    *,
    replicas: int = 1,
    options: Mapping[str, str] | None = None,
    sentinel_options: Mapping[str, str] | None = None,
) -> Watched:
    """A running primary with so many replicas and three sentinels. `options` are those of the servers."""
    return Watched(folder, kind, replicas=replicas, options=options or {}, sentinel_options=sentinel_options or {})
