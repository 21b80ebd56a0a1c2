"""Which words the texts behind a vector hold: un-mixing of the first layer, and a linear probe over all layers.

The invariant: what is guessed are tokens of the text inside the template; the template's own tokens and the answers
are public, and are never counted as found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import Answer, Bag, Knowledge
from attacks._base.space import Space, key_of_texts, seen
from attacks._base.targets import Floats, Target
from attacks._base.tokens import COMMON, Border, template_border, text_range
from attacks._mixes.labels import behind
from attacks._texts.first_block import FirstBlock
from attacks._texts.layer0 import FirstAttention
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example
from ifedpriv.icl.prompts import Demonstration, Position, bucketed, tokenize_all

MOST_TOKENS = 32768
"""Of a larger vocabulary, only tokens that occur in public texts are looked for."""

_PROBES = 4
_REPLACED = 0.25
_RIDGE = 0.01
_RARE = 1e-4
"""Expected occurrences in one text of a token that no public text holds."""


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """Public texts as bags of tokens, and what is asked of them.

    Attributes:
        tokens: ids that are looked for, int64 ``[v]``.
        bags: how often each occurs in each public text, float64 ``[n, v]``.
        frequency: expected occurrences in one text, above 0, ``[v]``.
    """

    tokens: NDArray[np.int64]
    bags: Floats
    frequency: Floats

    @classmethod
    def of(cls, vocabulary: int, inner: Sequence[Sequence[int]]) -> Words:
        """Bags of the texts' tokens."""
        seen = np.unique(np.concatenate([np.asarray(ids, dtype=np.int64) for ids in inner]))
        tokens = np.arange(vocabulary) if vocabulary <= MOST_TOKENS else seen
        bags = np.zeros((len(inner), len(tokens)))
        for row, ids in enumerate(inner):
            np.add.at(bags[row], np.searchsorted(tokens, ids), 1.0)
        return cls(tokens, bags, bags.mean(axis=0) + _RARE)

    def distinct(self, examples: int) -> int:
        """How many tokens that count so many texts hold, were each to fall in each text by itself."""
        share = (self.bags > 0).mean(axis=0)
        return max(1, round(float(np.sum(1 - (1 - share[share < COMMON]) ** examples))))


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """What one occurrence of each token adds to the first attention's output.

    Attributes:
        columns: by label of the asking token, float64 ``[labels, v, width]``.
        offset: mean output that the columns leave out (template and answer), ``[labels, width]``.
        error: covariance of what they cannot tell, for one text, ``[width, width]``.
    """

    columns: Floats
    offset: Floats
    error: Floats


_TABLES: dict[str, Table] = {}
"""The last table, which single uploads, the aggregate and the controls share."""


def words(
    backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]
) -> dict[str, tuple[Answer, ...]]:
    """Guess the words behind each vector, by two methods.

    - ``unmix`` reads the first layer's attention alone: W_O Σ_j a_j v(token_j), with v a fixed table. It solves for the
      expected number of each token, with the attention that a token gets on average, a Gaussian prior around public
      frequencies, and the measured error of that model. Averaging over examples leaves the sum linear.
    - ``probe`` regresses the numbers of tokens on all layers (ridge over public texts) and takes that in place of
      public frequencies.

    Where the first layer's attention is not among what is read, the probe's own numbers are taken as they are.

    Raises:
        NotLinearError: the model's first attention cannot be taken apart.
    """
    first = FirstAttention(backbone)
    reads_first = bool(knowledge.sites.mask(backbone.n_layers)[0, 0, 0])
    # Where the token that looks is an answer's, each class looks in its own way; an attacker can write any answer.
    classes = max(1, knowledge.task.n_classes) if knowledge.position is Position.LABEL else 1
    texts = knowledge.public
    if classes > 1:
        texts = tuple(Example(text.text, label=i % classes) for i, text in enumerate(texts))
    shown = tokenize_all(backbone, knowledge.task, texts)
    border = template_border(backbone, knowledge.task)
    inner = [[each.ids[place] for place in text_range(each, border)] for each in shown]
    bags = Words.of(backbone.model.get_input_embeddings().weight.shape[0], inner)
    key = f"{key_of_texts(backbone, knowledge, texts)} {knowledge.seed}"
    if key not in _TABLES and reads_first:
        _TABLES.clear()
        _TABLES[key] = _table(first, knowledge, shown, bags, border, classes)
    public = seen(backbone, knowledge, knowledge.public, "reading public texts")
    block = FirstBlock.of(backbone, knowledge)
    space = Space.of(public, targets)
    points = space.enter(public)
    covariance = (bags.bags - bags.bags.mean(axis=0)).T @ points / len(points)
    found: dict[str, list[Answer]] = {"unmix": [], "probe": []}
    for target, told in zip(targets, behind(backbone, knowledge, targets, classes), strict=True):
        ridge = space.variance + told.examples * space.told(target).rounding + _RIDGE
        probed = np.maximum(bags.frequency + covariance @ (space.enter(target.vector) / ridge), _RARE)
        for method, prior in (("unmix", bags.frequency), ("probe", probed)):
            if not reads_first and method == "unmix":
                continue
            scores = (
                solve(_TABLES[key], told.shares, prior, target, told.examples, block)
                if reads_first
                else prior
            )
            ranked = bags.tokens[np.argsort(-scores, kind="stable")]
            bag = Bag(tuple(map(int, ranked)), bags.distinct(told.examples))
            found[method].append(Answer(target.who, bag))
    return {method: tuple(answers) for method, answers in found.items() if answers}


def solve(
    table: Table, shares: Floats, prior: Floats, target: Target, examples: int, block: FirstBlock
) -> Floats:
    """Expected occurrences of each token in one of the examples, ``[v]``.

    The posterior mean for counts with a Poisson's variance about the prior, seen through the table with its error:
    both shrink with the number of examples, the wire's rounding does not.
    """
    columns = np.tensordot(shares, table.columns, axes=1)
    left = block.shown(target) / block.scale - shares @ table.offset - prior @ columns
    spread = prior / examples
    noise = table.error / examples + np.diag(target.variance[0, 0] / block.scale**2)
    return np.asarray(
        prior + spread * (columns @ np.linalg.solve((columns.T * spread) @ columns + noise, left)),
        dtype=np.float64,
    )


def _table(
    first: FirstAttention,
    knowledge: Knowledge,
    shown: Sequence[Demonstration],
    words: Words,
    border: Border,
    classes: int,
) -> Table:
    """The table and its error, from public texts whose answers go through all classes in turn."""
    heads = first.outputs(first.values([int(token) for token in words.tokens]))
    of = np.arange(len(shown)) % classes
    outputs = np.empty((len(shown), first.backbone.width))
    for chosen in bucketed([len(each.ids) for each in shown], knowledge.batch_size):
        reading = first.read(
            [shown[i].ids for i in chosen], [shown[i].index(knowledge.position) for i in chosen]
        )
        first.check(reading)
        outputs[chosen] = reading.output
    columns = np.empty((classes, len(words.tokens), first.backbone.width))
    for label in range(classes):
        attention = _attention(
            first, knowledge, [shown[int(i)] for i in np.flatnonzero(of == label)], words, border
        )
        columns[label] = np.einsum("vh,vhd->vd", attention, heads)
        knowledge.progress("probing the first layer", label + 1, classes)
    rest = outputs - np.stack([bag @ columns[label] for bag, label in zip(words.bags, of, strict=True)])
    offset = np.stack([rest[of == label].mean(axis=0) for label in range(classes)])
    return Table(columns, offset, np.cov((rest - offset[of]).T))


def _attention(
    first: FirstAttention,
    knowledge: Knowledge,
    shown: Sequence[Demonstration],
    words: Words,
    border: Border,
) -> Floats:
    """How strongly each head looks at each token on average, ``[v, heads]``: tokens are put into public texts."""
    rng = np.random.default_rng(knowledge.seed)
    size = len(words.tokens)
    order = np.concatenate([rng.permutation(size) for _ in range(_PROBES)])
    at, sequences, columns, places = 0, [], [], []
    while at < len(order):
        base = shown[int(rng.integers(len(shown)))]
        ids = list(base.ids)
        room = np.asarray(text_range(base, border))
        chosen = rng.choice(room, min(max(1, int(_REPLACED * len(room))), len(order) - at), replace=False)
        for place in chosen:
            ids[place] = int(words.tokens[order[at]])
            at += 1
        sequences.append(ids)
        columns.append(base.index(knowledge.position))
        places.append(chosen)
    total, count = np.zeros((size, first.n_heads)), np.zeros(size)
    for batch in bucketed([len(ids) for ids in sequences], knowledge.batch_size):
        reading = first.read([sequences[i] for i in batch], [columns[i] for i in batch])
        for row, i in enumerate(batch):
            found = np.searchsorted(words.tokens, [sequences[i][place] for place in places[i]])
            np.add.at(total, found, reading.attention[row][:, places[i]].T)
            np.add.at(count, found, 1.0)
    return np.asarray(total / np.maximum(count, 1.0)[:, None], dtype=np.float64)
