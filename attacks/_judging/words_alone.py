"""Whether members and others can be told apart without any model: the check that a membership figure means anything.

The invariant: it reads the truth and no vector. Where it does well, members and others are of different distributions,
and a good score of an attack may be nothing else.

References:
    Meeus et al., SoK: membership inference attacks on LLMs are rushing nowhere, arXiv 2406.17975; Das, Zhang & Tramèr,
    Blind baselines beat membership inference attacks, arXiv 2406.16201.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import Scores

WORDS = "words alone"
_RIDGE = 10.0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class WordsAlone:
    """Ridge regression of membership on bags of words, fitted to one half of the pool and scoring the other.

    Attributes:
        linear: from centred labels to scores, ``[n, n]``, one block for each half.
        half: which candidates are in the first half.
    """

    linear: NDArray[np.float64]
    half: NDArray[np.bool_]

    @classmethod
    def of(cls, pool: Sequence[frozenset[int]], seed: int) -> WordsAlone:
        """Prepare for a pool, given as each candidate's different content tokens; ``seed`` draws the halves."""
        tokens = sorted(frozenset().union(*pool))
        at = {token: i for i, token in enumerate(tokens)}
        bags = np.zeros((len(pool), len(tokens)))
        for row, words in enumerate(pool):
            bags[row, [at[token] for token in words]] = 1.0
        half = np.random.default_rng([seed, 13]).permutation(len(pool)) % 2 == 0
        linear = np.zeros((len(pool), len(pool)))
        for fitted in (half, ~half):
            known = bags[fitted] - bags[fitted].mean(axis=0)
            asked = bags[~fitted] - bags[fitted].mean(axis=0)
            # In the dual: candidates are fewer than words.
            inner = known @ known.T + _RIDGE * np.eye(len(known))
            linear[np.ix_(~fitted, fitted)] = np.linalg.solve(inner, known @ asked.T).T
        return cls(linear, half)

    def scores(self, members: frozenset[int]) -> Scores:
        """What somebody who was told the members in one half would say of the other."""
        labels = np.isin(np.arange(len(self.half)), list(members)).astype(np.float64)
        centred = labels.copy()
        for part in (self.half, ~self.half):
            centred[part] -= labels[part].mean()
        return Scores(tuple(map(float, self.linear @ centred)))
