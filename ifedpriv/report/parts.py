"""The parts of a report: results, rounds, facts, privacy, each a record that checks itself.

The one invariant: scores are fractions from 0 to 1, bytes are whole bytes, times are seconds, everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ifedpriv.report.measure_records import FairnessRecord, NumberError
from ifedpriv.report.records import FieldError, Record

# Keys of the rows that a standard run has, in the order in which they are shown.
ZERO_SHOT = "zero_shot"
LOCAL_ICL = "local_icl"
LOCAL_INJECTION = "local_injection"
GLOBAL_INJECTION = "global_injection"
# A LoRA run has these in place of the injections.
LOCAL_LORA = "local_lora"
GLOBAL_LORA = "global_lora"
# And a run of soft prompts these.
LOCAL_PROMPT = "local_prompt"
META_PROMPT = "meta_prompt"
PROTOTYPE_PROMPT = "prototype_prompt"
# And a run of clustered injections this one.
PROTOTYPE_INJECTION = "prototype_injection"
MAIN_ROWS = (GLOBAL_INJECTION, GLOBAL_LORA, PROTOTYPE_PROMPT, PROTOTYPE_INJECTION)
STANDARD_ROWS = (ZERO_SHOT, LOCAL_ICL, LOCAL_INJECTION, GLOBAL_INJECTION)
# Beside an injection: the same calibration with another vector in place of the clients'.
ZERO_VECTOR = "zero_vector"
RANDOM_VECTOR = "random_vector"
PUBLIC_MEAN = "public_mean"
OTHER_TASK = "other_task"
CONTROL_ROWS = (ZERO_VECTOR, RANDOM_VECTOR, PUBLIC_MEAN, OTHER_TASK)

CLASSIFICATION = "classification"
GENERATION = "generation"

LAST_ROUNDS = 5
PEAK_REMARK = "the peak is chosen on test data; it is there only for comparison with papers that report it"


def require(fine: bool, field: str, problem: str, hint: str = "") -> None:
    """Raise a `FieldError` unless ``fine``."""
    if not fine:
        raise FieldError(field, problem, hint)


def _not_negative(record: Record, *names: str) -> None:
    for name in names:
        value = getattr(record, name)
        require(value is None or value >= 0, name, f"is {value}, below 0")


@dataclass(frozen=True, slots=True)
class Figure(Record):
    """A score with its confidence interval.

    Attributes:
        value: the score, 0 to 1.
        low: lower end of the interval.
        high: upper end of the interval.
        level: the coverage the interval aims at, such as 0.95.
        method: how the interval was made.
        n: how many test texts stand behind it.
    """

    value: float
    low: float
    high: float
    level: float
    method: str
    n: int

    def check(self) -> None:
        """Ranges."""
        require(0 <= self.value <= 1, "value", f"is {self.value}, outside 0 to 1", "scores are fractions")
        require(self.low <= self.high, "low", f"is {self.low}, above high, which is {self.high}")
        require(0 < self.level < 1, "level", f"is {self.level}, outside 0 to 1")
        require(self.n >= 1, "n", f"is {self.n}, below 1")


@dataclass(frozen=True, slots=True)
class Traffic(Record):
    """Bytes: the numbers alone (payload), and everything that crosses the network (wire)."""

    payload: int
    wire: int

    def check(self) -> None:
        """Ranges."""
        _not_negative(self, "payload", "wire")


@dataclass(frozen=True, slots=True)
class Row(Record):
    """One method's line in the table of results.

    Attributes:
        key: what programs know it by, such as ``zero_shot``.
        name: what readers know it by.
        figures: the scores, by metric name (``accuracy``, ``macro_f1``, ``exact_match``, ``rouge_l``, ``bleu``).
        up_bytes_per_client: what one client sends in the whole run, mean over clients; None where unknown.
        down_bytes_per_client: what one client receives in the whole run, mean over clients.
        client_seconds: one client's computing time in the whole run, mean over clients.
        inference_tokens_per_query: length of the prompt that a query pays for, mean over queries.
        notes: what a reader has to know about this line; may be empty.
        numbers: the error of answers that are numbers; None for other tasks.
        fairness: how unequally the clients are served; None where the answers say nothing about single clients.
    """

    key: str
    name: str
    figures: Mapping[str, Figure]
    up_bytes_per_client: Traffic | None
    down_bytes_per_client: Traffic | None
    client_seconds: float | None
    inference_tokens_per_query: float | None
    notes: str
    numbers: NumberError | None = None
    fairness: FairnessRecord | None = None

    def check(self) -> None:
        """Ranges."""
        plain = self.key.replace("_", "").isalnum() and self.key.isascii() and self.key == self.key.lower()
        require(plain, "key", f"is {self.key[:60]!r}", "use lower-case letters, digits and underscores")
        _not_negative(self, "client_seconds", "inference_tokens_per_query")


@dataclass(frozen=True, slots=True)
class RoundRecord(Record):
    """One round; also a line of ``rounds.jsonl``. Scores are of the report's primary metric.

    Attributes:
        round: its number, from 0.
        loss: mean training loss over clients; None where nothing was trained.
        validation: score on the task's validation texts, which no client holds; None where no target was set.
        test: score on test data, for the eye only: nothing may be chosen by it; None where not measured.
        up_bytes: from all clients to the server in this round.
        down_bytes: from the server to all clients in this round.
        seconds: how long the round took.
        took_part: names of the clients that are in the aggregate.
        dropped: names of the clients that failed and are not; one that failed late is in the aggregate.
        epsilon: privacy spent up to and with this round; None where there is no bound.
        queries: forward passes of one example that all clients asked of the model; None where nobody counts them.
        server_queries: likewise the server.
    """

    OPTIONAL: ClassVar[tuple[str, ...]] = ("queries", "server_queries")

    round: int
    loss: float | None
    validation: Figure | None
    test: Figure | None
    up_bytes: Traffic
    down_bytes: Traffic
    seconds: float
    took_part: tuple[str, ...]
    dropped: tuple[str, ...]
    epsilon: float | None
    queries: int | None = None
    server_queries: int | None = None

    def check(self) -> None:
        """Ranges, and nobody in two places."""
        _not_negative(self, "round", "seconds", "epsilon", "queries", "server_queries")
        both = sorted(set(self.took_part) & set(self.dropped))
        require(not both, "dropped", f"names {both[:3]}, who also took part")


@dataclass(frozen=True, slots=True)
class RoundSummary(Record):
    """The test scores of all rounds, three ways. A result is the last one; the peak is no result.

    Attributes:
        last: score of the last round that has one.
        last_five_mean: mean over the last five rounds that have one, or over all if there are fewer.
        peak: the highest score of any round.
        peak_round: the first round that has it.
        remark: what the peak is and is not; goes wherever the peak goes.
    """

    last: float
    last_five_mean: float
    peak: float
    peak_round: int
    remark: str = PEAK_REMARK

    @classmethod
    def of(cls, rounds: Sequence[RoundRecord]) -> RoundSummary | None:
        """The summary of these rounds, or None where no round was tested."""
        scored = [(record.test.value, record.round) for record in rounds if record.test is not None]
        if not scored:
            return None
        values = [value for value, _ in scored]
        tail = values[-LAST_ROUNDS:]
        peak = max(values)
        return cls(values[-1], math.fsum(tail) / len(tail), peak, scored[values.index(peak)][1])


@dataclass(frozen=True, slots=True)
class BackboneFacts(Record):
    """The frozen model: its name, its family, its shape, and a fingerprint of its weights."""

    name: str
    family: str
    layers: int
    width: int
    fingerprint: str

    def check(self) -> None:
        """Ranges."""
        require(self.layers >= 1, "layers", f"is {self.layers}, below 1")
        require(self.width >= 1, "width", f"is {self.width}, below 1")


@dataclass(frozen=True, slots=True)
class Holdings(Record):
    """Who holds what. Known in a simulation; None in the report of a deployment, where it is private.

    Attributes:
        clients: their names.
        groups: each client's group; all equal where there are no groups.
        classes: what the columns count: label words, or one column ``examples`` for generation.
        counts: examples, [clients][classes].
    """

    clients: tuple[str, ...]
    groups: tuple[str, ...]
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    def check(self) -> None:
        """The shape, and that nothing is negative."""
        require(bool(self.clients), "clients", "is empty")
        require(bool(self.classes), "classes", "is empty")
        require(
            len(set(self.clients)) == len(self.clients),
            "clients",
            "repeats a name",
            "give each client its own",
        )
        for name in ("groups", "counts"):
            length = len(getattr(self, name))
            require(
                length == len(self.clients), name, f"has {length} entries for {len(self.clients)} clients"
            )
        for index, row in enumerate(self.counts):
            field = f"counts[{index}]"
            require(len(row) == len(self.classes), field, f"has {len(row)} entries, not {len(self.classes)}")
            require(all(count >= 0 for count in row), field, "holds a number below 0")


@dataclass(frozen=True, slots=True)
class TaskFacts(Record):
    """The task: its name, its kind, its label words (none for generation), and who holds what."""

    name: str
    kind: str
    label_words: tuple[str, ...]
    test_size: int
    holdings: Holdings | None

    def check(self) -> None:
        """The kind is one we know."""
        kinds = (CLASSIFICATION, GENERATION)
        require(self.kind in kinds, "kind", f"is {self.kind[:60]!r}, not one of {', '.join(kinds)}")
        _not_negative(self, "test_size")


Grid = tuple[tuple[tuple[float, ...], ...], ...]


@dataclass(frozen=True, slots=True)
class CoefficientRecord(Record):
    """Coefficients before and after, each [layers][2][2].

    The middle axis is attention, MLP; the last is lambda (strength of the vector), beta (of the activation).
    """

    initial: Grid
    final: Grid

    def check(self) -> None:
        """The shape."""
        for name in ("initial", "final"):
            grid: Grid = getattr(self, name)
            for layer, sites in enumerate(grid):
                fine = len(sites) == 2 and all(len(pair) == 2 for pair in sites)
                require(fine, f"{name}[{layer}]", "is not of shape 2 x 2")
        same = len(self.initial) == len(self.final)
        require(same, "final", f"has {len(self.final)} layers, initial has {len(self.initial)}")


@dataclass(frozen=True, slots=True)
class PrivacyRecord(Record):
    """The privacy statement, for readers and for programs.

    Attributes:
        text: the statement as a paragraph.
        statement: the statement as JSON; holds at least ``epsilon``, ``delta`` (null where there is no bound)
            and ``simulation``.
    """

    text: str
    statement: Mapping[str, object]

    def check(self) -> None:
        """The three entries that decide how the statement is shown."""
        require(bool(self.text.strip()), "text", "is empty", "a report says what it promises")
        for name in ("epsilon", "delta", "simulation"):
            require(name in self.statement, f"statement.{name}", "is missing")
        for name in ("epsilon", "delta"):
            value = self.statement[name]
            fine = value is None or (
                isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
            )
            require(fine, f"statement.{name}", "is neither null nor a number that is not below 0")
        whole = (self.statement["epsilon"] is None) == (self.statement["delta"] is None)
        require(whole, "statement", "has half a bound", "give epsilon and delta, or null for both")
        require(
            isinstance(self.statement["simulation"], bool), "statement.simulation", "is not true or false"
        )

    @property
    def epsilon(self) -> float | None:
        """The bound, or None where there is none."""
        return self._number("epsilon")

    @property
    def delta(self) -> float | None:
        """The bound's failure probability, or None where there is no bound."""
        return self._number("delta")

    @property
    def simulation(self) -> bool:
        """True where randomness came from a stated seed: then nobody is protected."""
        return bool(self.statement["simulation"])

    def _number(self, name: str) -> float | None:
        value = self.statement[name]
        return float(value) if isinstance(value, int | float) else None


@dataclass(frozen=True, slots=True)
class GuardVerdict(Record):
    """Whether the injection beat doing nothing, on held-out examples of the clients.

    Attributes:
        accepted: True where it may be shipped as an improvement.
        injection: its score.
        zero_shot: the score without it.
        n: how many held-out examples were asked.
        text: the verdict in a sentence.
    """

    accepted: bool
    injection: float
    zero_shot: float
    n: int
    text: str


@dataclass(frozen=True, slots=True)
class Totals(Record):
    """Sums: clients, rounds, bytes of all clients together, seconds of computing and on the clock."""

    clients: int
    rounds: int
    up_bytes: Traffic
    down_bytes: Traffic
    client_seconds: float
    seconds: float

    def check(self) -> None:
        """Ranges."""
        _not_negative(self, "clients", "rounds", "client_seconds", "seconds")
