"""The demo's application, written as a user would write it: one queue, its tasks, what they work with, and a worker.

It knows nothing of the story that is told with it. Run as a module it is a worker process.
"""

import asyncio
import csv
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
from PIL import Image, ImageOps

from surefoot import Queue, Retry, Worker, current_job
from surefoot.cli.demo.crew import leave_when_alone
from surefoot.cli.demo.ledger import Ledger

shop: Queue = Queue(name="demo")  # the URL comes from SUREFOOT_URL
PATIENT = Retry(max_attempts=3, base=1)  # again after at most 1 s, then 2 s, then dead


@dataclass(frozen=True)
class Services:
    """What the handlers work with."""

    folder: Path
    smtp_port: int


@dataclass(frozen=True)
class Sale:
    """One line of a report."""

    product: str
    cents: int


@shop.task(timeout=30)
async def send_email(to: str, subject: str) -> str:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@example.com", to, subject
    message["Message-ID"] = f"<{current_job().id}@shop.example.com>"  # the same on every attempt
    message.set_content("Thank you. It is on its way.")
    port = current_job().state(Services).smtp_port
    await aiosmtplib.send(message, hostname="127.0.0.1", port=port, local_hostname="localhost")
    return to


@shop.task  # a plain function runs in a thread
def process_image(name: str, *, width: int = 320) -> str:
    folder = current_job().state(Services).folder
    with Image.open(folder / name) as picture:
        small = picture.resize((width, picture.height * width // picture.width))
    target = folder / f"small-{name}"
    ImageOps.grayscale(small).save(target)
    return target.name


@shop.task
def generate_report(month: str, sales: list[Sale]) -> int:
    total = sum(sale.cents for sale in sales)
    with (current_job().state(Services).folder / f"{month}.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["product", "cents"])
        rows.writerows([sale.product, sale.cents] for sale in sales)
        rows.writerow(["total", total])
    return total


@shop.task(retry=PATIENT)
async def charge_card(order: str) -> str:
    if not (current_job().state(Services).folder / "provider-is-up").exists():
        raise ConnectionError("the card provider is down")
    return f"{order} charged on attempt {current_job().attempt}"


@shop.task(timeout=1, retry=Retry(max_attempts=1))
async def ask_a_silent_partner() -> str:
    await asyncio.Event().wait()  # nobody will ever answer
    return "answered"


@shop.task
async def remind(customer: str) -> str:
    return f"reminded {customer}"


@shop.task
async def encode_video(title: str, *, seconds: float) -> str:
    for done in range(20):
        current_job().progress(done, 20)
        await asyncio.sleep(seconds / 20)
    return title


@shop.every(2)
async def look_after_stock() -> str:
    return "all there"


@asynccontextmanager
async def services() -> AsyncIterator[Services]:
    yield Services(Path(os.environ["DEMO_FOLDER"]), int(os.environ["DEMO_SMTP_PORT"]))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s")
    leave_when_alone()
    Worker(
        shop,
        lifespan=services,
        lease=float(os.environ["DEMO_LEASE"]),
        drain=float(os.environ["DEMO_DRAIN"]),
        middleware=[Ledger(Path(os.environ["DEMO_FOLDER"]) / "ledger").witness],
    ).run()
