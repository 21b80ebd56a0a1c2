"""What an attack is given and what it must give back: knowledge in, guesses out, and no truth anywhere.

The invariant: nothing in this file can hold what a client's examples are, except as a guess about them. Whether a
guess is right is somebody else's matter (`attacks._judging.score`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np

from attacks._base.declared import Declared
from attacks._base.defaults import SHADOWS
from attacks._base.shelf import Shelf
from attacks._base.sites import Sites
from defenses.upload import UploadKind
from defenses.view import ServerView
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, Task
from ifedpriv.icl.calibrate import CalibrationPlan
from ifedpriv.icl.injection import Injection
from ifedpriv.icl.prompts import Position


class Capability(StrEnum):
    """What an attacker may need beside the recording and the public model."""

    UPLOADS = "individual uploads"
    AGGREGATE = "the aggregate"
    PUBLIC_TEXTS = "public texts"
    LABELLED_PUBLIC_TEXTS = "labelled public texts"
    POOL = "a pool of candidates"
    CLASSES = "label words"
    OTHERS = "knowledge of all other examples"
    COLLUDERS = "uploads of colluding clients"


class Scope(StrEnum):
    """What is attacked: each client's own upload, or only what all uploads add up to."""

    UPLOADS = "single uploads"
    AGGREGATE = "the aggregate"

    @property
    def capability(self) -> Capability:
        """What an attacker needs who reads it."""
        return Capability.UPLOADS if self is Scope.UPLOADS else Capability.AGGREGATE


Progress = Callable[[str, int, int], None]
"""Told of what is being done, how much of it is done, and how much there is."""


def silent(stage: str, done: int, total: int) -> None:
    """A `Progress` that shows nothing."""


@dataclass(frozen=True, slots=True)
class Who:
    """Whose examples a guess is about.

    Attributes:
        client: number of the client; None for all clients together.
        label: class of the examples, where the upload held one vector a class; None for all classes.
    """

    client: int | None
    label: int | None = None

    def __str__(self) -> str:
        whose = "all clients" if self.client is None else f"client {self.client}"
        return whose if self.label is None else f"{whose}, class {self.label}"


@dataclass(frozen=True, slots=True, repr=False)
class Others:
    """All examples behind one vector but one, as the strongest adversary of differential privacy knows them.

    Attributes:
        examples: the known ones.
        weights: what each counts in the vector.
        left: what the one that is not known counts.
    """

    examples: tuple[Example, ...]
    weights: tuple[float, ...]
    left: float

    def __repr__(self) -> str:
        return f"Others(<{len(self.examples)} examples>)"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Knowledge:
    """What an attacker knows beside the recording: the public agreement, and data that is no client's.

    Attributes:
        task: template, label words and separator, which every client was sent.
        position: the token that stands for a demonstration, likewise agreed on.
        public: texts of the same kind that no client holds, with labels where ``labelled``.
        labelled: whether the public texts carry labels in the task's sense.
        pool: candidates among which members are looked for; empty for none.
        provenance: where the public texts come from, in words.
        declared: clip and noise, which are no secret.
        others: all examples but one of some vectors; empty but for the strongest adversary.
        colluding: clients who have told their uploads and examples; what is attacked holds neither any more.
        worded: whether the label words are known, without which no demonstration reads as a client's does.
        cannot: why the attacker that was asked for cannot be played, as half a sentence; empty if it can.
        plans: how clients calibrate in each round of coefficients, which they were told; empty where nobody says.
        artifact: the finished injection, which everybody is given; None where there is none.
        shadows: how many vectors or calibrations of its own an attack compares with.
        sites: the layers and branches that are read.
        batch_size: demonstrations per forward pass.
        seed: of every random choice an attack makes.
        methods: names of those to run; empty for an attack's default.
        shelf: where what is trained may be kept; None for the length of the process alone.
        progress: told of progress.
    """

    task: Task
    position: Position
    public: tuple[Example, ...] = ()
    labelled: bool = True
    pool: tuple[Example, ...] = ()
    provenance: str = "none"
    declared: Declared = field(default_factory=Declared)
    others: Mapping[Who, Others] = field(default_factory=dict)
    colluding: tuple[int, ...] = ()
    worded: bool = True
    cannot: str = ""
    plans: Mapping[int, CalibrationPlan] = field(default_factory=dict)
    artifact: Injection | None = None
    shadows: int = SHADOWS
    sites: Sites = field(default_factory=Sites)
    batch_size: int = 64
    seed: int = 0
    methods: tuple[str, ...] = ()
    shelf: Shelf | None = None
    progress: Progress = silent

    def __repr__(self) -> str:
        """Show sizes, never texts."""
        return f"Knowledge({self.task.name}, {len(self.public)} public texts, {len(self.pool)} candidates)"

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What of an attack's needs this knowledge meets; what the recording shows is checked apart."""
        held = {
            Capability.PUBLIC_TEXTS: bool(self.public),
            Capability.LABELLED_PUBLIC_TEXTS: bool(self.public) and self.labelled,
            Capability.POOL: bool(self.pool),
            Capability.CLASSES: self.task.n_classes > 0 and self.worded,
            Capability.OTHERS: bool(self.others),
            Capability.COLLUDERS: bool(self.colluding),
        }
        return frozenset(capability for capability, has in held.items() if has)

    def lacks(self, needs: Sequence[Capability]) -> str | None:
        """Why an attack with these needs cannot be run, as half a sentence; None if it can."""
        if self.cannot:
            return self.cannot
        wanted = [*needs]
        if not self.worded and self.position is not Position.PROMPT_END and Capability.CLASSES not in needs:
            # A demonstration is read behind its label word, and nobody can write that who does not know it.
            wanted.append(Capability.CLASSES)
        missing = [
            str(need).removeprefix("a ").removeprefix("the ")
            for need in wanted
            if need not in self.capabilities
        ]
        return f"the attacker has no {' and no '.join(missing)}" if missing else None


@dataclass(frozen=True, slots=True, repr=False)
class Bag:
    """Guessed words.

    Attributes:
        ranked: token ids, likeliest first.
        chosen: how many of the first the attack would bet on.
    """

    ranked: tuple[int, ...]
    chosen: int

    def __repr__(self) -> str:
        return f"Bag(<{self.chosen} of {len(self.ranked)} tokens>)"


@dataclass(frozen=True, slots=True, repr=False)
class Members:
    """Guessed members of the pool.

    Attributes:
        ranked: indices into the pool, likeliest first; all that got any weight.
        chosen: how many of the first the attack would bet on.
        certain: whether what they add up to differs from the vector by no more than rounding does.
        metric: the metric in which they were found.
    """

    ranked: tuple[int, ...]
    chosen: int
    certain: bool
    metric: str

    def __repr__(self) -> str:
        return f"Members(<{self.chosen} of {len(self.ranked)} candidates>, certain={self.certain})"


@dataclass(frozen=True, slots=True, repr=False)
class Texts:
    """Guessed texts, as the tokens between the template's.

    Attributes:
        texts: one token sequence for each guessed example.
        certain: whether what they add up to differs from the vector by no more than rounding does.
        labels: guessed class of each text, where it is guessed; else empty.
    """

    texts: tuple[tuple[int, ...], ...]
    certain: bool
    labels: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return f"Texts(<{len(self.texts)} texts>, certain={self.certain})"


@dataclass(frozen=True, slots=True, repr=False)
class Histogram:
    """Guessed label mix.

    Attributes:
        shares: of each class, in index order; they sum to 1.
        examples: how many examples the attack takes the vector to stand for.
    """

    shares: tuple[float, ...]
    examples: int

    def __repr__(self) -> str:
        return f"Histogram(<{len(self.shares)} classes>)"


@dataclass(frozen=True, slots=True, repr=False)
class Attribute:
    """Guessed mix of an attribute's values.

    Attributes:
        name: of the attribute.
        values: all that public texts have, in order.
        shares: of each; they sum to 1.
    """

    name: str
    values: tuple[str, ...]
    shares: tuple[float, ...]

    @property
    def likeliest(self) -> str:
        """The value with the largest share."""
        return self.values[int(np.argmax(self.shares))]

    def __repr__(self) -> str:
        return f"Attribute({self.name}, <{len(self.values)} values>)"


@dataclass(frozen=True, slots=True, repr=False)
class Scores:
    """How likely each candidate is a member.

    Attributes:
        values: one for each of the pool, larger for members; NaN where the attacker knows the answer already.
    """

    values: tuple[float, ...]

    def __repr__(self) -> str:
        return f"Scores(<{len(self.values)} candidates>)"


@dataclass(frozen=True, slots=True, repr=False)
class Source:
    """Which candidates, if they are anybody's, are taken to be this client's.

    Attributes:
        claimed: indices into the pool.
        clients: among how many clients.
    """

    claimed: frozenset[int]
    clients: int

    def __repr__(self) -> str:
        return f"Source(<{len(self.claimed)} candidates>)"


@dataclass(frozen=True, slots=True)
class Links:
    """Whose uploads a client's uploads are taken to go on with, one for each pair of rounds that is linked.

    Attributes:
        named: numbers of clients, under which the truth knows the linked uploads.
        clients: among how many.
    """

    named: tuple[int, ...]
    clients: int


@dataclass(frozen=True, slots=True, repr=False)
class Fillers:
    """Guessed private strings, by the slot that each fills.

    Attributes:
        slots: what each slot is, such as the first of several names.
        ranked: of each slot, what may fill it, likeliest first; never empty.
        chosen: of each slot, how many of the first the attack would bet on.
    """

    slots: tuple[str, ...]
    ranked: tuple[tuple[str, ...], ...]
    chosen: tuple[int, ...]

    @property
    def said(self) -> frozenset[str]:
        """All strings that are bet on."""
        return frozenset(
            each for row, number in zip(self.ranked, self.chosen, strict=True) for each in row[:number]
        )

    def __repr__(self) -> str:
        return f"Fillers(<{len(self.slots)} slots>)"


Content = Bag | Members | Texts | Fillers | Histogram | Attribute | Scores | Source | Links


@dataclass(frozen=True, slots=True)
class Answer:
    """What is guessed about one vector.

    Attributes:
        who: whose vector it is.
        content: the guess.
        forwards: sequences that were run through the model for this vector alone.
    """

    who: Who
    content: Content
    forwards: int = 0


@dataclass(frozen=True, slots=True)
class Guess:
    """What one method makes of all vectors of one scope.

    Attributes:
        attack: name of the attack.
        method: name of the method within it.
        scope: single uploads or the aggregate.
        answers: one for each vector; empty if it could not be run.
        refused: why it could not be run; empty if it was.
        seconds: wall time.
        facts: what the method says of itself beside its answers, such as how its training ended.
    """

    attack: str
    method: str
    scope: Scope
    answers: tuple[Answer, ...]
    refused: str = ""
    seconds: float = 0.0
    facts: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if bool(self.answers) == bool(self.refused):
            raise ValueError("a guess has answers, or says why it has none")


class Attack(Protocol):
    """What a module in `attacks.ATTACKS` offers."""

    NAME: str

    def guess(self, view: ServerView, backbone: Backbone, knowledge: Knowledge) -> tuple[Guess, ...]:
        """One guess for each method and scope."""
        ...


def reads_of(module: Attack) -> UploadKind | None:
    """What kind of upload an attack reads, which is vectors unless its ``READS`` says otherwise; None for none."""
    reads: UploadKind | None = getattr(module, "READS", UploadKind.VECTOR)
    return reads
