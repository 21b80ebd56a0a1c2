"""How likely the model finds each token of each text: its loss on the answer, and Min-K%++ over all tokens.

The invariant: nothing is kept of a text but two numbers, and the model is as it was when the pass is over.

References:
    Yeom et al., Privacy risk in machine learning, arXiv 1709.01604 (the loss); Zhang et al., Min-K%++, arXiv
    2404.02936, equations 3 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch

from attacks._base.attack import Knowledge
from attacks._base.targets import Floats
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example
from ifedpriv.icl.injection import Injection
from ifedpriv.icl.prompts import Demonstration, bucketed, tokenize_all

LOWEST = 0.2
"""Share of a text's tokens, the least likely ones, over which Min-K%++ is taken."""
_ROWS = 2048


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TokenScores:
    """Two numbers for each text.

    Attributes:
        loss: mean cross-entropy of the answer's tokens, nats, ``[n]``.
        lowest: Min-K%++, larger for texts that the model finds likelier than others in their place, ``[n]``.
    """

    loss: Floats
    lowest: Floats


def token_scores(
    backbone: Backbone,
    knowledge: Knowledge,
    examples: Sequence[Example],
    injected: Injection | None,
    stage: str,
) -> TokenScores:
    """Run every text with its answer once, with an injection or without.

    Args:
        backbone: the model.
        knowledge: the template, and how many texts are run at a time.
        examples: texts with answers.
        injected: what is on while they run.
        stage: what progress is told.
    """
    demonstrations = tokenize_all(backbone, knowledge.task, examples)
    loss, lowest = np.zeros(len(examples)), np.zeros(len(examples))
    done = 0
    with torch.inference_mode(), injected.on(backbone) if injected is not None else nullcontext():
        for chosen in bucketed([len(d.ids) for d in demonstrations], knowledge.batch_size):
            ids = [demonstrations[i].ids[: _end(demonstrations[i])] for i in chosen]
            hidden = backbone.hidden(backbone.make_batch([each[:-1] for each in ids]))
            rows = torch.cat([hidden[row, : len(each) - 1] for row, each in enumerate(ids)])
            targets = torch.tensor([token for each in ids for token in each[1:]], device=rows.device)
            logs, scaled = _of_rows(backbone, rows, targets)
            at = 0
            for i, each in zip(chosen, ids, strict=True):
                own = slice(at, at + len(each) - 1)
                at = own.stop
                loss[i] = -logs[own][demonstrations[i].prompt_length - 1 :].mean()
                kept = max(1, round(LOWEST * (len(each) - 1)))
                lowest[i] = np.sort(scaled[own])[:kept].mean()
            done += len(chosen)
            knowledge.progress(stage, done, len(examples))
    return TokenScores(loss, lowest)


def _end(demonstration: Demonstration) -> int:
    return demonstration.prompt_length + demonstration.answer_length


def _of_rows(backbone: Backbone, rows: torch.Tensor, targets: torch.Tensor) -> tuple[Floats, Floats]:
    """Log-probability of each target, and the same in standard deviations of its place's vocabulary."""
    logs, scaled = [], []
    # A large vocabulary at all tokens of a batch would not fit.
    for start in range(0, len(rows), _ROWS):
        every = torch.log_softmax(backbone.logits(rows[start : start + _ROWS]).float(), dim=-1)
        shares = every.exp()
        mean = (shares * every).sum(dim=-1)
        spread = ((shares * every.square()).sum(dim=-1) - mean.square()).clamp_min(1e-12).sqrt()
        own = every.gather(1, targets[start : start + _ROWS, None])[:, 0]
        logs.append(own.double().cpu().numpy())
        scaled.append(((own - mean) / spread).double().cpu().numpy())
    return np.concatenate(logs), np.concatenate(scaled)
