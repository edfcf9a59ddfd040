"""The tasks as producers see them: names, types and no code."""

from dataclasses import dataclass

from shop.queues import billing, mail


@dataclass(frozen=True)
class Item:
    """One line of an order."""

    product: str
    cents: int


@billing.declare
def invoice(customer: str, items: list[Item]) -> str:
    raise NotImplementedError


@mail.declare
def receipt(address: str, number: str, *, language: str = "en") -> None:
    raise NotImplementedError
