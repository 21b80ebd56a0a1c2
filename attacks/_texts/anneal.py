"""Texts whose first attention adds up to what was recorded: annealed Gibbs sampling over tokens, by table.

The invariant: every replacement of a token is weighed exactly, all tokens of the table at once, and no model is run.

What of the vector cannot be explained yet is taken to have the population's covariance, times a share that falls; with
it a chain moves from texts that are roughly right to texts that are right to the last bit of rounding. The prior is how
public texts are worded: which wording a text has, where that is known (`attacks._texts.frames`), else which token
follows which and stands where.

Reference: Geman & Geman, Stochastic Relaxation, Gibbs Distributions, and the Bayesian Restoration of Images, 1984.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks._base.targets import Floats
from attacks._texts.frames import Frame
from attacks._texts.looks import Looks
from attacks._texts.phrases import Phrases

Columns = NDArray[np.int64]

_WEIGHED = 12
"""Exchanges of two tokens whose prior is worked out."""

_FINE = 1e-3
"""Shares below which differences are so small that they are computed in double precision."""


@dataclass(frozen=True, slots=True, eq=False)
class Aim:
    """What chains are to add up to.

    Attributes:
        vector: the first attention's part of what was recorded, ``[width]``.
        variance: of rounding and noise in it, ``[width]``.
        population: covariance of one public text's, ``[width, width]``.
        scale: what bounding leaves of a text's activations, on average.
    """

    vector: Floats
    variance: Floats
    population: Floats
    scale: float = 1.0


class Chains:
    """Some guesses at the texts behind one vector, each of k texts, that are improved side by side.

    Args:
        looks: tables of the first attention.
        phrases: the prior.
        aim: what a guess is to add up to.
        labels: classes of each chain's texts, ``[chains, k]``.
        texts: each chain's k texts, as columns of the tables.
        active: so many first columns may be put into a text.
        frames: the wording of each text, whose prior then stands in the place of that of phrases.
    """

    def __init__(
        self,
        looks: Looks,
        phrases: Phrases,
        aim: Aim,
        labels: NDArray[np.int64],
        texts: Sequence[Sequence[Columns]],
        active: int,
        frames: Sequence[Sequence[Frame]] | None = None,
    ) -> None:
        self.looks, self.phrases, self.aim, self.frames = looks, phrases, aim, frames
        self.labels, self.active = labels, active
        self.texts = [[text.copy() for text in chain] for chain in texts]
        self.count = labels.shape[1]
        self._heads = looks.first.weight.reshape(len(looks.bias), looks.first.n_heads, -1)
        self._heads = self._heads * looks.first.backbone.sites.multiplier * aim.scale / self.count
        self._flat = np.ascontiguousarray(self._heads.reshape(len(self._heads), -1).T)
        self._refresh()

    def _refresh(self) -> None:
        sums = [
            [self.looks.sums(int(label), text) for label, text in zip(labels, texts, strict=True)]
            for labels, texts in zip(self.labels, self.texts, strict=True)
        ]
        self._above: Floats = np.array([[each[0] for each in chain] for chain in sums])
        self._below: Floats = np.array([[each[1] for each in chain] for chain in sums])

    def copy(self, active: int) -> Chains:
        """The same chains, to go on with apart from these."""
        return Chains(self.looks, self.phrases, self.aim, self.labels, self.texts, active, self.frames)

    def keep(self, chosen: Sequence[int]) -> None:
        """Go on with these chains alone."""
        self.labels = self.labels[list(chosen)]
        self.texts = [self.texts[i] for i in chosen]
        self.frames = [self.frames[i] for i in chosen] if self.frames is not None else None
        self._above, self._below = self._above[list(chosen)], self._below[list(chosen)]

    def left(self) -> Floats:
        """What each chain leaves unexplained, ``[chains, width]``."""
        heads = self._above / self._below[..., None]
        made = heads.sum(axis=1).reshape(len(heads), -1) @ self._flat
        return np.asarray(self.aim.vector - self.aim.scale * self.looks.bias - made)

    def residuals(self) -> Floats:
        """Mean square of what is left, in units of rounding and noise, ``[chains]``: about 1 is all explained."""
        return np.asarray(np.mean(self.left() ** 2 / self.aim.variance, axis=1))

    def energies(self, share: float) -> Floats:
        """Minus the logarithm of each chain's posterior, up to a constant, ``[chains]``."""
        white = np.linalg.inv(np.linalg.cholesky(self._covariance(share)))
        prior = [self._prior(r, range(self.count)) for r in range(len(self.texts))]
        return np.asarray(0.5 * np.sum((self.left() @ white.T) ** 2, axis=1) - np.array(prior))

    def _covariance(self, share: float) -> Floats:
        scaled = share * self.aim.scale**2 / self.count * self.aim.population
        return np.asarray(scaled + np.diag(self.aim.variance))

    def sweep(
        self, share: float, rng: np.random.Generator | None, *, narrow: bool = False, exchange: bool = True
    ) -> bool:
        """Draw every token anew, given all others; without a generator, take the likeliest.

        Args:
            share: of one text's covariance that is expected to stay unexplained.
            rng: of the draws.
            narrow: draw among the tokens alone that a text's wording has in the place.
            exchange: let tokens change places, too.

        Returns:
            Whether any token changed.
        """
        white = np.linalg.inv(np.linalg.cholesky(self._covariance(share)))
        kind = np.float64 if share < _FINE else np.float32
        metric = np.ascontiguousarray(np.tensordot(white, self._heads, axes=1).transpose(1, 0, 2))
        values: NDArray[np.floating] = self.looks.values[: self.active].astype(kind)
        seen = np.matmul(values.transpose(1, 0, 2), metric.transpose(0, 2, 1).astype(kind)).transpose(1, 0, 2)
        own = np.matmul(seen, seen.transpose(0, 2, 1))
        aim = white @ (self.aim.vector - self.aim.scale * self.looks.bias)
        changed = False
        order = rng.permutation(self.count) if rng is not None else np.arange(self.count)
        for which in order:
            made = np.einsum("rkhd,hvd->rkv", self._above / self._below[..., None], metric)
            wanted = aim - made.sum(axis=1) + made[:, which]
            alike = [self._there(r, int(which)) for r in range(len(self.texts))]
            longest = max(len(chain[which]) for chain in self.texts)
            places = rng.permutation(longest) if rng is not None else np.arange(longest)
            for distance in places:
                rows = [r for r, chain in enumerate(self.texts) if len(chain[which]) > distance]
                among = self._open(int(which), int(distance), rows) if narrow else None
                if among is not None and len(among) < 2:
                    continue
                changed |= self._update(
                    int(which), int(distance), rows, wanted[rows], alike, metric, values, own, rng, among
                )
        self._refresh()
        return (exchange and self._exchange(white, rng)) or changed

    def _exchange(self, white: Floats, rng: np.random.Generator | None) -> bool:
        """Let two tokens of a chain change places, within a text or between two: what no single replacement can do."""
        changed = False
        for r, chain in enumerate(self.texts):
            for one in range(self.count):
                for other in range(one, self.count):
                    pair = self._best_exchange(r, one, other, white, rng)
                    if pair is None:
                        continue
                    changed = True
                    i, j = pair
                    chain[one][i], chain[other][j] = chain[other][j], chain[one][i]
                    for which in {one, other}:
                        sums = self.looks.sums(int(self.labels[r, which]), chain[which])
                        self._above[r, which], self._below[r, which] = sums
        return changed

    def _best_exchange(
        self, r: int, one: int, other: int, white: Floats, rng: np.random.Generator | None
    ) -> tuple[int, int] | None:
        first, second = self.texts[r][one], self.texts[r][other]
        if one == other:
            i, j = np.triu_indices(len(first), 1)
        else:
            i, j = (grid.ravel() for grid in np.indices((len(first), len(second))))
        i, j = (index[first[i] != second[j]] for index in (i, j))
        if self.frames is not None:
            here, there = self.frames[r][one], self.frames[r][other]
            kept = here.opens(i, second[j]) & there.opens(j, first[i])
            i, j = i[kept], j[kept]
        if not len(i):
            return None
        left = self.left()[r]
        made = self._added(r, one, i, second[j]) + self._added(r, other, j, first[i])
        if one == other:
            made = self._added(r, one, i, second[j], j, first[i])
        before = self._prior(r, {one, other})
        scores = -0.5 * np.sum(((left - made) @ white.T) ** 2, axis=1)
        # The prior of a few, those that the vector likes best.
        few = np.argsort(-scores, kind="stable")[:_WEIGHED]
        found: list[float] = []
        for index in few:
            first[i[index]], second[j[index]] = second[j[index]], first[i[index]]
            found.append(float(scores[index]) + self._prior(r, {one, other}))
            first[i[index]], second[j[index]] = second[j[index]], first[i[index]]
        found.append(-0.5 * float(np.sum((white @ left) ** 2)) + before)
        values = np.array(found)
        if rng is not None:
            values = values + rng.gumbel(size=values.shape)
        best = int(np.argmax(values))
        return None if best == len(few) else (int(i[few[best]]), int(j[few[best]]))

    def _prior(self, r: int, which: Iterable[int]) -> float:
        """Log-probability of some texts of a chain."""
        if self.frames is None:
            return sum(self.phrases.of(self.texts[r][m]) for m in which)
        texts = self.texts[r]
        return sum(float(self.frames[r][m].prior[np.arange(len(texts[m])), texts[m]].sum()) for m in which)

    def _there(self, r: int, which: int) -> Floats | None:
        """What a text's wording or public texts alike say of each place, ``[length, tokens]``."""
        if self.frames is not None:
            return self.frames[r][which].prior
        return self.phrases.alike(self.texts[r][which])

    def _open(self, which: int, distance: int, rows: Sequence[int]) -> Columns | None:
        """Tokens that the wording of any of these chains has in a place; None where wordings are not known."""
        if self.frames is None:
            return None
        frames = {id(self.frames[r][which]): self.frames[r][which] for r in rows}
        found = [frame.open[-1 - distance] for frame in frames.values()]
        return found[0] if len(found) == 1 else np.unique(np.concatenate(found))

    def _added(
        self,
        r: int,
        which: int,
        places: Columns,
        tokens: Columns,
        others: Columns | None = None,
        instead: Columns | None = None,
    ) -> Floats:
        """What the output gains where a token (or two) of a text is replaced, ``[cases, width]``."""
        text, label = self.texts[r][which], int(self.labels[r, which])
        above, below = self._above[r, which], self._below[r, which]
        gained = np.zeros((len(places), *above.shape))
        weight = np.zeros((len(places), *below.shape))
        for at, new in ((places, tokens), (others, instead)):
            if at is None or new is None:
                continue
            looks = self.looks.weights(label)[len(text) - 1 - at]
            was, now = looks[np.arange(len(at)), text[at]], looks[np.arange(len(at)), new]
            gained += now[..., None] * self.looks.values[new] - was[..., None] * self.looks.values[text[at]]
            weight += now - was
        heads = (above + gained) / (below + weight)[..., None] - above / below[..., None]
        return np.asarray(heads.reshape(len(heads), -1) @ self._flat)

    def _update(
        self,
        which: int,
        distance: int,
        rows: list[int],
        wanted: Floats,
        alike: Sequence[Floats | None],
        metric: Floats,
        values: NDArray[np.floating],
        own: NDArray[np.floating],
        rng: np.random.Generator | None,
        among: Columns | None,
    ) -> bool:
        places = [len(self.texts[r][which]) - 1 - distance for r in rows]
        old = np.array([self.texts[r][which][place] for r, place in zip(rows, places, strict=True)])
        weights = np.stack([self.looks.weights(int(self.labels[r, which]))[distance] for r in rows])
        picked = weights[np.arange(len(rows)), old].astype(np.float64)
        above = self._above[rows, which] - picked[..., None] * self.looks.values[old]
        below = self._below[rows, which] - picked
        chosen = slice(self.active) if among is None else among
        weights = weights[:, chosen]
        scores = -0.5 * _misfit(wanted, above, below, weights, metric, values[chosen], own[chosen])
        for i, (r, place) in enumerate(zip(rows, places, strict=True)):
            there = alike[r]
            if there is not None:
                scores[i] += there[place, chosen]
            if self.frames is not None:
                continue
            text = self.texts[r][which]
            before = int(text[place - 1]) if place else self.phrases.end
            behind = int(text[place + 1]) if place + 1 < len(text) else self.phrases.end
            scores[i] += self.phrases.after(before)[: self.active]
            scores[i] += self.phrases.before(behind)[: self.active]
        if rng is not None:
            scores = scores + rng.gumbel(size=scores.shape)
        best = np.argmax(scores, axis=1)
        picked = weights[np.arange(len(rows)), best].astype(np.float64)
        new = best if among is None else among[best]
        self._above[rows, which] = above + picked[..., None] * self.looks.values[new]
        self._below[rows, which] = below + picked
        for r, place, token in zip(rows, places, new, strict=True):
            self.texts[r][which][place] = token
        return bool((new != old).any())


def _misfit(
    wanted: Floats,
    above: Floats,
    below: Floats,
    weights: NDArray[np.float32],
    metric: Floats,
    values: NDArray[np.floating],
    own: NDArray[np.floating],
) -> Floats:
    """Squared distance to what is wanted with each token in the open place, ``[chains, tokens]``.

    The square of ``Σ_h M_h (A_h + w_h v_h) / (B_h + w_h) - y`` is multiplied out, so that tokens meet chains in one
    product of matrices for each head.

    Args:
        wanted: y, ``[chains, d]``.
        above: A, numerators without the open place, ``[chains, heads, head width]``.
        below: B, denominators likewise, ``[chains, heads]``.
        weights: w, ``[chains, tokens, heads]``.
        metric: M, ``[heads, d, head width]``.
        values: v, ``[tokens, heads, head width]``.
        own: ``v_h M_h M_g v_g``, ``[tokens, heads, heads]``.
    """
    kind = values.dtype
    chains, heads = below.shape
    known = np.matmul(metric, above[..., None])[..., 0]
    known = np.concatenate([known, -wanted[:, None]], axis=1)
    inner = known @ known.transpose(0, 2, 1)
    # Coefficients of what is known: one for each head, and 1 for y.
    low = (1 / (below[:, None] + weights)).astype(kind)
    high = low * weights.astype(kind)
    met = np.empty((chains, len(values), heads, heads + 1), dtype=kind)
    for h in range(heads):
        seen = (known @ metric[h]).astype(kind)
        product = values[:, h] @ seen.reshape(-1, seen.shape[-1]).T
        met[:, :, h] = product.reshape(len(values), chains, heads + 1).transpose(1, 0, 2)
    full = np.concatenate([low, np.ones((*low.shape[:2], 1), dtype=kind)], axis=2)
    fixed = ((full @ inner.astype(kind)) * full).sum(axis=2)
    cross = (high * (met @ full[..., None])[..., 0]).sum(axis=2)
    square = (high * (own @ high[..., None])[..., 0]).sum(axis=2)
    return np.asarray(fixed + 2 * cross + square, dtype=np.float64)
