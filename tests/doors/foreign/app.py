"""The application whose jobs come from elsewhere. Each handler notes what it was given.

python -m tests.doors.foreign.app      store and notes come by environment: FOREIGN_URL, FOREIGN_NOTES
"""

import asyncio
import os
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
from tests.faults.ledger import Ledger

from surefoot import Queue, Worker, current_job

jobs = Queue(os.environ["FOREIGN_URL"], name="jobs")
notes = Ledger(Path(os.environ["FOREIGN_NOTES"]))


class Line(msgspec.Struct):
    """One line of an invoice."""

    text: str
    count: int


@jobs.task(keep_result=3600)
async def invoice(
    number: int, total: Decimal, due: date, lines: list[Line], *names: str, paid: bool = False, **waits: timedelta
) -> str:
    """Has an argument of many kinds."""
    job = current_job()
    given = repr((number, total, due, lines, names, paid, waits))
    notes.write("ran", job.id, given=given, headers=dict(job.headers), key=job.key)
    return f"invoice {number}"


@jobs.task(keep_result=3600)
async def endless() -> None:
    """Ends by its timeout only."""
    notes.write("ran", current_job().id)
    await asyncio.Event().wait()


if __name__ == "__main__":
    Worker(jobs, concurrency=1).run()
