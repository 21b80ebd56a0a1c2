"""What is public about a recorded run: the content of ``view.json``.

The invariant: nothing of a client's is in it; whoever took part in the run, or configured it, could write it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from defenses.errors import UserError
from defenses.session import RoundInfo
from defenses.specs import DefenseSpec, defense_spec
from defenses.upload import Layout, UploadKind

SCHEMA = 1


class Computes(StrEnum):
    """What the server can work out from the frames."""

    INDIVIDUAL_UPLOADS = "individual uploads"
    WEIGHTS = "weights"
    MEANS = "means"
    TOTAL_WEIGHTS = "total weights"


@dataclass(frozen=True, slots=True)
class SumFacts:
    """Whose uploads are in one sum that the server worked out; the protocol tells it.

    Attributes:
        round: number of the round.
        kind: what the uploads of the round are.
        clients: whose uploads are in it, ascending.
    """

    round: int
    kind: UploadKind
    clients: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", UploadKind(self.kind))
        object.__setattr__(self, "clients", tuple(sorted(int(client) for client in self.clients)))

    def to_dict(self) -> dict[str, Any]:
        """As it goes into JSON."""
        return {"round": self.round, "kind": str(self.kind), "clients": list(self.clients)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SumFacts:
        """The inverse of `to_dict`."""
        return cls(int(data["round"]), UploadKind(data["kind"]), tuple(data["clients"]))


@dataclass(frozen=True, slots=True)
class ViewFacts:
    """What is public about a run; the content of ``view.json``.

    Attributes:
        backbone: fingerprint of the public model.
        task: hash of the task's template and label words.
        defense: the spec under which the frames were made.
        rounds: what both ends knew of each round, in order.
        layouts: layouts that travel in some direction; those of the rounds are always among them.
        sums: whose uploads are in each computed frame, in the order of those frames; a recording that was made
            before this was written down has none.
    """

    backbone: str
    task: str
    defense: DefenseSpec
    rounds: tuple[RoundInfo, ...] = ()
    layouts: tuple[Layout, ...] = field(default=())
    sums: tuple[SumFacts, ...] = ()

    def __post_init__(self) -> None:
        layouts = tuple(dict.fromkeys((*self.layouts, *(entry.layout for entry in self.rounds))))
        if len({layout.digest for layout in layouts}) != len(layouts):
            raise UserError("two layouts of this run share a digest", "rename an array of one of them")
        object.__setattr__(self, "layouts", layouts)

    @property
    def server_computes(self) -> tuple[Computes, ...]:
        """What the server can work out under the defense."""
        if self.defense.kind == "none":
            return (Computes.INDIVIDUAL_UPLOADS, Computes.WEIGHTS, Computes.MEANS)
        return (Computes.MEANS, Computes.TOTAL_WEIGHTS)

    def layout(self, digest: int) -> Layout | None:
        """The layout that a frame names by its digest, if it is one of the run's."""
        return next((layout for layout in self.layouts if layout.digest == digest), None)

    def to_json(self) -> str:
        """The content of ``view.json``."""
        data: dict[str, Any] = {
            "schema": SCHEMA,
            "backbone": self.backbone,
            "task": self.task,
            "defense": self.defense.model_dump(mode="json"),
            "server_computes": [str(what) for what in self.server_computes],
            "rounds": [entry.to_dict() for entry in self.rounds],
            "layouts": [{"digest": layout.digest, "arrays": layout.to_dict()} for layout in self.layouts],
        }
        if self.sums:
            data["sums"] = [entry.to_dict() for entry in self.sums]
        return json.dumps(data, indent=1)

    @classmethod
    def from_json(cls, text: str) -> ViewFacts:
        """The inverse of `to_json`."""
        try:
            data: dict[str, Any] = json.loads(text)
            if data["schema"] != SCHEMA:
                raise UserError(f"view has schema {data['schema']}", f"this program reads schema {SCHEMA}")
            return cls(
                backbone=str(data["backbone"]),
                task=str(data["task"]),
                defense=defense_spec(data["defense"]),
                rounds=tuple(RoundInfo.from_dict(entry) for entry in data["rounds"]),
                layouts=tuple(Layout.of(entry["arrays"]) for entry in data["layouts"]),
                sums=tuple(SumFacts.from_dict(entry) for entry in data.get("sums", ())),
            )
        except (KeyError, TypeError, ValueError, AttributeError, ValidationError) as error:
            raise UserError(
                "view.json is not one this program wrote", "use the folder as it was recorded"
            ) from error
