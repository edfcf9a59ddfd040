"""The envelope, results, error lines and notes as bytes: equal at the other end, or refused in one of two ways."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET

from surefoot.core.codec import (
    ERROR_LINE_LIMIT,
    PAYLOAD_LIMIT,
    Envelope,
    NewerEnvelope,
    UnreadableEnvelope,
    amend_envelope,
    decode_envelope,
    decode_error,
    decode_note,
    encode_envelope,
    encode_error,
    encode_note,
)
from surefoot.core.errors import ErrorInfo, PayloadTooLarge
from surefoot.core.job import After, At, Draft, Key, Progress

text = st.text(max_size=6)
numbers = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**80), 2**80), st.floats(allow_nan=False, allow_infinity=False)
)
values = numbers | text | st.lists(numbers | text, max_size=3) | st.dictionaries(text, st.lists(numbers), max_size=2)
objects = st.dictionaries(text, values, max_size=3)
limits = st.none() | st.integers(0, 2**53)


@st.composite
def drafts(draw: st.DrawFn) -> Draft[Any]:
    options = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "expires_after_ms": limits,
                "expires_at_ms": st.integers(0, 2**53),
                "timeout_ms": limits,
                "max_attempts": limits,
                "keep_result_ms": limits,
            },
        )
    )
    return Draft(
        id=draw(text),
        queue="mail",
        task=draw(text),
        payload=json.dumps(draw(objects)).encode(),
        headers=draw(st.dictionaries(text, text, max_size=3)),
        priority=draw(st.integers(0, 9)),
        key=draw(st.none() | st.just(Key("k"))),
        due=draw(st.none() | st.builds(After, limits.filter(bool)) | st.builds(At, st.integers(0, 2**53))),
        schema=draw(st.integers(1, 99)),
        options=options,
    )


def envelope_bytes(**fields: Any) -> bytes:
    return json.dumps({"version": 1, "id": "j", "task": "t", "payload": {}} | fields).encode()


@given(drafts(), st.integers(0, 2**53))
def test_a_draft_comes_back_as_it_was_sent(draft: Draft[Any], created_ms: int) -> None:
    found = decode_envelope(encode_envelope(draft, created_ms))
    assert (found.version, found.id, found.task, found.schema) == (1, draft.id, draft.task, draft.schema)
    assert (found.created_ms, found.headers) == (created_ms, draft.headers)
    assert bytes(found.payload) == draft.payload
    assert found.key == (None if draft.key is None else "k")
    for name in ("expires_after_ms", "expires_at_ms", "timeout_ms", "max_attempts", "keep_result_ms"):
        assert getattr(found.options, name) == draft.options.get(name, UNSET)
    assert found.options.delay_ms == (draft.due.ms if isinstance(draft.due, After) else UNSET)
    assert found.options.due_ms == (draft.due.ms if isinstance(draft.due, At) else UNSET)


def test_absent_is_the_task_s_own_and_null_is_no_limit() -> None:
    found = decode_envelope(envelope_bytes(options={"timeout_ms": None}))
    assert found.options.timeout_ms is None
    assert found.options.max_attempts is UNSET


def test_a_plain_envelope_names_only_what_it_says() -> None:
    draft: Draft[Any] = Draft(id="j", queue="mail", task="welcome", payload=b'{"address":"a"}')
    assert encode_envelope(draft, 5) == (
        b'{"version":1,"id":"j","task":"welcome","payload":{"address":"a"},"created_ms":5}'
    )


def test_D1_arguments_above_the_limit_are_refused_with_both_sizes() -> None:
    payload = b'{"a":"' + b"x" * PAYLOAD_LIMIT + b'"}'
    with pytest.raises(PayloadTooLarge) as told:
        encode_envelope(Draft(id="j", queue="mail", task="resize", payload=payload), 0)
    assert (told.value.size, told.value.limit) == (len(payload), PAYLOAD_LIMIT)
    just = b'{"a":"' + b"x" * (PAYLOAD_LIMIT - 8) + b'"}'
    assert encode_envelope(Draft(id="j", queue="mail", task="resize", payload=just), 0)


def read(body: bytes) -> Envelope | None:
    """The only three ways that reading may end."""
    try:
        return decode_envelope(body)
    except (UnreadableEnvelope, NewerEnvelope):
        return None


@given(st.binary(max_size=200))
def test_D2_random_bytes_are_unreadable_and_nothing_worse(body: bytes) -> None:
    assert read(body) is None


@given(drafts(), st.data())
def test_D2_a_truncated_envelope_is_unreadable(draft: Draft[Any], data: st.DataObject) -> None:
    body = encode_envelope(draft, 0)
    with pytest.raises(UnreadableEnvelope):
        decode_envelope(body[: data.draw(st.integers(0, len(body) - 1))])


@given(drafts(), st.data())
def test_D2_an_envelope_with_damaged_bytes_is_read_or_refused(draft: Draft[Any], data: st.DataObject) -> None:
    body = bytearray(encode_envelope(draft, 0))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    read(bytes(body))


@given(
    st.dictionaries(st.sampled_from("version id task payload schema options headers links needs key x".split()), values)
)
def test_D2_any_json_object_is_read_or_refused(fields: dict[str, Any]) -> None:
    read(json.dumps(fields).encode())
    read(json.dumps({"version": 1, "id": "j", "task": "t", "payload": {}} | fields).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"version":0}',
        envelope_bytes(version=0),
        envelope_bytes(version=-1),
        envelope_bytes(version=True),
        envelope_bytes(version="1"),
        envelope_bytes(id=5),
        envelope_bytes(task=None),
        envelope_bytes(headers={"a": 1}),
        envelope_bytes(options=[]),
        envelope_bytes(options={"timeout_ms": 1.5}),
        envelope_bytes(schema=None),
        b'{"version":1,"id":"j","task":"t"}',
        b"\xff" * 10,
        b"[" * 100_000,
        b'{"x":' * 100_000,
        envelope_bytes()[:-1] + b',"payload":' + b"[" * 100_000,
        b'{"version":1,"id":"\\ud800"}',
        b'{"version":' + b"9" * 10_000 + b"}",
    ],
)
def test_D2_what_is_no_envelope_says_so(body: bytes) -> None:
    with pytest.raises(UnreadableEnvelope):
        decode_envelope(body)


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({"version": 2}, 2),
        ({"needs": 2}, 2),
        ({"version": 2, "needs": 5}, 5),
        ({"version": 3, "options": "other"}, 3),
        ({"version": 2, "payload": None, "id": 7}, 2),
        ({"needs": 9, "task": ["t"]}, 9),
    ],
)
def test_D3_a_newer_envelope_says_what_it_needs_even_in_a_shape_of_its_own(fields: dict[str, Any], needs: int) -> None:
    with pytest.raises(NewerEnvelope) as told:
        decode_envelope(envelope_bytes(**fields))
    assert told.value.needs == needs


@given(st.dictionaries(text.filter(lambda name: name not in Envelope.__struct_fields__), values))
def test_unknown_fields_are_ignored(fields: dict[str, Any]) -> None:
    assert decode_envelope(envelope_bytes(**fields)) == decode_envelope(envelope_bytes())


@given(st.dictionaries(text, values), objects, st.integers(1, 9))
def test_amend_changes_the_arguments_and_keeps_every_other_field(
    fields: dict[str, Any], payload: Any, schema: int
) -> None:
    before = json.loads(envelope_bytes()) | fields | {"signature": "k:mac"}
    after = json.loads(amend_envelope(json.dumps(before).encode(), json.dumps(payload).encode(), schema))
    assert after.pop("payload") == payload
    assert after.pop("schema") == schema
    expected = {
        name: value for name, value in before.items() if name not in ("payload", "schema", "signature", "codec")
    }
    assert after == expected


def test_amend_keeps_numbers_and_empty_lists_as_they_are_written() -> None:
    body = b'{"version":1,"id":"j","task":"t","payload":{},"later":[1.0,12345678901234567890123,[],{}]}'
    assert b'"later":[1.0,12345678901234567890123,[],{}]' in amend_envelope(body, b'{"a":1}', 2)


wild = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
sizes = st.integers(0, 20_000)


@given(wild, wild, wild, sizes, sizes, st.lists(wild, max_size=20), sizes)
def test_an_error_line_is_one_line_of_bounded_json(
    kind: str, message: str, trace: str, many: int, more: int, kinds: list[str], attempt: int
) -> None:
    error = ErrorInfo(kind=kind, kinds=tuple(kinds), message=message * (many // 30), traceback=trace * (more // 30))
    raw = encode_error(error, attempt=attempt, caller="c", reason="exhausted", started_ms=1, ended_ms=2)
    assert len(raw) <= ERROR_LINE_LIMIT
    assert b"\n" not in raw
    line = decode_error(raw)
    assert (line.kind, line.attempt, line.caller, line.reason, line.started_ms, line.ended_ms) == (
        kind,
        attempt,
        "c",
        "exhausted",
        1,
        2,
    )


@given(wild, wild, st.lists(wild, max_size=5))
def test_an_error_that_fits_is_kept_whole(kind: str, message: str, kinds: list[str]) -> None:
    line = decode_error(encode_error(ErrorInfo(kind=kind, kinds=tuple(kinds), message=message, traceback="t")))
    assert (line.kind, list(line.kinds), line.message, line.traceback) == (kind, kinds, message, "t")


def test_an_error_line_without_an_error_holds_only_its_facts() -> None:
    assert encode_error(None, reason="crash_loop") == b'{"reason":"crash_loop"}'


@given(st.binary(max_size=80).filter(lambda raw: not raw.lstrip().startswith(b"{")))
@example(b"")
@example(b'{"kind":')
@example(b'{"kind":5}')
def test_a_strange_error_line_becomes_a_line_that_says_so(raw: bytes) -> None:
    assert decode_error(raw).kind == "unreadable"


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | wild,
    st.integers(0, 4_102_444_800_000),
)
def test_progress_comes_back_as_it_was_said(done: float, total: float | None, note: str | None, at_ms: int) -> None:
    at = datetime.fromtimestamp(0, UTC)
    found = decode_note(encode_note(Progress(done, total, note, at), at_ms))
    assert found is not None
    assert (found.done, found.total, found.note) == (done, total, note)
    assert round(found.at.timestamp() * 1000) == at_ms


@given(st.binary(max_size=80))
def test_a_note_of_somebody_else_s_making_is_no_progress(raw: bytes) -> None:
    assert decode_note(raw) is None
