"""The pipeline in five lines of Python: load a backbone, give clients lists of (text, label), fit, predict, save.

Everything that a run does happens here too, the frames on the wire included; only the comparisons and the
run's folder are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from defenses.defense import Defense
from defenses.entropy import SecureEntropy
from defenses.ledger import Ledger
from defenses.specs import ClearSpec
from defenses.statement import PrivacyStatement
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, Task
from ifedpriv.embedded import COEFFICIENTS_PATH, MODEL_PATH
from ifedpriv.errors import InputError
from ifedpriv.experiment.facts import task_facts
from ifedpriv.experiment.pool import Clients, client_of
from ifedpriv.experiment.public_start import declared, start_on
from ifedpriv.federation.cohort import Cohort, CohortSpec
from ifedpriv.federation.federation import Federation, RoundRecord
from ifedpriv.icl.guard import GuardVerdict
from ifedpriv.icl.injection import Injection
from ifedpriv.icl.predict import predict_labels
from ifedpriv.icl.prompts import Position
from ifedpriv.icl.public_coefficients import PublicCoefficients
from ifedpriv.methods.ifed_icl import IfedIcl
from ifedpriv.methods.specs import CalibrationSpec, IfedIclSpec


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A finished federation.

    Attributes:
        backbone: the frozen model.
        task: the task's wording.
        injection: what was learned.
        statement: what its making revealed, and to whom.
        verdict: whether it beats the bare model on held-out examples; None without any.
        rounds: what happened in each round.
    """

    backbone: Backbone
    task: Task
    injection: Injection
    statement: PrivacyStatement
    verdict: GuardVerdict | None
    rounds: tuple[RoundRecord, ...]

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The label word for each text, with the injection."""
        chosen = predict_labels(self.backbone, self.task, texts, injection=self.injection)
        return [self.task.label_words[int(i)] for i in chosen]

    def save(self, path: str | Path) -> None:
        """Write the injection, with its privacy statement, as safetensors."""
        self.injection.save(Path(path))


class IFedICL:
    """IFed-ICL over clients in this process.

    Args:
        backbone: a `Backbone`, a directory or hub name, or ``"embedded"``.
        template: text around the input, with ``{text}`` once; ends where the answer begins.
        labels: the label words, in index order.
        separator: what ends a demonstration.
        rounds: rounds of calibration.
        held_out: share of each client's examples kept for the guard; none with public coefficients, whose guard asks
            public tasks.
        coefficients: None to calibrate them in rounds, as the paper does; or public ones, which stay as they are, so
            that the vector is all that leaves a client: ``"shipped"`` with the embedded model, or a file that
            `ifedpriv coefficients` wrote.
        public_texts: texts that are nobody's, without labels, of the clients' sort; by them the set of public
            coefficients is chosen. With the shipped ones, the writer of the shipped tasks gives some where none are
            given.
        seed: fixes which examples are drawn; never the randomness of a defense.
    """

    def __init__(
        self,
        backbone: Backbone | str | Path = "embedded",
        *,
        template: str,
        labels: Sequence[str],
        separator: str = "\n",
        rounds: int = 10,
        held_out: float = 0.2,
        coefficients: str | Path | None = None,
        public_texts: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        if not isinstance(backbone, Backbone):
            backbone = Backbone.load(MODEL_PATH if str(backbone) == "embedded" else backbone)
        self.backbone = backbone
        self.task = Task("api", template, tuple(labels), separator=separator)
        self.seed = seed
        self.start = None
        self.held_out = held_out
        if coefficients is None:
            if public_texts:
                raise InputError(
                    "public_texts are given, and coefficients are calibrated in rounds", "leave them out"
                )
            self.spec = IfedIclSpec(calibration=CalibrationSpec(rounds=rounds), guard=held_out > 0)
            return
        self.held_out = 0.0
        self.spec = IfedIclSpec(coefficients="public")
        shipped = str(coefficients) == "shipped"
        public = PublicCoefficients.load(COEFFICIENTS_PATH if shipped else Path(coefficients))
        public.check(backbone, self.task, Position(self.spec.position))
        self.start = start_on(public, backbone, self.task, self.spec, public_texts, written=shipped)

    def fit(
        self,
        clients: Sequence[Sequence[tuple[str, str]]],
        on_round: Callable[[RoundRecord], None] = lambda _: None,
    ) -> Fitted:
        """Run the federation.

        Args:
            clients: for each client, its (text, label word) pairs.
            on_round: called after each round.
        """
        method = IfedIcl(self.spec, self.backbone, self.task, public=self.start)
        held = tuple(
            client_of(number, self._examples(number, pairs), "all", self.held_out)
            for number, pairs in enumerate(clients)
        )
        ledger = Ledger()
        for declaration in declared(self.start):
            ledger.add(declaration)
        federation = Federation(
            method,
            Defense.from_spec(ClearSpec()),
            Clients(held, method.takes_part),
            Cohort(CohortSpec(), self.seed),
            entropy=SecureEntropy(),
            ledger=ledger,
            seed=self.seed,
        )
        state, records = method.initial_state(), []
        while state.round < method.rounds:
            state, record = federation.play_round(state)
            records.append(record)
            on_round(record)
        statement = federation.defense.statement(ledger)
        injection = method.artifact(state, {**task_facts(self.task), **statement.to_metadata()})
        return Fitted(self.backbone, self.task, injection, statement, method.verdict(state), tuple(records))

    def _examples(self, client: int, pairs: Sequence[tuple[str, str]]) -> tuple[Example, ...]:
        if not pairs:
            raise InputError(f"client {client} has no example", "leave it out, or give it at least one")
        words = {word: index for index, word in enumerate(self.task.label_words)}
        for row, (text, label) in enumerate(pairs):
            if label not in words:
                raise InputError(
                    f"client {client}, row {row}: the label is {label!r}", f"use one of {', '.join(words)}"
                )
            if not text.strip():
                raise InputError(f"client {client}, row {row}: the text is empty", "leave the row out")
        return tuple(Example(text, words[label]) for text, label in pairs)
