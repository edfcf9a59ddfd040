"""The rules for names, ids and namespaces, and the nearest known word."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.core.names import PRIORITIES, did_you_mean, is_id, is_name, is_namespace, nearest

LETTERS = string.ascii_letters + string.digits + "_.:-"


@given(st.text(LETTERS, min_size=1, max_size=128))
def test_letters_digits_and_four_signs_make_a_name(text: str) -> None:
    assert is_name(text)
    assert is_namespace(text) == (":" not in text)


@given(st.text())
def test_anything_else_is_no_name(text: str) -> None:
    fits = 1 <= len(text) <= 128 and set(text) <= set(LETTERS)
    assert is_name(text) == fits


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * 129,
        "a b",
        "a\n",
        "a\x00",
        "ümlaut",
        "a{b}",
        "a/b",
        "../x",
        "<img onerror=x>",
        "\x1b[31m",
        None,
        5,
        b"a",
    ],
)
def test_S3_names_are_checked_at_the_door(text: object) -> None:
    assert not is_name(text)
    assert not is_namespace(text)


@pytest.mark.parametrize("text", ["a", "order 17", "é" * 64, "~", "\x7f", "<b>", "a" * 128, "\u2028"])
def test_an_id_may_be_any_text_without_control_bytes(text: str) -> None:
    assert is_id(text)


@pytest.mark.parametrize("text", ["", "a" * 129, "é" * 65, "a\nb", "a\tb", "\x1f", "\ud800", None, 7, b"id"])
def test_an_id_is_1_to_128_bytes_and_nothing_below_a_space(text: object) -> None:
    assert not is_id(text)


@given(st.text())
def test_is_id_counts_bytes_of_utf8_not_characters(text: str) -> None:
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        assert not is_id(text)
        return
    assert is_id(text) == (1 <= len(raw) <= 128 and min(raw) >= 0x20)


def test_the_nearest_known_word_is_offered_and_a_strange_one_is_not() -> None:
    assert nearest("langage", ["language", "address"]) == "language"
    assert nearest("zzz", ["language", "address"]) is None
    assert did_you_mean("langage", ["language"]) == "; did you mean 'language'?"
    assert did_you_mean("retries", ["retry"], "{}=") == "; did you mean retry=?"
    assert did_you_mean("zzz", ["language"]) == ""


def test_the_priority_words_leave_room_for_the_numbers_between_them() -> None:
    assert PRIORITIES == {"high": 2, "normal": 5, "low": 8}
