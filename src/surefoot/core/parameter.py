"""What may be given for a parameter: its type on the wire, and the words for a value that does not fit. No binding."""

import dataclasses
import math
import re
import reprlib
import sys
import types
import typing
from collections.abc import Callable, Iterator
from datetime import datetime, time
from decimal import Decimal
from itertools import accumulate
from typing import Annotated, Any, Final, Literal

import msgspec
import msgspec.inspect as inspected

from surefoot.core.codec import encode_json

NESTING_LIMIT: Final = 200
"""How deep arguments may be nested: the reader's stack may be fuller than the writer's, and it must be able to read."""

_SEQUENCES: Final = (list, tuple, set, frozenset)
_CONSTRAINTS: Final = frozenset({"annotated_types", "pydantic", "pydantic_core"})
_JSON_WORDS: Final = {"array": "list", "object": "dict", "null": "None", "uuid": "UUID", "decimal": "Decimal"}
_NO_KEYS: Final = (
    inspected.NoneType, inspected.BoolType, inspected.CollectionType, inspected.TupleType, inspected.DictType,
    inspected.StructType, inspected.DataclassType, inspected.NamedTupleType, inspected.TypedDictType,
)  # fmt: skip
_NO_TYPE: Final = (Any, object)

_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = 80
_shown.maxlevel = 3


class Wire:
    """How values of one type are written as JSON and read back, strictly.

    msgspec does it alone; what only pydantic can check is written and read by pydantic and is raw JSON for msgspec.
    """

    __slots__ = ("_adapter", "_decode", "hint", "type")

    def __init__(self, hint: Any) -> None:
        """Raises TypeError with the reason if values of this type cannot cross as JSON."""
        self.hint: Any = Any if hint in _NO_TYPE else hint
        self._adapter: Any = _adapter(self.hint) if _needs_pydantic(self.hint, set()) else None
        self.type: Any = msgspec.Raw if self._adapter else self.hint
        self._decode: Callable[[bytes | msgspec.Raw], object] = msgspec.json.Decoder(self.type).decode
        stranger = _stranger(inspected.type_info(self.type), set())
        if stranger is not None:
            raise TypeError(stranger)

    @property
    def is_foreign(self) -> bool:
        """Whether pydantic writes and reads it."""
        return self._adapter is not None

    def write(self, value: object) -> bytes:
        """`value` as JSON. A pydantic value that does not fit raises ValueError."""
        if self._adapter is None:
            return encode_json(value)
        self._adapter.validate_python(value, strict=True)
        raw: bytes = self._adapter.dump_json(value, by_alias=True, warnings="none")
        return raw

    def read(self, raw: bytes | msgspec.Raw) -> object:
        """The value in `raw`. Raises ValueError if it does not fit."""
        if self._adapter is None:
            return self._decode(raw)
        value: object = self._adapter.validate_json(bytes(raw), strict=True)
        return value


def _adapter(hint: Any) -> Any:
    pydantic: Any = sys.modules.get("pydantic")
    if pydantic is None:
        raise TypeError("it has rules that only pydantic reads; import pydantic first, or use msgspec.Meta")
    try:
        return pydantic.TypeAdapter(hint)
    except Exception as refused:
        raise TypeError(str(refused).strip().partition("\n")[0]) from None


def _needs_pydantic(hint: Any, seen: set[Any]) -> bool:
    """Whether any part of a type is pydantic's: a model, or a rule in Annotated that msgspec would silently ignore."""
    parts = list(typing.get_args(hint))
    if typing.get_origin(hint) is Annotated:
        if any(_is_rule(extra) for extra in hint.__metadata__):
            return True
        parts = parts[:1]
    elif typing.get_origin(hint) is Literal:
        return False
    parts += [getattr(hint, name) for name in ("__supertype__", "__value__") if hasattr(hint, name)]
    if isinstance(hint, type) or hasattr(hint, "__value__"):  # only what has a name can stand inside itself
        if hint in seen:
            return False
        seen.add(hint)
    if isinstance(hint, type):
        if hasattr(hint, "__pydantic_core_schema__"):
            return True
        if hint.__module__ != "builtins":
            parts += _field_hints(hint).values()
    return any(_needs_pydantic(part, seen) for part in parts)


def _is_rule(extra: object) -> bool:
    return type(extra).__module__.partition(".")[0] in _CONSTRAINTS or hasattr(extra, "__get_pydantic_core_schema__")


def _field_hints(kind: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except Exception:  # names that cannot be resolved: msgspec says so itself where it matters
        return {}


def _stranger(part: object, seen: set[int]) -> str | None:
    """The words for the first part of a type that JSON has no form for; msgspec lets it pass until a value comes."""
    if isinstance(part, inspected.CustomType) and part.cls is not object:
        return f"JSON has no form for {article(part.cls.__qualname__)}"
    if isinstance(part, inspected.DictType) and isinstance(part.key_type, _NO_KEYS):
        return "the keys of a JSON object are text, so a dict's must be text, numbers, or what is written as text"
    if isinstance(part, inspected.Type | inspected.Field) and id(part) not in seen:
        seen.add(id(part))
        part = msgspec.structs.astuple(part)
    elif not isinstance(part, tuple):
        return None
    return next((found for item in part if (found := _stranger(item, seen)) is not None), None)


# Words. Each function gives the part of a sentence that follows `report() `.


def show(value: object) -> str:
    """A value for people, cut to bounds."""
    try:
        return _shown.repr(value)
    except Exception:
        return article(type(value).__name__)


def article(word: str) -> str:
    """`a str`, `an int`."""
    return f"an {word}" if word[:1] in "aeioAEIO" else f"a {word}"


def type_words(hint: Any) -> str:
    """A type for people: `a str`, `an int or None`, `one of 'a', 'b'`."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        return type_words(typing.get_args(hint)[0])
    if origin is Literal:
        return "one of " + ", ".join(repr(value) for value in typing.get_args(hint))
    if origin in (typing.Union, types.UnionType):
        return " or ".join("None" if part is types.NoneType else type_words(part) for part in typing.get_args(hint))
    name = hint.__name__ if isinstance(hint, type) and origin is None else str(hint)
    return article(re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", name))


def place(name: str, path: str) -> str:
    """`for 'rows'`, or `inside 'rows[3].price'`."""
    return f"inside '{name}{path}'" if path else f"for '{name}'"


def unwritable(name: str, wire: Wire, value: object, refused: Exception) -> str:
    """Why `value` cannot be written as JSON; found by writing its parts one by one."""
    try:
        return _unwritable(name, wire, value, refused)
    except RecursionError:
        return f"got a '{name}' that is nested too deep, or in itself; send a flatter one."


def _unwritable(name: str, wire: Wire, value: object, refused: Exception) -> str:
    if isinstance(refused, RecursionError):
        raise refused
    if wire.is_foreign:
        return (
            f"got {show(value)} for '{name}', which is {type_words(wire.hint)}: {' '.join(str(refused).split())[:500]}"
        )
    for path, part, is_key in _parts(value, ""):
        try:
            encode_json({part: None} if is_key else part)
        except UnicodeEncodeError:
            return (
                f"got {show(part)} {place(name, path)}: half of a surrogate pair cannot travel; send whole characters."
            )
        except TypeError:
            if is_key:
                return f"got the key {show(part)} {place(name, path)}: JSON has only text as keys; send str keys."
            kind = article(type(part).__name__)
            return f"got {kind} {place(name, path)}: that type cannot travel as JSON; send a str or a float."
        except ValueError:
            return f"got a number {place(name, path)} that has more digits than can travel; send a str."
    return f"got {show(value)} for '{name}': it cannot travel as JSON."


def not_finite(name: str, value: object) -> str | None:
    """The words for NaN or infinity inside `value`: JSON has neither, and would carry null."""
    for path, part, _ in _parts(value, ""):
        if isinstance(part, float) and not math.isfinite(part):
            return f"got {part} {place(name, path)}: JSON has no NaN and no infinity; send None or a str."
    return None


def too_deep(raw: bytes) -> bool:
    """Whether JSON is nested deeper than the limit."""
    if len(raw) <= 2 * NESTING_LIMIT or raw.count(b"[") + raw.count(b"{") <= NESTING_LIMIT:
        return False
    bare = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", raw)
    steps = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
    return max(accumulate(steps.get(byte, 0) for byte in bare)) > NESTING_LIMIT


def misread(name: str, wire: Wire, raw: bytes | msgspec.Raw, refused: Exception, *, kinds: bool = False) -> str:
    """Why the JSON in `raw` does not fit the type. `kinds`: also say what kind of value came."""
    try:
        value = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        return f"got {show(bytes(raw))} for '{name}', which is no JSON that can be read: {refused}"
    if wire.is_foreign:
        return f"got {show(value)} for '{name}', which does not fit: {' '.join(str(refused).split())[:500]}"
    said, path = _said_and_path(str(refused))
    if path.startswith("key"):
        return f"got {show(value)} for '{name}', which has a key that does not fit: {_unticked(said)}."
    path, part = _follow(path, value, wire)
    kind = f" ({article(type(part).__name__)})" if kinds else ""
    expected = re.fullmatch(r"Expected `([^`]*)`, got `[^`]*`", said)
    words = type_words(wire.hint) if not path else _expected_words(expected[1]) if expected else ""
    detail = "" if expected else f": {said[:1].lower()}{_unticked(said[1:])}"
    return f"got {show(part)}{kind} {place(name, path)}{words and f', which is {words}'}{detail}."


def _said_and_path(message: str) -> tuple[str, str]:
    said, _, where = message.partition(" - at `")
    return said, where.removesuffix("`").removeprefix("$")


def _expected_words(expected: str) -> str:
    words = [_JSON_WORDS.get(word, word) for word in expected.split(" | ")]
    return " or ".join(word if word == "None" else article(word) for word in words)


def _unticked(said: str) -> str:
    return re.sub(r"`([^`]*)`", lambda word: _JSON_WORDS.get(word[1], word[1]), said)


def _follow(path: str, value: Any, wire: Wire) -> tuple[str, object]:
    """A path as msgspec says it, with the keys that it leaves out, and the value that stands there."""
    walked, part = "", value
    for step in re.findall(r"\.\w+|\[[^\]]*\]", path):
        try:
            if step == "[...]":
                key = _culprit(part, lambda: wire.read(encode_json(value)))
                step = _key_step(key)
                part = part[key]
            else:
                part = part[step[1:] if step[0] == "." else int(step[1:-1])]
        except (LookupError, TypeError, ValueError):
            return path, value
        walked += step
    return walked, part


def _culprit(entries: dict[str, Any], read: Callable[[], object]) -> str:
    """The key whose value makes `read` fail: halves the dict in place until one entry is left, and puts it back."""
    whole = dict(entries)
    suspects = list(whole)
    while len(suspects) > 1:
        half = suspects[: len(suspects) // 2]
        entries.clear()
        entries.update({key: whole[key] for key in half})
        try:
            read()
        except msgspec.ValidationError:
            suspects = half
        else:
            suspects = suspects[len(half) :]
    entries.clear()
    entries.update(whole)
    return suspects[0]


def _key_step(key: object) -> str:
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{show(key)}]"


def _parts(value: object, path: str) -> Iterator[tuple[str, object, bool]]:
    """Every leaf of `value` with its path, and every key (True) with the path of its dict."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield path, key, True
            yield from _parts(item, path + _key_step(key))
    elif isinstance(value, _SEQUENCES):
        for index, item in enumerate(value):
            yield from _parts(item, f"{path}[{index}]")
    elif (names := _record_fields(value)) is not None:
        for field in names:
            yield from _parts(getattr(value, field, None), f"{path}.{field}")
    else:
        yield path, value, False


def _record_fields(value: object) -> tuple[str, ...] | None:
    if isinstance(value, type):
        return None
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    if dataclasses.is_dataclass(value):
        return tuple(field.name for field in dataclasses.fields(value))
    attributes = getattr(type(value), "__attrs_attrs__", None)
    return None if attributes is None else tuple(field.name for field in attributes)


def difference(name: str, given: Any, got: Any, hint: Any, path: str = "") -> str | None:
    """The words for the first place where what would arrive is not what was given; None if there is none.

    A list, tuple or set for another of them is none where the type says which; nor are equal records without `==`.
    """
    try:
        wanted = msgspec.convert(given, hint)
    except Exception:  # the parts below say where
        wanted = given
    return _difference(name, given, wanted, got, path, hint)


def _difference(name: str, given: Any, wanted: Any, got: Any, path: str, hint: Any = Any) -> str | None:
    if _equal(given, got):
        return None
    if isinstance(given, _SEQUENCES) and isinstance(got, _SEQUENCES):
        if isinstance(got, set | frozenset):
            return None if set(given) == got else _changed(name, given, got, path, hint)
        for index, (item, aim, arrived) in enumerate(zip(given, wanted, got, strict=False)):
            if said := _difference(name, item, aim, arrived, f"{path}[{index}]"):
                return said
        same = type(wanted) is type(got) and len(given) == len(got)
        return None if same else _changed(name, given, got, path, hint)
    if isinstance(given, dict) and isinstance(got, dict):
        for key, item in given.items():
            if key not in got:
                return f"got the key {show(key)} {place(name, path)}: JSON has only text as keys; send str keys."
            aim = wanted.get(key) if isinstance(wanted, dict) else item
            if said := _difference(name, item, aim, got[key], path + _key_step(key)):
                return said
        return None if len(given) == len(got) else _changed(name, given, got, path, hint)
    fields = _record_fields(given) if type(given) is type(got) else None
    if fields is None:
        return _changed(name, given, got, path, hint)
    hints = _field_hints(type(given))
    found = (
        difference(name, getattr(given, field), getattr(got, field), hints.get(field, Any), f"{path}.{field}")
        for field in fields
    )
    return next((said for said in found if said is not None), None)


def _equal(given: object, got: object) -> bool:
    try:
        same = bool(given == got)
    except Exception:  # a signalling NaN, or somebody's own ==
        same = False
    # A Decimal NaN, and a repeated hour in another zone, are never equal to anything; what they say is.
    unequal_to_all = type(given) is type(got) and isinstance(given, datetime | time | Decimal)
    return same or (unequal_to_all and str(given) == str(got))


def _changed(name: str, given: object, got: object, path: str, hint: Any) -> str:
    if isinstance(given, float) and got is None:
        return not_finite(name + path, given) or ""
    if not path and hint is not Any:
        return f"got {show(given)} for '{name}', which is {type_words(hint)}."
    if type(given) is type(got):
        return f"got {show(given)} {place(name, path)}, which would come out as {show(got)}."
    kind, arrived = article(type(given).__name__), article(type(got).__name__)
    return f"got {kind} {place(name, path)}, which would come out as {arrived}; send {arrived}, or give it a type."
