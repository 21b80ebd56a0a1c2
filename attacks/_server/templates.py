"""Templates that a server could hand out to read more, and how much more each tells: honest clients, crafted wording.

The invariant: a template is chosen by what it tells of public texts alone, and measured on other texts; what a client
computes with it is what the shipped client code computes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from attacks._base.attack import Histogram, Knowledge, Members, Progress, Who
from attacks._base.declared import Declared
from attacks._base.space import Space, read
from attacks._base.targets import Floats, Target, rounding_variance
from attacks._base.tokens import COMMON, inner_tokens
from attacks._judging.metrics import average_precision, private_strings
from attacks._mixes.labels import label_mixes
from attacks._texts.corpus import identify
from attacks._texts.unmix import Words
from defenses.codec import Precision
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, Task
from ifedpriv.icl.extract import extract
from ifedpriv.icl.prompts import Position

SHIPPED = "as shipped"
_RIDGE = 0.01
_RARE = 1e-4


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a server hands out: the wording, and the token that stands for a demonstration.

    Attributes:
        name: in a few words.
        task: template, label words and separator.
        position: the token that is read.
    """

    name: str
    task: Task
    position: Position


@dataclass(frozen=True, slots=True)
class Told:
    """What a server learns under one agreement, each a mean over vectors.

    Attributes:
        labels: share of vectors whose label counts are all right.
        words: average precision of the ranking of words by the linear probe, less that of public frequencies.
        strings: of the names, cities and long numbers in the texts, how many are among the words bet on.
        members: share of members that are named from a pool.
        by_vector: the same for each vector, ``[vectors, 4]``.
    """

    labels: float
    words: float
    strings: float
    members: float
    by_vector: Floats


def family(task: Task, position: Position, public: Sequence[Example], most: int) -> tuple[Agreed, ...]:
    """A small family around a task: what is shipped, other tokens, and endings that ask for what is private.

    Endings are the words that most often stand before a name, a city or a long number in public texts: there a model
    is about to say one, and looks for it in the text.
    """
    found = [Agreed(SHIPPED, task, position)]
    found += [Agreed(f"reads {each.value}", task, each) for each in Position if each is not position]
    for ending in endings(public, most):
        asking = replace(task, template=f"{{text}} {ending}")
        found.append(Agreed(f"ends in {ending!r}", asking, Position.PROMPT_END))
    twice = replace(
        task, template=f"{{text}}{task.separator}{task.template.replace('{text}', '')}".rstrip() + " "
    )
    if twice.template.strip() != task.template.strip():
        found.append(Agreed("asks on a line of its own", twice, position))
    if task.n_classes > 1 and position is Position.LABEL:
        # Label words of private kinds: the word that looks is one that a name stands beside.
        words = _beside(public, task.n_classes)
        if len(words) == task.n_classes:
            found.append(Agreed("label words from beside names", replace(task, label_words=words), position))
    return tuple(found)


def endings(public: Sequence[Example], most: int) -> tuple[str, ...]:
    """Words that stand right before private strings in public texts, the most frequent first."""
    return tuple(word for word, _ in _before(public).most_common(most))


def _beside(public: Sequence[Example], number: int) -> tuple[str, ...]:
    plain = [word for word, _ in _before(public).most_common() if word.isalpha()]
    return tuple(plain[:number])


def _before(public: Sequence[Example]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for example in public:
        private, words = private_strings(example.text), example.text.split()
        for one, following in pairwise(words):
            if following.strip(".,;:()") in private and one.strip(".,;:()") not in private:
                counts[one.lstrip("(")] += 1
    return counts


def noise_of(backbone: Backbone, agreed: Agreed, public: Sequence[Example], share: float) -> float:
    """A standard deviation of noise for every number: so much of the spread of single texts as shipped."""
    rows = read(backbone, _knowledge(agreed, public), public, "reading public texts")
    return share * float(rows.std(axis=0).mean())


def measured(
    backbone: Backbone,
    agreed: Agreed,
    public: Sequence[Example],
    texts: Sequence[Example],
    pool: Sequence[Example],
    examples: int,
    noise: float,
    seed: int,
) -> Told:
    """What a server learns of honest clients that hold ``examples`` of the texts each.

    Args:
        backbone: the public model.
        agreed: what was handed out.
        public: the server's texts, with labels.
        texts: the clients', dealt out in turn.
        pool: candidates, among them all of ``texts``.
        examples: of one client.
        noise: standard deviation that is added to every number before it travels at fp16.
        seed: of the noise.
    """
    knowledge = replace(_knowledge(agreed, public), pool=tuple(pool), declared=Declared(noise))
    held = [texts[at : at + examples] for at in range(0, len(texts) - examples + 1, examples)]
    rng = np.random.default_rng([seed, 41])
    targets = []
    for number, own in enumerate(held):
        vector = extract(backbone, agreed.task, own, position=agreed.position).values
        sent = (vector + noise * rng.standard_normal(vector.shape)).astype(np.float16).astype(np.float64)
        variance = rounding_variance(sent, Precision.FP16) + noise**2
        targets.append(Target(Who(number), sent, variance, examples))
    where = {(example.text, example.label): i for i, example in enumerate(pool)}
    mixes = label_mixes(backbone, knowledge, targets) if agreed.task.n_classes else ()
    members = identify(backbone, knowledge, targets)
    words = _words(backbone, knowledge, targets, held)
    rows = np.zeros((len(held), 4))
    for i, own in enumerate(held):
        if mixes:
            content = mixes[i].content
            assert isinstance(content, Histogram)
            counts = np.bincount([e.label for e in own], minlength=agreed.task.n_classes)
            rows[i, 0] = np.array_equal(np.rint(np.array(content.shares) * examples), counts)
        rows[i, 1:3] = words[i]
        named = members[i].content
        assert isinstance(named, Members)
        true = {where[example.text, example.label] for example in own}
        rows[i, 3] = len(true & set(named.ranked[: named.chosen])) / len(true)
    labels, said, strings, named_share = map(float, rows.mean(axis=0))
    return Told(labels, said, strings, named_share, rows)


def _knowledge(agreed: Agreed, public: Sequence[Example]) -> Knowledge:
    return Knowledge(agreed.task, agreed.position, tuple(public))


def _words(
    backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target], held: Sequence[Sequence[Example]]
) -> list[tuple[float, float]]:
    """Average precision of words and the share of private strings among those bet on, by ridge regression."""
    inner = inner_tokens(backbone, knowledge.task, knowledge.public)
    bags = Words.of(backbone.model.get_input_embeddings().weight.shape[0], inner)
    space = Space.of(read(backbone, knowledge, knowledge.public, "reading public texts"), targets)
    points = space.enter(read(backbone, knowledge, knowledge.public, "reading public texts"))
    covariance = (bags.bags - bags.bags.mean(axis=0)).T @ points / len(points)
    rare = (bags.bags > 0).mean(axis=0) < COMMON
    tokens = bags.tokens[rare]
    found = []
    for target, own in zip(targets, held, strict=True):
        examples = target.examples or 1
        ridge = space.variance + examples * space.rounding + _RIDGE
        scores = np.maximum(bags.frequency + covariance @ (space.enter(target.vector) / ridge), _RARE)[rare]
        ranked = [int(token) for token in tokens[np.argsort(-scores, kind="stable")]]
        true = {t for ids in inner_tokens(backbone, knowledge.task, own) for t in ids} & set(map(int, tokens))
        strings = frozenset().union(*(private_strings(example.text) for example in own))
        bet = {str(backbone.tokenizer.decode([t])).strip() for t in ranked[: bags.distinct(examples)]}
        common = [int(token) for token in tokens[np.argsort(-bags.frequency[rare], kind="stable")]]
        # Public frequencies alone tell much of a text; what counts is what the vector adds.
        gain = average_precision(ranked, frozenset(true)) - average_precision(common, frozenset(true))
        found.append((gain, len(bet & strings) / max(1, len(strings))))
    return found


def score_of(told: Told) -> float:
    """By what a server chooses: all that it learns, each from 0 to 1."""
    return told.labels + max(0.0, told.words) + told.strings + told.members


def search(
    backbone: Backbone,
    options: Sequence[Agreed],
    public: Sequence[Example],
    trial: Sequence[Example],
    pool: Sequence[Example],
    examples: int,
    noise: float,
    seed: int,
    progress: Progress,
) -> tuple[Agreed, dict[str, Told]]:
    """The agreement that tells most of a server's own trial texts, and what each told of them."""
    found: dict[str, Told] = {}
    for number, each in enumerate(options):
        progress("trying templates on public texts", number, len(options))
        found[each.name] = measured(backbone, each, public, trial, pool, examples, noise, seed)
    progress("trying templates on public texts", len(options), len(options))
    best = max(options, key=lambda each: score_of(found[each.name]))
    return best, found
