"""Reads data sets with the ``datasets`` library, which is an optional dependency.

The one invariant: nothing of ``datasets`` is imported before a configuration asks for it, and whatever goes
wrong in there reaches the user as one sentence. No code of a data set's author is ever run.
"""

from __future__ import annotations

import importlib
from typing import Any

from ifedpriv.data.rows import Row, Table
from ifedpriv.data.specs import HubData
from ifedpriv.errors import InputError


def read_hub(spec: HubData) -> tuple[dict[str, Table], tuple[str, ...]]:
    """Read the splits that ``spec`` names.

    Returns:
        The tables by ``train``, ``test`` and perhaps ``validation``, and the label column's class names in
        index order (empty where the data set declares none).

    Raises:
        InputError: ``datasets`` is not installed, the hub cannot be reached, or set, configuration or split
            is not there.
    """
    library = _library()
    splits = {"train": spec.train_split, "validation": spec.validation_split, "test": spec.test_split}
    tables: dict[str, Table] = {}
    names: tuple[str, ...] = ()
    for role, split in splits.items():
        if split is None:
            continue
        loaded = _split(library, spec, split)
        names = names or _class_names(loaded, spec.label_column)
        rows = [Row(position, dict(fields)) for position, fields in enumerate(loaded, start=1)]
        if not rows:
            raise InputError(
                f"data set {spec.name} split {split} holds no rows", f"set data.{role}_split to another"
            )
        tables[role] = Table(f"data set {spec.name} split {split}", "row", rows)
    return tables, names


def _library() -> Any:
    try:
        return importlib.import_module("datasets")
    except ModuleNotFoundError:
        raise InputError(
            "data.source is hub, which needs the package datasets, and it is not installed",
            "install ifedpriv[hub], or save the set as JSONL and use source: files",
        ) from None


def _split(library: Any, spec: HubData, split: str) -> Any:
    try:
        return library.load_dataset(spec.name, spec.config, split=split, revision=spec.revision)
    except Exception as error:
        # The library and its HTTP stack raise classes of four packages, which change between versions. All of
        # them mean that this set could not be had, which the user can mend; none is a fault of ours.
        reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise InputError(
            f"data set {spec.name!r} (config {spec.config or 'default'}, split {split!r}) could not be read: "
            f"{reason}",
            "check the name, the splits and the network, or save the set as JSONL and use source: files",
        ) from error


def _class_names(loaded: Any, label_column: str) -> tuple[str, ...]:
    feature = loaded.features.get(label_column) if loaded.features else None
    return tuple(getattr(feature, "names", None) or ())
