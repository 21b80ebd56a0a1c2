"""Narrowing the last MLP to the tokens that are read changes nothing that is read, whatever is switched on."""

from dataclasses import replace

import pytest
import torch
from toys import CONFIGS, toy_model, toy_tokenizer

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.hooks import capture, inject
from ifedpriv.backbone.narrow import can_narrow, narrowed

IDS = [[0, 5, 6, 7, 30, 31], [0, 9], [0, 40, 41]]
ROWS, COLUMNS = [2, 0, 1, 0], [2, 5, 0, 3]


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_what_is_read_is_what_it_was(family):
    backbone = Backbone.wrap(toy_model(family), toy_tokenizer())
    assert backbone.narrows
    batch = backbone.make_batch(IDS)
    vector = torch.randn(backbone.n_layers, 2, backbone.width, generator=torch.Generator().manual_seed(1))
    scalars = torch.full((backbone.n_layers, 2, 2), 0.7, requires_grad=True)
    found = []
    for at in (
        lambda: backbone.hidden(batch)[ROWS, COLUMNS],
        lambda: backbone.hidden_at(batch, ROWS, COLUMNS),
    ):
        with inject(backbone, vector, scalars):
            hidden = at()
        (gradient,) = torch.autograd.grad(hidden.square().sum(), scalars)
        found.append((hidden.detach(), gradient))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-4, atol=1e-4)
    scale = float(found[0][1].abs().max())
    torch.testing.assert_close(found[1][1] / scale, found[0][1] / scale, rtol=1e-3, atol=1e-4)


def test_the_last_mlp_sees_the_read_tokens_and_no_others():
    backbone = Backbone.wrap(toy_model("llama"), toy_tokenizer())
    seen = []
    handle = backbone.sites.layers[-1].mlp.down_proj.register_forward_hook(
        lambda _m, args, _o: seen.append(tuple(args[0].shape))
    )
    backbone.hidden_at(backbone.make_batch(IDS), ROWS, COLUMNS)
    backbone.hidden(backbone.make_batch(IDS))
    handle.remove()
    assert seen == [(1, 4, 48), (3, 6, 48)]


@pytest.mark.parametrize("family", ["llama", "opt", "bloom", "gemma2", "falcon-40b", "granite"])
def test_a_capture_inside_reads_what_it_always_read(family):
    backbone = Backbone.wrap(toy_model(family), toy_tokenizer())
    batch = backbone.make_batch(IDS)
    with torch.no_grad(), capture(backbone, batch.last) as plain:
        backbone.hidden(batch)
    with (
        torch.no_grad(),
        backbone.reading_at(range(3), batch.last, 3),
        capture(backbone, batch.last) as found,
    ):
        backbone.hidden(batch)
    torch.testing.assert_close(found.contributions(), plain.contributions(), rtol=1e-5, atol=1e-6)


def test_no_hook_stays_behind_even_after_a_failure():
    backbone = Backbone.wrap(toy_model("llama"), toy_tokenizer())
    module = backbone.sites.layers[-1].mlp
    with pytest.raises(IndexError):
        backbone.hidden_at(backbone.make_batch(IDS), [0], [99])
    assert not module._forward_hooks and not module._forward_pre_hooks


def test_an_mlp_that_mixes_tokens_is_found_out():
    model = toy_model("llama")
    backbone = Backbone.wrap(model, toy_tokenizer())
    mlp = backbone.sites.layers[-1].mlp
    plain = mlp.forward
    mlp.forward = lambda x: plain(x) + plain(x).cumsum(1)
    assert not can_narrow(model, backbone.sites)
    whole = replace(backbone, narrows=False)
    batch = whole.make_batch(IDS)
    assert torch.equal(whole.hidden_at(batch, ROWS, COLUMNS), whole.hidden(batch)[ROWS, COLUMNS])


def test_an_mlp_that_wants_the_whole_batch_is_left_alone():
    model = toy_model("llama")
    backbone = Backbone.wrap(model, toy_tokenizer())
    mlp = backbone.sites.layers[-1].mlp
    plain = mlp.forward
    mlp.forward = lambda x: plain(x.reshape(3, -1, 32))
    assert not can_narrow(model, backbone.sites)
    assert not mlp._forward_hooks and not mlp._forward_pre_hooks


def test_flat_batches_are_narrowed_too():
    """OPT gives its MLP all tokens of the batch as one list."""
    backbone = Backbone.wrap(toy_model("opt"), toy_tokenizer())
    seen = []
    handle = backbone.sites.layers[-1].mlp.register_forward_hook(
        lambda _m, args, _o: seen.append(tuple(args[0].shape))
    )
    batch = backbone.make_batch(IDS)
    with narrowed(backbone.sites, torch.tensor(ROWS), torch.tensor(COLUMNS), 3):
        backbone.hidden(batch)
    handle.remove()
    assert seen[0][-2:] == (4, 48)
