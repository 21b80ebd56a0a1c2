"""Answers stand beside their truth in order, and the guard calls a tie no improvement."""

import pytest
from tiny import examples, generation_task, injection, task, tiny_backbone

from ifedpriv.data.task import Example
from ifedpriv.icl.evaluate import Answers, answer
from ifedpriv.icl.guard import GuardVerdict
from ifedpriv.icl.predict import generate_answers, predict_labels


def test_classification_answers_are_predictions_beside_labels():
    backbone, some = tiny_backbone(), examples(9)
    answers = answer(backbone, task(), some, injection=injection(backbone), context="Text: x\nLabel:A\n")
    assert answers.truth == tuple(example.label for example in some)
    assert answers.predicted == tuple(
        int(p)
        for p in predict_labels(
            backbone,
            task(),
            [example.text for example in some],
            injection=injection(backbone),
            context="Text: x\nLabel:A\n",
        )
    )
    assert all(type(p) is int for p in answers.predicted)


def test_generation_answers_are_texts_beside_texts():
    some = [Example("a day", answer="cat"), Example("the dog", answer="mat")]
    answers = answer(tiny_backbone(), generation_task(), some)
    assert answers.truth == ("cat", "mat")
    assert list(answers.predicted) == generate_answers(
        tiny_backbone(), generation_task(), ["a day", "the dog"]
    )


def test_the_share_correct_counts_equal_answers():
    assert Answers((0, 1, 1, 0), (0, 1, 0, 0)).share_correct == 0.75
    assert Answers((), ()).share_correct == 0
    assert len(Answers((0, 1), (1, 1))) == 2


def test_answers_print_their_number_only():
    assert repr(Answers(("secret",), ("secret",))) == "Answers(1 queries)"


@pytest.mark.parametrize(
    ("injected", "plain", "improves"), [(0.6, 0.5, True), (0.5, 0.5, False), (0.4, 0.5, False)]
)
def test_only_a_better_injection_is_an_improvement(injected, plain, improves):
    verdict = GuardVerdict(injected, plain, 40)
    assert verdict.improves is improves
    assert ("does NOT improve" in verdict.sentence()) is not improves
    assert f"{injected:.3f} against {plain:.3f} without it, on 40" in verdict.sentence()
