"""Every release of a run, in order: what a privacy statement is made from.

Invariant: an event says what its mechanism was, and only a mechanism has a sensitivity, a noise and parameters; a
release without one is written down as ``none`` and carries no number that could be mistaken for a guarantee.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from defenses.errors import UserError
from defenses.units import Neighbouring, Unit
from defenses.upload import UploadKind

NO_MECHANISM = "none"
SCHEMA = 2
_READ = (1, SCHEMA)

Parameters = tuple[tuple[str, float | int | None], ...]


@dataclass(frozen=True, slots=True)
class Event:
    """One release: something that depends on private data and that somebody else gets to see.

    Attributes:
        released: what, in words, for example ``"mean activations of the demonstrations"``.
        round: number of the round.
        by: numbers of the clients whose data stand behind it, ascending.
        kind: what the numbers are, where the release is an upload; None for a count, a choice or a score.
        mechanism: name of the mechanism; ``"none"`` where nothing protects the release.
        unit: whose presence the mechanism hides; None without a mechanism.
        sensitivity: the most that one unit can move the release, as the mechanism's theorem measures it; None
            without a mechanism.
        noise: standard deviation of the noise in what was released, in units of the sensitivity's norm; None
            without a mechanism.
        neighbouring: how neighbours differ whose distance the sensitivity is; None without a mechanism, or where the
            ledger is older than this field.
        parameters: what the mechanism's theorem needs: pairs of name and number, ascending. Empty without a
            mechanism. `defenses.accounting` writes and reads them.
    """

    released: str
    round: int
    by: tuple[int, ...]
    kind: UploadKind | None = None
    mechanism: str = NO_MECHANISM
    unit: Unit | None = None
    sensitivity: float | None = None
    noise: float | None = None
    neighbouring: Neighbouring | None = None
    parameters: Parameters = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "by", tuple(sorted(self.by)))
        object.__setattr__(self, "parameters", tuple(sorted(dict(self.parameters).items())))
        if self.kind is not None:
            object.__setattr__(self, "kind", UploadKind(self.kind))
        if self.unit is not None:
            object.__setattr__(self, "unit", Unit(self.unit))
        if self.neighbouring is not None:
            object.__setattr__(self, "neighbouring", Neighbouring(self.neighbouring))
        if not self.released or not self.mechanism:
            raise UserError("event.released or event.mechanism is empty", "name what was released, and how")
        numbers = (self.sensitivity, self.noise)
        if self.mechanism == NO_MECHANISM:
            given = (self.unit, self.neighbouring, *numbers)
            if any(part is not None for part in given) or self.parameters:
                raise UserError(
                    "event.mechanism is 'none', yet a unit, a sensitivity, a noise or a parameter is given",
                    "leave them out",
                )
            return
        if self.unit is None:
            raise UserError(f"event.mechanism is {self.mechanism!r} without a unit", "name example or client")
        for name, number in zip(("sensitivity", "noise"), numbers, strict=True):
            if number is None or not (math.isfinite(number) and number > 0):
                raise UserError(f"event.{name} is {number}", f"{self.mechanism} needs a finite one above 0")
        for name, value in self.parameters:
            sound = value is None or (isinstance(value, int | float) and math.isfinite(value))
            if not sound or isinstance(value, bool):
                raise UserError(f"event.parameters has {name!r} at {value!r}", "give a finite number")


@dataclass(frozen=True, slots=True)
class PublicDeclaration:
    """Something that the accounting takes as known to everybody, and why it may.

    Attributes:
        what: for example ``"number of examples of each client"``.
        why: for example ``"fixed before any text was read"``.
    """

    what: str
    why: str

    def __post_init__(self) -> None:
        if not self.what or not self.why:
            raise UserError("declaration.what or declaration.why is empty", "a public fact needs its reason")


class Ledger:
    """The releases and declarations of one run, in the order in which they happened.

    Args:
        simulation: True where any randomness came from a stated seed; every statement then says so.
    """

    def __init__(self, simulation: bool = False) -> None:
        self.simulation = simulation
        self._entries: list[Event | PublicDeclaration] = []

    def add(self, entry: Event | PublicDeclaration) -> None:
        """Write one entry down; nothing is ever taken out again."""
        self._entries.append(entry)

    def __iter__(self) -> Iterator[Event | PublicDeclaration]:
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def events(self) -> tuple[Event, ...]:
        """The releases, in order."""
        return tuple(entry for entry in self._entries if isinstance(entry, Event))

    @property
    def declarations(self) -> tuple[PublicDeclaration, ...]:
        """The declarations, in order."""
        return tuple(entry for entry in self._entries if isinstance(entry, PublicDeclaration))

    def to_json(self) -> str:
        """The whole ledger as JSON text."""
        entries: list[dict[str, Any]] = [
            {"entry": "event", **asdict(entry), "parameters": dict(entry.parameters)}
            if isinstance(entry, Event)
            else {"entry": "public", **asdict(entry)}
            for entry in self._entries
        ]
        return json.dumps({"schema": SCHEMA, "simulation": self.simulation, "entries": entries}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Ledger:
        """The inverse of `to_json`; reads schema 1 too, whose events have no relation and no parameters."""
        try:
            data = json.loads(text)
            if data["schema"] not in _READ:
                raise UserError(f"ledger has schema {data['schema']}", f"this program reads schema {SCHEMA}")
            ledger = cls(simulation=bool(data["simulation"]))
            for entry in data["entries"]:
                fields = dict(entry)
                if fields.get("parameters"):
                    fields["parameters"] = tuple(fields["parameters"].items())
                make = {"event": Event, "public": PublicDeclaration}[fields.pop("entry")]
                ledger.add(make(**fields))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                "ledger is not one this program wrote", "use the file of the run as it is"
            ) from error
        return ledger

    def __repr__(self) -> str:
        return f"Ledger({len(self.events)} events, {len(self.declarations)} declarations)"
