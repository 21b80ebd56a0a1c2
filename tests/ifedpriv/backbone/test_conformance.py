"""What every family must do, on random models of it: one suite, all rows."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from toys import CONFIGS, UNKNOWN, toy_model, toy_tokenizer

from ifedpriv.backbone import Backbone, capture, inject
from ifedpriv.backbone.families import FAMILIES
from ifedpriv.backbone.hooks import first_tensor

NAMES = [*CONFIGS, *UNKNOWN]
LONG, SHORT = list(range(3, 24)), list(range(40, 53))


@cache
def tokenizer():
    return toy_tokenizer()


@cache
def backbone_of(name: str) -> Backbone:
    """Proved by `wrap`; shared, since nothing may change a frozen model."""
    return Backbone.wrap(toy_model(name), tokenizer())


@pytest.fixture(params=NAMES)
def backbone(request) -> Backbone:
    return backbone_of(request.param)


def identity(backbone: Backbone) -> torch.Tensor:
    coefficients = torch.zeros(backbone.n_layers, 2, 2)
    coefficients[..., 1] = 1.0
    return coefficients


def random_injection(backbone: Backbone, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(backbone.n_layers, 2, backbone.width, generator=generator)
    spread = 0.4 * torch.randn(backbone.n_layers, 2, 2, generator=generator)
    return vector, identity(backbone) + spread


def hooks_on(backbone: Backbone) -> int:
    return sum(len(module._forward_hooks) for module in backbone.model.modules())


def test_every_row_of_the_table_has_a_toy():
    assert {backbone_of(name).family for name in CONFIGS} == set(FAMILIES)
    assert not {backbone_of(name).family for name in UNKNOWN} & set(FAMILIES)


def test_sizes_and_frozen_weights(backbone):
    assert backbone.n_layers in (2, 3)
    assert backbone.width == 32
    assert not backbone.model.training
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())
    assert hooks_on(backbone) == 0


def test_logit_rows_equal_the_models(backbone):
    batch = backbone.make_batch([LONG, SHORT])
    full = backbone.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    rows = backbone.hidden(batch)[torch.arange(2), batch.last]
    expected = full[torch.arange(2), batch.last]
    torch.testing.assert_close(backbone.logits(rows), expected, atol=2e-5, rtol=1e-4)
    some = torch.tensor([5, 200, 17])
    torch.testing.assert_close(backbone.logits(rows, some), expected[:, some], atol=2e-5, rtol=1e-4)


def test_padding_sides_agree_with_no_padding(backbone):
    vector, coefficients = random_injection(backbone)
    with inject(backbone, vector, coefficients):
        alone = [backbone.hidden(backbone.make_batch([ids]))[0] for ids in (LONG, SHORT)]
        for side in ("left", "right"):
            batch = backbone.make_batch([LONG, SHORT], side)
            states = backbone.hidden(batch)
            for row, expected in enumerate(alone):
                start = int(batch.starts[row])
                got = states[row, start : start + int(batch.lengths[row])]
                torch.testing.assert_close(got, expected, atol=2e-5, rtol=1e-4)


def test_identity_is_bit_exact_with_and_without_gradient(backbone):
    vector, _ = random_injection(backbone)
    for side in ("right", "left"):
        batch = backbone.make_batch([LONG, SHORT], side)
        bare = backbone.hidden(batch)
        with inject(backbone, vector, identity(backbone)):
            assert hooks_on(backbone) == 0
            assert torch.equal(backbone.hidden(batch), bare)
        with inject(backbone, vector, identity(backbone).requires_grad_()):
            assert hooks_on(backbone) == 2 * backbone.n_layers
            assert torch.equal(backbone.hidden(batch), bare)


def test_constant_and_trainable_injection_are_one_function(backbone):
    vector, coefficients = random_injection(backbone)
    batch = backbone.make_batch([LONG, SHORT])
    with inject(backbone, vector, coefficients):
        fixed = backbone.hidden(batch)
    with inject(backbone, vector, coefficients.clone().requires_grad_()):
        live = backbone.hidden(batch)
    assert not torch.equal(fixed, backbone.hidden(batch))
    torch.testing.assert_close(live, fixed, atol=1e-6, rtol=1e-6)


def test_gradient_reaches_every_coefficient_and_the_vector(backbone):
    vector, coefficients = random_injection(backbone)
    vector.requires_grad_()
    coefficients.requires_grad_()
    batch = backbone.make_batch([LONG, SHORT])
    with inject(backbone, vector, coefficients):
        rows = backbone.hidden(batch)[torch.arange(2), batch.last]
    loss = torch.nn.functional.cross_entropy(backbone.logits(rows).float(), torch.tensor([9, 60]))
    loss.backward()
    assert bool((coefficients.grad != 0).all())
    assert bool((vector.grad.abs().sum(-1) > 0).all())
    assert all(parameter.grad is None for parameter in backbone.model.parameters())


def test_gradient_is_the_slope(backbone):
    """Central differences in one random direction; float32, so a few parts in a hundred."""
    vector, coefficients = random_injection(backbone)
    direction = torch.randn(coefficients.shape, generator=torch.Generator().manual_seed(3))
    batch = backbone.make_batch([LONG, SHORT])
    weights = torch.randn(32, generator=torch.Generator().manual_seed(4))

    def value(point: torch.Tensor) -> torch.Tensor:
        with inject(backbone, vector, point):
            last = backbone.hidden(batch)[torch.arange(2), batch.last]
        return (last.double() * weights[: last.shape[-1]]).sum()

    point = coefficients.clone().requires_grad_()
    (slope,) = torch.autograd.grad(value(point), point)
    step = 2e-3
    measured = (value(coefficients + step * direction) - value(coefficients - step * direction)) / (2 * step)
    expected = float((slope * direction).sum())
    size = float((slope * direction).abs().sum())
    assert abs(expected - float(measured)) < 0.03 * size


def test_captures_are_what_the_residual_stream_gains(backbone):
    """The first block's gain, by capture, against its input and output."""
    place = backbone.sites.layers[0]
    seen = {}

    def before(module, args, kwargs):
        seen["in"] = (args[0] if args else kwargs["hidden_states"]).clone()

    def after(module, args, output):
        seen["out"] = (output if isinstance(output, torch.Tensor) else output[0]).clone()

    batch = backbone.make_batch([LONG, SHORT])
    handles = [
        place.block.register_forward_pre_hook(before, with_kwargs=True),
        place.block.register_forward_hook(after),
    ]
    with capture(backbone, batch.last) as captured:
        backbone.hidden(batch)
    for handle in handles:
        handle.remove()
    gained = captured.contributions()
    assert gained.shape == (2, backbone.n_layers, 2, 32)
    assert gained.dtype == torch.float32
    rows = torch.arange(2)
    entry, leave = (seen[key].view(2, -1, 32)[rows, batch.last] for key in ("in", "out"))
    if place.post_norms is None:
        expected = entry + gained[:, 0, 0] + gained[:, 0, 1]
    else:
        first, second = place.post_norms
        expected = second(first(entry + gained[:, 0, 0]) + gained[:, 0, 1])
    torch.testing.assert_close(leave, expected, atol=1e-5, rtol=1e-5)


def test_injection_is_in_residual_units(backbone):
    """λ = 1 adds v itself to what the first branch gives, whatever the family multiplies by."""
    vector = random_injection(backbone)[0]
    coefficients = identity(backbone)
    coefficients[0, 0, 0] = 1.0
    batch = backbone.make_batch([LONG, SHORT])
    with capture(backbone, batch.last) as bare:
        backbone.hidden(batch)
    with inject(backbone, vector, coefficients), capture(backbone, batch.last) as moved:
        backbone.hidden(batch)
    change = moved.contributions()[:, 0, 0] - bare.contributions()[:, 0, 0]
    torch.testing.assert_close(change, vector[0, 0].expand(2, -1), atol=2e-5, rtol=1e-4)


def test_captures_own_their_memory(backbone):
    """What the model, or a later hook, does in place to a branch's output does not reach the capture."""
    batch = backbone.make_batch([LONG, SHORT])
    first = backbone.sites.layers[0].attention

    def spoil(module, args, output):
        first_tensor(output).zero_()

    with capture(backbone, batch.last) as captured:
        backbone.hidden(batch)
    with capture(backbone, batch.last) as spoiled:
        handle = first.register_forward_hook(spoil)
        try:
            backbone.hidden(batch)
        finally:
            handle.remove()
    assert torch.equal(spoiled.contributions()[:, 0, 0], captured.contributions()[:, 0, 0])
    assert not torch.equal(spoiled.contributions(), captured.contributions())
    assert repr(captured) == f"Captured(positions=(2,), layers={backbone.n_layers})"


def test_several_positions_per_sequence(backbone):
    batch = backbone.make_batch([LONG, SHORT], "left")
    positions = torch.stack((batch.starts + 2, batch.last), dim=1)
    with capture(backbone, positions) as captured:
        backbone.hidden(batch)
    both = captured.contributions()
    assert both.shape == (2, 2, backbone.n_layers, 2, 32)
    with capture(backbone, batch.last) as captured:
        backbone.hidden(batch)
    assert torch.equal(both[:, 1], captured.contributions())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES)
def test_half_precision(name, dtype):
    """Proved, exact identity, finite gradients, and near the float32 model."""
    backbone = Backbone.wrap(toy_model(name, dtype=dtype), tokenizer())
    vector, coefficients = random_injection(backbone)
    batch = backbone.make_batch([LONG, SHORT])
    bare = backbone.hidden(batch)
    assert bare.dtype == dtype
    coefficients.requires_grad_()
    with inject(backbone, vector, identity(backbone).requires_grad_()):
        assert torch.equal(backbone.hidden(batch), bare)
    with inject(backbone, vector, coefficients):
        rows = backbone.hidden(batch)[torch.arange(2), batch.last]
    backbone.logits(rows).float().logsumexp(-1).sum().backward()
    assert bool(torch.isfinite(coefficients.grad).all())
    exact = backbone_of(name)
    with inject(exact, vector, coefficients.detach()):
        expected = exact.hidden(batch)[torch.arange(2), batch.last]
    distance = (rows.detach().float() - expected).norm() / expected.norm()
    assert float(distance) < (0.25 if dtype == torch.bfloat16 else 0.05)


def greedy_by_hand(backbone: Backbone, prompt: str, steps: int) -> list[int]:
    """No cache, no padding: the whole text again for every token."""
    ids = backbone.encode_prompt(prompt)
    for _ in range(steps):
        state = backbone.hidden(backbone.make_batch([ids]))[:, -1]
        ids.append(int(backbone.logits(state).argmax()))
    return ids


def test_generation_with_cache_and_padding_equals_none(backbone):
    vector, coefficients = random_injection(backbone)
    prompts = ["Text: a good day Label:", "the cat", "a bad dog sat on the mat"]
    with inject(backbone, vector, coefficients):
        texts = backbone.generate(prompts, 8, "")
        for prompt, text in zip(prompts, texts, strict=True):
            ids = greedy_by_hand(backbone, prompt, 8)
            new = ids[len(backbone.encode_prompt(prompt)) :]
            if 1 in new:
                new = new[: new.index(1)]
            whole = backbone.tokenizer.decode(
                [*backbone.encode_prompt(prompt), *new], skip_special_tokens=True
            )
            assert prompt + text == whole
