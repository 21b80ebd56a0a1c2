"""What is true of each vector of a run, made once however many guesses are compared with it.

The invariant: it reads the run's truth and the pool, and nothing that an attacker read or guessed; so it is the same
whatever part of the vectors is attacked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import Knowledge, Scores, Who
from attacks._base.names import ordinary_words
from attacks._base.tokens import COMMON, inner_tokens
from attacks._judging.attributes import attributes_of
from attacks._judging.metrics import Truth, private_strings
from attacks._judging.score import Subject
from attacks._judging.word_space import WordSpace
from attacks._judging.words_alone import WordsAlone
from defenses.upload import UploadKind
from defenses.view_facts import Computes
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import key_of


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Pool:
    """The candidates as the judge sees them."""

    index: Mapping[tuple[str, int, str], int]
    strings: tuple[frozenset[str], ...]
    tokens: tuple[frozenset[int], ...]


class Truths:
    """Truths of one run, each made when it is first asked for.

    Args:
        subject: what was attacked; its truth is known.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._found: dict[Who, Truth] = {}
        self._pool: _Pool | None = None
        self._content: NDArray[np.bool_] | None = None
        self._by_words: WordsAlone | None = None
        # What public texts write small is no name.
        self._ordinary = ordinary_words(example.text for example in subject.knowledge.public)
        self._spaces: list[WordSpace | None] = []

    def of(self, who: Who) -> Truth:
        """What is true of one vector."""
        if who not in self._found:
            self._found[who] = self._make(who)
        return self._found[who]

    def words(self, truth: Truth) -> Scores:
        """What the words of members alone tell, to somebody who was told the members among half of the pool."""
        if self._by_words is None:
            self._by_words = WordsAlone.of(truth.pool_tokens, self._subject.knowledge.seed)
        return self._by_words.scores(truth.members)

    def word_space(self) -> WordSpace | None:
        """The encoder of words that public texts fit; None where they are too few."""
        if not self._spaces:
            self._spaces.append(WordSpace.of([example.text for example in self._subject.knowledge.public]))
        return self._spaces[0]

    def _make(self, who: Who) -> Truth:
        subject = self._subject
        assert subject.truth is not None
        numbers = self._contributors() if who.client is None else [who.client]
        examples = [e for n in numbers for e in subject.truth[n] if who.label in (None, e.label)]
        if self._content is None:
            self._content = content_tokens(subject.backbone, subject.knowledge)
        content, pool = self._content, self._of_pool(self._content)
        inner = inner_tokens(subject.backbone, subject.knowledge.task, examples)
        classes = max(1, subject.knowledge.task.n_classes)
        counts = np.bincount([max(e.label, 0) for e in examples], minlength=classes)
        return Truth(
            tokens=frozenset(t for ids in inner for t in ids if content[t]),
            strings=frozenset().union(*(private_strings(e.text, self._ordinary) for e in examples)),
            members=frozenset(pool.index[key_of(e)] for e in examples if key_of(e) in pool.index),
            examples=len(examples),
            shares=counts / counts.sum(),
            content=content,
            pool_strings=pool.strings,
            pool_tokens=pool.tokens,
            decode=lambda ids: str(subject.backbone.tokenizer.decode(list(ids))),
            client=who.client,
            attributes=attributes_of(examples),
            texts=inner,
        )

    def _contributors(self) -> list[int]:
        view = self._subject.view
        if Computes.INDIVIDUAL_UPLOADS in view.facts.server_computes:
            return sorted({frame.sender for frame in view.uploads(UploadKind.VECTOR)})
        return sorted(
            {n for entry in view.facts.rounds if entry.kind is UploadKind.VECTOR for n in entry.roster}
        )

    def _of_pool(self, content: NDArray[np.bool_]) -> _Pool:
        if self._pool is None:
            knowledge = self._subject.knowledge
            inner = (
                inner_tokens(self._subject.backbone, knowledge.task, knowledge.pool) if knowledge.pool else []
            )
            self._pool = _Pool(
                {key_of(example): i for i, example in enumerate(knowledge.pool)},
                tuple(private_strings(example.text, self._ordinary) for example in knowledge.pool),
                tuple(frozenset(token for token in ids if content[token]) for ids in inner),
            )
        return self._pool


def content_tokens(backbone: Backbone, knowledge: Knowledge) -> NDArray[np.bool_]:
    """Tokens that count, bool over the vocabulary: none that half of the public texts hold, and no special ones."""
    counts = np.zeros(int(backbone.head.weight.shape[0]))
    inner = inner_tokens(backbone, knowledge.task, knowledge.public) if knowledge.public else []
    for ids in inner:
        counts[list(set(ids))] += 1
    counts = counts / max(1, len(inner))
    content = counts < COMMON
    content[[i for i in backbone.tokenizer.all_special_ids if i < len(content)]] = False
    return np.asarray(content)
