"""Frozen records and their JSON, strict in both directions.

The one invariant: a record holds only what JSON can say (no NaN, no infinity, no text outside UTF-8), so
writing and reading give the same record back. Every refusal names the path of the field.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType, NoneType, UnionType
from typing import Any, ClassVar, Self, cast, get_args, get_origin, get_type_hints

from ifedpriv.errors import InputError

# Deeper JSON is an accident or an attack; Python's own limit would end in a traceback.
_MAX_DEPTH = 60
_MAX_PATH = 200
# Resolving annotations is slow, and a report has hundreds of records.
_HINTS: dict[type, dict[str, Any]] = {}
_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", NoneType: "null"}


class FieldError(InputError):
    """One field of a record cannot be what it is.

    Attributes:
        field: its path, such as ``rows[2].figures.accuracy.value``.
        problem: the rest of the sentence.
    """

    def __init__(self, field: str, problem: str, hint: str = "") -> None:
        # A file may hold any key, and a message is one line that cannot steer a terminal.
        field = "".join(mark if mark.isprintable() else "?" for mark in field)
        super().__init__(f"{field} {problem}", hint)
        self.field = field
        self.problem = problem

    def inside(self, outer: str) -> FieldError:
        """The same fault, seen from the record, list or table that holds the field."""
        joint = "." if self.field and not self.field.startswith("[") else ""
        path = f"{outer}{joint}{self.field}"
        return FieldError(
            path if len(path) <= _MAX_PATH else path[:_MAX_PATH] + "...", self.problem, self.hint
        )


@dataclass(frozen=True, slots=True)
class Record:
    """The base of every record: takes what its annotations say, copied and frozen, and nothing else.

    Annotations may be ``str``, ``int``, ``float``, ``bool``, ``object`` (any JSON), another record,
    ``T | None``, ``tuple[T, ...]`` and ``Mapping[str, T]``. A subclass says in `check` what its fields must
    fulfil together.
    """

    OPTIONAL: ClassVar[tuple[str, ...]] = ()
    """Fields with a default that a file may lack: it was written before there were any."""

    def __post_init__(self) -> None:
        hints = _hints(type(self))
        for spec in fields(self):
            try:
                value = _conform(hints[spec.name], getattr(self, spec.name))
            except FieldError as error:
                raise error.inside(spec.name) from None
            object.__setattr__(self, spec.name, value)
        self.check()

    def check(self) -> None:
        """Raise `FieldError` where the fields do not fit each other."""

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, texts and numbers; `from_json` gives the same record back."""
        return {spec.name: _plain(getattr(self, spec.name)) for spec in fields(self)}

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Read what `to_json` made.

        Raises:
            FieldError: a key is missing, unknown, or holds what it must not.
        """
        if not isinstance(data, Mapping):
            raise FieldError("", f"is {_kind(data)}, not an object with fields")
        names = [spec.name for spec in fields(cls)]
        for key in data:
            if key not in names:
                raise FieldError(str(key)[:60], "is not a known key", f"known are {', '.join(names)}")
        for name in names:
            if name not in data and name not in cls.OPTIONAL:
                raise FieldError(name, "is missing", "every key has to be there; null stands for nothing")
        # Values are converted by the constructor, which sees the annotations.
        return cls(**data)


def text_to_json(text: str) -> object:
    """Parse JSON text, refusing what the standard does not know (NaN, Infinity) and repeated keys.

    Raises:
        InputError: with one sentence that says where the text breaks.
    """
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_repeats)
    except json.JSONDecodeError as error:
        raise InputError(
            f"line {error.lineno}, column {error.colno} is not JSON: {error.msg.lower()}"
        ) from None
    except RecursionError:
        raise InputError("the JSON is nested too deeply to be read") from None
    except ValueError as error:  # a whole number with thousands of digits
        raise InputError(f"the JSON holds a value that cannot be read: {error}") from None


def _no_constant(name: str) -> object:
    raise InputError(
        f"{name} stands where a number should be", "null stands for a number that does not exist"
    )


def _no_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise InputError(f"the key {name[:60]!r} stands twice in one object", "keep one of them")
        found[name] = value
    return found


def _hints(kind: type[Record]) -> dict[str, Any]:
    if kind not in _HINTS:
        _HINTS[kind] = get_type_hints(kind)
    return _HINTS[kind]


def _conform(hint: Any, value: object) -> object:
    """``value`` as ``hint`` asks, frozen; a `FieldError` with no path where the value itself is wrong."""
    if hint is object:
        return _any_json(value)
    if isinstance(hint, UnionType):
        inner = [option for option in get_args(hint) if option is not NoneType]
        return None if value is None else _conform(inner[0], value)
    origin = get_origin(hint)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise FieldError("", f"is {_kind(value)}, not a list")
        return tuple(_within(f"[{i}]", get_args(hint)[0], item) for i, item in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise FieldError("", f"is {_kind(value)}, not an object with names and values")
        inner_hint = get_args(hint)[1]
        return MappingProxyType({_key(k): _within(_key(k), inner_hint, v) for k, v in value.items()})
    if issubclass(hint, Record):
        return value if type(value) is hint else hint.from_json(value)
    return _scalar(hint, value)


def _within(step: str, hint: Any, value: object, depth: int = 0) -> object:
    try:
        return _any_json(value, depth) if hint is object else _conform(hint, value)
    except FieldError as error:
        raise error.inside(step) from None


def _scalar(hint: type, value: object) -> object:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            raise FieldError("", "is too large for a number") from None
    fits = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    if not fits:
        raise FieldError("", f"is {_kind(value)}, not {_WORDS[hint]}")
    return _any_json(value)


def _any_json(value: object, depth: int = 0) -> object:
    """``value`` frozen, if JSON can say it."""
    if depth > _MAX_DEPTH:
        raise FieldError("", "is nested too deeply", f"use at most {_MAX_DEPTH} levels")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise FieldError("", f"is {value}", "a report holds finite numbers, and null where there is none")
        return float(value)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise FieldError("", "holds half of a surrogate pair, which is no text") from None
        return str(value)
    if isinstance(value, list | tuple):
        return tuple(_within(f"[{i}]", object, item, depth + 1) for i, item in enumerate(value))
    if isinstance(value, Mapping):
        return MappingProxyType({_key(k): _within(_key(k), object, v, depth + 1) for k, v in value.items()})
    raise FieldError(
        "", f"is {_kind(value)}, which JSON cannot hold", "give plain numbers, texts, lists and dicts"
    )


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise FieldError("", f"has the key {key!r}, which is no text")
    return cast(str, _any_json(key))


def _plain(value: object) -> object:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _kind(value: object) -> str:
    """What a value is, in a word, without showing it: it may be private, or very long."""
    for kind, word in ((bool, _WORDS[bool]), (NoneType, "null"), (str, "text"), (int, "a whole number")):
        if isinstance(value, kind):
            return word
    if isinstance(value, float):
        return "a number"
    if isinstance(value, list | tuple):
        return "a list"
    return "an object" if isinstance(value, Mapping) else f"of type {type(value).__name__}"
