"""What may be a task: refused when it is made, with the function, the fact and the way out."""

import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, TypedDict, Unpack

import msgspec
import pytest
from tests.unit.core import declared as d
from tests.unit.core.ends import signature

from surefoot.core.errors import InvalidArguments, TaskDefinitionError
from surefoot.core.signature import Signature

if TYPE_CHECKING:
    from decimal import Decimal as Money


class Session:
    """Something that lives in one process."""

    def send(self, address: str) -> None: ...

    @staticmethod
    def free(address: str) -> None: ...


@dataclass
class Holder:
    session: Session


@dataclass
class Left:
    x: int


@dataclass
class Right:
    y: int


class Options(TypedDict, total=False):
    size: int


def a_generator(rows: int) -> Iterator[int]:
    yield rows


async def an_async_generator(rows: int) -> AsyncIterator[int]:
    yield rows


def with_self(self: Any, path: str) -> None: ...


def with_cls(cls: Any) -> None: ...


def with_session(session: Session) -> None: ...


def with_holder(holders: list[Holder]) -> None: ...


def with_callable(then: Callable[[], int]) -> None: ...


def with_iterable(rows: Iterable[int]) -> None: ...


def with_file(file: IO[str]) -> None: ...


def with_two_records(either: Left | Right) -> None: ...


def with_tuple_keys(table: dict[tuple[int, int], str]) -> None: ...


def with_sessions(*sessions: Session) -> None: ...


def with_named_sessions(**sessions: Session) -> None: ...


def with_unknown(first: int, price: "Money") -> None: ...


def with_unknown_result(first: int) -> "Money":
    raise NotImplementedError


def with_text_in_annotated(
    address: Annotated[str, "where it goes"], *, n: Annotated[int, msgspec.Meta(ge=0)] = 0
) -> None: ...


def with_unpacked(**options: Unpack[Options]) -> Options:
    return options


def with_odd_result(path: str) -> Session:
    return Session()


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


@wrapped
def decorated(address: str, width: int = 5) -> tuple[str, int]:
    return address, width


def refusal(function: Any, **options: Any) -> str:
    with pytest.raises(TaskDefinitionError) as told:
        Signature(function, task="task", **options)
    return str(told.value)


def test_a_method_is_no_task() -> None:
    def resize(self, path): ...  # type: ignore[no-untyped-def]

    assert refusal(resize) == "resize looks like a method (its first parameter is 'self'); a task is a plain function."
    assert "(its first parameter is 'cls')" in refusal(with_cls)
    assert refusal(Session.send).startswith("send looks like a method")
    assert refusal(Session().send) == "send is a method of an object; a task is a plain function."
    assert Signature(Session.free, task="free").parameters == ("address",)


@pytest.mark.parametrize(
    "function", [print, Session, functools.partial(d.resize, "a"), Session(), 5, len, threading.Lock]
)
def test_what_is_no_function_is_no_task(function: Any) -> None:
    assert refusal(function, explicit_name=True).endswith("; a task is a plain function.")


@pytest.mark.parametrize("function", [a_generator, an_async_generator])
def test_a_generator_is_no_task(function: Any) -> None:
    assert (
        refusal(function) == f"{function.__name__} is a generator (it yields); a task returns its result, or nothing."
    )


def test_a_lambda_or_an_inner_function_needs_a_name() -> None:
    def inner(path: str) -> None: ...

    nameless: Callable[[str], str] = lambda path: path  # noqa: E731
    assert 'has no name that jobs could carry; give it name="..."' in refusal(nameless)
    assert 'move it to the module, or give it name="..."' in refusal(inner)
    assert __file__ in refusal(inner)
    assert Signature(nameless, task="t", explicit_name=True).bind(("a",), {}) == b'{"path":"a"}'
    assert Signature(inner, task="t", explicit_name=True).required == ("path",)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (with_session, "with_session: 'session' is a Session, which cannot cross: JSON has no form for a Session"),
        (with_holder, "'holders' is a list[Holder], which cannot cross: JSON has no form for a Session"),
        (with_callable, "'then' is a Callable[[], int], which cannot cross"),
        (with_iterable, "'rows' is an Iterable[int], which cannot cross"),
        (with_file, "'file' is an IO[str], which cannot cross"),
        (
            with_two_records,
            "'either' is a Left or a Right, which cannot cross: Type unions may not contain more",
        ),
        (
            with_tuple_keys,
            "'table' is a dict[tuple[int, int], str], which cannot cross: the keys of a JSON object are text",
        ),
        (with_sessions, "'sessions' is a Session, which cannot cross"),
        (with_named_sessions, "'sessions' is a Session, which cannot cross"),
    ],
)
def test_a_parameter_s_type_must_have_a_form_in_json(function: Any, words: str) -> None:
    told = refusal(function)
    assert words in told
    assert told.endswith("Take plain data, and build the rest inside the task.")


def test_an_annotation_that_cannot_be_resolved_is_named() -> None:
    told = refusal(with_unknown)
    assert told.startswith("with_unknown: ")
    assert "'Money'" in told
    assert "'price'" in told
    assert "not only under TYPE_CHECKING" in told
    assert "'Money'" in refusal(with_unknown_result)


def test_a_result_without_a_form_in_json_stops_no_task() -> None:
    ends = signature(with_odd_result)
    assert ends.decode_result(b'{"a":[1]}') == {"a": [1]}


def test_other_metadata_is_left_alone_and_msgspec_s_is_obeyed() -> None:
    ends = signature(with_text_in_annotated)
    assert ends.bind(("a",), {"n": 0}) == b'{"address":"a","n":0}'
    with pytest.raises(InvalidArguments) as told:
        ends.bind(("a",), {"n": -1})
    assert str(told.value) == "with_text_in_annotated() got -1 for 'n', which is an int: expected int >= 0."


def test_a_signature_knows_its_function() -> None:
    ends = signature(d.welcome)
    assert (ends.task, ends.is_async, ends.returns_none) == ("welcome", True, False)
    assert (ends.parameters, ends.required) == (("address", "language"), ("address",))
    ends = signature(d.resize)
    assert (ends.is_async, ends.returns_none, ends.required) == (False, True, ("path",))
    ends = signature(d.spread)
    assert (ends.parameters, ends.required) == (("first", "second", "rest", "flag", "named"), ("first",))
    assert signature(d.loose).returns_none is False


def test_a_wrapper_that_says_what_it_wraps_has_its_signature() -> None:
    ends = signature(decorated)
    assert ends.bind(("a",), {}) == b'{"address":"a"}'
    assert ends.call(decorated, ends.load(b'{"address":"a","width":2}')) == ("a", 2)


def test_unpacked_keywords_are_a_typed_dict() -> None:
    ends = signature(with_unpacked)
    assert ends.call(with_unpacked, ends.load(ends.bind((), {"size": 3}))) == {"size": 3}
    with pytest.raises(InvalidArguments, match=r"'options\.size'"):
        ends.bind((), {"size": "3"})


def differs(mine: Callable[..., Any], theirs: Callable[..., Any]) -> str | None:
    return Signature(mine, task="t", explicit_name=True).matches(Signature(theirs, task="t", explicit_name=True))


def test_an_implementation_is_compared_with_its_declaration() -> None:
    def declared(address: str, *, language: str = "en") -> str:
        return ""

    async def same(address: str, *, language: str = "fr") -> str:
        return ""

    def less(address: str) -> str:
        return ""

    def more(address: str, copy: int, *, language: str = "en") -> str:
        return ""

    def kind(address: str, language: str = "en") -> str:
        return ""

    def needed(address: str, *, language: str) -> str:
        return ""

    def other(address: bytes, *, language: str = "en") -> str:
        return ""

    def result(address: str, *, language: str = "en") -> int:
        return 0

    def one(a: int, b: int) -> Literal[1]:
        return 1

    def two(b: int, a: int) -> Literal[1]:
        return 1

    assert differs(same, declared) is None
    assert differs(less, declared) == "t has no parameter 'language', which its declaration has."
    assert differs(more, declared) == "t has a parameter 'copy', which its declaration has not."
    assert differs(kind, declared) == "t: 'language' is positional or keyword here and keyword-only in its declaration."
    assert differs(needed, declared) == "t: 'language' is required here and optional in its declaration."
    assert differs(other, declared) == "t: 'address' is a bytes here and a str in its declaration."
    assert differs(result, declared) == "t: it returns an int here and a str in its declaration."
    assert differs(one, two) == "t: its parameters stand in another order than in its declaration."
