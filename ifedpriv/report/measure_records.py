"""What a report says beside its scores: errors in numbers, fairness, membership, traffic a round, the way to a target.

The one invariant: a measure is there whole, or it is not there and the reason is; a value that means little by itself
(a parity difference, a success rate) stands beside the value that it has to be compared with.
"""

from __future__ import annotations

from dataclasses import dataclass

from ifedpriv.report.records import FieldError, Record


def _share(record: Record, *names: str) -> None:
    for name in names:
        value = getattr(record, name)
        if value is not None and not 0 <= value <= 1:
            raise FieldError(name, f"is {value}, outside 0 to 1")


def _not_negative(record: Record, *names: str) -> None:
    for name in names:
        value = getattr(record, name)
        if value is not None and value < 0:
            raise FieldError(name, f"is {value}, below 0")


@dataclass(frozen=True, slots=True)
class NumberError(Record):
    """The root mean squared error of answers that are numbers; 0 is best, and the unit is the answers' own.

    Attributes:
        rmse: over all answers, none left out.
        low, high: its interval.
        level: the coverage the interval aims at.
        method: how the interval was made.
        n: how many answers stand behind it.
        unread: answers that were no number; each counted with the largest error that the declared range allows.
        outside: answers beyond the declared range; each counted as the end that it lies behind.
    """

    rmse: float
    low: float
    high: float
    level: float
    method: str
    n: int
    unread: int
    outside: int

    def check(self) -> None:
        """Ranges."""
        _not_negative(self, "rmse", "low", "n", "unread", "outside")
        if not self.low <= self.rmse <= self.high:
            raise FieldError("rmse", f"is {self.rmse}, outside of its interval")
        if self.unread + self.outside > self.n:
            raise FieldError("unread", f"and outside are more than n, which is {self.n}")


@dataclass(frozen=True, slots=True)
class FairnessRecord(Record):
    """How unequally one method serves the clients, by the primary metric.

    A client's score is that of its group's test texts, weighted to the client's own mix of classes.

    Attributes:
        clients: how many.
        mean, worst, best: over the clients' scores.
        bottom_decile: mean of the lowest tenth of them.
        std, variance: over the clients.
        parity: demographic parity difference: the largest gap in how often one class is answered; None for generation.
        parity_perfect: the same of perfect answers: where clients hold different classes, fairness is not 0.
        parity_over: whose answers are compared: ``groups`` of clients, or ``clients`` where there is one group.
        odds: the largest gap between groups in P(answer | true class), which is 0 for perfect answers; None where there
            is one group.
    """

    clients: int
    mean: float
    worst: float
    best: float
    bottom_decile: float
    std: float
    variance: float
    parity: float | None
    parity_perfect: float | None
    parity_over: str
    odds: float | None

    def check(self) -> None:
        """Ranges, and that both parities are there or neither."""
        _share(self, "mean", "worst", "best", "bottom_decile", "std", "variance")
        _share(self, "parity", "parity_perfect", "odds")
        if (self.parity is None) != (self.parity_perfect is None):
            raise FieldError("parity", "is told without what perfect answers have")
        if self.parity_over not in ("groups", "clients"):
            raise FieldError("parity_over", f"is {self.parity_over[:60]!r}, not groups or clients")


@dataclass(frozen=True, slots=True)
class Estimate(Record):
    """A number with its interval; unlike a score it may lie below 0."""

    value: float
    low: float
    high: float
    level: float
    method: str

    def check(self) -> None:
        """The order."""
        if not self.low - 1e-9 <= self.value <= self.high + 1e-9:
            raise FieldError("value", f"is {self.value}, outside of its interval")
        if not 0 < self.level < 1:
            raise FieldError("level", f"is {self.level}, outside 0 to 1")


@dataclass(frozen=True, slots=True)
class MembershipRecord(Record):
    """Yeom's loss threshold attack on the final artifact. It reads private data: a simulation's measurement.

    Attributes:
        measured: False where it was switched off or could not be done; then only ``why`` is there.
        why: why it was not measured; empty where it was.
        members: training examples of clients that it was judged on.
        others: test examples of the same groups and classes that it was judged on.
        shadow: examples of both kinds, others than these, that the threshold was chosen on.
        threshold: mean cross-entropy of an answer up to which an example is called a member.
        advantage: true positive rate less false positive rate: 0 for guessing, 1 for certainty.
        true_rate, false_rate: the two rates.
        auc: chance that a member has the lower loss.
        true_rate_at_1_percent: true positive rate with at most 1% false positives.
    """

    measured: bool
    why: str
    members: int = 0
    others: int = 0
    shadow: int = 0
    threshold: float | None = None
    advantage: Estimate | None = None
    true_rate: Estimate | None = None
    false_rate: Estimate | None = None
    auc: Estimate | None = None
    true_rate_at_1_percent: Estimate | None = None

    def check(self) -> None:
        """Everything, or nothing and why."""
        rates = (self.advantage, self.true_rate, self.false_rate, self.auc, self.true_rate_at_1_percent)
        found = (self.threshold, *rates)
        missing = sum(each is None for each in found)
        if missing != (0 if self.measured else len(found)):
            raise FieldError("measured", "does not fit what is there", "give all figures, or none")
        if self.measured == bool(self.why.strip()):
            raise FieldError("why", "says why nothing was measured, and only then")
        _not_negative(self, "members", "others", "shadow")


@dataclass(frozen=True, slots=True)
class PerRound(Record):
    """Measured traffic of a round in MB (10^6 bytes), whole frames, mean over the rounds.

    What is agreed on before round 0 (the configuration, the model, and keys that a defense enrols) crosses no wire of a
    run and is in no figure.

    Attributes:
        rounds: how many.
        up_mb, down_mb: of one client that was asked, mean over rounds and clients.
        all_up_mb, all_down_mb: of all clients together, mean over rounds.
        most_up_mb: of all clients together, in the round that sent most.
        helpers_mb: between the server and parties that are no clients, mean over rounds.
        queries: sequences that one client put through the model, mean over rounds and clients; None where not counted.
    """

    rounds: int
    up_mb: float
    down_mb: float
    all_up_mb: float
    all_down_mb: float
    most_up_mb: float
    helpers_mb: float
    queries: float | None

    def check(self) -> None:
        """Ranges."""
        _not_negative(self, "rounds", "up_mb", "down_mb", "all_up_mb", "all_down_mb", "most_up_mb")
        _not_negative(self, "helpers_mb", "queries")


@dataclass(frozen=True, slots=True)
class TargetRecord(Record):
    """When the median of three validation scores reached the target that the configuration fixed.

    Attributes:
        target: of the primary metric.
        reached: False where the run ended before: then the figures are those of its end, and the truth lies beyond.
        rounds: rounds played until then.
        up_mb, down_mb: bytes of all clients together until then, in 10^6.
        queries: sequences that all clients together put through the model until then; None where not counted.
        scored: how many rounds were scored.
        last: the last validation score; None where no round was scored.
    """

    target: float
    reached: bool
    rounds: int
    up_mb: float
    down_mb: float
    queries: int | None
    scored: int
    last: float | None

    def check(self) -> None:
        """Ranges."""
        _share(self, "target", "last")
        _not_negative(self, "rounds", "up_mb", "down_mb", "queries", "scored")
