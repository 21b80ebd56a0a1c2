"""Every sequence that goes forward counts once, and counting changes nothing."""

import torch
from tiny import examples, task, tiny_backbone

from ifedpriv.backbone.count import counted
from ifedpriv.icl.objective import Objective
from ifedpriv.icl.predict import predict_labels


def test_sequences_count_whichever_way_they_go():
    backbone = tiny_backbone()
    objective = Objective(backbone, task(), examples(6))
    with counted(backbone) as queries:
        before = objective.losses_of(range(6))
        assert queries() == 6
        objective.loss_of([0, 1, 2])
        assert queries() == 9
    assert queries() == 9
    after = objective.losses_of(range(6))
    assert queries() == 9
    assert torch.equal(before, after)


def test_two_counts_do_not_disturb_each_other():
    backbone = tiny_backbone()
    texts = [example.text for example in examples(5)]
    with counted(backbone) as outer:
        predict_labels(backbone, task(), texts)
        first = outer()
        with counted(backbone) as inner:
            predict_labels(backbone, task(), texts)
        assert inner() == first >= 5
    assert outer() == 2 * first


def test_a_failure_ends_the_count():
    backbone = tiny_backbone()
    try:
        with counted(backbone) as queries:
            raise RuntimeError
    except RuntimeError:
        pass
    Objective(backbone, task(), examples(2)).losses_of(range(2))
    assert queries() == 0
