"""Work that recurs: by a cron line in a time zone, and every so many seconds. No scheduler runs beside the worker.

Run it:   python cron_report.py
One sees  a reading every two seconds, for six seconds, in readings.csv; and when the reports come next, each in the
          time of its place. Start it in two terminals at once: each reading is still taken once.
"""

import asyncio
import csv
import os
import time
from pathlib import Path
from zoneinfo import ZoneInfo

from surefoot import Queue, Worker

reports = Queue("sqlite:///jobs.db", name="reports")
readings = Path("readings.csv")


@reports.every(2)
def read_load() -> None:
    with readings.open("a", newline="") as file:
        csv.writer(file).writerow([f"{time.time():.3f}", os.getloadavg()[0]])
    print("one more reading", flush=True)


@reports.cron("0 6 * * mon-fri", name="morning", timezone="Europe/Paris", catch_up=7200)
@reports.task
def report(region: str = "everywhere") -> str:
    with readings.open(newline="") as file:
        loads = [float(load) for _, load in csv.reader(file)]
    return f"{region}: {max(loads)}"


report.cron("30 22 1 * *", name="monthly-us", timezone="America/New_York").with_args("us")  # typed like the function


async def main() -> None:
    async with Worker(reports):
        await asyncio.sleep(6)
        for entry in await reports.crons():
            next_at = entry.next_at.astimezone(ZoneInfo(entry.timezone))
            print(f"{entry.name:10}  {entry.expression:16} next {next_at:%a %d %B %H:%M:%S %Z}")


if __name__ == "__main__":
    asyncio.run(main())
