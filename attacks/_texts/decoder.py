"""A small causal transformer that writes the first text of a mixture, and how it is trained.

The invariant: it is trained on the processor from a stated seed, so the same pairs give the same decoder; and what is
kept of training is the decoder under which held-out public texts were likeliest.

References: Rep2Text, arXiv 2511.06571, and GEIA, arXiv 2305.03010 (an adapter from a vector to prefix tokens of a
decoder); Song and Raghunathan, arXiv 2004.00053 (words from a vector by a linear model).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from attacks._texts.pairs import END, OTHER, Pairs

_UNSAID = max(OTHER, END) + 1
"""Columns that are no tokens."""
_PREFIX = 4
_HEADS = 4
_HIDDEN = 256
_RATE, _WARMUP, _DECAY = 3e-3, 50, 0.02
_JITTER = (0.8, 1.25)
"""The noise of an example is so many times the declared one: precision is known up to a class of precisions."""
_ONE_CLASS = 0.25
"""Share of mixtures whose texts are all of one class."""
_MISREAD = 0.5
"""Share of examples in which one of the texts that were taken off was another than the right one."""
_HELD = 192
"""Mixtures of held-out texts."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a decoder is trained, and how large it is.

    Attributes:
        recombined: texts put together for each public text.
        steps: the most updates.
        batch: mixtures of each update.
        every: updates between two looks at held-out texts.
        patience: looks without a gain after which training ends.
        width, layers: of the decoder.
    """

    recombined: int = 12
    steps: int = 300
    batch: int = 64
    every: int = 50
    patience: int = 4
    width: int = 96
    layers: int = 2


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """What a decoder is shown of some mixtures.

    Attributes:
        points: what is left about the means of its classes, scaled, float32 ``[rows, directions]``.
        labels: class of the text to be written, int64 ``[rows]``.
        count: texts that are left, likewise.
        total: texts there were, likewise.
    """

    points: NDArray[np.float32]
    labels: NDArray[np.int64]
    count: NDArray[np.int64]
    total: NDArray[np.int64]

    def rows(self, times: int) -> Mixed:
        """Every row so many times over."""
        return Mixed(
            np.repeat(self.points, times, axis=0),
            np.repeat(self.labels, times),
            np.repeat(self.count, times),
            np.repeat(self.total, times),
        )


class Mixer:
    """Draws mixtures, and says which text of each is to be written.

    A set of texts is told in one order: by class, then by tokens. A set has one such order, so every mixture has one
    right answer; and since the texts that were written are taken off the vector, what is left is a mixture again, and
    no more than one text is ever written at a time. Matching answers to texts in the loss (Hungarian) would cost a
    pass for every pair of them, and leave it to chance which of two like places writes which text.

    Args:
        pairs: single texts.
        counts: how many texts vectors stand for, which the attack knows or guesses.
    """

    def __init__(self, pairs: Pairs, counts: tuple[int, ...]) -> None:
        self.pairs, self.counts = pairs, np.array(counts)
        labels = pairs.labels[: pairs.held]
        self._of_class = np.argsort(labels, kind="stable")
        self._starts = np.searchsorted(labels[self._of_class], np.arange(len(pairs.means) + 1))
        self._sorted = np.argsort(pairs.rank[: pairs.held], kind="stable")

    def draw(
        self, size: int, rng: np.random.Generator, *, held: bool = False
    ) -> tuple[Mixed, NDArray[np.int64]]:
        """So many mixtures, of texts that are trained with or that are held out, and the texts to be written."""
        pairs = self.pairs
        total = rng.choice(self.counts, size=size)
        count = rng.integers(1, total + 1)
        most = int(total.max())
        low, high = (pairs.held, len(pairs.points)) if held else (0, pairs.held)
        chosen = rng.integers(low, high, size=(size, most))
        if not held:
            same = np.flatnonzero(rng.random(size) < _ONE_CLASS)
            label = pairs.labels[chosen[same, 0]]
            begin, sizes = self._starts[label], self._starts[label + 1] - self._starts[label]
            chosen[same] = self._of_class[
                begin[:, None] + (rng.random((len(same), most)) * sizes[:, None]).astype(np.int64)
            ]
        there = np.arange(most) < count[:, None]
        left = np.einsum("rm,rmd->rd", there.astype(np.float32), pairs.points[chosen])
        first = chosen[
            np.arange(size), np.where(there, pairs.rank[chosen], np.iinfo(np.int64).max).argmin(axis=1)
        ]
        wrong = np.flatnonzero((count < total) & (rng.random(size) < _MISREAD)) if not held else ()
        if len(wrong):
            # Neighbours in the order are worded alike, as a wrong guess and the right one are.
            at = rng.integers(len(self._sorted), size=len(wrong))
            other = np.minimum(at + rng.integers(1, 4, size=len(wrong)), len(self._sorted) - 1)
            left[wrong] += pairs.points[self._sorted[at]] - pairs.points[self._sorted[other]]
        noise = total[:, None] * np.sqrt(pairs.space.rounding) * rng.uniform(*_JITTER, size=(size, 1))
        points = (left + noise * rng.standard_normal(left.shape)) / count[:, None]
        scaled = (points * pairs.scale(count, total)).astype(np.float32)
        return Mixed(scaled, pairs.labels[first], count, total), first


def word_probe(pairs: Pairs, counts: tuple[int, ...]) -> NDArray[np.float32]:
    """Ridge regression from scaled points to how much oftener than usual each token occurs, ``[directions, columns]``.

    Fitted to mixtures of the most texts, by their covariances, which are those of single texts over their number.
    Every column is brought to a spread of 1.
    """
    most = np.array([max(counts)])
    size = len(pairs.vocabulary) + 2
    learned = slice(0, pairs.held)
    points, tokens = pairs.points[learned].astype(np.float64), pairs.tokens[learned]
    inside = np.arange(tokens.shape[1]) < pairs.lengths[learned][:, None] - 1
    rows = np.nonzero(inside)[0]
    together = np.zeros((size, points.shape[1]))
    for start in range(0, len(points), 2048):
        part = (rows >= start) & (rows < start + 2048)
        bags = np.zeros((min(2048, len(points) - start), size))
        np.add.at(bags, (rows[part] - start, tokens[inside][part]), 1.0)
        together += bags.T @ points[start : start + 2048]
    scale = pairs.scale(most, most)[0]
    covariance = points.T @ points / len(points) / most + np.diag(pairs.space.rounding)
    covariance = scale[:, None] * covariance * scale
    covariance += 1e-3 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    weights = np.linalg.solve(covariance, (together / len(points) / most * scale).T)
    spread = np.sqrt(np.einsum("dc,de,ec->c", weights, covariance, weights, optimize=True))
    weights[:, :_UNSAID] = 0.0
    return np.asarray(weights / np.maximum(spread, 1e-3 * spread.max() + 1e-12), dtype=np.float32)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.asks, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        rows, length, width = x.shape
        asked = self.asks(self.before(x)).view(rows, length, 3, _HEADS, width // _HEADS)
        query, key, value = asked.permute(2, 0, 3, 1, 4)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=past is None)
        x = x + self.out(seen.transpose(1, 2).reshape(rows, length, width))
        x = x + self.down(F.gelu(self.up(self.between(x))))
        return x, (key, value)


class Decoder(nn.Module):
    """From what is left of a mixture to the tokens of its first text.

    An adapter makes prefix tokens of the vector. Beside it a linear map tells how much oftener than usual each token
    occurs (`word_probe` at first), which is added to the decoder's own opinion, as much as it asks for in each place.

    Args:
        probe: ``[directions, columns]``.
        classes: how many.
        longest: tokens of the longest text with its end.
        most: the most texts of a mixture.
        effort: width and layers.
    """

    def __init__(self, probe: Tensor, classes: int, longest: int, most: int, effort: Effort) -> None:
        super().__init__()
        directions, columns = probe.shape
        width = effort.width
        self.longest = longest
        self.probe = nn.Parameter(probe.clone())
        self.adapter = nn.Sequential(
            nn.Linear(directions, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, _PREFIX * width)
        )
        self.straight = nn.Linear(directions, width)
        self.embedding = nn.Embedding(columns, width)
        self.label, self.count = nn.Embedding(classes, width), nn.Embedding(most + 1, width)
        self.place = nn.Parameter(0.02 * torch.randn(_PREFIX + 1 + longest, width))
        self.blocks = nn.ModuleList(_Block(width) for _ in range(effort.layers))
        self.last, self.asks, self.bias = (
            nn.LayerNorm(width),
            nn.Linear(width, 1),
            nn.Parameter(torch.zeros(columns)),
        )
        nn.init.normal_(self.embedding.weight, std=0.05)

    def begin(self, mixed: Mixed) -> tuple[Tensor, Tensor]:
        """What stands before a text, ``[rows, prefix + 1, width]``, and how often tokens occur, ``[rows, columns]``."""
        points = torch.from_numpy(mixed.points)
        words = points @ self.probe
        prefix = self.adapter(points).view(len(points), _PREFIX, -1)
        first = self.straight(points) + 0.1 * (words @ self.embedding.weight)
        first = first + self.label(torch.from_numpy(mixed.labels)) + self.count(torch.from_numpy(mixed.count))
        return torch.cat([prefix, first[:, None]], dim=1), words

    def logits(
        self, hidden: Tensor, words: Tensor, past: list[tuple[Tensor, Tensor]] | None = None, at: int = 0
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """What comes next behind each of these places, and what later ones need of them."""
        x = hidden + self.place[at : at + hidden.shape[1]]
        kept = []
        for number, block in enumerate(self.blocks):
            x, seen = block(x, None if past is None else past[number])
            kept.append(seen)
        x = self.last(x)
        asked = F.softplus(self.asks(x)) * words[:, None]
        return x @ self.embedding.weight.T + self.bias + asked, kept

    def forward(self, mixed: Mixed, tokens: Tensor) -> Tensor:
        """Logits of every token of some texts given those before, ``[rows, length, columns]``."""
        before, words = self.begin(mixed)
        hidden = torch.cat([before, self.embedding(tokens[:, :-1])], dim=1)
        return self.logits(hidden, words)[0][:, _PREFIX:]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Trained:
    """A decoder as it came out of training.

    Attributes:
        decoder: the one under which held-out texts were likeliest.
        loss: of held-out texts, nats for each token.
        steps: updates until then.
    """

    decoder: Decoder
    loss: float
    steps: int

    def __repr__(self) -> str:
        return f"Trained(loss={self.loss:.3f}, steps={self.steps})"


def new_decoder(pairs: Pairs, counts: tuple[int, ...], effort: Effort, seed: int) -> Decoder:
    """An untrained decoder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        probe = torch.from_numpy(word_probe(pairs, counts))
        return Decoder(probe, len(pairs.means), pairs.tokens.shape[1], max(counts), effort)


def train(
    pairs: Pairs, counts: tuple[int, ...], effort: Effort, seed: int, progress: Callable[[int, int], None]
) -> Trained:
    """Train a decoder on mixtures that are drawn anew for every update.

    Args:
        pairs: single texts.
        counts: how many texts vectors stand for.
        effort: how long.
        seed: of all draws.
        progress: told of updates, and how many there are at most.
    """
    decoder, mixer = new_decoder(pairs, counts, effort, seed), Mixer(pairs, counts)
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=_RATE, weight_decay=_DECAY, betas=(0.9, 0.98))
    rng = np.random.default_rng([seed, 37])
    aside = mixer.draw(_HELD, np.random.default_rng([seed, 41]), held=True)
    kept, best, at, since = _state(decoder), float("inf"), 0, 0
    for step in range(1, effort.steps + 1):
        rate = _RATE * min(1.0, step / _WARMUP) * (1 - (step - 1) / effort.steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        mixed, texts = mixer.draw(effort.batch, rng)
        with torch.inference_mode(False), torch.enable_grad():
            loss = _loss(decoder, pairs, mixed, texts)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
            optimiser.step()
        if step % effort.every == 0 or step == effort.steps:
            with torch.no_grad():
                found = float(_loss(decoder, pairs, *aside))
            since += 1
            if found < best:
                kept, best, at, since = _state(decoder), found, step, 0
            progress(step, effort.steps)
            if since >= effort.patience:
                break
    decoder.load_state_dict(kept)
    return Trained(decoder.eval(), best, at)


def _state(decoder: Decoder) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in decoder.state_dict().items()}


def _loss(decoder: Decoder, pairs: Pairs, mixed: Mixed, texts: NDArray[np.int64]) -> Tensor:
    lengths = pairs.lengths[texts]
    tokens = torch.from_numpy(pairs.tokens[texts, : lengths.max()])
    inside = torch.arange(tokens.shape[1]) < torch.from_numpy(lengths)[:, None]
    return F.cross_entropy(decoder(mixed, tokens)[inside], tokens[inside])


def sample(decoder: Decoder, mixed: Mixed, heats: NDArray[np.float32], seed: int) -> list[tuple[int, ...]]:
    """A text for each row, as columns of the vocabulary without `END`.

    Args:
        decoder: trained.
        mixed: what is left of each mixture.
        heats: temperature of each row; 0 for the likeliest token everywhere.
        seed: of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    heat = torch.from_numpy(np.maximum(heats, 1e-3))[:, None]
    rows: list[list[int]] = [[] for _ in heats]
    with torch.no_grad():
        hidden, words = decoder.begin(mixed)
        past, at = None, 0
        done = torch.zeros(len(heats), dtype=torch.bool)
        for _ in range(decoder.longest - 1):
            logits, past = decoder.logits(hidden, words, past, at)
            at += hidden.shape[1]
            logits = logits[:, -1] / heat
            logits[:, OTHER] = -torch.inf
            token = torch.multinomial(torch.softmax(logits, dim=1), 1, generator=generator)[:, 0]
            done |= token == END
            if bool(done.all()):
                break
            for row in torch.nonzero(~done)[:, 0].tolist():
                rows[row].append(int(token[row]))
            hidden = decoder.embedding(token)[:, None]
    return [tuple(row) for row in rows]


def next_likeliest(decoder: Decoder, mixed: Mixed, text: tuple[int, ...], count: int) -> NDArray[np.int64]:
    """For each place of a text, the likeliest tokens there given those before, ``[length, count]``."""
    with torch.no_grad():
        tokens = torch.tensor([[*text, END]])
        logits = decoder(mixed, tokens)[0, :-1]
        logits[:, :_UNSAID] = -torch.inf
        return np.asarray(torch.topk(logits, min(count, logits.shape[1] - _UNSAID), dim=1).indices.numpy())


def most_missing(decoder: Decoder, points: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The tokens of which a difference of two texts holds the most, by the linear map alone, ``[count]``."""
    with torch.no_grad():
        words = torch.from_numpy(points) @ decoder.probe
        words[:_UNSAID] = -torch.inf
        return np.asarray(torch.topk(words, min(count, len(words) - _UNSAID)).indices.numpy())
