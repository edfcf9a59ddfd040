"""Pydantic models and rules: written and read by pydantic, strictly, and never imported first."""

import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import annotated_types
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.ends import refusal, signature, through, unreadable

from surefoot.core.errors import InvalidArguments, TaskDefinitionError
from surefoot.core.signature import Signature


class Customer(pydantic.BaseModel):
    number: Annotated[int, annotated_types.Gt(0)]
    since: datetime | None = None
    name: str = pydantic.Field(default="", alias="fullName")


class Loose(pydantic.BaseModel):
    rate: float | None = None


@dataclass
class Order:
    customer: Customer
    lines: list[int]


Count = Annotated[int, annotated_types.Gt(0), "how many"]


def bill(customer: Customer, count: Count = 1, *, note: str = "") -> Customer:
    return customer


def many(customers: list[Customer], by_name: dict[str, Customer | None] | None = None) -> list[Customer]:
    return customers


def order(order: Order) -> int:
    return order.customer.number


def counted(amounts: list[Annotated[int, pydantic.Field(gt=0, lt=10)]]) -> int:
    return len(amounts)


def rate(loose: Loose) -> Loose:
    return loose


class Opaque:
    """Nobody's type."""


def hopeless(thing: Annotated[Opaque, annotated_types.Gt(0)]) -> None: ...


@given(st.integers(1, 2**63), st.none() | st.datetimes(), st.text(st.characters(exclude_categories=["Cs"]), max_size=9))
def test_a_model_comes_back_as_one(number: int, since: datetime | None, name: str) -> None:
    customer = Customer(number=number, since=since, fullName=name)
    assert through(bill, customer, 2, note="x") == customer
    assert through(many, [customer, customer]) == [customer, customer]
    assert through(order, Order(customer, [1])) == number


def test_only_what_was_given_travels_and_keeps_its_name_on_the_wire() -> None:
    ends = signature(bill)
    assert ends.bind((Customer(number=1, fullName="a"),), {}) == (
        b'{"customer":{"number":1,"since":null,"fullName":"a"}}'
    )
    arguments: Any = ends.load(b'{"customer":{"number":1},"note":"n"}')
    assert (arguments.customer, arguments.note) == (Customer(number=1), "n")


@pytest.mark.parametrize(
    ("function", "value", "words"),
    [
        (bill, {"number": 1}, "for 'customer', which is a Customer"),
        (bill, 5, "bill() got 5 for 'customer', which is a Customer"),
        (many, [{"number": 1}], "got a dict inside 'customers[0]'"),
        (many, (Customer(number=1),), "for 'customers'"),
        (counted, [5, 10], "counted() got [5, 10] for 'amounts'"),
        (counted, ["5"], "counted() got ['5'] for 'amounts'"),
        (bill, Customer.model_construct(number=-1), "for 'customer'"),
        (bill, Customer.model_construct(number="x"), "for 'customer'"),
        (rate, Loose.model_construct(rate=float("nan")), "for 'loose'"),
    ],
)
def test_what_does_not_fit_is_refused_at_enqueue(function: Any, value: Any, words: str) -> None:
    assert words in refusal(function, value)


@pytest.mark.parametrize(("value", "kind"), [(0, "0"), (-1, "-1"), (True, "True"), ("5", "'5'"), (1.0, "1.0")])
def test_a_rule_that_msgspec_would_not_see_is_obeyed(value: Any, kind: str) -> None:
    assert refusal(bill, Customer(number=1), value).startswith(f"bill() got {kind} for 'count', which is an int: ")


def test_D4_what_does_not_fit_is_refused_at_the_worker() -> None:
    told = unreadable(bill, b'{"customer":{"number":0}}')
    assert told.startswith("bill() got {'number': 0} for 'customer', which does not fit: ")
    assert "'count'" in unreadable(bill, b'{"customer":{"number":1},"count":"5"}')
    assert "is missing 'customer'" in unreadable(bill, b"{}")
    with pytest.raises(InvalidArguments) as refused:
        signature(bill).load(b'{"customer":[]}')
    assert refused.value.parameter == "customer"


def test_a_model_as_a_result() -> None:
    ends = signature(bill)
    assert ends.decode_result(ends.encode_result(Customer(number=3))) == Customer(number=3)
    with pytest.raises(ValueError, match="is not a Customer, as annotated"):
        ends.decode_result(b'{"number":"x"}')
    assert b"surefoot:unsendable" in ends.encode_result(5)


def test_a_type_that_pydantic_refuses_is_no_parameter() -> None:
    with pytest.raises(TaskDefinitionError, match="which cannot cross: "):
        Signature(hopeless, task="hopeless")


ALONE = """
import sys
from typing import Annotated
import annotated_types
from surefoot.core.signature import Signature
def bill(count: Annotated[int, annotated_types.Gt(0)]) -> None: ...
try:
    Signature(bill, task="bill")
except Exception as refused:
    print(refused)
print("pydantic" in sys.modules)
"""


def test_pydantic_is_never_imported_by_us() -> None:
    run = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [
        "bill: 'count' is an int, which cannot cross: it has rules that only pydantic reads; import pydantic "
        "first, or use msgspec.Meta. Take plain data, and build the rest inside the task.",
        "False",
    ]
