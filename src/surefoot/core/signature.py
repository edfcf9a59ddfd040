"""What a task takes and returns: arguments to JSON and back, checked strictly at both ends. No values here.

A Signature is made once per task, when its module is imported.
"""

import inspect
import typing
from collections import OrderedDict
from collections.abc import Callable, Mapping
from inspect import Parameter as Python
from typing import Any, Final, Union, final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from surefoot.core.codec import RESULT_LIMIT, encode_json
from surefoot.core.errors import InvalidArguments, TaskDefinitionError
from surefoot.core.names import did_you_mean
from surefoot.core.parameter import (
    NESTING_LIMIT,
    Wire,
    article,
    difference,
    misread,
    not_finite,
    show,
    too_deep,
    type_words,
    unwritable,
)

_WORDS: Final = "delay at expires priority key id group timeout max_attempts keep_result queue headers"
OPTION_NAMES: Final = frozenset(_WORDS.split())
"""What `options` takes: said to whoever gives one of them as an argument."""

_UNSENDABLE: Final = "surefoot:unsendable"
_UNSENDABLE_HEAD: Final = b'{"surefoot:unsendable":'
_FREE_KINDS: Final = (Python.POSITIONAL_OR_KEYWORD, Python.KEYWORD_ONLY)
_MISFITS: Final = (TypeError, ValueError, RecursionError)


class Arguments(msgspec.Struct):
    """The arguments of one call by parameter name; UNSET where the caller gave nothing: the default is the worker's."""


@final
class Signature:
    """A task's parameters and its return type, as they cross the wire. Only what the caller gave travels.

    What arrives equals what was given, or it is refused at enqueue: no value is changed silently on its way.
    """

    __slots__ = (
        "_all_given", "_by_position", "_decode", "_foreign", "_kinds", "_plain", "_python", "_result", "_struct",
        "_wires", "is_async", "parameters", "required", "returns_none", "task",
    )  # fmt: skip

    task: str
    is_async: bool
    returns_none: bool
    parameters: tuple[str, ...]
    required: tuple[str, ...]

    def __init__(self, function: Callable[..., object], *, task: str, explicit_name: bool = False) -> None:
        """Raises TaskDefinitionError if `function` cannot be a task. `explicit_name`: `task` was chosen by somebody."""
        _check_function(function)
        self.task = task
        self.is_async = inspect.iscoroutinefunction(function)
        self._python = inspect.signature(function)
        hints = _hints(function)
        self._wires: dict[str, Wire] = {
            name: _wire(function, parameter, hints.get(name, Any))
            for name, parameter in self._python.parameters.items()
        }
        returned = hints.get("return", Any)
        self.returns_none = returned in (None, type(None))
        self._result = _result_wire(returned)
        if not explicit_name:
            _check_name(function)

        self._kinds: dict[str, Any] = {name: found.kind for name, found in self._python.parameters.items()}
        self.parameters = tuple(self._kinds)
        self.required = tuple(name for name, found in self._python.parameters.items() if _is_required(found))
        self._plain = all(kind in _FREE_KINDS for kind in self._kinds.values())
        self._by_position = all(kind is Python.POSITIONAL_OR_KEYWORD for kind in self._kinds.values())
        self._all_given = len(self.required) == len(self.parameters)
        self._foreign = tuple(name for name, wire in self._wires.items() if wire.is_foreign)
        self._struct = self._make_struct()
        self._decode: Callable[[bytes | Raw], Arguments] = msgspec.json.Decoder(self._struct).decode

    def _make_struct(self) -> type[Arguments]:
        """A record with a field for each parameter: its constructor binds a call 20 times faster than inspect does."""
        fields: dict[bool, list[Any]] = {False: [], True: []}
        for name, wire in self._wires.items():
            by_name = not self._plain or self._kinds[name] is Python.KEYWORD_ONLY
            optional = (name, Union[wire.type, UnsetType], UNSET)  # noqa: UP007  # `|` does not take every type
            fields[by_name].append((name, wire.type) if name in self.required else optional)
        make = msgspec.defstruct
        ordered = make("Arguments", fields[False], bases=(Arguments,), forbid_unknown_fields=True)
        if not fields[True]:
            return typing.cast("type[Arguments]", ordered)
        named = make("Arguments", fields[True], bases=(ordered,), kw_only=True, forbid_unknown_fields=True)
        return typing.cast("type[Arguments]", named)

    # At enqueue.

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """The arguments of a call as the JSON object that travels. Raises InvalidArguments if they do not fit."""
        try:
            given = self._struct(*args, **kwargs) if self._plain else self._bind_slowly(args, kwargs)
        except TypeError:
            raise self._misbound(args, kwargs) from None
        return self._write_at_once(given) or self._write_with_care(given)

    def _write_at_once(self, given: Arguments) -> bytes | None:
        """All arguments in one go; None if anything is unusual about them."""
        if self._foreign:
            return None
        try:
            raw = encode_json(given)
            return raw if self._decode(raw) == given and not too_deep(raw) else None
        except Exception:  # the careful way says what it is; a value's own == may raise anything
            return None

    def _bind_slowly(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
        bound = self._python.bind(*args, **kwargs).arguments
        for name, value in bound.items():
            if self._kinds[name] is Python.VAR_POSITIONAL:
                bound[name] = list(value)
        return self._struct(**bound)

    def _write_with_care(self, given: Arguments) -> bytes:
        """The same one parameter at a time: for values that are equal in a roundabout way, and to say what is wrong."""
        fields: dict[str, Raw] = {}
        for name, wire in self._wires.items():
            value = getattr(given, name)
            if value is not UNSET or name in self.required:
                fields[name] = Raw(self._write(name, wire, value))
        raw = encode_json(fields)
        if too_deep(raw):
            raise self._invalid(f"got arguments nested deeper than {NESTING_LIMIT} levels; send flatter ones.")
        return raw

    def _write(self, name: str, wire: Wire, value: object) -> bytes:
        try:
            raw = wire.write(value)
        except Exception as refused:
            raise self._invalid(unwritable(name, wire, value, refused), name) from None
        if too_deep(raw):  # from Python 3.12 on msgspec writes far deeper than our own functions can look
            raise self._invalid(unwritable(name, wire, value, RecursionError()), name)
        said = not_finite(name, value) if b"null" in raw else None
        if said is None:
            try:
                said = difference(name, value, wire.read(raw), wire.hint)
            except _MISFITS as refused:
                said = misread(name, wire, raw, refused)
        if said is not None:
            raise self._invalid(said, name)
        return raw

    # At the worker.

    def load(self, payload: bytes | Raw) -> Arguments:
        """The arguments in a payload. Raises InvalidArguments if they do not fit this release of the function."""
        try:
            arguments = self._decode(payload)
        except _MISFITS as refused:
            raise self._misloaded(payload, refused) from None
        for name in self._foreign:
            raw = getattr(arguments, name)
            if raw is not UNSET:
                try:
                    setattr(arguments, name, self._wires[name].read(raw))
                except _MISFITS as refused:
                    raise self._invalid(misread(name, self._wires[name], raw, refused, kinds=True), name) from None
        return arguments

    def call(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """Call `function` with what came; what did not come has the function's own default."""
        values = msgspec.structs.astuple(arguments)
        left_out = 0 if self._all_given else values.count(UNSET)
        if self._by_position and (not left_out or values[-left_out:].count(UNSET) == left_out):
            return function(*values[: len(values) - left_out])
        given = dict(zip(arguments.__struct_fields__, values, strict=True))
        if left_out:
            given = {name: value for name, value in given.items() if value is not UNSET}
        if self._plain:
            return function(**given)
        bound = inspect.BoundArguments(self._python, OrderedDict(given))
        bound.apply_defaults()
        return function(*bound.args, **bound.kwargs)

    # Results.

    def encode_result(self, value: object) -> bytes:
        """`value` as JSON; what cannot travel or is too large becomes an object that says what it was. Never raises."""
        try:
            raw = self._result.write(value)
            if len(raw) > RESULT_LIMIT:
                return self._unsendable(f"{len(raw):,} bytes of JSON, and the limit is {RESULT_LIMIT:,}")
            if too_deep(raw):
                return self._unsendable(f"nested deeper than {NESTING_LIMIT} levels")
            if b"null" not in raw or self._comes_back(value, raw) or not_finite("", value) is None:
                return raw
            return self._unsendable("a number that JSON does not have (NaN or infinity)")
        except RecursionError:
            return self._unsendable("nested too deep for JSON, or in itself")
        except UnicodeEncodeError:
            return self._unsendable("text with half of a surrogate pair")
        except BaseException:
            return self._unsendable(f"{article(type(value).__qualname__)} that cannot travel as JSON")

    def _comes_back(self, value: object, raw: bytes) -> bool:
        """Whether what will be read equals `value`: the quick way to know that no null in it was a number."""
        try:
            return bool(self._result.read(raw) == value)
        except Exception:
            return False

    def _unsendable(self, what: str) -> bytes:
        return encode_json({_UNSENDABLE: f"{self.task}() returned {what}; the job is completed without its result."})

    def decode_result(self, raw: bytes) -> object:
        """The result in `raw`, by the return annotation. Raises ValueError if it could not be sent, or does not fit."""
        if raw.startswith(_UNSENDABLE_HEAD):
            raise ValueError(msgspec.json.decode(raw)[_UNSENDABLE])
        try:
            return self._result.read(raw)
        except _MISFITS as refused:
            expected, said = type_words(self._result.hint), " ".join(str(refused).split())
            raise ValueError(f"the result of {self.task}() is not {expected}, as annotated: {said}") from None

    # Two signatures.

    def matches(self, other: "Signature") -> str | None:
        """The first difference to `other`, which declared this task, as a sentence; None if there is none."""
        for name in (*other.parameters, *self.parameters):
            if name not in self._wires:
                return f"{self.task} has no parameter '{name}', which its declaration has."
            if name not in other._wires:
                return f"{self.task} has a parameter '{name}', which its declaration has not."
            for mine, theirs in zip(self._facts(name), other._facts(name), strict=True):
                if mine != theirs:
                    return f"{self.task}: '{name}' is {_fact(mine)} here and {_fact(theirs)} in its declaration."
        if self.parameters != other.parameters:
            return f"{self.task}: its parameters stand in another order than in its declaration."
        if self._result.hint != other._result.hint:
            returned, declared = type_words(self._result.hint), type_words(other._result.hint)
            return f"{self.task}: it returns {returned} here and {declared} in its declaration."
        return None

    def _facts(self, name: str) -> tuple[Any, ...]:
        needed = "required" if name in self.required else "optional"
        return self._kinds[name].description, needed, self._wires[name].hint

    # Sentences.

    def _invalid(self, words: str, parameter: str | None = None) -> InvalidArguments:
        return InvalidArguments(f"{self.task}() {words}", task=self.task, parameter=parameter)

    def _unknown(self, name: str, value: object = None, *, here: bool = False) -> InvalidArguments:
        if here and name in OPTION_NAMES:
            words = f"it is an option: {self.task}.options({name}={show(value)}).enqueue(...)."
            return self._invalid(f"has no parameter '{name}'; {words}", name)
        guess = did_you_mean(name[:100], self.parameters) or "."
        return self._invalid(f"has no parameter '{show(name)[1:-1]}'{guess}", name)

    def _missing(self, given: "set[str]") -> InvalidArguments | None:
        absent = [name for name in self.required if name not in given]
        if not absent:
            return None
        return self._invalid("is missing " + " and ".join(f"'{name}'" for name in absent) + ".", absent[0])

    def _misbound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> InvalidArguments:
        """Why a call does not fit the signature, whatever its values are."""
        kinds = self._kinds
        if Python.VAR_KEYWORD not in kinds.values():
            for name, value in kwargs.items():
                if name not in kinds:
                    return self._unknown(name, value, here=True)
        positional = [
            name for name, kind in kinds.items() if kind in (Python.POSITIONAL_ONLY, Python.POSITIONAL_OR_KEYWORD)
        ]
        if len(args) > len(positional) and Python.VAR_POSITIONAL not in kinds.values():
            return self._invalid(f"takes {len(positional)} by position and got {len(args)}; give the others by name.")
        for name in positional[: len(args)]:
            if name in kwargs and kinds[name] is Python.POSITIONAL_OR_KEYWORD:
                return self._invalid(f"got '{name}' twice: by position and by name.", name)
        for name in positional[len(args) :]:
            if name in kwargs and kinds[name] is Python.POSITIONAL_ONLY:
                return self._invalid(f"takes '{name}' by position only.", name)
        missing = self._missing({*positional[: len(args)], *kwargs})
        return missing or self._invalid("got arguments that do not fit its signature.")

    def _misloaded(self, payload: bytes | Raw, refused: Exception) -> InvalidArguments:
        if isinstance(refused, RecursionError):
            return self._invalid("got arguments that are nested too deep to be read.")
        try:
            fields = msgspec.json.decode(payload, type=dict[str, Raw])
        except _MISFITS as broken:
            return self._invalid(f"got arguments that are no JSON object by parameter name: {broken}")
        for name in fields:
            if name not in self._wires:
                return self._unknown(name)
        missing = self._missing(set(fields))
        if missing is not None:
            return missing
        for name, raw in fields.items():
            try:
                self._wires[name].read(raw)
            except _MISFITS as misfit:
                return self._invalid(misread(name, self._wires[name], raw, misfit, kinds=True), name)
        return self._invalid(f"got arguments that do not fit: {refused}")


# What may be a task. Each check raises TaskDefinitionError with the function, the fact and the way out.


def _check_function(function: Callable[..., object]) -> None:
    name = getattr(function, "__name__", None) or type(function).__name__
    if inspect.ismethod(function):
        raise TaskDefinitionError(f"{name} is a method of an object; a task is a plain function.")
    if not inspect.isfunction(inspect.unwrap(function)):
        raise TaskDefinitionError(f"{name} is {article(type(function).__name__)}; a task is a plain function.")
    first = next(iter(inspect.signature(function).parameters), None)
    if first in ("self", "cls"):
        raise TaskDefinitionError(
            f"{name} looks like a method (its first parameter is '{first}'); a task is a plain function."
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TaskDefinitionError(f"{name} is a generator (it yields); a task returns its result, or nothing.")


def _check_name(function: Callable[..., object]) -> None:
    code = inspect.unwrap(function).__code__
    where = f"{code.co_filename}:{code.co_firstlineno}"
    if function.__name__ == "<lambda>":
        raise TaskDefinitionError(f'the lambda at {where} has no name that jobs could carry; give it name="...".')
    if "<locals>" in function.__qualname__:
        raise TaskDefinitionError(
            f"{function.__name__} at {where} is defined inside a function, where no worker finds it by its name; "
            'move it to the module, or give it name="...".'
        )


def _hints(function: Callable[..., object]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception as refused:
        where = _unresolved(function) or "one of its annotations"
        raise TaskDefinitionError(
            f"{function.__name__}: {where} cannot be resolved ({refused}); define or import it where the module is "
            "loaded, not only under TYPE_CHECKING."
        ) from None


def _unresolved(function: Callable[..., object]) -> str | None:
    """The first annotation that fails alone."""
    try:
        annotations = inspect.unwrap(function).__annotations__
    except NameError:  # Python 3.14 evaluates them here, and all at once
        return None
    for name, annotation in annotations.items():
        alone = type("Alone", (), {"__annotations__": {name: annotation}})
        try:
            typing.get_type_hints(alone, globalns=inspect.unwrap(function).__globals__)
        except Exception:
            return f"the annotation {annotation!r} of '{name}'"
    return None


def _wire(function: Callable[..., object], parameter: Python, hint: Any) -> Wire:
    whole = hint
    if parameter.kind is Python.VAR_POSITIONAL:
        whole = list[hint]
    elif parameter.kind is Python.VAR_KEYWORD:
        whole = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Unpack else dict[str, hint]
    try:
        return Wire(whole)
    except Exception as refused:
        raise TaskDefinitionError(
            f"{function.__name__}: '{parameter.name}' is {type_words(hint)}, which cannot cross: {refused}. "
            "Take plain data, and build the rest inside the task."
        ) from None


def _result_wire(hint: Any) -> Wire:
    try:
        return Wire(Any if hint is None or hint is type(None) else hint)
    except Exception:  # a result that has no form in JSON is said when it is returned, and stops no task
        return Wire(Any)


def _fact(fact: Any) -> str:
    return fact if isinstance(fact, str) else type_words(fact)


def _is_required(parameter: Python) -> bool:
    return parameter.default is Python.empty and parameter.kind not in (Python.VAR_POSITIONAL, Python.VAR_KEYWORD)
