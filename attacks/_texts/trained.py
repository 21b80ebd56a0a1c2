"""Whole texts by an inverter that the attacker trains: from vectors to texts, on public texts alone.

The invariant: what it is trained on follows from public texts and from what is declared, so a vector, its controls and
every other vector of as many examples meet the same inverter; and what it writes is checked by the public model.

References: Rep2Text, arXiv 2511.06571; Morris et al., Text Embeddings Reveal (Almost) As Much As Text, arXiv 2310.06816
(trained inversion, checked by embedding again).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from attacks._base.attack import Answer, Knowledge, Texts
from attacks._base.shelf import Arrays
from attacks._base.space import key_of_texts, seen
from attacks._base.targets import Floats, Target, rounding_variance
from attacks._mixes.mixture import CERTAIN
from attacks._texts.decoder import (
    Effort,
    Mixed,
    Trained,
    most_missing,
    new_decoder,
    next_likeliest,
    sample,
    train,
)
from attacks._texts.few import Told, few_examples
from attacks._texts.pairs import Pairs
from attacks._texts.wording import Encoder, Text, Wording
from defenses.codec import Precision
from ifedpriv.backbone.backbone import Backbone

MOST_TRAINED = 16
"""Examples behind a vector beyond which no decoder is trained."""
_VERSION = 1
_SAMPLES = 48
_HEATS = (0.0, 0.6, 1.0)
_SWAPS = 3
_POLISHED = 4
"""Texts of a vector up to which single tokens are replaced."""
_TRIED, _MISSING, _SWEEPS, _TOGETHER = 4, 8, 8, 12
"""Tokens tried in each place, those that are likely there and those that are missing at all; how often; at once."""
_UNEXPLAINED = 1e4
"""One over the share of one text's variance that a guess need not explain, as for soft tokens."""
EFFORT = Effort()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Inverter:
    """A trained decoder with the texts that it was trained on.

    Attributes:
        pairs: single public texts.
        trained: the decoder.
        shelved: whether it was taken from a shelf.
    """

    pairs: Pairs
    trained: Trained
    shelved: bool

    @property
    def facts(self) -> tuple[tuple[str, float], ...]:
        """What an auditor may want to know of it."""
        return (
            # As a shelf keeps it, so that an inverter from there says the same of itself.
            ("held-out loss", float(np.float32(self.trained.loss))),
            ("updates", float(self.trained.steps)),
            ("texts", float(self.pairs.held)),
        )


_INVERTERS: dict[str, Inverter] = {}
"""The last two inverters: of single uploads, and of the aggregate; their controls meet the same ones."""
_PAIRS: dict[str, Pairs] = {}
"""The last pairs, which do not depend on how many examples vectors stand for, nor on noise."""


def trained(
    backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]
) -> tuple[tuple[Answer, ...], tuple[tuple[str, float], ...]]:
    """Guess the texts behind each vector of at most `MOST_TRAINED` examples, and say how the inverter came out.

    The decoder writes texts one by one. Each is read by the public model and taken off the vector, and the next one is
    written from what is left. Of many such chains, texts are put together that come nearest to the vector.

    Raises:
        TooManyError: every vector stands for more examples.
    """
    wording = Wording.of(backbone, knowledge)
    told = few_examples(backbone, knowledge, targets, len(wording.tails), most=MOST_TRAINED, parts=True)
    encoder = Encoder(backbone, knowledge, wording)
    inverter = inverter_of(encoder, wording, told)
    answers = []
    for number, each in enumerate(told):
        knowledge.progress("writing texts", number, len(told))
        encoder.forget()
        before = encoder.forwards
        texts, certain = invert_one(inverter, encoder, each, knowledge.seed + 1000 * number)
        content = Texts(tuple(wording.bare(text.tokens) for text in texts), certain, each.labels)
        answers.append(Answer(each.target.who, content, encoder.forwards - before))
    knowledge.progress("writing texts", len(told), len(told))
    return tuple(answers), inverter.facts


def inverter_of(encoder: Encoder, wording: Wording, told: Sequence[Told]) -> Inverter:
    """The inverter for some vectors: the last one of the kind, or one from the shelf, or a new one."""
    knowledge, effort = encoder.knowledge, EFFORT
    counts = _counts(told)
    noise = _noise([each.target for each in told])
    decides = (_VERSION, knowledge.declared.bounds, noise, counts, knowledge.sites, knowledge.seed, effort)
    key = f"{key_of_texts(encoder.backbone, knowledge, knowledge.public)} {knowledge.labelled} {decides}"
    digest = hashlib.sha256(key.encode()).hexdigest()
    if digest in _INVERTERS:
        return _INVERTERS[digest]
    pairs = _pairs_of(encoder, wording).under(_variance(encoder, noise))
    kept = knowledge.shelf.take(digest) if knowledge.shelf is not None else None
    if kept is not None:
        made = _unpacked(kept, pairs, counts, effort, knowledge.seed)
    else:
        made = train(
            pairs,
            counts,
            effort,
            knowledge.seed,
            lambda step, steps: knowledge.progress("training the inverter", step, steps),
        )
        if knowledge.shelf is not None:
            knowledge.shelf.put(digest, _packed(made))
    while len(_INVERTERS) > 1:
        _INVERTERS.pop(next(iter(_INVERTERS)))
    _INVERTERS[digest] = Inverter(pairs, made, kept is not None)
    return _INVERTERS[digest]


def _pairs_of(encoder: Encoder, wording: Wording) -> Pairs:
    knowledge = encoder.knowledge
    decides = (
        knowledge.labelled,
        knowledge.declared.bounds,
        knowledge.sites,
        knowledge.seed,
        EFFORT.recombined,
    )
    key = f"{key_of_texts(encoder.backbone, knowledge, knowledge.public)} {decides}"
    if key not in _PAIRS:
        _PAIRS.clear()
        _PAIRS[key] = Pairs.of(encoder, wording, EFFORT.recombined)
    return _PAIRS[key]


def _variance(encoder: Encoder, noise: float) -> Floats:
    """Of rounding to fp16 and of noise beside it, in each number of a vector as ordinary as can be."""
    knowledge = encoder.knowledge
    public = seen(encoder.backbone, knowledge, knowledge.public, "reading public texts")
    rounding = rounding_variance(public.mean(axis=0, dtype=np.float64), Precision.FP16)
    release = knowledge.declared.mechanism
    if release is None or not release.noisy:
        return rounding + noise**2
    # Of a private release it is known how unlike the numbers are in this.
    return np.asarray(rounding + noise**2 * release.noise**2 / np.mean(release.noise**2), dtype=np.float64)


def _counts(told: Sequence[Told]) -> tuple[int, ...]:
    """Numbers of examples to train for: those that are told, or all where they are guessed."""
    if all(each.target.examples is not None for each in told):
        return tuple(sorted({len(each.labels) for each in told}))
    return tuple(range(1, MOST_TRAINED + 1))


def _noise(targets: Sequence[Target]) -> float:
    """Standard deviation of what vectors have beside rounding to fp16, on average, to a half of an octave."""
    beside = np.mean([np.mean(t.variance - rounding_variance(t.vector, Precision.FP16)) for t in targets])
    rounding = np.mean([np.mean(rounding_variance(t.vector, Precision.FP16)) for t in targets])
    if beside < 0.1 * rounding:
        return 0.0
    return float(2.0 ** (np.round(np.log2(beside)) / 2))


def _packed(made: Trained) -> Arrays:
    arrays = {name: value.numpy() for name, value in made.decoder.state_dict().items()}
    return {**arrays, "made": np.array([made.loss, made.steps], dtype=np.float32)}


def _unpacked(kept: Arrays, pairs: Pairs, counts: tuple[int, ...], effort: Effort, seed: int) -> Trained:
    decoder = new_decoder(pairs, counts, effort, seed)
    decoder.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in kept.items() if name != "made"})
    return Trained(decoder.eval(), float(kept["made"][0]), int(kept["made"][1]))


def invert_one(inverter: Inverter, encoder: Encoder, told: Told, seed: int) -> tuple[tuple[Text, ...], bool]:
    """Guess the texts behind one vector; also whether they account for it down to rounding."""
    pairs = inverter.pairs
    point = pairs.space.enter(told.target.vector)
    chains, made = _write(inverter, encoder, told.labels, point, seed)
    weights = pairs.space.weights(_UNEXPLAINED)
    texts, points = _choose(chains, made, point, weights)
    noisy = encoder.knowledge.declared.noisy
    if not noisy and len(texts) <= _POLISHED:
        texts = _polish(inverter, encoder, texts, points, point, weights)
    mask = np.broadcast_to(encoder.knowledge.sites.mask(encoder.backbone.n_layers), told.target.vector.shape)
    left = (told.target.vector - encoder(texts).mean(axis=0))[mask]
    residual = float(np.mean(left**2 / told.target.variance[mask]))
    return texts, residual <= CERTAIN and not noisy


def _left(pairs: Pairs, rest: Floats, labels: Sequence[int], total: int, count: int | None = None) -> Mixed:
    """What a decoder is shown of sums of some texts, ``[rows, directions]``, of which the first is to be written."""
    rows, many = len(rest), len(labels) if count is None else count
    number, totals = np.full(rows, many), np.full(rows, total)
    centred = rest / many - pairs.means[list(labels)].mean(axis=0)
    scaled = (centred * pairs.scale(number, totals)).astype(np.float32)
    return Mixed(scaled, np.full(rows, labels[0]), number, totals)


def _write(
    inverter: Inverter, encoder: Encoder, labels: tuple[int, ...], point: Floats, seed: int
) -> tuple[list[list[Text]], Floats]:
    """Chains of texts, ``[texts][chains]``, and how the model sees each, ``[texts, chains, directions]``."""
    pairs, total = inverter.pairs, len(labels)
    heats = np.array([_HEATS[row % len(_HEATS)] if row else 0.0 for row in range(_SAMPLES)], dtype=np.float32)
    rest = np.tile(total * point, (_SAMPLES, 1))
    chains: list[list[Text]] = []
    points = np.empty((total, _SAMPLES, len(point)))
    for number in range(total):
        mixed = _left(pairs, rest, labels[number:], total)
        said = sample(inverter.trained.decoder, mixed, heats, seed + number)
        texts = [Text(pairs.ids(columns), labels[number]) for columns in said]
        points[number] = pairs.space.enter(encoder(texts))
        rest = rest - points[number]
        chains.append(texts)
    return chains, points


def _choose(
    chains: Sequence[Sequence[Text]], made: Floats, point: Floats, weights: Floats
) -> tuple[tuple[Text, ...], Floats]:
    """The texts that come nearest to the vector together: the best chain, and exchanges with others of its class."""
    total = len(chains)
    labels = np.array([texts[0].label for texts in chains])
    scaled, aim = made * weights / total, point * weights
    best = int(np.argmin(np.sum((scaled.sum(axis=0) - aim) ** 2, axis=1)))
    at = [(number, best) for number in range(total)]
    for _ in range(_SWAPS):
        changed = False
        for number in range(total):
            others = sum((scaled[at[o]] for o in range(total) if o != number), np.zeros_like(aim))
            wanted = aim - others
            same = np.flatnonzero(labels == labels[number])
            far = np.sum((scaled[same] - wanted) ** 2, axis=2)
            row, chain = np.unravel_index(int(np.argmin(far)), far.shape)
            if far[row, chain] < np.sum((scaled[at[number]] - wanted) ** 2) * (1 - 1e-9):
                at[number], changed = (int(same[row]), int(chain)), True
        if not changed:
            break
    return tuple(chains[n][c] for n, c in at), np.stack([made[place] for place in at])


def _polish(
    inverter: Inverter,
    encoder: Encoder,
    texts: tuple[Text, ...],
    points: Floats,
    point: Floats,
    weights: Floats,
) -> tuple[Text, ...]:
    """Replace tokens by likely ones and by what is still missing, as long as the model comes nearer."""
    current, points = list(texts), points.copy()
    total = len(current)
    score = float(np.sum(((points.mean(axis=0) - point) * weights) ** 2))

    def tried(which: int, candidates: list[Text]) -> tuple[NDArray[np.float64], Floats]:
        seen = inverter.pairs.space.enter(encoder(candidates))
        means = points.mean(axis=0) + (seen - points[which]) / total
        return np.asarray(np.sum(((means - point) * weights) ** 2, axis=1)), seen

    for _ in range(_SWEEPS):
        before = score
        for which in range(total):
            changes = _changes(inverter, current, points, point, which)
            if not changes:
                continue
            scores, _ = tried(which, [_with(current[which], [change]) for change in changes])
            # The best of each place, then the first of those together, the first two, and so on.
            order = [int(i) for i in np.argsort(scores, kind="stable") if scores[i] < score]
            first: dict[int, int] = {}
            for i in order:
                first.setdefault(changes[i][0], i)
            chosen = [changes[i] for i in list(first.values())[:_TOGETHER]]
            if not chosen:
                continue
            together = [_with(current[which], chosen[: n + 1]) for n in range(len(chosen))]
            scores, seen = tried(which, together)
            best = int(np.argmin(scores))
            if scores[best] < score:
                score, current[which], points[which] = float(scores[best]), together[best], seen[best]
        if score >= before:
            break
    return tuple(current)


def _changes(
    inverter: Inverter, texts: Sequence[Text], points: Floats, point: Floats, which: int
) -> list[tuple[int, int]]:
    """Places of one of the texts and tokens to try there, given that the other texts are right."""
    pairs, text = inverter.pairs, texts[which]
    columns = tuple(pairs.columns_of(text.tokens))
    if not columns:
        return []
    rest = len(texts) * point - (points.sum(axis=0) - points[which])
    mixed = _left(pairs, rest[None], (text.label,), len(texts))
    decoder = inverter.trained.decoder
    likeliest = next_likeliest(decoder, mixed, columns, _TRIED + 1).tolist()
    scale = pairs.scale(mixed.count, mixed.total)[0]
    missing = most_missing(decoder, ((rest - points[which]) * scale).astype(np.float32), _MISSING).tolist()
    return [
        (place, pairs.ids([column])[0])
        for place, row in enumerate(likeliest)
        # A first token may hold characters of the template.
        for column in dict.fromkeys([*row, *missing] if place else row)
        if column != columns[place]
    ]


def _with(text: Text, changes: Sequence[tuple[int, int]]) -> Text:
    tokens = list(text.tokens)
    for place, token in changes:
        tokens[place] = token
    return Text(tuple(tokens), text.label)
