"""A query's loss in a batch of many tasks is what its own task would give it."""

import numpy as np
import pytest
import torch
from tiny import LAYERS, WIDTH, examples, generation_task, task, tiny_backbone

from ifedpriv.backbone.each import inject_each
from ifedpriv.backbone.hooks import inject
from ifedpriv.data.task import Example
from ifedpriv.icl.labels import label_tokens
from ifedpriv.icl.objective import Loss, Objective
from ifedpriv.icl.queries import losses_of, queries_of

SINGLE, SEVERAL = task(), task(("quite good", "bad", "so-so"))
ANSWERED = [Example(e.text, answer=e.text[:7]) for e in examples(3, 5)]
OTHERS = [Example(e.text, label=i % 3) for i, e in enumerate(examples(4, 6))]
BATCH = [
    (SINGLE, examples(4)),
    (SEVERAL, OTHERS),
    (generation_task(), ANSWERED),
    (task(("C", "D")), examples(2, 7)),
]


def drawn(count):
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(count, LAYERS, 2, WIDTH)).astype(np.float32)
    coefficients = (rng.normal(size=(LAYERS, 2, 2)) * 0.2 + [0.4, 1.0]).astype(np.float32)
    return torch.from_numpy(vectors), torch.from_numpy(coefficients)


def test_these_tasks_are_of_all_sorts():
    backbone = tiny_backbone()
    assert label_tokens(backbone, SINGLE).single
    assert not label_tokens(backbone, SEVERAL).single
    assert {len(query.columns) > 1 for _, query in batch()} == {True, False}


def batch():
    return [
        ((wording, example), query)
        for wording, some in BATCH
        for example, query in zip(some, queries_of(tiny_backbone(), wording, some), strict=True)
    ]


def test_each_query_of_a_mixed_batch_has_its_own_tasks_loss():
    backbone, mixed = tiny_backbone(), batch()
    # In an order in which no task's queries stand together.
    order = np.random.default_rng(3).permutation(len(mixed))
    mixed = [mixed[i] for i in order]
    vectors, coefficients = drawn(len(mixed))
    with torch.no_grad():
        with inject_each(backbone, vectors, coefficients.expand(len(mixed), *coefficients.shape)):
            found = losses_of(backbone, [query for _, query in mixed])
        assert found.shape == (len(mixed),)
        for index, ((wording, example), _) in enumerate(mixed):
            objective = Objective(backbone, wording, [example])
            # Labels of several tokens fall back to the vocabulary by themselves.
            with inject(backbone, vectors[index], coefficients):
                expected = objective.loss_of([0], Loss.LABELS)
                among_all = objective.loss_of([0], Loss.VOCABULARY)
            assert float(found[index]) == pytest.approx(float(expected), rel=1e-4, abs=1e-5)
            if wording.n_classes and label_tokens(backbone, wording).single:
                assert float(among_all) > float(expected) + 1e-3
            else:
                assert float(among_all) == float(expected)


def test_a_tasks_own_batch_has_the_objectives_mean_and_gradient():
    backbone, some = tiny_backbone(), examples(6)
    vectors, coefficients = drawn(1)
    gradients = []
    for loss in (
        lambda: losses_of(backbone, queries_of(backbone, SINGLE, some)).mean(),
        lambda: Objective(backbone, SINGLE, some).loss_of(range(6), Loss.LABELS),
    ):
        scalars = coefficients.clone().requires_grad_()
        with inject(backbone, vectors[0], scalars):
            gradients.append(torch.autograd.grad(loss(), scalars)[0])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)
    assert float(gradients[0].abs().max()) > 1e-3


def test_a_query_prints_no_token():
    query = queries_of(tiny_backbone(), SINGLE, examples(1))[0]
    assert repr(query) == f"Query(<{len(query.ids)} tokens>)"
