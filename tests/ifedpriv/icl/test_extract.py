"""A context vector is the mean, over demonstrations run alone, of what each branch adds at the stated token."""

import numpy as np
import pytest
import torch
from tiny import LAYERS, WIDTH, examples, generation_task, task, tiny_backbone

from ifedpriv.data.task import Example
from ifedpriv.errors import InputError
from ifedpriv.icl.extract import extract, extract_by_class
from ifedpriv.icl.prompts import Position, tokenize


def by_hand(backbone, chosen, some, position):
    """One demonstration at a time, with hooks of the test's own on the projections' blocks."""
    total = np.zeros((LAYERS, 2, WIDTH))
    for example in some:
        demonstration = tokenize(backbone, chosen, example)
        taken = {}
        handles = []
        for layer, block in enumerate(backbone.model.model.layers):
            for branch, module in enumerate((block.self_attn, block.mlp)):

                def keep(_module, _args, output, taken=taken, place=(layer, branch)):
                    taken[place] = output[0] if isinstance(output, tuple) else output

                handles.append(module.register_forward_hook(keep))
        with torch.no_grad():
            backbone.model(input_ids=torch.tensor([demonstration.ids]))
        for handle in handles:
            handle.remove()
        index = {
            Position.LAST: len(demonstration.ids) - 1,
            Position.LABEL: len(demonstration.ids) - 2,
            Position.PROMPT_END: len(demonstration.ids) - 3,
        }[position]
        for (layer, branch), output in taken.items():
            total[layer, branch] += output[0, index].double().numpy()
    return total / len(some)


@pytest.mark.parametrize("position", list(Position))
def test_the_vector_is_the_mean_taken_by_hand(position):
    """Label and separator are one token each, so the three positions are the last three tokens."""
    backbone, chosen, some = tiny_backbone(), task(), examples(7)
    vector = extract(backbone, chosen, some, position=position, batch_size=3)
    assert vector.values.shape == (LAYERS, 2, WIDTH)
    assert vector.count == 7
    np.testing.assert_allclose(vector.values, by_hand(backbone, chosen, some, position), atol=2e-6, rtol=1e-5)


def test_positions_differ():
    backbone, chosen, some = tiny_backbone(), task(), examples(7)
    found = [extract(backbone, chosen, some, position=p).values for p in Position]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(found[one] - found[other]).max() > 0.01


def test_batch_size_and_order_do_not_show():
    backbone, chosen, some = tiny_backbone(), task(), examples(11)
    reference = extract(backbone, chosen, some, batch_size=32).values
    for size, order in ((1, 1), (4, -1), (5, 1), (32, -1)):
        other = extract(backbone, chosen, some[::order], batch_size=size).values
        np.testing.assert_allclose(other, reference, atol=2e-6, rtol=1e-5)


def test_classes_merge_to_the_mean():
    backbone, chosen = tiny_backbone(), task(("A", "B", "C"))
    some = (*examples(5), *examples(4, 9, only=1))
    means, counts = extract_by_class(backbone, chosen, some, batch_size=4)
    assert counts.tolist() == [3, 6, 0]
    assert means.shape == (3, LAYERS, 2, WIDTH)
    assert means.dtype == counts.dtype == np.float32
    assert not means[2].any()
    merged = np.tensordot(counts, means, axes=1) / counts.sum()
    np.testing.assert_allclose(merged, extract(backbone, chosen, some).values, atol=2e-6, rtol=1e-5)
    only_zero = [e for e in some if e.label == 0]
    np.testing.assert_allclose(means[0], extract(backbone, chosen, only_zero).values, atol=2e-6, rtol=1e-5)


def test_the_label_is_part_of_a_demonstration():
    backbone, chosen = tiny_backbone(), task()
    one, other = (extract(backbone, chosen, [Example("a day", label)]).values for label in (0, 1))
    assert np.abs(one - other).max() > 0.01


@pytest.mark.parametrize("function", [extract, extract_by_class])
def test_no_examples_are_refused(function):
    with pytest.raises(InputError, match="0 examples; give the client at least one"):
        function(tiny_backbone(), task(), [])


def test_a_generation_task_gives_a_vector_too():
    some = [Example("a day", answer="mat"), Example("the dog", answer="the cat sat")]
    assert extract(tiny_backbone(), generation_task(), some).count == 2
