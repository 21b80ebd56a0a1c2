"""What an auditor asks for, checked before anything is loaded.

The invariant: two requests with the same key on the same files give the same document to the digit, so a finished piece
of one may be taken for the other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attacks._base.defaults import ALPHA, FEWEST_SHADOWS, ONE_RUN_CANARIES, SHADOWS, TRIALS
from ifedpriv.errors import InputError, UserError

WITHHELD = ("pool", "public-texts", "others", "label-words")
"""What an attacker may be left without: candidates, texts of the same kind, all examples but one, the label words."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is audited, and as whom.

    Attributes:
        target: a run's folder, or the bare folder of a recording.
        config: for a bare recording: the configuration of the run that was recorded.
        public, pool_file: JSON Lines in place of the texts and candidates that are drawn.
        pool: number of candidates of a drawn pool.
        covered: share of the true texts that it holds.
        without: what the attacker does not have, of `WITHHELD`.
        colluding: clients who tell it their uploads and examples.
        trials: runs a side and canary in the audit of the mechanism.
        one_run: canaries of its single run; 0 for none.
        alpha: its level.
        shadows: vectors or calibrations of its own that an attack on members compares with.
        inverters: folder for trained inverters; None for no attack by one.
        seed: of every random choice.
        reveal: keep guessed and true texts as they are in place of hashes.
    """

    target: Path
    config: Path | None = None
    public: Path | None = None
    pool_file: Path | None = None
    pool: int = 2000
    covered: float = 1.0
    without: Sequence[str] = ()
    colluding: Sequence[int] = ()
    trials: int = TRIALS
    one_run: int = ONE_RUN_CANARIES
    alpha: float = ALPHA
    shadows: int = SHADOWS
    inverters: Path | None = None
    seed: int = 0
    reveal: bool = False

    def __post_init__(self) -> None:
        checks = (
            (self.pool < 2, f"--pool is {self.pool}", "give 2 or more candidates; a claim needs 1000"),
            (not 0 < self.covered <= 1, f"--covered is {self.covered}", "give a share above 0, at most 1"),
            (self.trials < 20, f"--trials is {self.trials}", "give 20 or more"),
            (
                self.one_run < 0 or 0 < self.one_run < 4,
                f"--one-run is {self.one_run}",
                "give 4 or more, or 0",
            ),
            (not 0 < self.alpha < 0.5, f"--alpha is {self.alpha}", "give a level above 0 and below 0.5"),
            (
                self.shadows < FEWEST_SHADOWS,
                f"--shadows is {self.shadows}",
                f"give {FEWEST_SHADOWS} or more; fewer have no variance to compare with",
            ),
            (self.seed < 0, f"--seed is {self.seed}", "give a whole number, 0 or more"),
            (
                not self.target.is_dir(),
                f"{self.target} is no folder",
                "give the folder that `ifedpriv run` printed",
            ),
        )
        for wrong, message, hint in checks:
            if wrong:
                raise InputError(message, hint)
        for name, path in (
            ("--config", self.config),
            ("--public", self.public),
            ("--pool-file", self.pool_file),
        ):
            if path is not None and not path.is_file():
                raise InputError(f"{name} {path} is no file", "give one that you may read")
        if self.inverters is not None and self.inverters.exists() and not self.inverters.is_dir():
            raise InputError(
                f"--inverters {self.inverters} is no folder", "give one, or a name for a new one"
            )
        if self.is_run and self.config is not None:
            raise InputError(
                f"--config is given, and {self.target} has a config.yaml of its own", "leave --config out"
            )
        if not (self.view / "frames.bin").is_file():
            if self.is_run:
                raise UserError(
                    f"{self.target} has no recording",
                    "run it with record_view: true; without one nothing can be attacked",
                )
            raise UserError(
                f"{self.target} is neither a run nor a recording: it holds no config.yaml and no frames.bin",
                "give the folder that `ifedpriv run` printed, or its view/ with --config",
            )

    @property
    def is_run(self) -> bool:
        """Whether the target is a run's folder."""
        return (self.target / "config.yaml").is_file()

    @property
    def view(self) -> Path:
        """The recording."""
        return self.target / "view" if self.is_run else self.target

    @property
    def config_path(self) -> Path | None:
        """The configuration; None for a recording that came alone."""
        return self.target / "config.yaml" if self.is_run else self.config

    def settings(self) -> dict[str, Any]:
        """What was asked for, without where files lie."""
        return {
            "pool": self.pool,
            "covered": self.covered,
            "without": sorted(set(self.without)),
            "colluding": sorted(set(self.colluding)),
            "trials": self.trials,
            "one_run": self.one_run,
            "alpha": self.alpha,
            "shadows": self.shadows,
            "inverters": self.inverters is not None,
            "seed": self.seed,
            "public_file": digest_of(self.public),
            "pool_file": digest_of(self.pool_file),
        }

    def key(self, versions: dict[str, str], *, bound: bool, inverted: bool = False) -> str:
        """What a finished piece depends on, as a hash.

        Args:
            versions: of everything that may change a number.
            bound: for what a run declares and spends; of its recording that reads which rounds there were.
            inverted: for what trained inverters find, which nothing else depends on.
        """
        told = self.settings()
        if not inverted:
            del told["inverters"]
        mechanism = {name: told.pop(name) for name in ("trials", "one_run", "alpha")}
        files = [self.config_path, self.view / "frames.bin", self.view / "view.json"]
        if bound:
            checkpoint = self.target / "checkpoint" / "state.safetensors"
            files += [self.target / "report.json", checkpoint]
            told = {**mechanism, "seed": self.seed, "public_file": told["public_file"]}
        parts = [told, versions, [digest_of(path) for path in files], self.reveal and not bound]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def digest_of(path: Path | None) -> str | None:
    """SHA-256 of a file; None where there is none."""
    if path is None or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror or type(error).__name__})", "give a file you may read"
        ) from error
