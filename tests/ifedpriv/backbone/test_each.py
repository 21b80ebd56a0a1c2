"""A batch in which every sequence has a vector and coefficients of its own is what each sequence gets alone."""

import numpy as np
import pytest
import torch
from toys import toy_model, toy_tokenizer

from ifedpriv.backbone import Backbone, inject
from ifedpriv.backbone.each import inject_each
from ifedpriv.errors import ModelError

# A plain one, one whose residual branches are multiplied, two whose MLP sees all tokens as one list, and one whose
# branches run side by side.
FAMILIES = ("llama", "granite", "opt", "opt-350m", "falcon-7b")
SEQUENCES = [[3, 4, 5, 6, 7], [8, 9], [10, 11, 12, 13]]


@pytest.fixture(scope="module", params=FAMILIES)
def backbone(request):
    return Backbone.wrap(toy_model(request.param), toy_tokenizer())


def drawn(backbone, *lead, seed=0):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(*lead, backbone.n_layers, 2, backbone.width))
    coefficients = rng.normal(size=(len(SEQUENCES), backbone.n_layers, 2, 2)) * 0.2 + [0.4, 1.0]
    return torch.tensor(vectors, dtype=torch.float32), torch.tensor(coefficients, dtype=torch.float32)


def last(backbone, sequences):
    """What the model has at the end of each sequence."""
    batch = backbone.make_batch(sequences)
    hidden = backbone.hidden(batch)
    return hidden[torch.arange(len(sequences)), torch.tensor([len(s) - 1 for s in sequences])]


def alone(backbone, sequence, vector, coefficients):
    """Value at the end of a sequence, and the gradient of its sum."""
    scalars = coefficients.clone().requires_grad_()
    with inject(backbone, vector, scalars):
        value = last(backbone, [sequence])[0]
        (gradient,) = torch.autograd.grad(value.square().sum(), scalars)
    return value.detach(), gradient


@pytest.mark.parametrize("own", [True, False], ids=["vectors of their own", "one vector"])
def test_each_sequence_is_injected_as_if_it_were_alone(backbone, own):
    vectors, coefficients = drawn(backbone, *([len(SEQUENCES)] if own else []))
    scalars = coefficients.clone().requires_grad_()
    with inject_each(backbone, vectors, scalars):
        values = last(backbone, SEQUENCES)
        (gradients,) = torch.autograd.grad(values.square().sum(), scalars)
    for row, sequence in enumerate(SEQUENCES):
        vector = vectors[row] if own else vectors
        value, gradient = alone(backbone, sequence, vector, coefficients[row])
        torch.testing.assert_close(values[row].detach(), value, rtol=1e-4, atol=1e-5)
        scale = float(gradient.abs().max())
        torch.testing.assert_close(gradients[row], gradient, rtol=1e-3, atol=1e-4 * scale)
        assert scale > 1e-3


def test_the_vectors_matter(backbone):
    """Otherwise the test above would hold for a vector that is left out."""
    vectors, coefficients = drawn(backbone, len(SEQUENCES))
    with torch.no_grad():
        with inject_each(backbone, vectors, coefficients):
            values = last(backbone, SEQUENCES)
        with inject_each(backbone, vectors.flip(0), coefficients):
            others = last(backbone, SEQUENCES)
    moved = (values - others).abs().amax(dim=1)
    # The one in the middle keeps its vector.
    assert moved[1] < 1e-6 < 1e-3 < min(moved[0], moved[2])


def test_what_does_not_fit_is_refused_and_leaves_no_trace():
    backbone = Backbone.wrap(toy_model("llama"), toy_tokenizer())
    vectors, coefficients = drawn(backbone, len(SEQUENCES))
    wrong = [
        (vectors[:2], coefficients, "vectors have shape"),
        (vectors[:, :2], coefficients, "vectors have shape"),
        (vectors[..., :-1], coefficients, "vectors have shape"),
        (vectors[0, 0], coefficients, "vectors have shape"),
        (vectors[None], coefficients, "vectors have shape"),
        (vectors, coefficients[0], "coefficients of each example have shape"),
        (vectors, coefficients[..., :1], "coefficients of each example have shape"),
    ]
    for vector, scalars, said in wrong:
        with pytest.raises(ModelError, match=said) as caught, inject_each(backbone, vector, scalars):
            pytest.fail("it was let in")
        assert "\n" not in str(caught.value)
        assert caught.value.hint
    with inject(backbone, vectors[0], coefficients[0]):
        pass
