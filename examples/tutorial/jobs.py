"""The queue and its three tasks. A job's payload is the task's own parameters, checked when it is enqueued and again
before it runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from PIL import Image, ImageOps
from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]  # reportlab has no types

from surefoot import Queue, Reject, Retry, current_job
from tutorial.smtp import SmtpClient

jobs = Queue("sqlite:///jobs.db", name="jobs", retry=Retry(max_attempts=3, base=2), timeout=300)

OPERATIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "grayscale": ImageOps.grayscale,
    "mirror": ImageOps.mirror,
    "halve": lambda image: image.resize((image.width // 2, image.height // 2)),
}


@dataclass(frozen=True)
class ReportParameters:
    """What a report is made of."""

    month: str
    sold: dict[str, int]


@jobs.task
async def send_email(to: str, subject: str, body: str) -> None:
    if "@" not in to:
        raise Reject(f"invalid email address {to!r}")  # a dead letter at once: trying again would not help
    job = current_job()
    await job.state(SmtpClient).send(to, subject, body, f"<{job.id}@example.com>")  # the same id on every attempt


@jobs.task  # a plain function runs in a thread
def process_image(image_id: UUID, operations: list[str]) -> None:
    with Image.open(f"{image_id}.png") as file:
        image: Image.Image = file.copy()
    for operation in operations:
        image = OPERATIONS[operation](image)
    image.save(f"{image_id}-done.png")


@jobs.task
def generate_report(report_type: str, parameters: ReportParameters) -> str:
    page = Canvas(f"{report_type}-{parameters.month}.pdf")
    for line, (product, count) in enumerate(parameters.sold.items()):
        page.drawString(72, 720 - 20 * line, f"{product}: {count}")
    page.save()
    return f"{report_type}-{parameters.month}.pdf"
