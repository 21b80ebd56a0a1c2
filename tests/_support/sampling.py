"""Checks of random draws that can fail: each is wrong about a right sampler once in a million times at most.

Every check takes draws and a law and returns True where the draws pass. With seeded draws the answer is always the
same, so a right sampler's test does not come and go.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

ALARM = 1e-6
_LIMIT = stats.norm.isf(ALARM / 2)


class Scripted:
    """Entropy that says what it is told to, and then the bytes of another source."""

    simulation = True

    def __init__(self, script, then):
        self.script, self.then = bytes(script), then

    def bytes(self, n):
        """From the script while it lasts; a request is never cut in two."""
        if not self.script:
            return self.then.bytes(n)
        assert len(self.script) >= n, "the script ends within a request"
        said, self.script = self.script[:n], self.script[n:]
        return said


@dataclass(frozen=True)
class Law:
    """A symmetric law on the whole numbers: cumulative probabilities at any whole numbers, and two moments."""

    cumulative: object
    deviation: float
    kurtosis: float
    reach: int

    @classmethod
    def from_probabilities(cls, numbers, weights):
        """From all outcomes that matter and weights in proportion to their probabilities."""
        weights = np.asarray(weights, dtype=np.float64)
        weights = weights / weights.sum()
        totals = np.concatenate([[0.0], np.cumsum(weights)])
        variance = float(weights @ numbers**2.0)
        fourth = float(weights @ numbers**4.0)

        def cumulative(at):
            return totals[np.clip(np.asarray(at) - numbers[0] + 1, 0, len(numbers))]

        return cls(cumulative, variance**0.5, fourth / variance**2, int(numbers[-1]))

    @classmethod
    def discrete_gaussian(cls, sigma):
        """Summed up where sigma is small; above, the normal law at middles, which misses less than 1 / 24 sigma^2."""
        if sigma > 3000:
            return cls(lambda at: special.ndtr((np.asarray(at) + 0.5) / sigma), sigma, 3.0, int(40 * sigma))
        numbers = np.arange(-int(40 * sigma) - 9, int(40 * sigma) + 10)
        return cls.from_probabilities(numbers, np.exp(-((numbers / sigma) ** 2) / 2))

    @classmethod
    def skellam(cls, variance):
        """By Bessel functions where the variance is small; above, the normal law, which is off by 1/8 variance."""
        deviation = variance**0.5
        if variance > 1e7:
            at_middle = lambda at: special.ndtr((np.asarray(at) + 0.5) / deviation)  # noqa: E731
            return cls(at_middle, deviation, 3.0, int(40 * deviation))
        numbers = np.arange(-int(14 * deviation) - 20, int(14 * deviation) + 21)
        return cls.from_probabilities(numbers, special.ive(np.abs(numbers), variance))


def bins(law, size, least=20.0, most=1500):
    """Upper ends of bins that each expect at least so many of the draws; single outcomes where they can."""
    span = min(law.reach, int(9 * law.deviation) + 3)
    stride = max(1, 2 * span // most)
    ends, before = [], 0.0
    for end in range(-span, span, stride):
        now = float(law.cumulative(end))
        if (now - before) * size >= least and (1 - now) * size >= least:
            ends.append(end)
            before = now
    return np.array(ends, dtype=np.int64)


def chi_square(draws, law):
    """Counts in bins against what they should be."""
    ends = bins(law, len(draws))
    chances = np.diff(np.concatenate([[0.0], law.cumulative(ends), [1.0]]))
    counts = np.bincount(np.searchsorted(ends, draws, side="left"), minlength=len(ends) + 1)
    statistic = ((counts - len(draws) * chances) ** 2 / (len(draws) * chances)).sum()
    return bool(statistic < stats.chi2.isf(ALARM, len(ends))) if len(ends) else bool(counts[0] == len(draws))


def kolmogorov(draws, law):
    """The largest distance of the distribution functions, by the inequality of Dvoretzky, Kiefer and Wolfowitz."""
    seen, counts = np.unique(draws, return_counts=True)
    above = np.cumsum(counts) / len(draws)
    gap = max(
        np.abs(above - law.cumulative(seen)).max(),
        np.abs(above - counts / len(draws) - law.cumulative(seen - 1)).max(),
    )
    return bool(gap < np.sqrt(np.log(2 / ALARM) / 2 / len(draws)))


def moments(draws, law):
    """Mean and variance, by the normal law of their estimates."""
    scaled = draws / law.deviation
    root = len(draws) ** 0.5
    mean_fits = abs(scaled.mean()) * root < stats.norm.isf(ALARM / 4)
    spread = (law.kurtosis - 1) ** 0.5
    return bool(mean_fits and abs((scaled**2).mean() - 1) * root / spread < stats.norm.isf(ALARM / 4))


def tails(draws, law, deviations=4.0):
    """How many draws lie far out, on either side, by the binomial law itself."""
    edge = int(deviations * law.deviation)
    count = int(np.count_nonzero(np.abs(draws) > edge))
    chance = 2 * float(law.cumulative(-edge - 1))
    low, high = (stats.binom.cdf(count, len(draws), chance), stats.binom.sf(count - 1, len(draws), chance))
    return bool(min(low, high) > ALARM / 2)


def independent(draws, law, lags=(1, 2, 3, 7, 65536)):
    """Correlation at several distances, of the draws and of their squares."""
    for values in (draws / law.deviation, (draws / law.deviation) ** 2):
        centred = values - values.mean()
        for lag in lags:
            one, other = centred[:-lag], centred[lag:]
            together = (one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum())
            if abs(together) * len(one) ** 0.5 > stats.norm.isf(ALARM / (4 * len(lags))):
                return False
    return True


CHECKS = (chi_square, kolmogorov, moments, tails, independent)
