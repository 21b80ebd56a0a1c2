"""From raw rows, whatever they were stored in, to examples.

The one invariant: an `Example` made here has a text that is not empty and can be encoded, a label that is in
range, and every attribute that was asked for; anything else is one sentence naming the place and the field.
Sentences quote labels and column names, never texts: texts are private.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ifedpriv.data.specs import FileData, HubData
from ifedpriv.data.task import Example, TaskKind
from ifedpriv.errors import InputError
from ifedpriv.measure.numbers import read_number

_NO_LABEL = -1


@dataclass(frozen=True, slots=True, repr=False)
class Row:
    """One raw row: where it stands (line or row, from 1) and its fields."""

    position: int
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True, repr=False)
class Table:
    """The raw rows of one split.

    Attributes:
        source: how errors call it, such as ``train.jsonl``.
        unit: what positions count: ``line`` in a file, ``row`` elsewhere.
        rows: the rows in their order; never empty.
    """

    source: str
    unit: str
    rows: Sequence[Row]

    def __repr__(self) -> str:
        return f"Table({self.source!r}, {len(self.rows)} rows)"

    def at(self, row: Row) -> str:
        """The row's place in words."""
        return f"{self.source} {self.unit} {row.position}"


def shown(value: object) -> str:
    """A value as errors quote it: short enough for one line, and no more than that of somebody's data."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


@dataclass(frozen=True, slots=True)
class LabelTable:
    """What a row may call a class: its index, its word or its name.

    Attributes:
        words: label words in index order.
        names: label names in index order; the same as the words where there are no others.
    """

    words: tuple[str, ...]
    names: tuple[str, ...]

    def index(self, value: object, where: str, field: str) -> int:
        """The class that ``value`` stands for.

        Text is looked up among words and names before it is read as an index, since the words may be digits.
        A number is an index; where it is also another class's word or name, it is refused as ambiguous.
        """
        if isinstance(value, str):
            spelled = self._spelled(value.strip())
            if len(spelled) == 1:
                return spelled.pop()
            if len(spelled) > 1:
                raise InputError(
                    f"{where}: field {field!r} is {shown(value)}, one class's word and another's name",
                    "write labels as indices, or give label_names that do not clash with label_words",
                )
            if not _is_index(value.strip()):
                raise InputError(
                    f"{where}: field {field!r} is {shown(value)}, which is no known label",
                    f"use an index below {len(self.words)} or one of {_listed(self.words, self.names)}",
                )
            return self._in_range(int(value), where, field)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(
                f"{where}: field {field!r} is {shown(value)}, neither a whole number nor a label's text",
                f"use an index below {len(self.words)} or one of {_listed(self.words, self.names)}",
            )
        index = self._in_range(value, where, field)
        if self._spelled(str(value)) - {index}:
            raise InputError(
                f"{where}: field {field!r} is {value}, either the index {value} or the label {str(value)!r}",
                f'write the label as text, as in "{value}", or give label_words that are not numbers',
            )
        return index

    def _spelled(self, text: str) -> set[int]:
        return {i for names in (self.words, self.names) for i, name in enumerate(names) if name == text}

    def _in_range(self, index: int, where: str, field: str) -> int:
        if not 0 <= index < len(self.words):
            raise InputError(
                f"{where}: field {field!r} is {shown(index)}, but there are {len(self.words)} classes",
                f"use an index from 0 to {len(self.words) - 1}, or add the missing label_words",
            )
        return index


def _is_index(text: str) -> bool:
    """Whether a text reads as a whole number; a length limit keeps int() from refusing or taking for ever."""
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) <= 18


def _listed(words: Sequence[str], names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys([*words, *names]))


def examples_of(table: Table, spec: FileData | HubData, labels: LabelTable) -> list[Example]:
    """Turn every row of a table into an example.

    Raises:
        InputError: a field is missing, empty or unusable, or a classification table has a single class.
    """
    examples = [_example(table.at(row), row.fields, spec, labels) for row in table.rows]
    if spec.kind is TaskKind.CLASSIFICATION and len({example.label for example in examples}) == 1:
        word = labels.words[examples[0].label]
        raise InputError(
            f"{table.source}: all {len(examples)} rows have the label {shown(word)} "
            f"in field {spec.label_column!r}",
            "give rows of at least two classes, or check label_column",
        )
    return examples


def labels_found(table: Table, spec: FileData | HubData) -> list[str]:
    """A table's distinct labels as texts, sorted; an error proposes them where no label words are known."""
    return sorted(
        {str(row.fields[spec.label_column]) for row in table.rows if spec.label_column in row.fields}
    )


def _example(
    where: str, fields: Mapping[str, object], spec: FileData | HubData, labels: LabelTable
) -> Example:
    text = _text(where, fields, spec.text_column, "text_column")
    attributes = {name: _attribute(where, fields, name) for name in spec.attribute_columns}
    if spec.kind is TaskKind.GENERATION:
        answer = _text(where, fields, spec.answer_column, "answer_column")
        _in_range(where, answer, spec)
        return Example(text, _NO_LABEL, answer, attributes)
    value = _field(where, fields, spec.label_column, "label_column")
    return Example(text, labels.index(value, where, spec.label_column), "", attributes)


def _in_range(where: str, answer: str, spec: FileData | HubData) -> None:
    """Refuse a true answer that is no number of the declared range: errors are measured against it."""
    if not spec.answer_range:
        return
    number = read_number(answer)
    if number is None or not spec.answer_range[0] <= number <= spec.answer_range[1]:
        raise InputError(
            f"{where}: field {spec.answer_column!r} is no number within data.answer_range {list(spec.answer_range)}",
            "mend the row, widen the range, or leave answer_range out",
        )


def _field(where: str, fields: Mapping[str, object], column: str, option: str) -> object:
    if column not in fields:
        found = ", ".join(repr(name) for name in list(fields)[:12]) or "no fields"
        raise InputError(
            f"{where}: field {column!r} is missing; found {found}", f"set data.{option} to one of those"
        )
    return fields[column]


def _text(where: str, fields: Mapping[str, object], column: str, option: str) -> str:
    value = _field(where, fields, column, option)
    if not isinstance(value, str):
        raise InputError(
            f"{where}: field {column!r} holds {type(value).__name__} in place of text",
            f"write it as text, or set data.{option} to the field that is",
        )
    if not value.strip():
        raise InputError(f"{where}: field {column!r} is empty", "fill it in or remove the row")
    _encodable(where, value, column)
    return value.strip()


def _encodable(where: str, value: str, column: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where}: field {column!r} holds half of a surrogate pair at character {error.start + 1}",
            "write the character itself, or both halves of its escape",
        ) from None


def _attribute(where: str, fields: Mapping[str, object], column: str) -> str:
    value = _field(where, fields, column, "attribute_columns")
    if value is None or isinstance(value, list | dict | float):
        raise InputError(
            f"{where}: field {column!r} holds {type(value).__name__}, which cannot be an attribute",
            "use a text or a whole number, or take the field out of data.attribute_columns",
        )
    text = str(value).strip()
    if not text:
        raise InputError(
            f"{where}: field {column!r} is empty", "fill it in, as in 'unknown', or remove the row"
        )
    _encodable(where, text, column)
    return text
