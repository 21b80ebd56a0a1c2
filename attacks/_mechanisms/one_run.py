"""Lower bounds on ε from a single run with many canaries, each of which a coin put in or left out.

The invariant: the coins are independent of each other, and a guess may use what was released and nothing of the coins.
Then the theorems allow for dependence between canaries; a Clopper-Pearson bound over canaries is not valid here, and
none is made.

References:
    Steinke, Nasr & Jagielski, Privacy auditing with one (1) training run, arXiv 2305.08846, Theorem 5.2 and Corollary
    5.4; Mahloujifar, Melis & Chaudhuri, Auditing f-differential privacy in one run, arXiv 2410.22235, Algorithm 3.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import expit, ndtr, ndtri
from scipy.stats import binom

from attacks._statistics.gaussian import mu_of

SIZES = 6
"""Numbers of guesses that are tried: all canaries, half of them, and so on; α is shared among them."""
_MOST_EPSILON = 100.0


def p_value(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """Probability of at least so many correct guesses, were the mechanism (ε, δ)-differentially private.

    Args:
        canaries: all that had a coin.
        guesses: those about which a guess was made.
        correct: right guesses.
        epsilon: of the claim.
        delta: of the claim.
    """
    chance = float(expit(epsilon))
    tail = float(binom.sf(correct - 1, guesses, chance))
    if delta == 0 or correct == 0:
        return min(1.0, tail)
    steps = np.arange(1, correct + 1)
    between = binom.sf(correct - steps - 1, guesses, chance) - tail
    return float(min(1.0, tail + 2 * canaries * delta * max(0.0, float((between / steps).max()))))


def one_run_epsilon(canaries: int, guesses: int, correct: int, delta: float, alpha: float) -> float:
    """The largest ε that so many correct guesses refute at level α; 0 if they refute none."""

    def refuted(epsilon: float) -> float:
        return alpha - p_value(canaries, guesses, correct, epsilon, delta)

    return _largest(refuted)


def one_run_gaussian_epsilon(canaries: int, guesses: int, correct: int, delta: float, alpha: float) -> float:
    """The same against the claim that the mechanism is a **Gaussian** one with that ε at δ: its whole trade-off curve.

    Tighter, and valid for that claim only. A recursion bounds how much probability can lie on so many correct guesses
    or more, if each further right guess has to obey the curve.
    """

    def refuted(epsilon: float) -> float:
        if epsilon <= 0:
            return alpha - float(binom.sf(correct - 1, guesses, 0.5))
        return _excess(mu_of(epsilon, delta), canaries, guesses, correct, alpha)

    return _largest(refuted)


def _excess(mu: float, canaries: int, guesses: int, correct: int, alpha: float) -> float:
    """Above 0 where a μ-GDP mechanism cannot make so many correct guesses with probability α."""
    right = alpha * correct / canaries
    wrong = alpha * (guesses - correct) / canaries
    whole = guesses / canaries
    for i in range(correct - 1, -1, -1):
        raised = max(wrong, float(ndtr(ndtri(right) - mu)))
        if raised == wrong:
            break
        right = min(1.0, right + i / (guesses - i) * (raised - wrong))
        wrong = raised
        if right + wrong > whole:
            break
    return right + wrong - whole


def one_run(inside: ArrayLike, outside: ArrayLike, delta: float, alpha: float, seed: int = 0) -> float:
    """The one-run bound from scores: the highest are guessed to be in, as many of the lowest to be out.

    How many guesses are made is fixed in advance (`SIZES` sizes), and α is shared among the sizes.
    """
    return _best(inside, outside, delta, alpha, one_run_epsilon)


def one_run_gaussian(
    inside: ArrayLike, outside: ArrayLike, delta: float, alpha: float, seed: int = 0
) -> float:
    """The same against the claim of a Gaussian mechanism."""
    return _best(inside, outside, delta, alpha, one_run_gaussian_epsilon)


def one_run_ceiling(canaries: int, delta: float, alpha: float, *, is_gaussian: bool = False) -> float:
    """The largest ε that so many canaries can prove, where no guess is wrong."""
    bound = one_run_gaussian_epsilon if is_gaussian else one_run_epsilon
    return max(bound(canaries, size, size, delta, alpha / SIZES) for size in _sizes(canaries))


def _best(
    inside: ArrayLike,
    outside: ArrayLike,
    delta: float,
    alpha: float,
    bound: Callable[[int, int, int, float, float], float],
) -> float:
    scores = np.concatenate([np.asarray(inside, np.float64), np.asarray(outside, np.float64)])
    coins = np.arange(len(scores)) < len(np.asarray(inside))
    if len(scores) < 4 or np.isnan(scores).any():
        raise ValueError("give the scores of 4 canaries or more, none of them NaN")
    # Ties are broken by a draw that knows no coin.
    order = np.lexsort((np.random.default_rng([len(scores), 5]).permutation(len(scores)), scores))
    best = 0.0
    for size in _sizes(len(scores)):
        half = size // 2
        correct = int(coins[order[len(scores) - half :]].sum() + (~coins[order[:half]]).sum())
        best = max(best, bound(len(scores), 2 * half, correct, delta, alpha / SIZES))
    return best


def _sizes(canaries: int) -> list[int]:
    return sorted({max(2, 2 * (canaries >> (i + 1))) for i in range(SIZES)})


def _largest(refuted: Callable[[float], float]) -> float:
    """The largest ε with a value above 0, for a function that falls from above 0 to below it."""
    if refuted(0.0) <= 0:
        return 0.0
    low, high = 0.0, 1.0
    while refuted(high) > 0:
        low, high = high, 2 * high
        if high > _MOST_EPSILON:
            return low
    return float(brentq(refuted, low, high, xtol=1e-6))
