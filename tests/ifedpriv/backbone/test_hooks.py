"""The contexts leave no trace, and refuse what does not fit."""

from __future__ import annotations

import pytest
import torch
from toys import toy_model, toy_tokenizer

from ifedpriv.backbone import Backbone, capture, inject
from ifedpriv.backbone.hooks import first_tensor, is_injected, with_first_tensor
from ifedpriv.errors import InputError, ModelError


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone.wrap(toy_model("falcon-7b"), toy_tokenizer())


def injection(backbone: Backbone) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(backbone.n_layers, 2, backbone.width), torch.full((backbone.n_layers, 2, 2), 0.5)


def hooks_on(backbone: Backbone) -> int:
    return sum(len(module._forward_hooks) for module in backbone.model.modules())


def test_hooks_are_gone_after_an_exception_in_the_context(backbone):
    batch = backbone.make_batch([[3, 4, 5]])
    bare = backbone.hidden(batch)
    with pytest.raises(KeyError), inject(backbone, *injection(backbone)), capture(backbone, batch.last):
        assert hooks_on(backbone) == 4 * backbone.n_layers
        raise KeyError
    assert hooks_on(backbone) == 0
    assert not is_injected(backbone)
    assert torch.equal(backbone.hidden(batch), bare)


def test_hooks_are_gone_after_an_exception_in_the_forward_pass(backbone):
    batch = backbone.make_batch([[3, 4, 5]])
    with pytest.raises(InputError, match="2 sequences, and the batch has 1"):
        with capture(backbone, torch.tensor([0, 0])):
            backbone.hidden(batch)
    assert hooks_on(backbone) == 0


def test_nested_injection_is_refused_and_the_outer_one_stays(backbone):
    with inject(backbone, *injection(backbone)):
        before = hooks_on(backbone)
        with pytest.raises(ModelError, match="carries an injection already"):
            with inject(backbone, *injection(backbone)):
                pytest.fail("a second injection was let in")
        assert hooks_on(backbone) == before
        assert is_injected(backbone)
    with inject(backbone, *injection(backbone)):
        pass


def test_nested_identity_is_refused_too(backbone):
    """No hook is set for an identity, and yet two injections would be two meanings."""
    vector, coefficients = torch.zeros(backbone.n_layers, 2, 32), torch.ones(backbone.n_layers, 2, 2)
    with inject(backbone, vector, coefficients), pytest.raises(ModelError):
        with inject(backbone, vector, coefficients):
            pass


@pytest.mark.parametrize(
    ("vector", "coefficients", "message"),
    [
        (torch.zeros(3, 2, 31), torch.zeros(3, 2, 2), "vector has shape"),
        (torch.zeros(3, 2, 32), torch.zeros(2, 2, 2), "coefficients has shape"),
        (torch.full((3, 2, 32), float("nan")), torch.zeros(3, 2, 2), "finite"),
        (torch.zeros(3, 2, 32), torch.full((3, 2, 2), float("inf")), "finite"),
        (torch.zeros(3, 2, 32), torch.zeros(3, 2, 2, dtype=torch.long), "finite floats"),
    ],
)
def test_what_does_not_fit_is_refused(backbone, vector, coefficients, message):
    with pytest.raises(ModelError, match=message) as caught:
        with inject(backbone, vector, coefficients):
            pass
    assert "\n" not in str(caught.value)
    assert not is_injected(backbone)


def test_an_optimiser_may_step_inside_the_context(backbone):
    vector, coefficients = injection(backbone)
    coefficients.requires_grad_()
    batch = backbone.make_batch([[3, 4, 5, 6]])
    optimiser = torch.optim.SGD([coefficients], lr=0.05)
    seen = []
    with inject(backbone, vector, coefficients):
        for _ in range(3):
            loss = backbone.hidden(batch)[:, -1].square().sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            seen.append(float(loss.detach()))
    assert seen[0] > seen[1] > seen[2]


def test_a_small_beta_is_not_lost_in_bf16():
    """1.002 is 1 in bf16; the product with it is not always."""
    backbone = Backbone.wrap(toy_model("llama", dtype=torch.bfloat16), toy_tokenizer())
    coefficients = torch.zeros(3, 2, 2)
    coefficients[..., 1] = 1.002
    batch = backbone.make_batch([list(range(3, 40))])
    with inject(backbone, torch.zeros(3, 2, 32), coefficients):
        changed = backbone.hidden(batch)
    assert not torch.equal(changed, backbone.hidden(batch))


def test_capture_holds_one_pass_only(backbone):
    batch = backbone.make_batch([[3, 4, 5]])
    with pytest.raises(InputError, match="one forward pass"):
        with capture(backbone, batch.last):
            backbone.hidden(batch)
            backbone.hidden(batch)
    with capture(backbone, batch.last) as captured, pytest.raises(InputError, match="holds nothing"):
        captured.contributions()
    with pytest.raises(InputError, match="integers"):
        with capture(backbone, torch.zeros(2)):
            pass


def test_a_capture_is_differentiable_in_the_injection(backbone):
    vector, coefficients = injection(backbone)
    vector.requires_grad_()
    batch = backbone.make_batch([[3, 4, 5]])
    with inject(backbone, vector, coefficients), capture(backbone, batch.last) as captured:
        backbone.hidden(batch)
    (slope,) = torch.autograd.grad(captured.contributions()[:, 0, 0].sum(), vector)
    torch.testing.assert_close(slope[0, 0], torch.full((32,), 0.5))


@pytest.mark.parametrize("container", [tuple, list])
def test_containers_keep_their_type_and_their_rest(container):
    output = container([torch.zeros(2), "rest"])
    changed = with_first_tensor(output, torch.ones(2))
    assert type(changed) is container
    assert changed[1] == "rest"
    assert torch.equal(first_tensor(changed), torch.ones(2))
