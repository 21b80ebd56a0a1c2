"""Texts as token arrays, with what the training targets need to know about them.

Texts are written and tokenised once; conventions are laid over them anew in every batch, so a text is seen
under many conventions and no batch costs any tokenisation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from ifedpriv.embedded.conventions import COPIES, ROTATED, Convention
from ifedpriv.embedded.texts import FIELDS, TEMPLATE, write_text
from ifedpriv.embedded.words import ATTRIBUTES, LABEL_PREFIXES

KINDS: tuple[str, ...] = ("other", *FIELDS, *ATTRIBUTES)

_COPIED = tuple(dict.fromkeys(slot for fields in COPIES for slot in fields))


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Tokenised texts.

    Attributes:
        prompts: token ids of each text inside the template, without BOS.
        kinds: for each token of a prompt, an index into `KINDS`.
        values: ``[texts, attributes]`` index of the value that labels go by.
        by_value: for each attribute and value, the texts that hold it.
        fields: for each text, slot to the answer tokens that copy it.
    """

    prompts: list[NDArray[np.int64]]
    kinds: list[NDArray[np.int64]]
    values: NDArray[np.int64]
    by_value: list[list[NDArray[np.int64]]]
    fields: list[dict[str, list[int]]]


def write_corpus(tokenizer: PreTrainedTokenizerFast, n_texts: int, seed: int) -> Corpus:
    """Write and tokenise ``n_texts`` messages; deterministic for a seed."""
    rng = np.random.default_rng([seed, 1])
    texts = [write_text(rng) for _ in range(n_texts)]
    before = len(TEMPLATE.split("{text}")[0])
    words: dict[str, list[int]] = {}
    prompts, kinds, fields = [], [], []
    encoded = tokenizer.backend_tokenizer.encode_batch([TEMPLATE.format(text=t.text) for t in texts])
    for text, encoding in zip(texts, encoded, strict=True):
        kind_of_character = np.zeros(len(text.text) + before + 16, dtype=np.int64)
        for slot, (start, end) in text.spans.items():
            kind_of_character[before + start : before + end] = KINDS.index(slot)
        prompts.append(np.asarray(encoding.ids[1:], dtype=np.int64))
        kinds.append(
            np.asarray([kind_of_character[end - 1] for _, end in encoding.offsets[1:]], dtype=np.int64)
        )
        for slot in _COPIED:
            if text.words[slot] not in words:
                words[text.words[slot]] = answer_tokens(tokenizer, text.words[slot])
        fields.append({slot: words[text.words[slot]] for slot in _COPIED})
    value_index = {a: {v: i for i, v in enumerate(table)} for a, table in ATTRIBUTES.items()}
    values = np.asarray([[value_index[a][t.values[a]] for a in ATTRIBUTES] for t in texts], dtype=np.int64)
    by_value = [
        [np.flatnonzero(values[:, i] == v) for v in range(len(table))]
        for i, table in enumerate(ATTRIBUTES.values())
    ]
    return Corpus(prompts, kinds, values, by_value, fields)


def answer_tokens(tokenizer: PreTrainedTokenizerFast, answer: str) -> list[int]:
    """Token ids of an answer as it follows a prompt, that is with its leading space."""
    ids: list[int] = tokenizer.encode(" " + answer, add_special_tokens=False)
    return ids


@dataclass(frozen=True, slots=True, eq=False)
class ConventionTable:
    """Conventions as arrays, so that agreement is looked up for a whole batch at once.

    Attributes:
        conventions: in index order.
        attribute: ``[conventions]`` index of the attribute sorted by; -1 for copies.
        answer_id: ``[labelling conventions, values]`` number of the answer, equal where answers are equal.
        answers: for each answer number, its tokens.
        instructions: for each convention, the tokens that name it.
        rotated: labelling conventions whose attribute's maps rotate shared words.
        with_prefix: labelling conventions whose labels have a prefix of their own.
        prefixes: tokens of each label prefix.
    """

    conventions: tuple[Convention, ...]
    attribute: NDArray[np.int64]
    answer_id: NDArray[np.int64]
    answers: list[list[int]]
    instructions: list[list[int]]
    rotated: NDArray[np.int64]
    with_prefix: frozenset[int]
    prefixes: tuple[tuple[int, ...], ...]

    @property
    def n_labelling(self) -> int:
        """How many conventions give labels; the others copy."""
        return len(self.answer_id)

    def agreeing(self, values: NDArray[np.int64], convention: int) -> NDArray[np.bool_]:
        """Which conventions would answer as ``convention`` does, for each text.

        Args:
            values: ``[texts, attributes]``.
            convention: the one that gave the answers.

        Returns:
            ``[texts, conventions]``.
        """
        result = np.zeros((len(values), len(self.conventions)), dtype=np.bool_)
        if convention >= self.n_labelling:
            result[:, convention] = True
            return result
        all_answers = self.answer_id[
            np.arange(self.n_labelling), values[:, self.attribute[: self.n_labelling]]
        ]
        result[:, : self.n_labelling] = all_answers == all_answers[:, convention : convention + 1]
        return result


def tabulate(tokenizer: PreTrainedTokenizerFast, conventions: tuple[Convention, ...]) -> ConventionTable:
    """Turn conventions into lookup arrays; labelling ones must come first."""
    names = list(ATTRIBUTES)
    labelling = [c for c in conventions if not c.fields]
    numbers: dict[str, int] = {}
    answer_id = np.zeros((len(labelling), max(len(t) for t in ATTRIBUTES.values())), dtype=np.int64)
    for row, convention in enumerate(labelling):
        for column, (_, label) in enumerate(convention.labels):
            answer_id[row, column] = numbers.setdefault(label, len(numbers))
    attribute = [names.index(c.attribute) if not c.fields else -1 for c in conventions]
    instructions: list[list[int]] = [
        tokenizer.encode(c.instruction(), add_special_tokens=False) for c in conventions
    ]
    return ConventionTable(
        conventions,
        np.asarray(attribute, dtype=np.int64),
        answer_id,
        [answer_tokens(tokenizer, label) for label in numbers],
        instructions,
        np.asarray([c.index for c in labelling if c.attribute in ROTATED], dtype=np.int64),
        frozenset(c.index for c in labelling if " " in c.labels[0][1]),
        tuple(tuple(answer_tokens(tokenizer, prefix)) for prefix in LABEL_PREFIXES),
    )
