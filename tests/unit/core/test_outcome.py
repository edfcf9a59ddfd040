"""W15 and W18: whatever a handler raises becomes words, cut to bounds, and describing it never raises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core.codec import ERROR_LINE_LIMIT, encode_error
from surefoot.core.outcome import KINDS_LIMIT, MESSAGE_LIMIT, TRACEBACK_LIMIT, bounded, describe


class Wordless(Exception):
    def __str__(self) -> str:
        raise KeyError("no words")


class NoText(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]


class Worse(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class Deep(Exception):
    def __str__(self) -> str:
        return str(self)


def test_W15_the_words_of_an_exception_are_its_class_its_bases_and_its_text() -> None:
    info = describe(ConnectionResetError("gone"), "Traceback ...")
    assert info.kind == "ConnectionResetError"
    assert info.kinds == ("ConnectionResetError", "ConnectionError", "OSError", "Exception", "BaseException")
    assert info.message == "gone"
    assert info.traceback == "Traceback ..."
    assert info.matches(OSError)


@pytest.mark.parametrize(
    ("error", "worse"), [(Wordless(), "KeyError"), (NoText(), "TypeError"), (Worse(), "KeyboardInterrupt")]
)
def test_W15_an_exception_whose_str_raises(error: Exception, worse: str) -> None:
    assert describe(error).message == f"(the exception's own text could not be made: {worse})"


def test_W15_ten_megabytes_of_text_are_cut_to_a_head_and_a_tail() -> None:
    text = "head" + "x" * 10_000_000 + "tail"
    info = describe(ValueError(text), text)
    assert info.message.startswith("head") and info.message.endswith("tail")
    assert "characters left out" in info.message
    assert len(info.message) <= MESSAGE_LIMIT + 50
    assert len(info.traceback) <= TRACEBACK_LIMIT + 50
    assert len(encode_error(info)) <= ERROR_LINE_LIMIT


def test_W15_a_group_is_described_like_any_other() -> None:
    info = describe(ExceptionGroup("two", [ValueError("a"), ExceptionGroup("in", [OSError("b")])]))
    assert info.kind == "ExceptionGroup"
    assert info.matches(BaseExceptionGroup)
    assert info.message == "two (2 sub-exceptions)"


def test_W18_an_error_while_formatting_becomes_constant_text() -> None:
    assert "RecursionError" in describe(Deep()).message
    assert describe(RecursionError("maximum recursion depth exceeded")).kind == "RecursionError"
    assert describe(MemoryError()).message == ""


def test_W17_what_is_no_exception_is_described_too() -> None:
    assert describe(SystemExit(3)).kinds == ("SystemExit", "BaseException")
    assert describe(GeneratorExit()).kind == "GeneratorExit"


def test_half_a_surrogate_pair_is_written_out() -> None:
    assert describe(ValueError("a\ud800b")).message == "a\\ud800b"


def test_a_long_line_of_bases_is_cut() -> None:
    kind: type[Exception] = ValueError
    for number in range(50):
        kind = type(f"E{number}", (kind,), {})
    assert len(describe(kind("x")).kinds) == KINDS_LIMIT


@given(st.text(st.characters(exclude_categories=[]), max_size=400), st.integers(10, 200))
def test_bounded_text_can_travel_and_keeps_what_fits(text: str, limit: int) -> None:
    cut = bounded(text, limit)
    cut.encode()
    if len(text) <= limit:
        assert cut == text.encode("utf-8", "backslashreplace").decode()
    else:
        assert f"... {len(text) - limit // 2 * 2:,} characters left out ..." in cut
