"""Wordings that many public texts share: which one a text has, and what may stand in each of its places.

The invariant: nothing but public texts is counted, and no token is impossible anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from attacks._base.targets import Floats
from attacks._texts.phrases import ALIKE

_LEAST = 8
"""Texts of one wording below which what its places hold is no count."""
_COVERED = 0.5
"""Share of public texts that must be worded as others are for wordings to be of use."""
_ODD = 0.02
"""Share of tokens that are any token at all, whatever their place."""
_SAME = 0.1
"""Cosine of what two places hold from which on they are taken to hold the same kind of token."""
_TRIES, _ROUNDS, _HEAT = 64, 8, 64.0
"""Walks among wordings, how many rounds each has, and the temperature of the first."""
_DOUBT = 4.0
"""What is left out of the likelihood of wordings makes it too sure; so many times."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One wording.

    Attributes:
        texts: numbers of the public texts that have it.
        prior: log-probability of every token in each place, ``[length, tokens]``.
        open: in each place, the tokens that stand there or in places of the same kind.
    """

    texts: NDArray[np.int64]
    prior: Floats
    open: tuple[NDArray[np.int64], ...]
    _opens: NDArray[np.bool_]

    def opens(self, places: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each token is among those of its place."""
        return np.asarray(self._opens[places, tokens])


def frames_of(texts: Sequence[NDArray[np.int64]], size: int) -> tuple[Frame, ...]:
    """The wordings of public texts; none where most texts are worded as no other is.

    Places that hold the same tokens, in whatever wording, are counted together, by the cosine of their counts: a name
    that no text of the wording has is likely where other names stand.

    Args:
        texts: public texts, as columns of a table of ``size`` tokens.
        size: of the table.
    """
    groups = [np.array(group) for group in _groups(texts) if len(group) >= _LEAST]
    if sum(map(len, groups)) < _COVERED * len(texts):
        return ()
    held = [np.stack([texts[i] for i in group]) for group in groups]
    lengths = [rows.shape[1] for rows in held]
    at = np.concatenate(
        [
            np.tile(np.arange(n), len(rows)) + sum(lengths[:g])
            for g, (n, rows) in enumerate(zip(lengths, held, strict=True))
        ]
    )
    tokens = np.concatenate([rows.ravel() for rows in held])
    counts = sparse.csr_array((np.ones(len(at)), (at, tokens)), shape=(sum(lengths), size))
    norms = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1)).ravel())
    unit = sparse.csr_array(sparse.diags_array(1 / norms) @ counts)
    kind = (unit @ unit.T).tocsr()
    kind.data[kind.data < _SAME] = 0
    kind.eliminate_zeros()
    pooled = sparse.csr_array(kind @ counts)
    pooled = sparse.csr_array(sparse.diags_array(1 / np.asarray(pooled.sum(axis=1)).ravel()) @ pooled)
    often = np.bincount(np.concatenate(list(texts)), minlength=size) + 1e-3
    odd = _ODD * often / often.sum()
    found = []
    for g, group in enumerate(groups):
        part = pooled[sum(lengths[:g]) : sum(lengths[: g + 1])]
        share = part.toarray()
        inside = share > 0
        found.append(
            Frame(group, np.log((1 - _ODD) * share + odd), tuple(map(np.flatnonzero, inside)), inside)
        )
    return tuple(found)


def _groups(texts: Sequence[NDArray[np.int64]]) -> list[list[int]]:
    """Texts of the same length that agree in many places with the first of their group."""
    found: list[list[int]] = []
    for number, text in enumerate(texts):
        for group in found:
            first = texts[group[0]]
            if len(first) == len(text) and np.count_nonzero(first == text) >= ALIKE * len(text):
                group.append(number)
                break
        else:
            found.append([number])
    return found


def within(frames: Sequence[Frame], outputs: Sequence[Floats]) -> Floats:
    """Covariance of texts about the mean of their wording, ``[width, width]``.

    Args:
        frames: the wordings.
        outputs: by class, of public texts, ``[texts, width]``.
    """
    rows = [each[frame.texts] for each in outputs for frame in frames]
    inside = np.concatenate([each - each.mean(axis=0) for each in rows])
    return np.asarray(inside.T @ inside / max(1, len(inside) - len(rows)))


def likely_frames(
    frames: Sequence[Frame],
    outputs: Sequence[Floats],
    vector: Floats,
    covariance: Floats,
    wanted: int,
    rng: np.random.Generator,
) -> list[tuple[int, ...]]:
    """So many draws of which wording each text behind a vector has; a text is normal about the mean of its wording.

    Args:
        frames: the wordings.
        outputs: what public texts would add to the vector as its first text, as its second..., ``[texts, width]``.
        vector: what is to be explained.
        covariance: of all texts of the vector together about the means of their wordings, rounding and noise.
        wanted: draws.
        rng: of the draws.
    """
    white = np.linalg.inv(np.linalg.cholesky(covariance))
    aim = white @ vector
    made = np.stack(
        [np.stack([each[frame.texts].mean(axis=0) for frame in frames]) @ white.T for each in outputs]
    )
    often = np.log(np.array([len(frame.texts) for frame in frames]))
    every = np.arange(len(outputs))
    at = rng.integers(len(frames), size=(_TRIES, len(outputs)))
    for heat in np.geomspace(_HEAT, 1, _ROUNDS):
        for m in rng.permutation(len(outputs)):
            rest = aim - made[every, at].sum(axis=1) + made[m, at[:, m]]
            scores = often - 0.5 * np.sum((rest[:, None] - made[m]) ** 2, axis=2)
            at[:, m] = np.argmax(scores / heat + rng.gumbel(size=scores.shape), axis=1)
    several = np.unique(at, axis=0)
    left = aim - made[every, several].sum(axis=1)
    scores = often[several].sum(axis=1) - 0.5 * np.sum(left**2, axis=1)
    share = np.exp((scores - scores.max()) / _DOUBT)
    chosen = rng.choice(len(several), size=wanted, p=share / share.sum())
    return [tuple(row) for row in several[chosen].tolist()]
