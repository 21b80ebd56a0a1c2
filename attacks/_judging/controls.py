"""What guesses are worth that were made without the vector: the numbers that every attack stands beside.

The invariant: a control has all of the attacker's knowledge and none of the vector under attack. One stands apart:
*nearest public texts* reads the vector as simply as can be, shows what the attack adds to that, and decides no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import (
    Answer,
    Attribute,
    Bag,
    Content,
    Fillers,
    Guess,
    Histogram,
    Knowledge,
    Links,
    Members,
    Scores,
    Source,
    Texts,
    Who,
)
from attacks._base.space import Space, seen
from attacks._base.targets import Target, Targets, read_targets, read_told
from attacks._base.tokens import inner_tokens
from attacks._judging.changed_copy import changed_copy, read_frame, written_anew
from attacks._mixes.labels import Reader, classes_of, counted
from attacks._texts.slots import Slots
from defenses.upload import Upload, UploadKind
from defenses.view import Direction, FrameRecord, ServerView
from defenses.view_facts import Computes
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.icl.vectors import ContextVector

PRIOR, OTHER, RANDOM, NEAREST, UNIFORM = (
    "prior only",
    "another client's vector",
    "random vector",
    "nearest public texts",
    "uniform",
)


def random_view(view: ServerView, backbone: Backbone, knowledge: Knowledge, folder: Path) -> ServerView:
    """The same recording with every context vector drawn anew, with the mean and covariance of public texts' vectors.

    Each upload becomes a normal draw for as many examples as its weight says, or as are read off it, with the noise
    that is declared, rounded as the wire rounds; frames of other kinds are left out.
    """
    rng = np.random.default_rng([knowledge.seed, 1])
    singles, aggregate = read_told(view, backbone, knowledge.declared)
    upload = _Draw(backbone, knowledge, singles, 1, rng)
    computed = _Draw(backbone, knowledge, aggregate, max(1, len(singles.targets)), rng)
    release = knowledge.declared.mechanism
    shape = (backbone.n_layers, 2, backbone.width)
    readable = Computes.INDIVIDUAL_UPLOADS in view.facts.server_computes

    def change(record: FrameRecord) -> bytes | None:
        old = read_frame(view, record)
        if old is None or old.upload.kind is not UploadKind.VECTOR:
            return None
        if record.direction is Direction.UP and readable:
            arrays = _redrawn(old.upload, shape, upload)
        elif record.direction is Direction.COMPUTED and "vector" in old.upload.arrays:
            # Without a private release a sum's weight may be a number of clients.
            weight = 1.0 if release is None else old.upload.weight
            arrays = {**old.upload.arrays, "vector": computed(old.upload.arrays["vector"], weight)}
        else:
            return None
        if not arrays:
            return None
        return written_anew(old, Upload(arrays, old.upload.weight, old.upload.round, UploadKind.VECTOR))

    rounds = [entry for entry in view.facts.rounds if entry.kind is UploadKind.VECTOR]
    return changed_copy(view, folder, change, rounds)


class _Draw:
    """Normal draws with the mean and covariance of public texts' vectors, and with noise.

    Args:
        backbone: the public model.
        knowledge: the attacker's.
        like: the vectors that draws are put in place of.
        uploads: of how many the noise is in a vector.
        rng: of all draws.
    """

    def __init__(
        self, backbone: Backbone, knowledge: Knowledge, like: Targets, uploads: int, rng: np.random.Generator
    ) -> None:
        public = seen(backbone, knowledge, knowledge.public, "reading public texts").astype(np.float64)
        self._centre = public.mean(axis=0)
        self._public = public - self._centre
        self._declared, self._uploads, self._rng = knowledge.declared, uploads, rng
        self._variance = sum(target.variance for target in like.targets) / max(1, len(like.targets))
        self._reader = cache(lambda: Reader.of(backbone, knowledge, like.targets, classes_of(knowledge)))

    def __call__(self, vector: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
        """A draw for as many examples as a vector is the mean of: its weight, or what is read off it."""
        release = self._declared.mechanism
        told = weight != 1 if release is None else release.counts_examples
        examples = weight if told else self._read(vector, weight)
        # A sum of centred public vectors with normal weights has exactly their covariance.
        mix = self._rng.standard_normal(len(self._public)) / np.sqrt(len(self._public) * examples)
        drawn = self._centre + np.tensordot(mix, self._public, axes=1)
        if release is not None:
            drawn = drawn + release.drawn(self._rng, weight, self._uploads)
        elif self._declared.noise:
            noise = self._declared.noise / np.sqrt(self._uploads)
            drawn = drawn + noise * self._rng.standard_normal(drawn.shape)
        return np.asarray(drawn, dtype=np.float32)

    def _read(self, vector: NDArray[np.float32], weight: float) -> int:
        like = Target(Who(None), vector.astype(np.float64), np.asarray(self._variance), None, weight)
        return self._reader().read(like).examples


def _redrawn(upload: Upload, shape: tuple[int, ...], draw: _Draw) -> dict[str, NDArray[np.float32]]:
    """The upload's arrays with every vector drawn anew; nothing, where it holds no vector.

    What privacy makes of a vector travels as whole numbers, and is no vector.
    """
    arrays = dict(upload.arrays)
    for name, array in upload.arrays.items():
        if array.shape == shape:
            arrays[name] = draw(array, upload.weight)
        elif array.shape[1:] == shape:
            arrays[name] = np.stack([draw(each, upload.weight) for each in array])
    return arrays if any(arrays[name] is not upload.arrays[name] for name in arrays) else {}


def random_knowledge(
    knowledge: Knowledge, view: ServerView, control: ServerView, backbone: Backbone
) -> Knowledge:
    """What is known in a `random_view`: the injection has its coefficients, and the control's vector."""
    if knowledge.artifact is None:
        return knowledge
    real, drawn = (read_targets(each, backbone)[1].targets for each in (view, control))
    if not real or not drawn:
        return replace(knowledge, artifact=None)
    # Whatever was taken off the mean before it was injected, is taken off the control's too.
    values = knowledge.artifact.vector.values + (drawn[0].vector - real[0].vector)
    vector = ContextVector(values.astype(np.float32), 0)
    return replace(knowledge, artifact=replace(knowledge.artifact, vector=vector))


def controls_of(
    guess: Guess,
    targets: Sequence[Target],
    random: Guess | None,
    backbone: Backbone,
    knowledge: Knowledge,
) -> dict[str, list[Content]]:
    """The controls of a guess, by name, each with one content for each answer.

    Args:
        guess: the attack's.
        targets: the vectors it is about, in its order.
        random: the same attack's guess on a `random_view`.
        backbone: the public model.
        knowledge: the attacker's.
    """
    answers = guess.answers
    found: dict[str, list[Content]] = {}
    if isinstance(answers[0].content, Scores):
        if targets and knowledge.public:
            found[PRIOR] = [typicality(backbone, knowledge, targets)] * len(answers)
    elif knowledge.public:
        found.update(_blind(answers, backbone, knowledge))
    # The nearest texts are nearest to a vector; what is said of coefficients is of other clients, perhaps.
    same = [answer.who for answer in answers] == [target.who for target in targets]
    if knowledge.public and same and not isinstance(answers[0].content, Attribute | Scores | Source | Links):
        found[NEAREST] = _nearest(answers, targets, backbone, knowledge)
    if len(answers) > 1:
        found[OTHER] = [_as_many(answers[(i + 1) % len(answers)], answers[i]) for i in range(len(answers))]
    if random is not None and len(random.answers) == len(answers):
        found[RANDOM] = [_as_many(*pair) for pair in zip(random.answers, answers, strict=True)]
    return found


def _as_many(control: Answer, own: Answer) -> Content:
    """The control's guess; of strings, as many as the attack bets on, whatever number of examples it was made for."""
    if isinstance(control.content, Fillers) and isinstance(own.content, Fillers):
        return replace(control.content, chosen=own.content.chosen)
    return control.content


def _blind(answers: Sequence[Answer], backbone: Backbone, knowledge: Knowledge) -> dict[str, list[Content]]:
    rng = np.random.default_rng([knowledge.seed, 2])
    first = answers[0].content
    if isinstance(first, Histogram):
        classes = len(first.shares)
        uniform = Histogram((1 / classes,) * classes, first.examples)
        found: dict[str, list[Content]] = {UNIFORM: [uniform] * len(answers)}
        if knowledge.labelled:
            counts = np.bincount([example.label for example in knowledge.public], minlength=classes)
            prior = Histogram(tuple(map(float, counts / counts.sum())), first.examples)
            found[PRIOR] = [prior] * len(answers)
        return found
    if isinstance(first, Attribute):
        held = [example.attributes.get(first.name) for example in knowledge.public]
        public = np.array([held.count(value) for value in first.values], dtype=np.float64)
        even = np.ones(len(first.values))
        mixes = {UNIFORM: even / even.sum(), PRIOR: public / public.sum()}
        return {
            name: [Attribute(first.name, first.values, tuple(map(float, shares)))] * len(answers)
            for name, shares in mixes.items()
        }
    if isinstance(first, Members):
        drawn: list[Content] = []
        for answer in answers:
            assert isinstance(answer.content, Members)
            chosen = rng.permutation(len(knowledge.pool))[: answer.content.chosen]
            drawn.append(Members(tuple(map(int, chosen)), len(chosen), False, "none"))
        return {PRIOR: drawn}
    if isinstance(first, Texts):
        inner = inner_tokens(backbone, knowledge.task, knowledge.public)
        guesses: list[Content] = []
        for answer in answers:
            assert isinstance(answer.content, Texts)
            some = rng.permutation(len(inner))[: len(answer.content.texts)].tolist()
            labels = tuple(max(knowledge.public[i].label, 0) for i in some) if answer.content.labels else ()
            guesses.append(Texts(tuple(inner[i] for i in some), False, labels))
        return {PRIOR: guesses}
    if isinstance(first, Fillers):
        common_fillers = Slots.of([example.text for example in knowledge.public]).prior()
        return {
            PRIOR: [
                replace(common_fillers, chosen=answer.content.chosen)
                for answer in answers
                if isinstance(answer.content, Fillers)
            ]
        }
    if isinstance(first, Source):
        given = rng.integers(len(answers), size=len(knowledge.pool))
        return {
            PRIOR: [
                Source(frozenset(np.flatnonzero(given == i).tolist()), len(answers))
                for i in range(len(answers))
            ]
        }
    if isinstance(first, Links):
        return {PRIOR: [_links(answer.content, rng) for answer in answers]}
    common = _counts(inner_tokens(backbone, knowledge.task, knowledge.public))
    ranked = tuple(sorted(common, key=lambda token: (-common[token], token)))
    bags: list[Content] = [
        Bag(ranked, a.content.chosen if isinstance(a.content, Bag) else len(ranked)) for a in answers
    ]
    return {PRIOR: bags}


def _links(content: Content, rng: np.random.Generator) -> Links:
    """As many links, each to whomever."""
    assert isinstance(content, Links)
    return Links(tuple(rng.integers(content.clients, size=len(content.named)).tolist()), content.clients)


def typicality(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> Scores:
    """How ordinary each candidate is among public texts, which is all that can be said of it without a vector."""
    public = seen(backbone, knowledge, knowledge.public, "reading public texts")
    space = Space.of(public, targets)
    points = space.enter(seen(backbone, knowledge, knowledge.pool, "reading candidates"))
    return Scores(tuple(map(float, -(points**2 / (space.variance + space.rounding)).sum(axis=1))))


def _nearest(
    answers: Sequence[Answer], targets: Sequence[Target], backbone: Backbone, knowledge: Knowledge
) -> list[Content]:
    """The public texts nearest to each vector: as texts, or as the mix of their labels."""
    public = seen(backbone, knowledge, knowledge.public, "reading public texts")
    space = Space.of(public, targets)
    points = space.enter(public)
    sizes = [target.number for target in counted(backbone, knowledge, targets)]
    inner = inner_tokens(backbone, knowledge.task, knowledge.public)
    common = _counts(inner)
    found: list[Content] = []
    for answer, target, size in zip(answers, targets, sizes, strict=True):
        point, examples = space.enter(target.vector), min(size, len(public))
        weights = space.told(target).weights(1)
        distance = np.sum(((points - point) * weights) ** 2, axis=1)
        near = np.argsort(distance, kind="stable")[:examples]
        if isinstance(answer.content, Histogram):
            classes = len(answer.content.shares)
            counts = np.bincount([max(knowledge.public[i].label, 0) for i in near], minlength=classes)
            found.append(Histogram(tuple(map(float, counts / counts.sum())), examples))
        elif isinstance(answer.content, Bag):
            local = _counts([inner[i] for i in near])
            ranked = sorted(common, key=lambda token: (-local.get(token, 0), -common[token], token))
            found.append(Bag(tuple(ranked), answer.content.chosen))
        else:
            labels = tuple(max(knowledge.public[i].label, 0) for i in near)
            found.append(Texts(tuple(inner[i] for i in near), False, labels))
    return found


def _counts(texts: Sequence[Sequence[int]]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for text in texts:
        for token in set(text):
            counts[token] = counts.get(token, 0) + 1
    return counts
