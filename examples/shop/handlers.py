"""The code of the declared tasks. A signature that differs from its declaration is an error at import, and for mypy."""

from shop import api
from shop.queues import billing, mail
from surefoot import Key, Retry, current_job


@billing.implement(api.invoice, retry=Retry(max_attempts=9), timeout=30)
def make_invoice(customer: str, items: list[api.Item]) -> str:
    number = f"2026-{current_job().id[-6:]}"
    total = sum(item.cents for item in items)
    print(f"invoice {number} for {customer}: {total / 100:.2f}", flush=True)
    once = Key(number, until=86_400)  # a day: one mail, even if this job runs twice
    api.receipt.options(key=once).enqueue_sync(customer, number)
    return number


@mail.implement(api.receipt)
async def send_receipt(address: str, number: str, *, language: str = "en") -> None:
    print(f"mail for {address} in {language}: your invoice {number}", flush=True)
