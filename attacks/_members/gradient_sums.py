"""Was this text in rounds that release noised sums of examples' gradients? Likelihood ratios over all rounds together.

The invariant: everything but the sums is public: what was broadcast, how each gradient is bounded, the chance with
which an example is sampled, and the noise.

The model: in each round every example is sampled by itself with chance q, its gradient at the broadcast coefficients is
clipped, and the sum over those sampled gets Gaussian noise. Without candidate t, n examples are like public ones, so
the sum has the mean nqm and the covariance nq(C + (1 - q)mm') + R, with m and C of public texts' gradients and R of
noise and rounding. With it, n - 1 are, and with chance q the candidate's own gradient comes to them. The score is the
logarithm of the ratio of these densities, added up over rounds: noise and samples are drawn anew in each.

References:
    Azize & Basu, arXiv 2402.10065 (the ratio for a mean of known covariance, and for sub-sampled rows); Abadi et al.,
    arXiv 1607.00133, Algorithm 1, for what is released.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np

from attacks._base.attack import Who
from attacks._base.noised_sum import NoisedSum
from attacks._base.targets import Floats, check_model
from attacks._members.calibrations import (
    Recorded,
    Round,
    broadcast_vector,
    joined,
    spread_over,
    starts_of,
)
from defenses.frame import SERVER
from defenses.upload import UploadKind
from defenses.view import ServerView
from defenses.view_facts import Computes
from ifedpriv.backbone.backbone import Backbone


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class GradientSum:
    """What one round says of one client, or of all.

    Attributes:
        total: the noised sum, ``[4 layers]``.
        weight: how many examples it says to be over, with noise.
    """

    total: Floats
    weight: float

    def __repr__(self) -> str:
        """Show size, never content."""
        return f"GradientSum({self.total.shape})"


Sums = Mapping[int, GradientSum]
"""Of one client, or of all, by number of the round."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class GradientRounds:
    """All rounds of a recording that release sums of gradients.

    Attributes:
        points: rounds, spread over all, at whose broadcast coefficients gradients are computed.
        told: how each round bounds and noises, by number.
        singles: by client and number, where single uploads are read.
        together: by number, where sums over all are.
        refused: why there are none; empty if there are some.
    """

    points: Recorded
    told: Mapping[int, NoisedSum]
    singles: Mapping[int, Sums]
    together: Sums
    refused: str = ""

    def __repr__(self) -> str:
        """Show sizes, never content."""
        return f"GradientRounds({len(self.told)} rounds, {len(self.singles)} clients)"

    def at(self, found: Floats, number: int) -> Floats:
        """Texts' gradients in a round, as it bounds them, of those at the points ``[points, n, 4 layers]``.

        Coefficients move little from round to round, so between two points a gradient is taken to move in a line.
        """
        numbers = [each.number for each in self.points.rounds]
        right = min(int(np.searchsorted(numbers, number)), len(numbers) - 1)
        left = max(right - 1, 0) if numbers[right] > number else right
        share = 0.0 if left == right else (number - numbers[left]) / (numbers[right] - numbers[left])
        rows = (1 - share) * found[left] + share * found[right]
        # No number of rows is too small: of a client with one example there are no others.
        bounded = self.told[number].left_of(rows.reshape(len(rows), *self.points.rounds[0].start.shape))
        return bounded.reshape(rows.shape).astype(np.float64)


def read_gradient_sums(view: ServerView, backbone: Backbone, told: Mapping[int, NoisedSum]) -> GradientRounds:
    """The rounds of a recording that release sums of gradients, turned back into numbers.

    Args:
        view: the recording.
        backbone: the public model.
        told: how each round bounds and noises, by number.
    """
    check_model(view, backbone)
    starts, vector = starts_of(view, backbone), broadcast_vector(view, backbone)
    singles: dict[int, dict[int, GradientSum]] = {}
    together: dict[int, GradientSum] = {}
    readable = Computes.INDIVIDUAL_UPLOADS in view.facts.server_computes
    uploads = view.uploads(UploadKind.COEFFICIENTS) if readable else ()
    for frame in chain(uploads, view.computed(UploadKind.COEFFICIENTS)):
        values, upload = joined(frame.upload.arrays, backbone), frame.upload
        if values is not None and upload.round in told:
            own = together if frame.sender == SERVER else singles.setdefault(frame.sender, {})
            own[upload.round] = GradientSum(
                upload.weight * values.astype(np.float64).reshape(-1), upload.weight
            )
    seen = sorted({number for own in singles.values() for number in own} | set(together))
    numbers = [number for number in seen if number in starts]
    if vector is None or not numbers:
        why = (
            "the recording holds no sums of gradients, with the vector and the coefficients they are taken at"
        )
        return GradientRounds(Recorded(None, (), why), told, {}, {}, why)
    points = tuple(Round(numbers[i], starts[numbers[i]], {}, None, (), 0) for i in spread_over(len(numbers)))
    return GradientRounds(Recorded(vector, points), told, singles, together)


def ratios(
    rounds: GradientRounds,
    about: Mapping[Who, Sums],
    candidates: Floats,
    population: Floats,
    known: Mapping[Who, Floats] | None = None,
) -> dict[Who, Floats]:
    """For each that has sums, the log-likelihood ratio of every candidate over all its rounds, ``[n]``.

    Args:
        rounds: of the recording.
        about: the sums.
        candidates: their gradients at the points, ``[points, n, 4 layers]``.
        population: those of public texts, ``[points, m, 4 layers]``.
        known: of each, those of all examples but one, likewise; None for an attacker who knows none of them.
    """
    found = {who: np.zeros(candidates.shape[1]) for who in about}
    examples = {who: examples_of(rounds, sums) for who, sums in about.items()}
    for number in sorted({number for sums in about.values() for number in sums}):
        rate, own = rounds.told[number].release.rate, rounds.at(candidates, number)
        public = rounds.at(population, number)
        for who, sums in about.items():
            if number in sums:
                usual = (
                    usual_sum(rounds.told[number], public, examples[who])
                    if known is None
                    else known_sum(rounds.told[number], rounds.at(known[who], number))
                )
                found[who] += _ratio(sums[number].total - usual.mean, own, usual, rate)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Usual:
    """What a round's sum is without a candidate.

    Attributes:
        mean: ``[d]``.
        covariance: with noise and rounding, ``[d, d]``.
        less: what the mean loses where one of the examples is the candidate, ``[d]``.
    """

    mean: Floats
    covariance: Floats
    less: Floats


def usual_sum(told: NoisedSum, public: Floats, examples: float) -> Usual:
    """Of so many examples that are like public ones.

    Args:
        told: of the round.
        public: gradients of public texts in that round, ``[m, d]``.
        examples: how many there are, before any is sampled.
    """
    rate, mean = told.release.rate, public.mean(axis=0)
    spread = np.cov(public, rowvar=False) + (1 - rate) * np.outer(mean, mean)
    expected = examples * rate
    return Usual(expected * mean, expected * spread + _error(told, expected), rate * mean)


def known_sum(told: NoisedSum, known: Floats) -> Usual:
    """Of examples that are known, all but the candidate; their gradients in that round are ``[k, d]``."""
    rate = told.release.rate
    mean = rate * known.sum(axis=0)
    covariance = rate * (1 - rate) * known.T @ known + _error(told, (len(known) + 1) * rate)
    return Usual(mean, covariance, np.zeros_like(mean))


def _error(told: NoisedSum, sampled: float) -> Floats:
    """Covariance of noise and of the rounding of so many rows."""
    return np.diag(np.square(told.noise.reshape(-1)) + sampled * np.square(told.grain.reshape(-1)))


def examples_of(rounds: GradientRounds, sums: Sums) -> float:
    """How many examples are behind some rounds' sums: counts are noised and of samples, so over all rounds together."""
    told = [one.weight / rounds.told[number].release.rate for number, one in sums.items()]
    return max(1.0, float(np.mean(told)))


def _ratio(off: Floats, candidates: Floats, usual: Usual, rate: float) -> Floats:
    """Of one round.

    Args:
        off: the sum less its mean without a candidate, ``[d]``.
        candidates: what each adds when it is sampled, ``[n, d]``.
        usual: what the sum is without one.
        rate: the chance of being sampled.
    """
    lower = np.linalg.cholesky(usual.covariance)
    alone = np.linalg.solve(lower, off)
    point = np.linalg.solve(lower, off + usual.less)
    moved = np.linalg.solve(lower, candidates.T).T
    absent = float(alone @ alone - point @ point) / 2
    present = absent + moved @ point - (moved**2).sum(axis=1) / 2
    if rate >= 1:
        return np.asarray(present, dtype=np.float64)
    either = np.logaddexp(np.log1p(-rate) + absent, np.log(rate) + present)
    return np.asarray(either, dtype=np.float64)
