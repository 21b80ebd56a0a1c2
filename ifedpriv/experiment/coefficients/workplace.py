"""The folder in which coefficients are made: what has been extracted and calibrated already.

The invariant: a piece is there whole or not at all, and belongs to the configuration, the texts and the model that the
folder is named by; so work goes on wherever it was cut off.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ifedpriv.errors import UserError, writing
from ifedpriv.experiment.coefficients.config import CoefficientsConfig
from ifedpriv.experiment.rundir import write_whole
from ifedpriv.icl.vectors import Coefficients


class Workplace:
    """Pieces of one file of coefficients, in a folder beside it.

    Args:
        out: the file that is to be made.
        config: how.
        backbone: fingerprint of the model.
        tasks: digest of the public tasks' texts, which may change under the names that the configuration has for them.

    Raises:
        UserError: the folder belongs to other settings, texts or models, or may not be made.
    """

    def __init__(self, out: Path, config: CoefficientsConfig, backbone: str, tasks: str) -> None:
        self.path = out.with_name(out.name + ".work")
        named = json.dumps({"config": config.digest(), "backbone": backbone, "tasks": tasks})
        note = self.path / "made_from.json"
        with writing(f"--out {out}", "give a file in a folder that you may write to"):
            if note.is_file():
                if note.read_bytes() != named.encode():
                    raise UserError(
                        f"{self.path} holds work with other settings, texts or another model",
                        "remove it, or give --out another file",
                    )
                return
            write_whole(note, named)

    def rows(self, number: int) -> NDArray[np.float32] | None:
        """Activations of a task's demonstrations, read from disk as they are needed; None if there are none yet."""
        path = self.path / f"rows-{number}.npy"
        return np.load(path, mmap_mode="r", allow_pickle=False) if path.is_file() else None

    def blank(self, number: int) -> NDArray[np.float32]:
        """Mean activations of a task's texts with random labels."""
        found: NDArray[np.float32] = np.load(self.path / f"blank-{number}.npy", allow_pickle=False)
        return found

    def keep_rows(self, number: int, rows: NDArray[np.float32], blank: NDArray[np.float32]) -> None:
        """Keep both; the rows last, since it is they that are looked for."""
        self._keep(f"blank-{number}.npy", blank)
        self._keep(f"rows-{number}.npy", rows)

    def member(self, name: str) -> Coefficients | None:
        """A set of coefficients that is done."""
        path = self.path / f"member-{name}.npy"
        return Coefficients(np.load(path, allow_pickle=False)) if path.is_file() else None

    def keep_member(self, name: str, found: Coefficients) -> None:
        """Keep a set of coefficients."""
        self._keep(f"member-{name}.npy", found.values)

    def clear(self) -> None:
        """Remove the folder, once the file is written."""
        shutil.rmtree(self.path)

    def _keep(self, name: str, array: NDArray[np.float32]) -> None:
        partial = self.path / f"{name}.partial"
        with partial.open("wb") as stream:
            np.save(stream, array, allow_pickle=False)
        partial.replace(self.path / name)
