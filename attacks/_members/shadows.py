"""Membership scores from shadows: vectors of the attacker's own, of public texts, with a candidate or without.

The invariant: shadows are means of public texts and of the candidate in question alone, and of nobody else's; a score
says how the vector under attack stands to them.

A shadow costs no forward pass: every text is run once, and a mean with a candidate in it is the mean without, with one
text exchanged. So what takes hundreds of trained models elsewhere takes milliseconds here, and both sides, in and out,
are at hand for every candidate.

References:
    Carlini et al., Membership inference attacks from first principles, arXiv 2112.03570, Algorithm 1 (LiRA, online);
    Zarifzadeh, Liu & Shokri, Low-cost high-power membership inference attacks, arXiv 2312.03262 (RMIA); Smyth, Linear
    models and empirical Bayes methods, 2004, section 6 (the prior of the variances).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, expit, log_expit, polygamma

from attacks._base.defaults import FEWEST_SHADOWS
from attacks._base.targets import Floats, Target
from attacks._members.likelihood import Population

GAMMA = 2.0
"""A candidate dominates a public text if its ratio is so many times as large."""


@dataclass(frozen=True, slots=True, eq=False)
class Shadows:
    """Means of random public texts with noise and rounding as declared.

    Attributes:
        means: coordinates of the shadows, ``[shadows, directions]``.
        bare: the same with one text, drawn first, taken out of each: a candidate over k comes in its place.
        examples: k, how many texts each is the mean of.
        others: coordinates of public texts that are in no shadow, ``[m, directions]``.
    """

    means: Floats
    bare: Floats
    examples: int
    others: Floats

    @classmethod
    def cast(cls, population: Population, target: Target, count: int, seed: int) -> Shadows:
        """So many shadows of a vector; from one half of the public texts, so that the other half is fresh."""
        if count < FEWEST_SHADOWS:
            raise ValueError(f"{count} shadows: give {FEWEST_SHADOWS} or more")
        rng = np.random.default_rng([seed, 41])
        k = target.number
        order = rng.permutation(len(population.public))
        half = max(1, len(order) // 2)
        drawn = rng.choice(order[:half], size=(count, k))
        means = np.stack([population.public[chosen].mean(axis=0) for chosen in drawn])
        means += rng.standard_normal(means.shape) * np.sqrt(population.space.rounding)
        fresh = order[half:] if len(order) > 1 else order
        return cls(means, means - population.public[drawn[:, 0]] / k, k, population.public[fresh])


# ---- online LiRA


def in_and_out(population: Population, target: Target, shadows: Shadows) -> Floats:
    """Log-likelihood ratio of each candidate's whitened product with the vector, ``[n]``: LiRA with both sides.

    The product is taken for normal, in and out, with the mean of the shadows' and a variance between the shadows' own
    and what the model of the population expects: the fewer the shadows, the more the model counts.
    """
    point, k = population.space.enter(target.vector), shadows.examples
    rounding = population.space.rounding
    aims = population.candidates / (population.variance / k + rounding)
    outside = aims @ shadows.means.T
    own = (aims * population.candidates).sum(axis=1)[:, None] / k
    inside = aims @ shadows.bare.T + own
    seen = aims @ point
    found = np.zeros(len(aims))
    for sign, products, expected in (
        (1.0, inside, population.variance * (k - 1) / k**2 + rounding),
        (-1.0, outside, population.variance / k + rounding),
    ):
        variance = moderated(products.var(axis=1, ddof=1), aims**2 @ expected, products.shape[1] - 1)
        found -= sign * ((seen - products.mean(axis=1)) ** 2 / variance + np.log(variance)) / 2
    return found


def moderated(variances: Floats, expected: Floats, degrees: int) -> Floats:
    """Variances drawn toward what is expected of them, by a conjugate prior that is fitted to all of them together.

    Args:
        variances: as estimated, each with so many degrees of freedom.
        expected: by a model, up to a common factor.
        degrees: of freedom.
    """
    ratios = np.maximum(variances, 1e-300) / np.maximum(expected, 1e-300)
    prior, centre = variance_prior(ratios, degrees)
    if np.isinf(prior):
        return np.asarray(centre * expected, dtype=np.float64)
    pulled = (prior * centre + degrees * ratios) / (prior + degrees)
    return np.asarray(pulled * expected, dtype=np.float64)


def variance_prior(variances: Floats, degrees: int) -> tuple[float, float]:
    """Degrees of freedom and centre of a scaled inverse chi-square prior, by the moments of logarithms.

    Infinite degrees where the variances differ by no more than their estimation explains: then all are equal.
    """
    logs = np.log(variances) - digamma(degrees / 2) + np.log(degrees / 2)
    excess = float(logs.var(ddof=1) - polygamma(1, degrees / 2)) if len(logs) > 1 else 0.0
    if excess <= 0:
        return float("inf"), float(np.exp(logs.mean()))
    prior = 2 * _inverse_trigamma(excess)
    return prior, float(np.exp(logs.mean() + digamma(prior / 2) - np.log(prior / 2)))


def _inverse_trigamma(value: float) -> float:
    """The argument at which the trigamma function has this value, above 0; by Newton on its reciprocal."""
    at = 0.5 + 1 / value
    for _ in range(50):
        here = float(polygamma(1, at))
        step = here * (1 - here / value) / float(polygamma(2, at))
        at += step
        if -step / at < 1e-10:
            break
    return at


# ---- RMIA


def relative(population: Population, target: Target, shadows: Shadows) -> Floats:
    """RMIA, offline: the share of fresh public texts that a candidate's ratio dominates by `GAMMA`, ``[n]``.

    The ratio is of a text's probability of being in this vector, at even odds before, to its mean over vectors in
    general. For that mean only shadows without the text are used, as if those with it had cost a training; the line
    from one to the other, Pr in = a Pr out + 1 - a, is fitted on public texts. Within one vector the order is that of
    the ratio; dominated texts make scores comparable between vectors. Among candidates that dominate as many, the
    ratio decides.
    """
    point = population.space.enter(target.vector)
    slope = offline_slope(population, shadows)
    of_candidates = _ratio(population, population.candidates, point, shadows, slope)
    of_public = np.sort(_ratio(population, shadows.others, point, shadows, slope))
    dominated = np.searchsorted(of_public, of_candidates - np.log(GAMMA), side="right") / len(of_public)
    rank = of_candidates.argsort().argsort() / (len(of_candidates) * (len(of_public) + 1))
    return np.asarray(dominated + rank, dtype=np.float64)


def offline_slope(population: Population, shadows: Shadows) -> float:
    """How much of a text's doubt about vectors without it stays for vectors with it, from 0 to 1."""
    outside = 1 - expit(_log_ratios(population, shadows.others, shadows.means, shadows.examples)).mean(axis=1)
    inside = 1 - expit(_with_themselves(population, shadows.others, shadows)).mean(axis=1)
    return float(np.clip(inside @ outside / max(float(outside @ outside), 1e-300), 0.0, 1.0))


def _ratio(population: Population, texts: Floats, point: Floats, shadows: Shadows, slope: float) -> Floats:
    here = log_expit(_log_ratios(population, texts, point[None], shadows.examples))[:, 0]
    outside = expit(_log_ratios(population, texts, shadows.means, shadows.examples)).mean(axis=1)
    in_general = ((1 + slope) * outside + 1 - slope) / 2
    return np.asarray(here - np.log(np.maximum(in_general, 1e-300)), dtype=np.float64)


def _log_ratios(population: Population, texts: Floats, points: Floats, k: int) -> Floats:
    """Log-likelihood ratios of texts ``[n, directions]`` at vectors ``[m, directions]``: ``[n, m]``."""
    without, within = _spreads(population, k)
    own = (texts**2 / within).sum(axis=1)[:, None] / k**2
    constant = (points**2 * (1 / without - 1 / within) + np.log(without) - np.log(within)).sum(axis=1)
    return np.asarray((constant - own) / 2 + texts / within @ points.T / k, dtype=np.float64)


def _with_themselves(population: Population, texts: Floats, shadows: Shadows) -> Floats:
    """The same ratios, each text's at the shadows with the text itself put in."""
    k = shadows.examples
    without, within = _spreads(population, k)
    bare = shadows.bare
    whole = (
        (bare**2 / without).sum(axis=1)
        + 2 * (texts / without) @ bare.T / k
        + (texts**2 / without).sum(axis=1)[:, None] / k**2
    )
    left = (bare**2 / within).sum(axis=1)
    return np.asarray((whole - left + np.log(without / within).sum()) / 2, dtype=np.float64)


def _spreads(population: Population, k: int) -> tuple[Floats, Floats]:
    rounding = population.space.rounding
    return population.variance / k + rounding, population.variance * (k - 1) / k**2 + rounding
