"""From a data spec to a task with its three splits.

The one invariant: whatever the source, the splits that come back share no text and none of them is empty.
What was dropped for that is counted in a `LoadReport` and logged.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ifedpriv.data import shipped
from ifedpriv.data.csv_files import read_csv
from ifedpriv.data.hub import read_hub
from ifedpriv.data.jsonl import read_bytes, read_jsonl
from ifedpriv.data.presets import resolve
from ifedpriv.data.rows import LabelTable, Table, examples_of, labels_found, shown
from ifedpriv.data.specs import DataSpec, EmbeddedData, FileData, HubData, PresetData
from ifedpriv.data.splits import Dropped, balanced, capped, disjoint, set_aside
from ifedpriv.data.task import Example, Task, TaskData, TaskKind
from ifedpriv.errors import InputError

DATA_ROOT_VARIABLE = "IFEDPRIV_DATA"
_READERS = {".jsonl": read_jsonl, ".csv": read_csv}
_log = logging.getLogger("ifedpriv.data")


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of the rows.

    Attributes:
        read: rows read from the source, by split.
        dropped: examples dropped because a later split has their text.
        kept: examples that were handed on, by split.
    """

    read: Mapping[str, int]
    dropped: Dropped
    kept: Mapping[str, int]


def load_task_data(spec: DataSpec, root: Path | None = None) -> TaskData:
    """Load the task that ``spec`` describes.

    Args:
        spec: the ``data`` section of a configuration.
        root: where relative paths start (``data_root`` of a configuration); otherwise the directory in the
            environment variable ``IFEDPRIV_DATA``, otherwise the working directory.

    Raises:
        InputError: the data cannot be used as it is; one sentence says where and why.
    """
    return load_with_report(spec, root)[0]


def load_with_report(spec: DataSpec, root: Path | None = None) -> tuple[TaskData, LoadReport]:
    """Load a task as `load_task_data` does, and say what was read, dropped and kept."""
    if isinstance(spec, EmbeddedData):
        data = _embedded(spec)
        return _finished(data.task, data.train, data.validation, data.test, read=_sizes(data))
    source = resolve(spec) if isinstance(spec, PresetData) else spec
    return _from_tables(source, root)


def data_root(root: Path | None = None) -> Path:
    """Where relative paths start: ``root``, or ``IFEDPRIV_DATA``, or the working directory."""
    return root if root is not None else Path(os.environ.get(DATA_ROOT_VARIABLE) or ".")


# ---- sources


def _embedded(spec: EmbeddedData) -> TaskData:
    return shipped.load(
        spec.name, seed=spec.seed, train=spec.train, validation=spec.validation, test=spec.test
    )


def _from_tables(spec: FileData | HubData, root: Path | None) -> tuple[TaskData, LoadReport]:
    if isinstance(spec, HubData):
        tables, declared = read_hub(spec)
        name = spec.name.rsplit("/", 1)[-1]
    else:
        tables, declared, name = _files(spec, data_root(root))
    labels = _labels(spec, declared, tables["train"])
    task = spec.task(name, labels.words)
    splits = {role: examples_of(table, spec, labels) for role, table in tables.items()}
    train, validation, dropped = disjoint(splits["train"], splits.get("validation", []), splits["test"])
    if "validation" not in splits:
        train, validation = set_aside(train, spec.validation_fraction, spec.seed)
    test = (
        balanced(splits["test"], labels.words, spec.max_test, spec.seed)
        if spec.balance_test
        else capped(splits["test"], spec.max_test, spec.seed, "max_test")
    )
    return _finished(
        task,
        capped(train, spec.max_train, spec.seed, "max_train"),
        capped(validation, spec.max_validation, spec.seed, "max_validation"),
        test,
        read={role: len(table.rows) for role, table in tables.items()},
        dropped=dropped,
    )


def _finished(
    task: Task,
    train: Sequence[Example],
    validation: Sequence[Example],
    test: Sequence[Example],
    read: Mapping[str, int],
    dropped: Dropped | None = None,
) -> tuple[TaskData, LoadReport]:
    """Check what every source promises, and put data and report together."""
    if dropped is None:
        train, validation, dropped = disjoint(train, validation, test)
    for split, examples in (("train", train), ("validation", validation), ("test", test)):
        if not examples:
            raise InputError(
                f"task {task.name}: nothing is left of {split} once texts that another split has are dropped",
                "give splits that do not repeat each other",
            )
    if dropped.total:
        _log.warning(
            "task %s: dropped %d train and %d validation texts that test has, "
            "and %d train texts that validation has",
            task.name,
            dropped.train_in_test,
            dropped.validation_in_test,
            dropped.train_in_validation,
        )
    data = TaskData(task, tuple(train), tuple(validation), tuple(test))
    return data, LoadReport(dict(read), dropped, _sizes(data))


def _sizes(data: TaskData) -> dict[str, int]:
    return {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)}


# ---- files


def _files(spec: FileData, root: Path) -> tuple[dict[str, Table], tuple[str, ...], str]:
    """The tables by role, the label names of ``meta.json`` and the task's name."""
    if spec.path is None:
        given = {"train": spec.train, "validation": spec.validation, "test": spec.test}
        paths = {role: root / path for role, path in given.items() if path is not None}
        _distinct_files(paths)
        tables = {role: _read(path) for role, path in paths.items()}
        return tables, (), spec.name or paths["train"].stem
    folder = root / spec.path
    if not _is_directory(folder):
        raise InputError(
            f"data.path is {spec.path!r}, but {folder} is not a directory",
            f"set data_root or the environment variable {DATA_ROOT_VARIABLE} to the directory that holds it",
        )
    tables = {}
    for role in ("train", "validation", "test"):
        found = [folder / (role + suffix) for suffix in _READERS if (folder / (role + suffix)).exists()]
        if len(found) > 1:
            raise InputError(
                f"{folder} holds both {found[0].name} and {found[1].name}",
                "keep one, or name the files in data",
            )
        if not found and role != "validation":
            raise InputError(
                f"{folder} holds neither {role}.jsonl nor {role}.csv", "add one, or name the files in data"
            )
        if found:
            tables[role] = _read(found[0])
    return tables, _meta_names(folder / "meta.json"), spec.name or folder.resolve().name


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        # Such as a name that is too long, or a parent that may not be searched.
        return False


def _distinct_files(paths: Mapping[str, Path]) -> None:
    seen: dict[Path, str] = {}
    for role, path in paths.items():
        first = seen.setdefault(path.resolve(), role)
        if first != role:
            raise InputError(
                f"data.{first} and data.{role} are the same file {path}", "give each split its own file"
            )


def _read(path: Path) -> Table:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path} ends in {path.suffix!r}, which is not read", "give a .jsonl or a .csv file")
    return reader(path)


def _meta_names(path: Path) -> tuple[str, ...]:
    """The ``label_names`` of a directory's ``meta.json``; empty where there is no file or no such key."""
    if not path.exists():
        return ()
    try:
        meta = json.loads(read_bytes(path).decode())
    except (ValueError, RecursionError):
        raise InputError(
            f"{path} is not JSON in UTF-8", "mend it, or remove it and set data.label_names"
        ) from None
    names = meta.get("label_names", []) if isinstance(meta, dict) else []
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise InputError(
            f"{path}: field 'label_names' is {shown(names)}", "give a list of names in index order"
        )
    if len(set(names)) != len(names):
        raise InputError(
            f"{path}: field 'label_names' {shown(names)} repeats a name", "give each class its own"
        )
    return tuple(names)


# ---- labels


def _labels(spec: FileData | HubData, declared: tuple[str, ...], train: Table) -> LabelTable:
    """Settle words and names from the spec and from what the source declares; they must not contradict."""
    if spec.kind is TaskKind.GENERATION:
        return LabelTable((), ())
    if spec.label_names and declared and spec.label_names != declared:
        raise InputError(
            f"data.label_names is {list(spec.label_names)}, but the source of {train.source} "
            f"has {list(declared)}",
            "give the names in the source's order, and label_words in the same order",
        )
    names = spec.label_names or declared
    words = spec.label_words or names
    if not words:
        found = labels_found(train, spec)
        raise InputError(
            f"data.label_words is missing, and so are label names in the source of {train.source}",
            f"list the words in index order; field {spec.label_column!r} holds {shown(found)}",
        )
    if names and len(names) != len(words):
        raise InputError(
            f"data.label_words has {len(words)} entries, but the source of {train.source} has the "
            f"{len(names)} label names {list(names)}",
            "give one word for each name, in the same order",
        )
    return LabelTable(words, names or words)
