"""Trained artifacts as safetensors files.

The one invariant: equal artifacts are equal files, byte for byte, and whatever is wrong with a file is told in
one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ifedpriv.errors import InputError


def write_tensors(
    path: Path,
    tensors: Mapping[str, NDArray[np.float32]],
    metadata: Mapping[str, str],
    facts: Mapping[str, str],
) -> None:
    """Write a file; an interrupted write leaves nothing under the final name.

    Args:
        path: where to; folders are made.
        tensors: float32 arrays by name.
        metadata: strings, ``format`` among them.
        facts: further strings, kept together under one key.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    strings = {**metadata, "facts": json.dumps(dict(facts), sort_keys=True)}
    partial = path.with_name(path.name + ".partial")
    arrays = {name: np.array(array, order="C") for name, array in tensors.items()}
    partial.write_bytes(_sorted_header(save(arrays, strings)))
    partial.replace(path)


@contextmanager
def reading(
    path: Path, what: str, file_format: str
) -> Iterator[tuple[dict[str, NDArray[np.float32]], dict[str, str], dict[str, str]]]:
    """Read a file that `write_tensors` wrote; what the block finds missing or malformed is damage too.

    Args:
        path: the file.
        what: what it holds, for the errors' sentences; ``<what>.safetensors`` is its name in a run.
        file_format: what its metadata must say as ``format``.

    Yields:
        Tensors, metadata and facts.

    Raises:
        InputError: there is no such file, it has another format, or it is damaged.
    """
    if not path.is_file():
        raise InputError(f"{what} {path} does not exist", f"give the run's {what}.safetensors")
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != file_format:
                raise InputError(
                    f"{what} {path} has format {metadata.get('format')!r}",
                    f"this version reads {file_format}",
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        facts = json.loads(metadata["facts"])
        strings = isinstance(facts, dict) and all(isinstance(value, str) for value in facts.values())
        if not strings or any(tensor.dtype != np.float32 for tensor in tensors.values()):
            raise ValueError("not what `write_tensors` writes")
        yield tensors, metadata, facts
    # Numbers too large for their type, and lists in lists without end, are damage like any other.
    except (
        SafetensorError,
        KeyError,
        TypeError,
        ValueError,
        OSError,
        OverflowError,
        RecursionError,
    ) as error:
        raise InputError(
            f"{what} {path} cannot be read ({type(error).__name__})", "the file is damaged; make it again"
        ) from error


def _sorted_header(file: bytes) -> bytes:
    """A safetensors file with its header in one order: the library's changes from write to write."""
    size = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + size])
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + file[8 + size :]
