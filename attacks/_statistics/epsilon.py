"""How much privacy a mechanism is proved to lack: lower bounds on ε from scores of trials with and without a record.

The invariant: a bound is above the truth with probability at most α over the trials, whatever the scores' distribution
is. Nothing is picked among several thresholds, splits or directions without paying for the choice, and a bound that
holds for Gaussian mechanisms only says so.

Every function takes scores of independent trials *inside* (with the record) and *outside* (without it); larger means
likelier inside. The decision is "inside if the score is above the threshold", false positives are outside trials above
it, false negatives inside trials that are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, ndtri

from attacks._statistics.gaussian import epsilon_of
from defenses.decimals import at_least, at_most

Floats = NDArray[np.float64]

PILOT = 0.3
"""Share of the trials that only choose the threshold of a Clopper-Pearson bound."""
PILOT_GAUSSIAN = 0.1
"""The same for the Gaussian bound, whose best threshold is in the middle and easy to find."""
SPLITS = 9
RANKS = 16
_MOST_CHOICES = 400


class Estimator(StrEnum):
    """How a lower bound is made."""

    SPLIT = "split"
    MULTISPLIT = "several splits"
    BONFERRONI = "bonferroni"
    GAUSSIAN = "gaussian"


def upper(count: ArrayLike, trials: int, alpha: float) -> Floats:
    """Clopper and Pearson's one-sided upper bound of a proportion: below the truth with probability at most α."""
    counts = np.asarray(count, dtype=np.float64)
    inner = betaincinv(counts + 1, np.maximum(trials - counts, 1e-9), 1 - alpha)
    return np.where(counts < trials, inner, 1.0)


def epsilon_from_rates(false_positive: ArrayLike, false_negative: ArrayLike, delta: float) -> Floats:
    """The least ε that admits error rates no higher than these, in both directions: P ≤ e^ε Q + δ and Q ≤ e^ε P + δ.

    Reference:
        Kairouz, Oh & Viswanath, The composition theorem for differential privacy, 2015, Theorem 2.1.
    """
    first, second = np.asarray(false_positive, np.float64), np.asarray(false_negative, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        one = np.where(1 - second > delta, np.log((1 - second - delta) / first), 0.0)
        other = np.where(1 - first > delta, np.log((1 - first - delta) / second), 0.0)
    return np.maximum(0.0, np.maximum(one, other))


def split(inside: ArrayLike, outside: ArrayLike, delta: float, alpha: float, seed: int = 0) -> float:
    """Clopper-Pearson at one threshold, which a random part of the trials chose and the other part tests.

    The error rates are bounded at α/2 each. Both directions of the definition follow from these two bounds, so
    taking the larger of them costs nothing.
    """
    (pilot_in, rest_in), (pilot_out, rest_out) = _parted(inside, outside, PILOT, seed)
    choices = _choices(pilot_in, pilot_out)
    wrong_out, wrong_in = _errors(pilot_in, pilot_out, choices)
    # What the other part would prove, were its rates those of the pilot.
    expected = epsilon_from_rates(
        _scaled_upper(wrong_out, len(pilot_out), len(rest_out), alpha / 2),
        _scaled_upper(wrong_in, len(pilot_in), len(rest_in), alpha / 2),
        delta,
    )
    threshold = choices[[int(np.argmax(expected))]]
    false_positives, false_negatives = _errors(rest_in, rest_out, threshold)
    return float(
        epsilon_from_rates(
            upper(false_positives, len(rest_out), alpha / 2),
            upper(false_negatives, len(rest_in), alpha / 2),
            delta,
        )[0]
    )


def several_splits(inside: ArrayLike, outside: ArrayLike, delta: float, alpha: float, seed: int = 0) -> float:
    """The median of `split` over `SPLITS` random splits, each at α/2.

    More than half of dependent bounds are wrong with probability at most twice that of one (Markov's inequality), so
    the median at α/2 holds at α: the luck of one split is traded for a factor of 2 in α.

    Reference:
        Rüschendorf, Random variables with maximum sums, 1982; Meinshausen, Meier & Bühlmann, JASA 2009.
    """
    seeds = np.random.SeedSequence([seed, SPLITS]).generate_state(SPLITS)
    found = [split(inside, outside, delta, alpha / 2, int(each)) for each in seeds]
    return float(np.median(found))


def bonferroni(inside: ArrayLike, outside: ArrayLike, delta: float, alpha: float, seed: int = 0) -> float:
    """The largest Clopper-Pearson bound over thresholds at fixed ranks, with α shared among all of them.

    A threshold is the k-th largest outside score or the k-th smallest inside score, for `RANKS` fixed ranks k on each
    side. Of its own side at most k - 1 scores lie strictly beyond it, and the Clopper-Pearson bound of k - 1 is then
    exactly the quantile of that order statistic's coverage; the other side is independent of the threshold, so its
    count is binomial.
    """
    one, other = _scores(inside), _scores(outside)
    level = alpha / (4 * RANKS)
    best = 0.0
    for k in _ranks(len(other)):
        threshold = np.sort(other)[-k]
        wrong_out = upper(k - 1, len(other), level)
        wrong_in = upper(np.count_nonzero(one <= threshold), len(one), level)
        best = max(best, float(epsilon_from_rates(wrong_out, wrong_in, delta)))
    for k in _ranks(len(one)):
        threshold = np.sort(one)[k - 1]
        wrong_in = upper(k - 1, len(one), level)
        wrong_out = upper(np.count_nonzero(other >= threshold), len(other), level)
        best = max(best, float(epsilon_from_rates(wrong_out, wrong_in, delta)))
    return best


def gaussian(inside: ArrayLike, outside: ArrayLike, delta: float, alpha: float, seed: int = 0) -> float:
    """The ε of the least μ that admits so few errors; **valid only where the claim is a Gaussian mechanism**.

    A test of a μ-GDP mechanism has FPR + FNR ≥ 2 Φ(-μ/2) at any threshold. On as many trials of each side, the sum of
    both errors falls short of its mean most easily where all trials have the same chance (Hoeffding), so one
    Clopper-Pearson bound over all trials, at the whole α, bounds the mean error and with it μ. That is tighter than
    one bound for each rate at α/2. The threshold, at equal errors, is chosen on a tenth of the trials.

    Reference:
        Nasr et al., Tight auditing of differentially private machine learning, arXiv 2302.07956 (the bound by two
        rates); Hoeffding, On the distribution of the number of successes in independent trials, 1956, Theorem 4.
    """
    (pilot_in, rest_in), (pilot_out, rest_out) = _parted(inside, outside, PILOT_GAUSSIAN, seed)
    choices = _choices(pilot_in, pilot_out)
    wrong_out, wrong_in = _errors(pilot_in, pilot_out, choices)
    gap = np.abs(wrong_out / len(pilot_out) - wrong_in / len(pilot_in))
    size = min(len(rest_in), len(rest_out))
    threshold = choices[[int(np.argmin(gap))]]
    false_positives, false_negatives = _errors(rest_in[:size], rest_out[:size], threshold)
    return epsilon_of(_mu_from_errors(int(false_positives[0] + false_negatives[0]), size, alpha), delta)


ESTIMATORS: dict[Estimator, Callable[[ArrayLike, ArrayLike, float, float, int], float]] = {
    Estimator.SPLIT: split,
    Estimator.MULTISPLIT: several_splits,
    Estimator.BONFERRONI: bonferroni,
    Estimator.GAUSSIAN: gaussian,
}


def ceiling(estimator: Estimator, trials: int, delta: float, alpha: float) -> float:
    """The largest ε that so many trials a side can prove, where not one error is made."""
    match estimator:
        case Estimator.GAUSSIAN:
            return epsilon_of(_mu_from_errors(0, trials - _pilot(trials, PILOT_GAUSSIAN), alpha), delta)
        case Estimator.SPLIT:
            rest, level = trials - _pilot(trials, PILOT), alpha / 2
        case Estimator.MULTISPLIT:
            rest, level = trials - _pilot(trials, PILOT), alpha / 4
        case Estimator.BONFERRONI:
            rest, level = trials, alpha / (4 * RANKS)
    rate = upper(0, rest, level)
    return float(epsilon_from_rates(rate, rate, delta))


def trials_needed(estimator: Estimator, epsilon: float, delta: float, alpha: float) -> int | None:
    """The fewest trials a side whose ceiling is above ε; None if a billion are too few."""
    high = 4
    while ceiling(estimator, high, delta, alpha) <= epsilon:
        high *= 2
        if high > 10**9:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if ceiling(estimator, middle, delta, alpha) > epsilon else (middle, high)
    return high


class Conclusion(StrEnum):
    """What an audited bound says of an accounted one."""

    VIOLATION = "violation"
    CONSISTENT = "consistent"
    INCONCLUSIVE = "inconclusive"
    NOT_EVALUABLE = "not evaluable"


@dataclass(frozen=True, slots=True)
class LowerBound:
    """One estimator's bound.

    Attributes:
        estimator: how it was made.
        epsilon: below the truth but with probability α.
        ceiling: the most that so many trials can prove.
    """

    estimator: Estimator
    epsilon: float
    ceiling: float


def conclude(bound: LowerBound, accounted: float, delta: float, alpha: float) -> tuple[Conclusion, str]:
    """What a bound says of an accounted ε, and why, in one sentence.

    A bound above the accounted ε is a violation, however few the trials. Below it, nothing is said to be consistent
    that so many trials could not have refuted.
    """
    if bound.epsilon > accounted:
        reached = at_least(bound.epsilon, 3)
        return Conclusion.VIOLATION, f"ε is at least {reached}, and {at_most(accounted, 3)} is accounted"
    if bound.ceiling <= accounted:
        wanted = trials_needed(bound.estimator, accounted, delta, alpha)
        more = f"{wanted:,} a side would do" if wanted else "more than a billion a side would be needed"
        return Conclusion.INCONCLUSIVE, (
            f"so few trials prove at most ε {bound.ceiling:.3g}, and {at_most(accounted, 3)} is accounted; {more}"
        )
    share = bound.epsilon / accounted if accounted else 1.0
    return (
        Conclusion.CONSISTENT,
        f"ε is at least {at_least(bound.epsilon, 3)}, {share:.0%} of what is accounted",
    )


# ---- shared steps


def _mu_from_errors(errors: int, trials: int, alpha: float) -> float:
    """The least μ that so few errors in so many trials of each side admit."""
    mean = float(upper(errors, 2 * trials, alpha))
    return max(0.0, float(-2 * ndtri(mean))) if mean < 0.5 else 0.0


def _pilot(trials: int, share: float) -> int:
    return min(max(2, round(share * trials)), trials - 1)


def _parted(
    inside: ArrayLike, outside: ArrayLike, share: float, seed: int
) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """A random pilot and the rest, of each side."""
    rng = np.random.default_rng([seed, 7])
    parts = []
    for side in (_scores(inside), _scores(outside)):
        drawn = side[rng.permutation(len(side))]
        at = _pilot(len(side), share)
        parts.append((drawn[:at], drawn[at:]))
    return parts[0], parts[1]


def _choices(inside: Floats, outside: Floats) -> Floats:
    """Thresholds to choose from: between the scores seen, and beyond all of them."""
    seen = np.unique(np.concatenate([inside, outside]))
    if len(seen) > _MOST_CHOICES:
        # Both tails whole, since that is where small rates are; the middle thinned out.
        tail = _MOST_CHOICES // 4
        middle = np.linspace(tail, len(seen) - tail - 1, _MOST_CHOICES - 2 * tail).astype(int)
        seen = seen[
            np.unique(np.concatenate([np.arange(tail), middle, np.arange(len(seen) - tail, len(seen))]))
        ]
    return np.concatenate([seen[:1] - 1.0, (seen[1:] + seen[:-1]) / 2, seen[-1:]])


def _errors(inside: Floats, outside: Floats, thresholds: Floats) -> tuple[Floats, Floats]:
    """Outside scores above each threshold, and inside scores that are not."""
    above = len(outside) - np.searchsorted(np.sort(outside), thresholds, side="right")
    below = np.searchsorted(np.sort(inside), thresholds, side="right")
    return above.astype(np.float64), below.astype(np.float64)


def _scaled_upper(counts: Floats, seen: int, trials: int, alpha: float) -> Floats:
    return upper(np.minimum(counts * (trials / seen), trials), trials, alpha)


def _ranks(size: int) -> list[int]:
    return sorted({int(k) for k in np.geomspace(1, max(1, size // 2), RANKS).round()})


def _scores(values: ArrayLike) -> Floats:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or len(scores) < 4 or np.isnan(scores).any():
        raise ValueError(f"scores must be a list of 4 numbers or more, none of them NaN: {scores.shape}")
    return scores
