"""The embedded model's tokenizer: byte-level BPE on the generator's own text.

Any text can be encoded (every byte is a token), the world's words are whole, and digits come in pairs with
their leading space, so that a number of four digits is two tokens wherever it stands.
"""

from __future__ import annotations

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from ifedpriv.embedded.conventions import all_conventions
from ifedpriv.embedded.texts import SEPARATOR, TEMPLATE, write_text

VOCABULARY = 2400
PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"

_PIECES = Regex(r" ?\d{1,2}| ?[A-Za-z]+| ?[^\sA-Za-z\d]+|\s+")


def train_tokenizer(seed: int, context: int) -> PreTrainedTokenizerFast:
    """Train on 20,000 labelled texts and every instruction; deterministic for a seed."""
    rng = np.random.default_rng([seed, 0])
    conventions = all_conventions()
    documents = [c.instruction() for c in conventions for _ in range(40)]
    for _ in range(20_000):
        text = write_text(rng)
        convention = conventions[int(rng.integers(len(conventions)))]
        documents.append(f"{TEMPLATE.format(text=text.text)} {convention.answer(text)}{SEPARATOR}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_PIECES, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=BOS, eos_token=EOS, model_max_length=context
    )
