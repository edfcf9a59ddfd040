"""Huey on Redis or on SQLite: one consumer of threads. A SQLite file is flushed at each commit, as ours is."""

from frame import AT_ONCE, JOB, LEDGER, TEXT, URL, Ledger, Peer, main
from huey import RedisHuey, SqliteHuey

SQLITE = "sqlite:///"
if URL.startswith(SQLITE):
    huey = SqliteHuey("bench", filename=URL.removeprefix(SQLITE), fsync=True, results=JOB == "kept")
else:
    huey = RedisHuey("bench", url=URL or "redis://", results=JOB == "kept")
ledger = Ledger(LEDGER)


@huey.task(name="noop")
def noop(n: int, to: str) -> int:
    ledger.note(n)
    return n


class HueyPeer(Peer):
    """One consumer, as many threads as jobs at once."""

    packages = ("huey", "redis", "hiredis")

    def put(self, n: int) -> None:
        noop(n, TEXT)

    def work(self) -> None:
        huey.create_consumer(workers=AT_ONCE, worker_type="thread", periodic=False).run()


if __name__ == "__main__":
    main(HueyPeer)
