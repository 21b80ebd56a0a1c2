"""A shared beginning changes the work, never the numbers."""

import pytest
import torch
from toys import CONFIGS, toy_model, toy_tokenizer

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.prefix import SharedPrefix, common_prefix


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_hidden_states_behind_a_shared_prefix_are_those_of_whole_prompts(name):
    backbone = Backbone.wrap(toy_model(name), toy_tokenizer())
    shared = [5 + i % 200 for i in range(24)]
    sequences = [[*shared, 40, 41, 42], [*shared, 50], [*shared, 60, 61]]
    prefix = SharedPrefix(backbone, sequences)
    with torch.no_grad():
        whole = backbone.hidden(backbone.make_batch(sequences))
        behind = prefix.hidden(sequences)
    for row, sequence in enumerate(sequences):
        tail = len(sequence) - prefix.length
        expected = whole[row, prefix.length : len(sequence)]
        torch.testing.assert_close(behind[row, :tail], expected, atol=2e-5, rtol=1e-4)
    assert prefix.length == (0 if name.startswith(("openai", "bloom")) else 24)


def test_common_prefix_leaves_every_sequence_a_token():
    assert common_prefix([[1, 2, 3], [1, 2, 3]]) == 2
    assert common_prefix([[1, 2, 3], [1, 9]]) == 1
    assert common_prefix([[1, 2, 3]]) == 0
    assert common_prefix([[7], [7, 8]]) == 0
