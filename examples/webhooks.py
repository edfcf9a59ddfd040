"""Webhooks: an event is delivered by one job, however often it is asked for, to a receiver that may be down or slow.

Run it:   python webhooks.py
One sees  a receiver (receiver.py) that fails once (503), then asks for a second's time (429), then takes the event:
          three requests with one Idempotency-Key. What it refuses (410) is not tried again: a dead letter.
"""

import asyncio
import json
from contextlib import closing
from http.client import HTTPConnection
from uuid import uuid4

from receiver import receiver

from surefoot import JobFailed, Key, Queue, Reject, Retry, RetryLater, Worker, current_job

hooks = Queue("sqlite:///jobs.db", name="webhooks")


@hooks.task(retry=Retry(max_attempts=8, base=0.5, cap=3600), timeout=30)
def deliver(host: str, path: str, event: dict[str, str]) -> int:
    headers = {"Content-Type": "application/json", "Idempotency-Key": current_job().id}
    with closing(HTTPConnection(host, timeout=10)) as connection:
        connection.request("POST", path, json.dumps(event), headers)
        answer = connection.getresponse()
        answer.read()
    if answer.status == 429:
        raise RetryLater(float(answer.headers.get("Retry-After", "60")), "the receiver asked for time")
    if 400 <= answer.status < 500:
        raise Reject(f"{path} answered {answer.status}")  # the same request would be refused again
    if answer.status >= 500:
        raise ConnectionError(f"{path} answered {answer.status}")  # tried again by the policy
    return answer.status


async def main() -> None:
    event = {"id": uuid4().hex, "type": "order.paid"}
    once = deliver.options(key=Key(event["id"], until=86_400))  # for a day, finished or not
    with receiver() as host:
        async with Worker(hooks):
            first = await once.enqueue(host, "/orders", event)
            again = await once.enqueue(host, "/orders", event)
            print(f"enqueued twice, one job: {again.duplicate and again.id == first.id}", flush=True)
            print(f"delivered: {await first.result(timeout=30)}", flush=True)
            refused = await deliver.enqueue(host, "/old", event)
            try:
                await refused.result(timeout=30)
            except JobFailed as failed:
                print(failed)


if __name__ == "__main__":
    asyncio.run(main())
