"""Whole texts out of vectors of few examples: by tables of the first attention, then checked by all layers.

The invariant: texts are called certain where they account for the vector in all layers, down to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import Answer, Knowledge, Texts
from attacks._base.space import key_of_texts, read
from attacks._base.targets import Floats, Target
from attacks._mixes.mixture import CERTAIN
from attacks._texts.anneal import Aim, Chains, Columns
from attacks._texts.few import Told, few_examples
from attacks._texts.first_block import FirstBlock
from attacks._texts.frames import Frame, frames_of, likely_frames, within
from attacks._texts.layer0 import FirstAttention
from attacks._texts.looks import Looks
from attacks._texts.phrases import ALIKE, Phrases
from attacks._texts.unmix import MOST_TOKENS
from attacks._texts.wording import Encoder, Text, Wording
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.icl.prompts import Position

_CHAINS = 10
_KEPT = 4
_BEGINNINGS, _ROUNDS = 3, 2
_SETTLING = 6
_FIRST = tuple(np.geomspace(0.3, 0.1, 4))
_THEN = tuple(np.geomspace(0.08, 0.01, 10))
_AGAIN = tuple(np.geomspace(0.15, 0.01, 10))

_WORDED = 8
"""Chains whose texts have wordings of public ones."""
_SWEEPS = (40, 120)
"""For each text, in each round."""
_NARROW, _WIDE = (0.6, 0.02), tuple(np.geomspace(0.02, 1e-3, 6))
"""Shares at which a place takes what its wording has there, and those at which it takes any token."""
_EXCHANGE = 10
"""Sweeps from one exchange of tokens to the next, which costs more than a sweep does."""


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """What is the same for all vectors: tables, public texts as columns of them, and the prior.

    Attributes:
        looks: tables of the first attention.
        phrases: the prior.
        public: public texts.
        seen: so many first columns occur in public texts.
        block: what bounding does to the first attention's part of a text, on average.
        outputs: of public texts under each class, as they are asked for, ``[texts, width]``.
        frames: wordings that many public texts share; none where most are worded as no other is.
    """

    looks: Looks
    phrases: Phrases
    public: tuple[Columns, ...]
    seen: int
    block: FirstBlock
    outputs: dict[int, Floats]
    frames: tuple[Frame, ...]

    @classmethod
    def of(cls, backbone: Backbone, knowledge: Knowledge, wording: Wording) -> World:
        """The world of one model, task and list of public texts.

        Raises:
            NotLinearError: the model's first attention cannot be looked up.
        """
        inner = wording.inner
        vocabulary = int(backbone.model.get_input_embeddings().weight.shape[0])
        seen = np.unique(np.concatenate([np.asarray(ids, dtype=np.int64) for ids in inner]))
        special = [i for i in backbone.tokenizer.all_special_ids if i is not None]
        unseen = np.setdiff1d(np.arange(vocabulary if vocabulary <= MOST_TOKENS else 0), [*seen, *special])
        longest = max(map(len, inner)) + 2
        looks = Looks(FirstAttention(backbone), wording, np.concatenate([seen, unseen]), longest, knowledge)
        values = read(backbone, knowledge, knowledge.public, "reading public texts")
        read_label = knowledge.position is not Position.PROMPT_END and len(wording.tails) > 1
        labels = [max(e.label, 0) if read_label else 0 for e in knowledge.public]
        if not read_label or knowledge.labelled:
            shown = [Text(ids, label) for ids, label in zip(inner, labels, strict=True)]
            looks.check(shown[:16], values[:16, 0, 0].astype(np.float64))
        public = tuple(looks.columns(ids) for ids in inner)
        return cls(
            looks,
            Phrases(public, len(looks.tokens)),
            public,
            len(seen),
            FirstBlock.of(backbone, knowledge),
            {},
            frames_of(public, len(looks.tokens)),
        )

    def under(self, label: int) -> Floats:
        """What the first attention adds for each public text under a class, ``[texts, width]``."""
        if label not in self.outputs:
            self.outputs[label] = self.looks.outputs(label, self.public)
        return self.outputs[label]


_WORLDS: dict[str, World] = {}
"""The last world, which single uploads, the aggregate and the controls share."""


def search(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> tuple[Answer, ...]:
    """Guess the texts behind each vector that stands for few examples.

    Chains of texts start from public texts whose first attention adds up to nearly what was recorded, are annealed by
    table (`attacks._texts.anneal`), and are checked by the model in all layers.

    Raises:
        NotLinearError: the model's first attention cannot be looked up.
        TooManyError: no vector stands for so few examples.
    """
    wording = Wording.of(backbone, knowledge)
    told = few_examples(backbone, knowledge, targets, len(wording.tails))
    key = f"{key_of_texts(backbone, knowledge, knowledge.public)} {knowledge.declared.bounds}"
    if key not in _WORLDS:
        _WORLDS.clear()
        _WORLDS[key] = World.of(backbone, knowledge, wording)
    world = _WORLDS[key]
    encoder = Encoder(backbone, knowledge, wording)
    answers = []
    for number, each in enumerate(told):
        knowledge.progress("searching texts", number, len(told))
        encoder.forget()
        before = encoder.forwards
        rng = np.random.default_rng([knowledge.seed, 23, number])
        guess = search_one(world, encoder, each, rng)
        texts = tuple(wording.bare(text) for text in guess.texts)
        content = Texts(texts, guess.certain, each.labels)
        answers.append(Answer(each.target.who, content, encoder.forwards - before))
    knowledge.progress("searching texts", len(told), len(told))
    return tuple(answers)


@dataclass(frozen=True, slots=True)
class Found:
    """The best texts so far.

    Attributes:
        texts: tokens of each.
        certain: whether all layers agree, down to rounding.
        residual: mean square of what is left in all layers, in units of rounding and noise.
    """

    texts: tuple[tuple[int, ...], ...]
    certain: bool
    residual: float


def search_one(world: World, encoder: Encoder, told: Told, rng: np.random.Generator) -> Found:
    """Guess the texts behind one vector: by wordings that public texts share, and a single one then by any tokens."""
    found = _by_wording(world, encoder, told, rng) if world.frames else None
    if found and (found.certain or encoder.knowledge.declared.noisy or len(told.labels) > 1):
        return found
    free = _freely(world, encoder, told, rng)
    return min([free, *([found] if found else [])], key=lambda each: each.residual)


def _by_wording(world: World, encoder: Encoder, told: Told, rng: np.random.Generator) -> Found:
    """Rounds in which every text has one of the wordings, each of more sweeps than the one before."""
    target, labels = told.target, told.labels
    count, noisy = len(labels), encoder.knowledge.declared.noisy
    outputs = [world.under(label) for label in labels]
    covariance = within(world.frames, outputs)
    aim = Aim(world.block.shown(target), target.variance[0, 0], covariance, world.block.scale)
    parts = [aim.scale / count * each for each in outputs]
    spread = aim.scale**2 / count * covariance + np.diag(aim.variance)
    best: Found | None = None
    for number, sweeps in enumerate(_SWEEPS[:1] if noisy else _SWEEPS):
        drawn = likely_frames(world.frames, parts, aim.vector, spread, _WORDED, rng)
        frames = [[world.frames[i] for i in each] for each in drawn]
        starts = [[world.public[rng.choice(frame.texts)] for frame in each] for each in frames]
        table = np.tile(np.array(labels), (_WORDED, 1))
        chains = Chains(world.looks, world.phrases, aim, table, starts, world.seen, frames)
        for at, share in enumerate(np.geomspace(*_NARROW, sweeps * count)):
            chains.sweep(share, rng, narrow=True, exchange=at % _EXCHANGE == _EXCHANGE - 1)
        chains.keep(np.argsort(chains.energies(_NARROW[1]), kind="stable")[:_KEPT].tolist())
        # Where the vector is not explained, the likeliest words of a wording are a better guess than any words.
        texts = [[text.copy() for text in chain] for chain in chains.texts]
        for share in _WIDE:
            chains.sweep(share, rng)
        # A token that no public text holds is tried once the others are settled.
        last = number == len(_SWEEPS) - 1
        texts += _settled(chains, len(world.looks.tokens) if last else world.seen)
        checked = [_check(world, encoder, told, each) for each in texts]
        best = min([*checked, *([best] if best else [])], key=lambda found: found.residual)
        if best.certain:
            break
    assert best is not None
    return best


def _settled(chains: Chains, active: int) -> list[list[Columns]]:
    """The likeliest tokens everywhere, of each chain, the likeliest chain first."""
    settled = chains.copy(active)
    for _ in range(_SETTLING):
        if not settled.sweep(0.0, None):
            break
    return [settled.texts[i] for i in np.argsort(settled.energies(0.0), kind="stable")]


def _freely(world: World, encoder: Encoder, told: Told, rng: np.random.Generator) -> Found:
    """A few rounds of annealing from a few beginnings, whatever the wording."""
    target, labels = told.target, told.labels
    outputs = [world.under(label) for label in labels]
    covariance = np.mean([np.cov(each.T) for each in outputs], axis=0)
    aim = Aim(world.block.shown(target), target.variance[0, 0], np.atleast_2d(covariance), world.block.scale)
    noisy = encoder.knowledge.declared.noisy
    best: Found | None = None
    for number in range(1 if noisy else _BEGINNINGS if len(labels) == 1 else 1):
        starts = _starts(world, aim, outputs, number, rng)
        table = np.tile(np.array(labels), (len(starts), 1))
        chains = Chains(world.looks, world.phrases, aim, table, starts, world.seen)
        for share in _FIRST:
            chains.sweep(share, rng)
        chains.keep(np.argsort(chains.energies(_FIRST[-1]), kind="stable")[:_KEPT].tolist())
        for again in range(1 if noisy else _ROUNDS):
            for share in _AGAIN if again else _THEN:
                chains.sweep(share, rng)
            # A token that no public text holds is tried once the others are settled.
            settled = _settled(chains, len(world.looks.tokens) if again else world.seen)
            checked = [_check(world, encoder, told, each) for each in settled]
            best = min([*checked, *([best] if best else [])], key=lambda found: found.residual)
            if best.certain:
                return best
    assert best is not None
    return best


def _check(world: World, encoder: Encoder, told: Told, texts: Sequence[Columns]) -> Found:
    guessed = [
        Text(tuple(world.looks.tokens[text].tolist()), label)
        for text, label in zip(texts, told.labels, strict=True)
    ]
    left = told.target.vector - encoder(guessed).mean(axis=0)
    residual = float(np.mean(left**2 / told.target.variance))
    noisy = encoder.knowledge.declared.noisy
    return Found(tuple(text.tokens for text in guessed), residual <= CERTAIN and not noisy, residual)


def _starts(
    world: World, aim: Aim, outputs: Sequence[Floats], beginning: int, rng: np.random.Generator
) -> list[list[Columns]]:
    """Public texts that add up to nearly what is aimed at: the nearest for one text, else sampled jointly."""
    count = len(outputs)
    white = np.linalg.inv(
        np.linalg.cholesky(0.5 * aim.scale**2 / count * aim.population + np.diag(aim.variance))
    )
    made = [aim.scale / count * (each @ white.T) for each in outputs]
    wanted = white @ aim.vector
    found: list[list[Columns]] = []
    if count == 1:
        near = np.argsort(np.sum((made[0] - wanted) ** 2, axis=1), kind="stable")
        if beginning % 2:
            # Of the right wording, another text may be the better start.
            return [[world.public[i]] for i in near[:_CHAINS]]
        differing = _differing(world.public, near, (beginning // 2 + 1) * _CHAINS)
        return [[world.public[i]] for i in differing[-_CHAINS:]]
    for _ in range(_CHAINS):
        at: NDArray[np.int64] = np.full(count, -1)
        parts = [each.mean(axis=0) for each in made]
        for _ in range(4):
            for m in rng.permutation(count):
                rest = wanted - sum(parts[o] for o in range(count) if o != m)
                scores = -0.5 * np.sum((made[m] - rest) ** 2, axis=1)
                at[m] = int(np.argmax(scores + rng.gumbel(size=len(scores))))
                parts[m] = made[m][at[m]]
        found.append([world.public[i] for i in at])
    return found


def _differing(texts: Sequence[Columns], order: NDArray[np.int64], wanted: int) -> list[int]:
    """The first of an order that are not worded alike: the same length, and the same token in many places."""
    found: list[int] = []
    for index in order.tolist():
        text = texts[index]
        if not any(
            len(texts[i]) == len(text) and np.count_nonzero(texts[i] == text) >= ALIKE * len(text)
            for i in found
        ):
            found.append(index)
            if len(found) == wanted:
                break
    return found
