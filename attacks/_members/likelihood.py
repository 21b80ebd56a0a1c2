"""Was this text in the mean? Likelihood ratios, and the simple scores that they are to beat.

The invariant: a candidate's score depends on the vector, on what is public and on the candidate itself, and a member
has no advantage over another but that it is in the vector.

The model: a vector is the mean of k examples whose activations have the population's mean m and covariance C, plus
noise and rounding R. With a candidate t in it, the mean is m + (t - m)/k and the covariance (k - 1)/k² C + R. The score
is the logarithm of that density over the one without t, which is the most powerful test where the model holds.

References:
    Azize & Basu, Some targets are harder to identify than others, arXiv 2402.10065 (the covariance attack); Homer et
    al. 2008 and Dwork et al. 2015 (the inner product, which is the same with C ∝ I); Carlini et al., arXiv 2112.03570
    (shadows, offline).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import Knowledge, Others, Scores
from attacks._base.space import DIRECTIONS, Space, seen
from attacks._base.targets import Floats, Target
from attacks._mixes.mixture import unmix
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, key_of

SHRUNK = 1e-3
"""Share of the mean variance that every direction is given: the smallest eigenvalues of a sample are too small."""
_COLUMNS = 320


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Candidates and the population they come from, in coordinates where covariance and rounding are diagonal.

    Attributes:
        space: of public texts and candidates together; both are known, and members among them are not marked.
        variance: of one example along each axis, shrunk, ``[directions]``.
        candidates: coordinates of the pool, ``[n, directions]``.
        public: coordinates of public texts, ``[m, directions]``.
        raw: activations of the pool as they are, float32 ``[n, layers * 2 * width]``.
    """

    space: Space
    variance: Floats
    candidates: Floats
    public: Floats
    raw: NDArray[np.float32]

    @classmethod
    def of(cls, backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> Population:
        """Read the pool and the public texts, bound them as is declared, and take their covariance."""
        public = seen(backbone, knowledge, knowledge.public, "reading public texts")
        pool = seen(backbone, knowledge, knowledge.pool, "reading candidates")
        known = np.concatenate([public, pool])
        space = _by_noise(known, targets) if knowledge.declared.noisy else Space.of(known, targets)
        variance = (1 - SHRUNK) * space.variance + SHRUNK * float(space.variance.mean())
        raw = pool.reshape(len(pool), -1)
        return cls(space, variance, space.enter(pool), space.enter(public), raw)

    def with_candidates(
        self, backbone: Backbone, knowledge: Knowledge, candidates: Sequence[Example]
    ) -> Population:
        """The same population with other candidates, one in place of each."""
        pool = seen(backbone, knowledge, candidates, "reading candidates")
        return replace(self, candidates=self.space.enter(pool), raw=pool.reshape(len(pool), -1))

    def told(self, target: Target) -> Population:
        """The same for one vector, where it is known how much noise is in that one."""
        return self if target.noise is None else replace(self, space=self.space.told(target))


def _by_noise(known: NDArray[np.float32], targets: Sequence[Target]) -> Space:
    """A space in units of the noise, where it is 1 in every direction, whichever way the axes are turned.

    `Space.of` measures each number in its own spread, and noise then looks larger where activations are small: there
    it would be correlated between axes.
    """
    flat = known.reshape(len(known), -1)
    centre = flat.mean(axis=0, dtype=np.float64)
    noise = np.sqrt(np.mean([target.variance for target in targets], axis=0)).reshape(-1)
    table = (flat - centre) / noise
    if table.shape[1] <= len(table):
        values, axes = np.linalg.eigh(table.T @ table)
    else:
        values, left = np.linalg.eigh(table @ table.T)
        axes = (table.T @ left) / np.sqrt(np.maximum(values, 1e-12 * values[-1]))
    kept = np.flatnonzero(values > 1e-9 * values[-1])[::-1][:DIRECTIONS]
    variance = values[kept] / len(table)
    return Space(centre, noise, np.ascontiguousarray(axes[:, kept]), variance, np.ones(len(kept)))


def likelihood_ratio(population: Population, target: Target) -> Floats:
    """Log-likelihood ratio of every candidate, ``[n]``."""
    point = population.space.enter(target.vector)
    k = target.number
    rounding = population.space.rounding
    without = population.variance / k + rounding
    within = population.variance * (k - 1) / k**2 + rounding
    squared = ((point - population.candidates / k) ** 2 / within).sum(axis=1)
    constant = float((point**2 / without + np.log(without) - np.log(within)).sum())
    return np.asarray((constant - squared) / 2, dtype=np.float64)


def shadow(population: Population, target: Target, count: int, seed: int) -> Floats:
    """How unusual each candidate's whitened product with the vector is, beside shadows made without the candidate.

    A shadow is the mean of as many random public texts, with noise and rounding as declared: no model of their
    distribution is assumed, only that public texts are like private ones.
    """
    rng = np.random.default_rng([seed, 11])
    point = population.space.enter(target.vector)
    k = target.number
    drawn = rng.integers(len(population.public), size=(count, k))
    shadows = np.stack([population.public[chosen].mean(axis=0) for chosen in drawn])
    shadows += rng.standard_normal(shadows.shape) * np.sqrt(population.space.rounding)
    weights = 1 / (population.variance / k + population.space.rounding)
    aims = population.candidates * weights
    outside = aims @ shadows.T
    spread = outside.std(axis=1, ddof=1)
    return np.asarray((aims @ point - outside.mean(axis=1)) / np.maximum(spread, 1e-30), dtype=np.float64)


def weights_of_all(population: Population, target: Target) -> Floats:
    """What each candidate counts in the sparse non-negative mixture nearest to the vector; many count 0."""
    point = population.space.enter(target.vector)
    k = target.number
    scale = 1 / np.sqrt(population.variance / (2 * k) + population.space.rounding)
    columns, aim = population.candidates * scale, point * scale
    found = unmix(columns, aim, at_most=min(_COLUMNS, max(32, 3 * k), len(columns)), floor=1e-6)
    scores = np.zeros(len(columns))
    scores[found.columns] = found.weights
    # Candidates without a weight are told apart by what is left over, far below any weight.
    left = columns @ (aim - scores @ columns)
    return np.asarray(scores + 1e-9 * left / (np.abs(left).max() + 1e-30), dtype=np.float64)


def inner_product(population: Population, target: Target) -> Floats:
    """Product of vector and candidate, both less the population's mean."""
    centre = population.space.centre
    return np.asarray((population.raw - centre) @ (target.vector.reshape(-1) - centre), dtype=np.float64)


def cosine(population: Population, target: Target) -> Floats:
    """Cosine of vector and candidate as they are."""
    norms = np.sqrt(np.einsum("nd,nd->n", population.raw, population.raw, dtype=np.float64))
    return np.asarray(population.raw @ target.vector.reshape(-1) / np.maximum(norms, 1e-30), dtype=np.float64)


def knowing_all_others(
    backbone: Backbone, knowledge: Knowledge, population: Population, target: Target, others: Others
) -> Floats:
    """How near each candidate is to what the known examples leave of the vector; NaN for the known ones.

    In units of noise and rounding, which is all that is unknown then: this is the adversary whose success an accounted
    ε bounds.
    """
    known = seen(backbone, knowledge, others.examples, "reading known examples").astype(np.float64)
    weights, left, vector, release = (
        np.array(others.weights),
        others.left,
        target.vector,
        knowledge.declared.mechanism,
    )
    rest = (vector - np.tensordot(weights, known, axes=1)) / left
    if release is not None and release.counts_examples:
        # Each example is in the sum once, measured from the centre, whatever count came with it.
        left, centre = 1 / target.weight, release.centre
        rest = (vector - centre) / left - (known - centre).sum(axis=0) + centre
    scale = np.sqrt(target.variance).reshape(-1) / left
    distance = (((population.raw - rest.reshape(-1)) / scale) ** 2).sum(axis=1)
    same = set(map(key_of, others.examples))
    taken = [key_of(example) in same for example in knowledge.pool]
    return np.where(taken, np.nan, -distance / 2)


def as_scores(values: Floats) -> Scores:
    """Scores as a guess holds them."""
    return Scores(tuple(map(float, values)))
