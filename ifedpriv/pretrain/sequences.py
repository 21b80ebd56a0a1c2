"""Training sequences: a convention, some demonstrations under it, and the targets at their positions.

Every batch is a pure function of the corpus, the conventions and a seed, so that a resumed training sees the
batches that an uninterrupted one would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ifedpriv.pretrain.corpus import ConventionTable, Corpus


@dataclass(frozen=True, slots=True)
class SequencePlan:
    """What the sequences of one batch look like.

    Attributes:
        sequences: how many.
        demonstrations: how many in each.
        instructed: share of sequences that begin with the convention's name.
        copying: share of sequences whose convention copies fields.
        subset: share of sequences whose texts show only some of the convention's classes.
        rotated: least share of labelling sequences whose attribute's maps rotate shared words.
        prefixed: share of labelling sequences with one of the label prefixes in front of every answer.
    """

    sequences: int
    demonstrations: int
    instructed: float
    copying: float
    subset: float = 0.4
    rotated: float = 0.0
    prefixed: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class SequenceBatch:
    """Padded sequences with target positions in flattened ``[sequences * length]`` coordinates.

    Attributes:
        ids: ``[sequences, length]`` tokens, padded on the right (harmless under a causal mask).
        kinds: ``[sequences, length]`` token kinds, -1 where there is none to predict.
        real: flat positions of tokens that are followed by a token, for the language-model loss.
        answer_at: flat positions that predict an answer token (or the separator after it).
        answer_token: the tokens predicted there.
        answer_word: which of those are answer tokens and not the separator.
        answer_told: which of those stand in an instructed sequence.
        answer_copied: which of those copy fields of the text.
        arrow_at: flat positions of the last prompt token of each demonstration.
        values: ``[demonstrations, attributes]`` the text's values, for the attribute head.
        end_at: ``[2, demonstrations]`` flat positions of the last answer token and of the separator.
        agreeing: ``[demonstrations, conventions]`` which conventions fit all demonstrations so far.
    """

    ids: torch.Tensor
    kinds: torch.Tensor
    real: torch.Tensor
    answer_at: torch.Tensor
    answer_token: torch.Tensor
    answer_word: torch.Tensor
    answer_told: torch.Tensor
    answer_copied: torch.Tensor
    arrow_at: torch.Tensor
    values: torch.Tensor
    end_at: torch.Tensor
    agreeing: torch.Tensor


def make_batch(
    corpus: Corpus, table: ConventionTable, plan: SequencePlan, *, bos: int, separator: int, seed: list[int]
) -> SequenceBatch:
    """Draw a batch; the same arguments give the same batch."""
    rng = np.random.default_rng(seed)
    rows: list[list[int]] = []
    kinds: list[list[int]] = []
    answers: list[tuple[int, int, int, bool, bool, bool]] = []
    arrows: list[tuple[int, int]] = []
    ends: list[tuple[int, int, int]] = []
    values: list[NDArray[np.int64]] = []
    agreeing: list[NDArray[np.bool_]] = []
    for row in range(plan.sequences):
        convention = _draw_convention(table, plan, rng)
        texts = _draw_texts(corpus, table, convention, plan, rng)
        told = bool(rng.random() < plan.instructed)
        prefix = _draw_prefix(table, convention, plan, rng)
        if prefix:
            told = False
        ids = [bos, *(table.instructions[convention] if told else ())]
        kind = [-1] * len(ids)
        for text in texts:
            answer = [*prefix, *_answer(corpus, table, convention, int(text))]
            ids.extend(corpus.prompts[text].tolist())
            kind.extend(corpus.kinds[text].tolist())
            arrows.append((row, len(ids) - 1))
            for token in (*answer, separator):
                answers.append(
                    (row, len(ids) - 1, token, token != separator, told, convention >= table.n_labelling)
                )
                ids.append(token)
                kind.append(-1)
            ends.append((row, len(ids) - 2, len(ids) - 1))
        values.append(corpus.values[texts])
        agreeing.append(np.logical_and.accumulate(table.agreeing(corpus.values[texts], convention), axis=0))
        rows.append(ids)
        kinds.append(kind)
    length = -(-max(map(len, rows)) // 8) * 8
    flat = np.array(answers, dtype=np.int64)
    ends_array = np.array(ends, dtype=np.int64)
    arrow_array = np.array(arrows, dtype=np.int64)
    return SequenceBatch(
        ids=torch.from_numpy(_pad(rows, length, 0)),
        kinds=torch.from_numpy(_pad(kinds, length, -1)),
        real=torch.from_numpy(
            np.concatenate([r * length + np.arange(len(ids) - 1) for r, ids in enumerate(rows)])
        ),
        answer_at=torch.from_numpy(flat[:, 0] * length + flat[:, 1]),
        answer_token=torch.from_numpy(flat[:, 2]),
        answer_word=torch.from_numpy(flat[:, 3].astype(np.bool_)),
        answer_told=torch.from_numpy(flat[:, 4].astype(np.bool_)),
        answer_copied=torch.from_numpy(flat[:, 5].astype(np.bool_)),
        arrow_at=torch.from_numpy(arrow_array[:, 0] * length + arrow_array[:, 1]),
        values=torch.from_numpy(np.concatenate(values)),
        end_at=torch.from_numpy(ends_array[:, :1].T * length + ends_array[:, 1:].T),
        agreeing=torch.from_numpy(np.concatenate(agreeing).astype(np.float32)),
    )


def _draw_convention(table: ConventionTable, plan: SequencePlan, rng: np.random.Generator) -> int:
    if rng.random() < plan.copying:
        return int(rng.integers(table.n_labelling, len(table.conventions)))
    if plan.rotated and rng.random() < plan.rotated:
        return int(rng.choice(table.rotated))
    return int(rng.integers(table.n_labelling))


def _draw_prefix(
    table: ConventionTable, convention: int, plan: SequencePlan, rng: np.random.Generator
) -> tuple[int, ...]:
    # Guarded by the share, so that plans without prefixes draw the very numbers they drew before there were any.
    if not plan.prefixed or convention >= table.n_labelling or convention in table.with_prefix:
        return ()
    if rng.random() >= plan.prefixed:
        return ()
    return table.prefixes[int(rng.integers(len(table.prefixes)))]


def _draw_texts(
    corpus: Corpus, table: ConventionTable, convention: int, plan: SequencePlan, rng: np.random.Generator
) -> NDArray[np.int64]:
    attribute = int(table.attribute[convention])
    if attribute < 0:
        return rng.integers(len(corpus.prompts), size=plan.demonstrations)
    by_value = corpus.by_value[attribute]
    if rng.random() < plan.subset:
        allowed = rng.choice(len(by_value), size=int(rng.integers(1, len(by_value) + 1)), replace=False)
    else:
        allowed = np.arange(len(by_value))
    chosen = rng.choice(allowed, size=plan.demonstrations)
    return np.asarray([by_value[v][rng.integers(len(by_value[v]))] for v in chosen], dtype=np.int64)


def _answer(corpus: Corpus, table: ConventionTable, convention: int, text: int) -> list[int]:
    fields = table.conventions[convention].fields
    if fields:
        return [token for slot in fields for token in corpus.fields[text][slot]]
    value = corpus.values[text, table.attribute[convention]]
    return table.answers[table.answer_id[convention, value]]


def _pad(rows: list[list[int]], length: int, fill: int) -> NDArray[np.int64]:
    result = np.full((len(rows), length), fill, dtype=np.int64)
    for row, ids in enumerate(rows):
        result[row, : len(ids)] = ids
    return result
