"""What is drawn keeps what is accounted: our own samplers' draws against the accounted curve, in both directions.

A neighbour's release is the other's, moved by the worst row that its lattice lets through. The loss of a draw follows
from the exact probabilities of the noise at both places. At each ε two things have to stay below the accounted delta:

1. The mean of (1 - exp(ε - loss))+ (Balle, Wang 2018, Theorem 5). A mean of n numbers of [0, 1] whose expectation is at
   most δ comes to m > δ with chance at most exp(-n kl(m, δ)), kl the divergence of coins (Hoeffding 1963, Theorem 1).
2. P(S) - exp(ε) P'(S) for the sets S of draws whose loss is above a threshold; P(S) and P'(S) by exact binomial bounds.
   The losses of noise that is too small look small where they are taken for those of the right one, so the mean
   alone would let a sampler pass that halves its noise. Counts of a set know no law.

False-alarm rate: `ALARM` for all comparisons of one case together, by a union bound.
"""

import math

import numpy as np
import pytest
from sampling import ALARM
from scipy import special, stats

from defenses.accounting.composition import Composition
from defenses.dp.charge import theorem
from defenses.dp.lattice import lattice
from defenses.entropy import InsecureSeeded
from defenses.noise.distributed import NoiseKind, NoiseShare, drawn
from defenses.units import Trust

EPSILONS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
CLIENTS, DROPOUTS, COLLUDERS = 10, 2, 1
HONEST = CLIENTS - DROPOUTS - COLLUDERS
COMPARISONS = 2 * len(EPSILONS) * (1 + 2 * len(EPSILONS))
CASES = [
    (kind, trust, numbers) for kind in NoiseKind for trust in ("central", "shares") for numbers in (1, 16)
]


def share_of(kind, deviation):
    """What each client adds."""
    return NoiseShare(kind, deviation, CLIENTS, DROPOUTS, COLLUDERS)


def noise_of(kind, trust, deviation, size, entropy, shares=HONEST):
    """What a server adds, or the sum of the shares that the guarantee counts on, and no more."""
    if trust == "central":
        return drawn(kind, deviation, size, entropy)
    return sum(share_of(kind, deviation).draw(size, entropy) for _ in range(shares))


def log_chances(kind, trust, deviation, reach):
    """Logarithms of the noise's probabilities over -reach..reach, with all digits of small ones."""
    numbers = np.arange(-reach, reach + 1)
    if kind is NoiseKind.SKELLAM:
        shared = trust == "shares"
        variance = HONEST * share_of(kind, deviation).variance if shared else deviation**2
        return np.log(special.ive(np.abs(numbers), variance))
    one = numbers / (share_of(kind, deviation).deviation if trust == "shares" else deviation)
    one = np.exp(-(one**2) / 2)
    total = one = one / one.sum()
    for _ in range(HONEST - 1 if trust == "shares" else 0):
        # No Fourier transform: sums of positive numbers keep the digits of the smallest.
        total = np.convolve(total, one, mode="same")
    with np.errstate(divide="ignore"):
        return np.log(total)


def worst_row(terms):
    """Whole numbers as long as any row may be, spread evenly, and what a unit counts."""
    row = np.full(terms.rank, math.isqrt(terms.longest // terms.rank))
    for place in range(terms.rank):
        while (row**2).sum() + 2 * row[place] + 1 <= terms.longest:
            row[place] += 1
    assert terms.longest - (row**2).sum() <= 2 * row.min()
    return np.append(row, terms.unit) if terms.counted else row


def exact_delta(chances, epsilon, moved):
    """The delta of one number that is moved by so many steps, as a sum over all outcomes; in either direction."""
    return float(np.maximum(np.exp(chances[moved:]) - np.exp(epsilon + chances[:-moved]), 0).sum())


class Case:
    """One kind of noise on a coarse lattice, where whole numbers are far from normal ones."""

    def __init__(self, kind, trust, numbers, multiplier=1.0):
        self.kind, self.trust = kind, trust
        shares = HONEST if trust == "shares" else 0
        facts = {"clip": 1.0, "counted": numbers > 1, "count_weight": 0.25, "most_units": 16}
        # Bits for eight steps and more beside so much noise, and no more.
        bits = 9 if multiplier < 2 else 11
        self.terms = lattice(
            rank=numbers, multiplier=multiplier, shares=shares, kind=kind, bits=bits, **facts
        )
        self.row = worst_row(self.terms)
        self.reach = 20 * math.ceil(self.terms.noise)
        self.chances = log_chances(kind, trust, self.terms.noise, self.reach)

    def accounted(self):
        """Delta at `EPSILONS`, as a ledger would have it."""
        way = Trust.DISTRIBUTED if self.trust == "shares" else Trust.CENTRAL
        mechanism = theorem(self.terms, way, roster=CLIENTS, honest=HONEST, rate=1.0)
        found = [Composition.of([mechanism]).delta(epsilon) for epsilon in EPSILONS]
        if len(self.row) == 1:
            # What the law itself needs is less, and all the better a limit for what is drawn.
            exact = [exact_delta(self.chances, epsilon, int(self.row[0])) for epsilon in EPSILONS]
            assert all(true <= bound * (1 + 1e-9) for true, bound in zip(exact, found, strict=True))
            return [true * (1 + 1e-9) for true in exact]
        return found

    def losses(self, noise):
        """Of draws without the row, of draws with it, and the same with both neighbours changed about."""
        at = noise.reshape(-1, len(self.row)) + self.reach
        here = self.chances[at].sum(axis=1)
        less, more = (here - self.chances[at + sign * self.row].sum(axis=1) for sign in (-1, 1))
        return (less, -more), (more, -less)

    def alarms(self, sampler=noise_of, *, draws, allowed=None):
        """Which checks find more delta drawn than is allowed."""
        entropy = InsecureSeeded(17, f"{self.kind} {self.trust} {len(self.row)}")
        noise = sampler(self.kind, self.trust, self.terms.noise, draws * len(self.row), entropy)
        deltas = allowed or self.accounted()
        found = set()
        for ours, theirs in self.losses(noise):
            for epsilon, delta in zip(EPSILONS, deltas, strict=True):
                mean = float(np.maximum(-np.expm1(epsilon - ours), 0).mean())
                if exceeds(mean, delta, draws):
                    found.add("mean")
                for threshold in EPSILONS:
                    # As often as this at least, and as that at most.
                    low, high = np.count_nonzero(ours > threshold), np.count_nonzero(theirs > threshold)
                    low = stats.beta.ppf(ALARM / COMPARISONS, low, draws - low + 1) if low else 0.0
                    high = stats.beta.isf(ALARM / COMPARISONS, high + 1, draws - high)
                    if low - math.exp(epsilon) * high > delta:
                        found.add("sets")
        return found


def exceeds(mean, delta, draws):
    """Whether a mean is above a bound on its expectation by more than chance has it."""
    coins = special.rel_entr(mean, delta) + special.rel_entr(1 - mean, 1 - delta)
    return mean > delta and draws * coins > math.log(COMPARISONS / ALARM)


def rows_for(numbers):
    """A million numbers and more, in rows."""
    return 1_000_000 if numbers == 1 else 60_000


@pytest.mark.parametrize(("kind", "trust", "numbers"), CASES)
def test_what_is_drawn_stays_under_the_accounted_curve(kind, trust, numbers):
    assert not Case(kind, trust, numbers).alarms(draws=rows_for(numbers))


@pytest.mark.slow
@pytest.mark.parametrize("multiplier", [0.5, 1.0, 3.0])
@pytest.mark.parametrize(("kind", "trust", "numbers"), CASES)
def test_ten_times_as_many_draws_stay_under_it(kind, trust, numbers, multiplier):
    assert not Case(kind, trust, numbers, multiplier).alarms(draws=10 * rows_for(numbers))


@pytest.mark.parametrize(("kind", "trust", "numbers"), CASES)
def test_half_of_the_noise_is_caught(kind, trust, numbers):
    def halved(kind, trust, deviation, size, entropy):
        return noise_of(kind, trust, deviation / 2, size, entropy)

    assert "sets" in Case(kind, trust, numbers).alarms(halved, draws=rows_for(numbers))


@pytest.mark.parametrize("kind", NoiseKind)
def test_a_share_too_few_is_caught(kind):
    """As where clients drop out beyond the tolerance, and their sum is opened all the same."""

    def short(*given):
        return noise_of(*given, shares=HONEST - 1)

    assert "sets" in Case(kind, "shares", 1).alarms(short, draws=rows_for(1))


@pytest.mark.parametrize(("kind", "trust"), [(kind, trust) for kind, trust, numbers in CASES if numbers == 1])
def test_a_curve_that_promises_a_little_too_much_is_caught(kind, trust):
    """The right draws against the law of noise that is three hundredths wider."""
    case, wider = Case(kind, trust, 1), Case(kind, trust, 1, 1.03)
    assert wider.terms.steps == case.terms.steps
    promised = [exact_delta(wider.chances, epsilon, int(case.row[0])) for epsilon in EPSILONS]
    assert "mean" in case.alarms(draws=rows_for(1), allowed=promised)
