"""What a run promises, in words and in JSON, so that the promise travels with everything the run makes.

Invariant: a bound is either whole (epsilon, delta, unit, neighbouring) or absent, and where it is absent the
text says so before anything else about it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from defenses.decimals import at_most
from defenses.errors import UserError
from defenses.units import Neighbouring, Trust, Unit

SCHEMA = 1
_METADATA_KEY = "ifedpriv.privacy"


@dataclass(frozen=True, slots=True)
class PrivacyStatement:
    """What is promised, to whom, and what is not.

    Attributes:
        trust: who has to be trusted with what.
        releases: how many releases it covers.
        summary: what the server sees, in one or two sentences.
        epsilon: the bound, or None where there is none.
        delta: its failure probability, or None.
        unit: whose presence the bound hides, or None without a bound.
        neighbouring: how two data sets that must look alike differ, or None without a bound.
        assumptions: what must hold for the statement to be true.
        not_covered: what it says nothing about.
        public: what is taken as known to everybody, with the reason.
        simulation: True where randomness came from a stated seed: then nobody is protected.
    """

    trust: Trust
    releases: int
    summary: str
    epsilon: float | None = None
    delta: float | None = None
    unit: Unit | None = None
    neighbouring: Neighbouring | None = None
    assumptions: tuple[str, ...] = ()
    not_covered: tuple[str, ...] = ()
    public: tuple[str, ...] = ()
    simulation: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "trust", Trust(self.trust))
        for name in ("assumptions", "not_covered", "public"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        parts = (self.epsilon, self.delta, self.unit, self.neighbouring)
        if all(part is None for part in parts):
            return
        if self.epsilon is None or self.delta is None or self.unit is None or self.neighbouring is None:
            raise UserError(
                "statement has half a bound", "give epsilon, delta, unit and neighbouring, or none of them"
            )
        object.__setattr__(self, "unit", Unit(self.unit))
        object.__setattr__(self, "neighbouring", Neighbouring(self.neighbouring))
        if not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise UserError(f"statement.epsilon is {self.epsilon}", "a bound is finite and not below 0")
        if not 0 <= self.delta < 1:
            raise UserError(f"statement.delta is {self.delta}", "use 0 or more, below 1")

    @property
    def bounded(self) -> bool:
        """True where there is an epsilon."""
        return self.epsilon is not None

    def text(self) -> str:
        """One paragraph that a reader without the code can follow."""
        if self.epsilon is None or self.delta is None:
            first = "There is no privacy bound."
        else:
            first = (
                f"The run is ({at_most(self.epsilon, 6)}, {at_most(self.delta, 6)})-differentially private for one "
                f"{self.unit} ({self.neighbouring}), with trust in: {self.trust}."
            )
        parts = [first, self.summary, f"Releases: {self.releases}."]
        if self.simulation:
            parts.insert(0, "Simulation: its randomness can be foretold from a seed, so it protects nobody.")
        for title, lines in (
            ("Assumed", self.assumptions),
            ("Taken as public", self.public),
            ("Not covered", self.not_covered),
        ):
            if lines:
                parts.append(f"{title}: {'; '.join(lines)}.")
        return " ".join(parts)

    def to_json(self) -> str:
        """The statement as JSON text."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> PrivacyStatement:
        """The inverse of `to_json`."""
        try:
            data = json.loads(text)
            schema = data.pop("schema")
            if schema != SCHEMA:
                raise UserError(f"statement has schema {schema}", f"this program reads schema {SCHEMA}")
            return cls(**data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError("statement is not one this program wrote", "use the file as it is") from error

    def to_metadata(self) -> dict[str, str]:
        """Texts for a safetensors header: the JSON for programs, the paragraph for readers."""
        return {_METADATA_KEY: self.to_json(), f"{_METADATA_KEY}.text": self.text()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> PrivacyStatement:
        """The inverse of `to_metadata`."""
        if _METADATA_KEY not in metadata:
            raise UserError(
                f"metadata has no entry {_METADATA_KEY!r}", "the file was not written by this program"
            )
        return cls.from_json(metadata[_METADATA_KEY])
