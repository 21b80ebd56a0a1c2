"""A run's folder: configuration, rounds, checkpoint, artifact, recording and report.

The invariant: at any moment the folder can be resumed from. The checkpoint is replaced as a whole after each
round; ``rounds.jsonl`` and the recording may be ahead of it and are cut back to it on resume.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ifedpriv.config import RunConfig, load_config
from ifedpriv.errors import UserError, writing
from ifedpriv.methods.method import State


class RunDirectory:
    """Paths and files of one run; make it with `create` or `open`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, config: RunConfig) -> RunDirectory:
        """Start a run's folder; an existing run is never overwritten."""
        run = cls(path)
        # Any of them without its configuration is what is left of a run, and would be gone on from.
        left = (path / "config.yaml", path / "checkpoint", run.view, run.rounds, run.releases)
        if any(each.exists() for each in left):
            raise UserError(
                f"{path} holds a run already", "give --out another folder, or --resume to go on with this one"
            )
        start_folder(path, config.to_yaml())
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run's folder."""
        if not (path / "config.yaml").is_file():
            raise UserError(
                f"{path} is no run: it has no config.yaml", "give the folder that `ifedpriv run` printed"
            )
        return cls(path)

    def config(self) -> RunConfig:
        """The configuration as it was resolved."""
        return load_config(self.path / "config.yaml")

    @property
    def view(self) -> Path:
        """The recording of what the server saw."""
        return self.path / "view"

    @property
    def adapter(self) -> Path:
        """The artifact of a LoRA run."""
        return self.path / "adapter.safetensors"

    @property
    def prototypes(self) -> Path:
        """Context vectors and coefficients of clusters of clients."""
        return self.path / "prototypes.safetensors"

    @property
    def library(self) -> Path:
        """The artifact of a run of soft prompts."""
        return self.path / "library.safetensors"

    @property
    def injection(self) -> Path:
        """The trained artifact."""
        return self.path / "injection.safetensors"

    @property
    def rounds(self) -> Path:
        """One JSON line a round."""
        return self.path / "rounds.jsonl"

    @property
    def releases(self) -> Path:
        """One JSON line for each round of a real private run, written before the round sends anything."""
        return self.path / "releases.jsonl"

    def interrupted(self, round_number: int) -> Path:
        """A folder that is free, for the recording of a round that was interrupted."""
        return fresh_path(self.path / "interrupted", f"round-{round_number}")

    @property
    def _checkpoint(self) -> Path:
        return self.path / "checkpoint" / "state.safetensors"

    def save_checkpoint(self, state: State, facts: Mapping[str, Any]) -> None:
        """Replace the checkpoint: the state, and JSON facts that belong to it."""
        self._checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = self._checkpoint.with_suffix(".partial")
        arrays = {name: np.array(array, order="C") for name, array in state.arrays.items()}
        save_file(arrays, partial, metadata={"round": str(state.round), "facts": json.dumps(facts)})
        partial.replace(self._checkpoint)

    def load_checkpoint(self) -> tuple[State, dict[str, Any]] | None:
        """The last checkpoint, or None if the run has none yet."""
        if not self._checkpoint.exists():
            return None
        try:
            with safe_open(self._checkpoint, "numpy") as file:
                metadata = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            return State(int(metadata["round"]), arrays), json.loads(metadata["facts"])
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise UserError(
                f"the checkpoint of {self.path} cannot be read ({type(error).__name__})",
                "delete its checkpoint folder to start the run again",
            ) from error

    def append_round(self, record: Mapping[str, Any]) -> None:
        """Add one line to ``rounds.jsonl``."""
        with self.rounds.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def read_rounds(self) -> list[dict[str, Any]]:
        """All whole lines of ``rounds.jsonl``."""
        if not self.rounds.exists():
            return []
        lines = self.rounds.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1] if line]

    def cut_rounds(self, before: int) -> list[dict[str, Any]]:
        """Forget rounds from ``before`` on; returns those kept.

        Raises:
            UserError: a round before it is missing, or a line is no record of a round.
        """
        try:
            kept = [record for record in self.read_rounds() if record["round"] < before]
            whole = [record["round"] for record in kept] == list(range(before))
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            raise UserError(
                f"{self.rounds} does not hold rounds 0 to {before - 1}, which the checkpoint counts as done",
                "delete the checkpoint folder and the file to start the run again",
            )
        write_whole(self.rounds, "".join(json.dumps(record) + "\n" for record in kept))
        return kept

    def save_part(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep a finished piece of work, so that a resumed run does not do it again."""
        write_whole(self.path / "checkpoint" / f"{name}.json", json.dumps(value))

    def load_part(self, name: str) -> dict[str, Any] | None:
        """A piece of work that `save_part` kept, or None if there is none that can be read: it is then done again."""
        path = self.path / "checkpoint" / f"{name}.json"
        if not path.exists():
            return None
        try:
            result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            return None
        return result


def start_folder(path: Path, configuration: str) -> None:
    """Make a folder that begins with its configuration.

    Raises:
        UserError: it may not be made or written.
    """
    with writing(f"--out {path}", "give a folder that you may make"):
        path.mkdir(parents=True, exist_ok=True)
        write_whole(path / "config.yaml", configuration)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is either whole or as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def fresh_path(root: Path, name: str, taken: Sequence[str] = ()) -> Path:
    """``root/name``, or ``root/name-2`` and so on if that exists."""
    candidate, number = root / name, 2
    while candidate.exists() or candidate.name in taken:
        candidate, number = root / f"{name}-{number}", number + 1
    return candidate
