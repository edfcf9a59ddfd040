"""Envelope 1: a job as JSON bytes, written once and read by any language; also results, error lines and notes. Never
pickle.
"""

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from surefoot.core.errors import ErrorInfo, PayloadTooLarge
from surefoot.core.job import After, At, Due, Progress, moment
from surefoot.core.names import ENVELOPE_VERSION, UNDERSTANDS
from surefoot.core.outcome import KINDS_LIMIT, MESSAGE_LIMIT, NAME_LIMIT, TRACEBACK_LIMIT, bounded

if TYPE_CHECKING:
    from surefoot.core.job import Draft

PAYLOAD_LIMIT: Final = 1 << 20
RESULT_LIMIT: Final = 1 << 20
ERROR_LINE_LIMIT: Final = 16 << 10
ERRORS_KEPT: Final = 10

Limit = int | None | UnsetType
"""A number of the envelope's options: null is no limit, absent is the task's own."""


class Options(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a job says differently from its task. Milliseconds; moments are milliseconds since the epoch."""

    due_ms: int | UnsetType = UNSET
    delay_ms: int | UnsetType = UNSET
    expires_after_ms: Limit = UNSET
    expires_at_ms: int | UnsetType = UNSET
    timeout_ms: Limit = UNSET
    max_attempts: Limit = UNSET
    keep_result_ms: Limit = UNSET


class Links(msgspec.Struct, frozen=True, omit_defaults=True):
    """Jobs that this one belongs to."""

    parent: str | None = None
    root: str | None = None
    batch: str | None = None


NO_OPTIONS: Final = Options()


class Envelope(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The job as it travels. Fields that this release does not know are ignored and survive: the bytes are not
    rewritten.
    """

    version: int
    id: str
    task: str
    payload: Raw
    created_ms: int = 0
    schema: int = 1
    options: Options = NO_OPTIONS
    headers: dict[str, str] = {}
    links: Links | None = None
    needs: int = 1
    key: str | None = None
    codec: str | None = None
    signature: str | None = None


class _Head(msgspec.Struct, frozen=True):
    version: int = 0
    needs: int = 1


class ErrorLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a job's errors, newest first in the store; each field only if known."""

    kind: str | None = None
    kinds: tuple[str, ...] = ()
    message: str | None = None
    traceback: str | None = None
    attempt: int | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    caller: str | None = None
    reason: str | None = None


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """What travels with a lease renewal: progress, and the `run` that wrote it, which had begun by then."""

    done: float | None = None
    total: float | None = None
    note: str | None = None
    at_ms: int = 0
    run: int = 0


class NewerEnvelope(Exception):
    """An envelope that only a newer release can read; `needs` says which."""

    def __init__(self, needs: int) -> None:
        super().__init__(needs)
        self.needs = needs


class UnreadableEnvelope(Exception):
    """Bytes that are no envelope; the words say where it breaks."""


_BROKEN: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

encode_json: Final = msgspec.json.Encoder().encode
decode_json: Final = msgspec.json.Decoder().decode
_decode_envelope: Final = msgspec.json.Decoder(Envelope).decode
_decode_head: Final = msgspec.json.Decoder(_Head).decode
_decode_error: Final = msgspec.json.Decoder(ErrorLine).decode
_decode_note: Final = msgspec.json.Decoder(Note).decode


def encode_envelope(draft: "Draft[Any]", created_ms: int) -> bytes:
    """A draft as the bytes that are stored."""
    if len(draft.payload) > PAYLOAD_LIMIT:
        raise PayloadTooLarge(task=draft.task, size=len(draft.payload), limit=PAYLOAD_LIMIT)
    options = NO_OPTIONS
    if draft.options or draft.due is not None:
        stated: dict[str, Any] = {**draft.options, **_due_option(draft.due)}
        options = Options(**stated)
    return encode_json(
        Envelope(
            ENVELOPE_VERSION, draft.id, draft.task, Raw(draft.payload), created_ms, draft.schema, options,
            dict(draft.headers) if draft.headers else {}, key=None if draft.key is None else draft.key.value,
        )
    )  # fmt: skip


def _due_option(due: Due) -> dict[str, int]:
    match due:
        case After(ms):
            return {"delay_ms": ms}
        case At(ms):
            return {"due_ms": ms}
        case None:
            return {}


def decode_envelope(body: bytes) -> Envelope:
    """The envelope in `body`. Raises NewerEnvelope or UnreadableEnvelope; ignores fields that it does not know."""
    try:
        envelope = _decode_envelope(body)
    except _BROKEN as broken:
        head = _head(body)
        if head is not None and (head.version > ENVELOPE_VERSION or head.needs > UNDERSTANDS):
            raise NewerEnvelope(max(head.needs, head.version)) from None
        raise UnreadableEnvelope(str(broken)) from None
    if envelope.version != ENVELOPE_VERSION or envelope.needs > UNDERSTANDS:
        if envelope.version < ENVELOPE_VERSION:
            raise UnreadableEnvelope(f"there is no envelope version {envelope.version}")
        raise NewerEnvelope(max(envelope.needs, envelope.version))
    return envelope


def _head(body: bytes) -> _Head | None:
    try:
        return _decode_head(body)
    except _BROKEN:
        return None


def amend_envelope(body: bytes, payload: bytes, schema: int) -> bytes:
    """`body` with other arguments; every other field stays as it came, also those that this release does not know.

    Raises UnreadableEnvelope if there is nothing to amend.
    """
    try:
        fields = msgspec.json.decode(body, type=dict[str, Raw])
    except _BROKEN as broken:
        raise UnreadableEnvelope(str(broken)) from None
    fields["payload"] = Raw(payload)
    fields["schema"] = Raw(encode_json(schema))
    fields.pop("signature", None)
    fields.pop("codec", None)
    return encode_json(fields)


def encode_error(error: ErrorInfo | None, **facts: Any) -> bytes:
    """One error line of at most 16 KiB; `facts` are ErrorLine's other fields."""
    line = ErrorLine(**facts)
    if error is not None:
        line = msgspec.structs.replace(
            line,
            kind=bounded(error.kind, NAME_LIMIT),
            kinds=tuple(bounded(kind, NAME_LIMIT) for kind in error.kinds[:KINDS_LIMIT]),
            message=bounded(error.message, MESSAGE_LIMIT),
            traceback=bounded(error.traceback, TRACEBACK_LIMIT) if error.traceback else None,
        )
    for shorter in ({}, {"kinds": line.kinds[:3]}, {"traceback": (line.traceback or "")[-2_000:]}, {"traceback": None}):
        line = msgspec.structs.replace(line, **shorter)
        raw = encode_json(line)
        if len(raw) <= ERROR_LINE_LIMIT:
            return raw
    return encode_json(ErrorLine(kind=line.kind, message=(line.message or "")[:1_000], attempt=line.attempt))


def decode_error(line: bytes) -> ErrorLine:
    """One error line; a line of somebody else's making becomes a line that says so."""
    try:
        return _decode_error(line)
    except _BROKEN:
        return ErrorLine(kind="unreadable", message="(this error line could not be read)")


def encode_note(progress: Progress, at_ms: int, run: int = 0) -> bytes:
    """Progress as it is kept in the store, said by this run."""
    note = None if progress.note is None else bounded(progress.note, MESSAGE_LIMIT)
    return encode_json(Note(progress.done, progress.total, note, at_ms, run))


def mark_begun(note: bytes | None, run: int) -> bytes:
    """The note with a mark that this run begins; progress in it stays."""
    return encode_json(msgspec.structs.replace(_note(note), run=run))


def run_begun(note: bytes | None) -> int:
    """The last run that said something, and so had begun; 0 if none did."""
    return _note(note).run


def _note(raw: bytes | None) -> Note:
    try:
        return Note() if raw is None else _decode_note(raw)
    except _BROKEN:
        return Note()


def decode_note(raw: bytes) -> Progress | None:
    """The progress in a note; None if somebody else wrote it in a shape of their own."""
    try:
        note = _decode_note(raw)
        return None if note.done is None else Progress(note.done, note.total, note.note, moment(note.at_ms))
    except (*_BROKEN, OverflowError):
        return None
