"""procrastinate on PostgreSQL: one worker on one loop, woken by LISTEN/NOTIFY; done jobs are deleted unless kept."""

import asyncio
from collections.abc import Sequence

from frame import AT_ONCE, HOW, JOB, LEDGER, TEXT, URL, Ledger, Peer, main
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

app = App(connector=PsycopgConnector(conninfo=URL))
ledger = Ledger(LEDGER)


async def on_loop(n: int, to: str) -> int:
    ledger.note(n)
    return n


def plain(n: int, to: str) -> int:
    ledger.note(n)
    return n


noop = app.task(name="noop", queue="bench")(on_loop if HOW == "loop" else plain)


class ProcrastinatePeer(Peer):
    """One worker."""

    packages = ("procrastinate", "psycopg")

    def __init__(self) -> None:
        self._schema()
        self._opened = False

    def _schema(self) -> None:
        """Make the tables, once a database."""
        with app.replace_connector(SyncPsycopgConnector(conninfo=URL)) as setup, setup.open():
            row = setup.connector.execute_query_one("SELECT to_regclass('procrastinate_jobs') IS NULL AS missing")
            if row["missing"]:
                setup.schema_manager.apply_schema()

    def put(self, n: int) -> None:
        if not self._opened:
            self._opened = True
            app.open()
        noop.defer(n=n, to=TEXT)

    async def open(self) -> None:
        await app.open_async()

    async def close(self) -> None:
        await app.close_async()

    async def aput(self, n: int) -> None:
        await noop.defer_async(n=n, to=TEXT)

    async def aput_many(self, numbers: Sequence[int]) -> None:
        await noop.batch_defer_async(*[{"n": n, "to": TEXT} for n in numbers])

    def work(self) -> None:
        async def run() -> None:
            async with app.open_async():
                await app.run_worker_async(
                    queues=["bench"], concurrency=AT_ONCE, delete_jobs="never" if JOB == "kept" else "successful"
                )

        asyncio.run(run())


if __name__ == "__main__":
    main(ProcrastinatePeer)
