"""Drawn text follows the model's own probabilities, prompt by prompt, and a seed fixes it."""

import numpy as np
import pytest
import torch
from scipy import stats
from tiny import tiny_backbone

from ifedpriv.backbone.generation import Sampling
from ifedpriv.errors import InputError

PROMPTS = ["Text: a good day Label:", "the cat", "a bad dog sat on the mat"]


def drawn(prompts, seed, temperature=1.0, tokens=6, batch_size=16):
    sampling = Sampling(seed, temperature)
    return tiny_backbone().generate(prompts, tokens, "", batch_size=batch_size, sampling=sampling)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_first_tokens_are_drawn_from_the_softmax(temperature):
    """A χ² test of 3,000 draws, which fails by chance once in a million; another temperature must fail it."""
    backbone = tiny_backbone()
    ids = torch.tensor([backbone.encode_prompt("the cat")])
    with torch.no_grad():
        logits = backbone.model(input_ids=ids).logits[0, -1].double()
    count = 3000
    said = drawn(["the cat"] * count, 1, temperature, 1, batch_size=count)

    def surprise(assumed):
        shares = (logits / assumed).softmax(-1).numpy()
        texts = {}
        for token, share in enumerate(shares):
            # As `generate` decodes: behind the prompt, nothing for an end token or a special one.
            whole = backbone.tokenizer.decode([*ids[0, 1:].tolist(), token], skip_special_tokens=True)
            texts[whole[len("the cat") :]] = texts.get(whole[len("the cat") :], 0.0) + share
        often = [text for text, share in texts.items() if share * count >= 8]
        seen = np.array([said.count(text) for text in often] + [sum(s not in often for s in said)])
        expected = np.array([texts[text] for text in often])
        expected = np.append(expected, 1 - expected.sum()) * count
        return float(((seen - expected) ** 2 / expected).sum()), len(often)

    square, freedom = surprise(temperature)
    assert square < stats.chi2.isf(1e-6, freedom)
    square, freedom = surprise(temperature * 1.6)
    assert square > stats.chi2.isf(1e-6, freedom)


def test_a_seed_fixes_the_text_and_neighbours_do_not_change_it():
    one = drawn(PROMPTS, 3)
    assert one == drawn(PROMPTS, 3) == drawn(PROMPTS, 3, batch_size=1)
    assert one != drawn(PROMPTS, 4)
    assert drawn(PROMPTS[:1], 3) == one[:1]
    same = drawn([PROMPTS[1]] * 4, 3)
    assert len(set(same)) > 1, "the same prompt twice gets texts of its own"


def test_torchs_own_generator_is_left_alone():
    before = torch.random.get_rng_state()
    drawn(PROMPTS, 3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_temperature_near_zero_is_greedy():
    assert drawn(PROMPTS, 3, 1e-6) == tiny_backbone().generate(PROMPTS, 6, "")


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_other_temperatures_are_refused(temperature):
    with pytest.raises(InputError, match="temperature is"):
        Sampling(1, temperature)
