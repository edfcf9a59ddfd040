"""The complete application: ten jobs of three kinds, and the worker that does them.

Run it:   python -m tutorial.main
One sees  six mails arrive, one of them two seconds late; one that fails at once and is kept as a dead letter; and a
          picture and two PDFs in this folder. Ctrl-C stops the worker: what runs is finished before it leaves.
More      surefoot worker tutorial.main:worker is one more worker; surefoot stats tutorial.main counts.

Mails go to SMTP_HOST and SMTP_PORT if these are set, else to a mailbox inside this program that prints them.
"""

import logging
from datetime import timedelta
from uuid import uuid4

from PIL import Image

from surefoot import Worker
from tutorial.jobs import ReportParameters, generate_report, jobs, process_image, send_email
from tutorial.smtp import smtp

worker = Worker(jobs, concurrency=4, lifespan=smtp)


def enqueue_ten() -> None:
    for i in range(5):
        send_email.enqueue_sync(to=f"user{i}@example.com", subject="Welcome!", body="Thanks for signing up.")
    later = send_email.options(delay=timedelta(seconds=2), max_attempts=5)
    later.enqueue_sync(to="user0@example.com", subject="Still here?", body="It has been a while.")
    send_email.enqueue_sync(to="nobody", subject="Welcome!", body="This address is wrong.")

    image_id = uuid4()
    Image.new("RGB", (640, 480), "orange").save(f"{image_id}.png")
    process_image.enqueue_sync(image_id, operations=["halve", "grayscale"])

    november = ReportParameters(month="november", sold={"tea": 12, "coffee": 30})
    jobs.enqueue_many_sync([generate_report.draft("sales", november), generate_report.draft("stock", november)])


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)-7s %(message)s")
    logging.getLogger("surefoot").setLevel("INFO")
    enqueue_ten()
    worker.run()  # until Ctrl-C or SIGTERM
    for letter in jobs.dead.find_sync():
        print(f"dead letter {letter.id}: {letter.error and letter.error.message}")
