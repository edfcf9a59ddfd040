"""The server's log ends in the middle of what a script wrote (R2): the store is as before it, never between."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.faults.conftest import KEEPS_ALL
from tests.faults.life import begin, follow
from tests.faults.redis.conftest import check
from tests.faults.redis.life import contents
from tests.faults.redis.stage import broker_at
from tests.servers import Server, start

from surefoot.client.session import SyncSession

LOADS_TRUNCATED = KEEPS_ALL | {"aof-load-truncated": "yes", "auto-aof-rewrite-percentage": "0"}


class Moment(msgspec.Struct, frozen=True):
    """How long the log was after a verb, and what was in the store."""

    verb: str
    log_bytes: int
    left: dict[str, Any]


class Logged:
    """A life that was lived verb by verb on a server with a log, and a moment after each."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.moments: list[Moment] = []
        with start(place / "server", options=LOADS_TRUNCATED) as server:
            self.log = current_log(server)
            with broker_at(server.port) as broker:
                session = SyncSession(broker)
                self.caller = session.caller
                self._note("nothing", server)
                steps, verbs = begin()
                while verbs:
                    heard = []
                    for verb in verbs:
                        heard += session.ask([verb])
                        self._note(type(verb).__name__, server)
                    verbs = follow(steps, heard)
            server.kill()

    def _note(self, verb: str, server: Server) -> None:
        self.moments.append(Moment(verb, self.log.stat().st_size, contents(server, self.caller)))

    def cuts(self) -> range:
        """Every place where the log may end."""
        return range(self.moments[0].log_bytes, self.moments[-1].log_bytes + 1)

    def stands(self, ends: int) -> None:
        """A server that finds the log so short has what was there after the last verb that is whole in it."""
        folder = self.place / f"cut-{ends}"
        shutil.copytree(self.place / "server", folder)
        with (folder / self.log.relative_to(self.place / "server")).open("r+b") as log:
            log.truncate(ends)
        with start(folder, options=LOADS_TRUNCATED) as server:
            found = contents(server, self.caller)
            if found:
                check(server)
        shutil.rmtree(folder)
        last = max(at for at, moment in enumerate(self.moments) if moment.log_bytes <= ends)
        cut = self.moments[last + 1 :][:1]
        assert found == self.moments[last].left, f"cut behind byte {ends}, written by {[one.verb for one in cut]}"


def current_log(server: Server) -> Path:
    """The file that grows: since version 7 the log is a folder."""
    [log] = [*server.folder.glob("appendonlydir/*.incr.aof"), *server.folder.glob("appendonly.aof")]
    return log


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    yield Logged(tmp_path_factory.mktemp("logged"))


def test_R2_the_log_ends_anywhere(logged: Logged, dice: random.Random) -> None:
    assert len({moment.log_bytes for moment in logged.moments}) > 20
    behind_verbs = [moment.log_bytes for moment in logged.moments]
    for ends in dice.sample(logged.cuts(), 25) + dice.sample(behind_verbs, 5):
        logged.stands(ends)


@pytest.mark.faults_full
@pytest.mark.timeout(7_200)
def test_R2_the_log_ends_everywhere(logged: Logged) -> None:
    for ends in logged.cuts():
        logged.stands(ends)
