"""Corpus BLEU is sacrebleu's, to the digit: against the package where it is installed, and against kept numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifedpriv.measure.bleu import SIGNATURE, bleu_counts, bleu_of, corpus_bleu, is_defined, tokens_13a
from ifedpriv.measure.intervals import bootstrap_counts

REFERENCES = [
    "The quick brown fox jumped over the lazy dog.",
    "It cost 3.50, he said - twice.",
    'Number 4-12 is "open" & free',
]
ANSWERS = [
    "The quick brown fox jumps over the lazy dog.",
    "It costs 3.50, he said twice.",
    "Number 4-12 is open and free",
]
TEXTS = st.text(alphabet="abcXY 01.,-'!?&;:/()[]{}~`\"#$%*+<=>@^_|\\é中\n", max_size=30)
WORDS = ["a", "b", "c", "the", "of", ".", ",", "3.5"]
SENTENCES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join)


def test_kept_numbers_of_sacrebleu_2_6_0():
    """Computed once with sacrebleu 2.6.0 and divided by 100."""
    assert corpus_bleu(REFERENCES, ANSWERS) == pytest.approx(0.5033112749212063, abs=1e-12)
    assert corpus_bleu(["the cat sat on the mat"], ["the cat sat on a mat"]) == pytest.approx(
        0.5372849659117709, abs=1e-12
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(SENTENCES, SENTENCES), min_size=1, max_size=5))
def test_equals_sacrebleu_on_corpora(pairs):
    sacrebleu = pytest.importorskip("sacrebleu")
    references, answers = zip(*pairs, strict=True)
    theirs = sacrebleu.corpus_bleu(list(answers), [list(references)]).score / 100
    assert corpus_bleu(references, answers) == pytest.approx(theirs, abs=1e-12)


@settings(deadline=None, max_examples=200)
@given(TEXTS)
def test_tokens_are_sacrebleus(text):
    module = pytest.importorskip("sacrebleu.tokenizers.tokenizer_13a")
    assert tokens_13a(text) == module.Tokenizer13a()(text.rstrip()).split()


def test_the_signature_is_that_of_sacrebleus_defaults():
    sacrebleu = pytest.importorskip("sacrebleu")
    metric = sacrebleu.metrics.BLEU()
    metric.corpus_score(ANSWERS, [REFERENCES])
    theirs = str(metric.get_signature()).rpartition("|version:")[0]
    assert SIGNATURE.startswith(theirs + "|version:")


def test_it_is_no_mean_over_sentences():
    """A long right answer and a short wrong one: the corpus counts words, a mean would count texts."""
    references, answers = ["a b c d e f g h i j", "k l m n"], ["a b c d e f g h i j", "x y z w"]
    single = [corpus_bleu([r], [a]) for r, a in zip(references, answers, strict=True)]
    assert single == [pytest.approx(1.0), 0.0]
    assert corpus_bleu(references, answers) > 0.6


@given(st.lists(SENTENCES.filter(lambda s: len(tokens_13a(s)) >= 4), min_size=1, max_size=4))
def test_perfect_answers_score_one_and_scores_are_shares(texts):
    assert corpus_bleu(texts, texts) == pytest.approx(1.0)
    assert 0 <= corpus_bleu(texts, list(reversed(texts))) <= 1 + 1e-12


def test_answers_too_short_for_it_are_told_apart_from_bad_ones():
    assert not is_defined(["4021 Holm", "7 Berg"])
    assert is_defined(["4021 Holm", "one two three four"])
    assert corpus_bleu(["4021 Holm"], ["4021 Holm"]) == 0.0


def test_rows_of_counts_add_up_to_the_corpus():
    counts = bleu_counts(REFERENCES, ANSWERS)
    assert counts.shape == (3, 10)
    twice = np.stack([counts.sum(axis=0), counts[0]])
    assert bleu_of(twice) == pytest.approx(
        [corpus_bleu(REFERENCES, ANSWERS), corpus_bleu(REFERENCES[:1], ANSWERS[:1])]
    )
    interval = bootstrap_counts(counts, bleu_of, resamples=400)
    assert interval.low < corpus_bleu(REFERENCES, ANSWERS) < interval.high


def test_lists_of_different_length_are_refused():
    with pytest.raises(ValueError, match="3 references and 2 answers"):
        bleu_counts(REFERENCES, ANSWERS[:2])
