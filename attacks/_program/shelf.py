"""A shelf that is a folder: what an attack trained, one file for each digest.

The invariant: a file holds weights that were trained on public texts, and nothing of a recording.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from attacks._base.shelf import Arrays
from ifedpriv.errors import writing
from ifedpriv.icl.tensor_file import reading, write_tensors

_FORMAT = "ifedpriv-inverter-1"


@dataclass(frozen=True, slots=True)
class FolderShelf:
    """A `Shelf` in a folder, which is made when something is first put there.

    Attributes:
        folder: where files lie.
    """

    folder: Path

    def take(self, digest: str) -> Arrays | None:
        """What was put there under this digest; None for nothing.

        Raises:
            InputError: the file is damaged.
        """
        path = self._path(digest)
        if not path.is_file():
            return None
        with reading(path, "the inverter", _FORMAT) as (tensors, metadata, _):
            if metadata["digest"] != digest:
                raise ValueError("a file of another digest")
            return tensors

    def put(self, digest: str, arrays: Arrays) -> None:
        """Keep arrays under this digest; an interrupted write leaves nothing."""
        with writing(f"--inverters {self.folder}", "give a folder you may write"):
            write_tensors(self._path(digest), arrays, {"format": _FORMAT, "digest": digest}, {})

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest[:32]}.safetensors"
