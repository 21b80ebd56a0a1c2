"""`icl.folding.fold` writes what plain transformers loads, and it is the injected model."""

import pytest
import torch
from tiny import injection, tiny_backbone
from transformers import AutoModelForCausalLM, AutoTokenizer

from ifedpriv.errors import ModelError
from ifedpriv.icl.folding import fold

TEXT = "Text: the best day of them all\nLabel:"


def test_the_fold_answers_as_the_injection_does(tmp_path):
    backbone = tiny_backbone()
    made = injection(backbone)
    fold(backbone, made, tmp_path)
    folded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.tensor([AutoTokenizer.from_pretrained(tmp_path)(TEXT).input_ids])
    assert ids.tolist() == [backbone.encode_prompt(TEXT)]
    with torch.no_grad():
        got = folded(input_ids=ids).logits
        bare = backbone.model(input_ids=ids).logits
        with made.on(backbone):
            expected = backbone.model(input_ids=ids).logits
    torch.testing.assert_close(got, expected, atol=5e-5, rtol=1e-4)
    assert float((expected - bare).abs().max()) > 0.1


def test_an_injection_for_another_model_is_not_folded(tmp_path):
    with pytest.raises(ModelError, match="was made for the model with fingerprint"):
        fold(tiny_backbone(), injection(tiny_backbone(8)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
