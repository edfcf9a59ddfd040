"""What docs/protocol.md says is what the code does: envelope, keys, arguments, script, tables. Starts no server."""

import re
import sqlite3
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import msgspec
import pytest
from tests.conformance.leaks import PREFIXES, TRAITS, WORDS
from tests.doors.foreign import page

from surefoot import Queue
from surefoot.brokers.answers import EVENTS, PutWord
from surefoot.brokers.broker import BYTES_LIMIT, PUT_LIMIT
from surefoot.brokers.redis import scripts
from surefoot.brokers.redis.scripts import WRITING, Script
from surefoot.brokers.sqlite.schema import APPLICATION, open_memory
from surefoot.client.caller import PATIENCE_S
from surefoot.core.codec import (
    ERRORS_KEPT,
    PAYLOAD_LIMIT,
    Envelope,
    ErrorLine,
    Links,
    Note,
    Options,
    UnreadableEnvelope,
    decode_envelope,
    encode_json,
)
from surefoot.core.names import ENVELOPE_VERSION, LAYOUT, PRIORITIES, UNDERSTANDS, DeadReason, State
from surefoot.core.parameter import Wire
from surefoot.core.transition import KEEP_MS

LUA = Path(scripts.__file__).parent / "lua"
FIELDS = page.tables()["field", "type", "rule"]
EXAMPLES = page.fenced(page.section("Envelope 1"), "json")


def first(*head: str) -> list[str]:
    """The first column of a table."""
    return [row[0] for row in page.tables()[head]]


def slots() -> dict[str, set[str]]:
    """The types of every KEYS and ARGV, from the headers of all files."""
    found: dict[str, set[str]] = {}
    for file in LUA.rglob("*.lua"):
        for slot, kind in re.findall(r"^-- ((?:KEYS|ARGV)\.\w+) +(\w+)", file.read_text(), re.MULTILINE):
            found.setdefault(slot, set()).add(kind)
    return found


@pytest.mark.parametrize("name", page.made())
def test_a_block_is_made_from_the_code(name: str) -> None:
    assert page.shown()[name] == page.made()[name], "run: python -m tests.doors.foreign.page --write"


# --- the envelope ---


def test_the_fields_of_the_envelope_are_these() -> None:
    assert sorted(row[0] for row in FIELDS) == sorted(Envelope.__struct_fields__)
    assert set(first("option", "type", "rule")) == set(Options.__struct_fields__)
    [links] = [rule for name, _, rule in FIELDS if name == "links"]
    assert [name for name in Links.__struct_fields__ if name in links] == list(Links.__struct_fields__)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_an_envelope_can_be_read(example: str) -> None:
    envelope = decode_envelope(example.encode())
    assert envelope.version == ENVELOPE_VERSION
    fields: dict[str, Any] = msgspec.json.decode(example)
    assert set(fields) <= {row[0] for row in FIELDS}
    assert set(fields.get("options", {})) <= set(first("option", "type", "rule"))


def test_there_are_two_examples_of_envelopes() -> None:
    assert len(EXAMPLES) == 2


@pytest.mark.parametrize(("name", "kind", "rule"), FIELDS)
def test_only_a_field_that_must_be_there_must_be_there(name: str, kind: str, rule: str) -> None:
    fields: dict[str, Any] = msgspec.json.decode(EXAMPLES[1])
    fields.pop(name, None)
    if "Must be there" in rule:
        with pytest.raises(UnreadableEnvelope):
            decode_envelope(encode_json(fields))
    else:
        decode_envelope(encode_json(fields))


@pytest.mark.parametrize(("name", "kind", "rule"), page.tables()["option", "type", "rule"])
def test_only_an_option_that_may_be_null_may_be_null(name: str, kind: str, rule: str) -> None:
    fields: dict[str, Any] = msgspec.json.decode(EXAMPLES[0])
    for value in (1000, None):
        body = encode_json({**fields, "options": {name: value}})
        if value is None and "null" not in kind:
            with pytest.raises(UnreadableEnvelope):
                decode_envelope(body)
        else:
            assert getattr(decode_envelope(body).options, name) == value


@pytest.mark.parametrize("wrong", ['"created_ms":1e3', '"created_ms":1000.0', '"headers":{"a":1}', '"options":null'])
def test_what_has_the_wrong_type_cannot_be_read(wrong: str) -> None:
    with pytest.raises(UnreadableEnvelope):
        decode_envelope(EXAMPLES[0].replace('"version":1', f'"version":1,{wrong}').encode())


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (datetime, '"2026-11-24T09:30:00Z"'),
        (date, '"2026-11-24"'),
        (time, '"09:30:00"'),
        (timedelta, '"PT90S"'),
        (Decimal, '"12.50"'),
        (UUID, '"7a0b5a2e-4a1c-4f53-9d7e-0c5d6b1f2a3c"'),
    ],
)
def test_a_value_is_written_as_shown(hint: type, text: str) -> None:
    assert text in page.section("Envelope 1")
    value = Wire(hint).read(text.encode())
    assert isinstance(value, hint)
    assert Wire(hint).write(value) == text.encode()


# --- Redis ---


def test_every_key_of_the_scripts_is_in_the_table_and_none_more() -> None:
    rows = page.tables()["name", "type", "content", "absent when"]
    declared = {slot.partition(".")[2]: kinds for slot, kinds in slots().items() if slot.startswith("KEYS.")}
    assert {name: {kind} for name, kind, *_ in rows} == declared
    assert set(declared) == {name for verb in WRITING for name in Script(verb).keys}


def test_the_words_of_meta_are_these() -> None:
    words = {word.partition(":")[0] + ":" * (":" in word) for word in first("word of meta", "content")}
    assert words == {*WORDS, *PREFIXES}


def test_the_arguments_of_put_are_these_in_this_order() -> None:
    rows = page.tables()["place", "name", "type", "meaning"]
    assert [(place, name) for place, name, *_ in rows] == [
        (str(place), name) for place, name in enumerate(Script("put").arguments, 1)
    ]
    kinds = slots()
    assert [(name, kind) for _, name, kind, _ in rows if kind not in kinds[f"ARGV.{name}"]] == []


def test_the_answers_and_errors_of_put_are_these() -> None:
    assert {answer.partition(":")[0] for answer in first("answer", "meaning")} == set(get_args(PutWord))
    errors = {word for cell in first("error", "meaning", "what to do") for word in cell.split(", ")}
    assert set(re.findall(r"error_reply\('(\w+)", Script("put").text)) <= errors
    assert {"NOSCRIPT", "OOM"} <= errors


def test_the_traits_are_these() -> None:
    assert set(re.findall(r'"(\w+)":', " ".join(first("trait", "when")))) == TRAITS


@pytest.mark.parametrize(
    "said",
    [
        f"| `many` | integer | how many jobs follow, 1 to {PUT_LIMIT} |",
        f"at most {BYTES_LIMIT >> 20} MiB for all jobs of a call",
        f"Payloads above {PAYLOAD_LIMIT >> 20} MiB",
        f"{KEEP_MS} is usual",
        f"for {KEEP_MS // 60_000} minutes unless",
        f"for {PATIENCE_S // 60:.0f} minutes at most",
        f"up to {ERRORS_KEPT} lines",
        f"a JSON object of at most 16 KiB: `{' '.join(ErrorLine.__struct_fields__)}`",
        f"JSON of progress: `{' '.join(Note.__struct_fields__)}`",
        f"one of `{' '.join(get_args(DeadReason))}`",
        f"`<minute> {' '.join(EVENTS)}`",
        "the words are " + ", ".join(f"{number} ({word})" for word, number in PRIORITIES.items()),
        f"| layout, now {LAYOUT} |",
        f"| envelope, now {ENVELOPE_VERSION} |",
        f"| understanding, now {UNDERSTANDS} |",
    ],
)
def test_the_page_says_what_the_code_says(said: str) -> None:
    assert said in page.PAGE.read_text()


# --- SQLite ---


def test_the_tables_and_columns_of_sqlite_are_these() -> None:
    connection = open_memory()
    names = [
        name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid")
    ]
    columns = {
        name: " ".join(column for _, column, *_ in connection.execute(f"PRAGMA table_info({name})")) for name in names
    }
    connection.close()
    assert {table: listed for table, _, listed in page.tables()["table", "what", "columns"]} == columns
    explained = {name for cell in first("column", "content") for name in cell.split(", ")}
    assert explained <= set(columns["job"].split())
    assert f"0x{APPLICATION:x}" in page.section("SQLite: tables")


def test_the_states_are_these() -> None:
    [states] = [content for column, content in page.tables()["column", "content"] if column == "state"]
    assert sorted(states.split(", ")) == sorted(get_args(State))


def test_a_reader_of_the_file_is_answered(tmp_path: Path) -> None:
    queue = Queue(f"sqlite:///{tmp_path}/jobs.db", name="mail")
    queue.by_name("remind").enqueue_sync()
    [query] = page.fenced(page.section("SQLite: tables"), "sql")
    reader = sqlite3.connect(f"file:{tmp_path}/jobs.db?mode=ro", uri=True)
    assert reader.execute(query).fetchall() == [("pending", 1)]
    reader.close()
    queue.close_sync()
