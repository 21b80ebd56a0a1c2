"""Fits coefficients to a released vector without a single label: by what answers to public texts tell about them.

Public coefficients serve many tasks, and none of them best. Once a vector is known, they can be moved so that the
model is sure of its answers to public texts and gives different answers to different ones; which text gets which answer
is left to the vector. Labels are not needed, so nothing private is.

The invariant: as in `ifedpriv.icl.choice`, nothing is read but the released vector and public texts; all of it is
post-processing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.hooks import inject
from ifedpriv.data.task import Task
from ifedpriv.icl.labels import LabelTokens, label_tokens, probe_values
from ifedpriv.icl.vectors import Coefficients, ContextVector


def mutual_information(scores: Tensor) -> Tensor:
    """Entropy of the mean answer less the mean entropy of the answers, in nats; a scalar tensor.

    Args:
        scores: ``[texts, classes]``, logits or log-probabilities.

    Reference: Bridle, Heading and MacKay, *Unsupervised classifiers, mutual information and phantom targets*, NIPS
    1991; as an objective for adapting a classifier to unlabelled texts: Krause, Perona and Gomes, *Discriminative
    clustering by regularized information maximization*, NIPS 2010.
    """
    logs = scores.log_softmax(dim=-1)
    answers = logs.exp()
    mean = answers.mean(dim=0)
    spread = -(mean * mean.clamp_min(1e-30).log()).sum()
    doubt = -(answers * logs).sum(dim=-1).mean()
    return spread - doubt


def answer_scores(backbone: Backbone, labels: LabelTokens, prompts: Sequence[Sequence[int]]) -> Tensor:
    """Scores of every label word for every prompt, ``[prompts, classes]``, with a gradient for what is injected.

    The same numbers as `ifedpriv.icl.predict.score_labels` gives: logits if one token decides, else mean
    log-probabilities of the label's tokens.
    """
    columns: list[list[Tensor]] = [[] for _ in labels.tokens]
    ends = [len(prompt) - 1 for prompt in prompts]
    for index, path in enumerate(labels.paths):
        batch = backbone.make_batch([[*prompt, *path] for prompt in prompts])
        for probe in (probe for probe in labels.probes if probe.path == index):
            at = backbone.hidden_at(batch, range(len(prompts)), [end + probe.depth for end in ends])
            values = probe_values(backbone, labels, probe, at)
            for column, through in enumerate(probe.labels):
                for label in through:
                    columns[label].append(values[:, column] / len(labels.tokens[label]))
    return torch.stack([torch.stack(parts).sum(dim=0) for parts in columns], dim=1)


def sharpen(
    backbone: Backbone,
    task: Task,
    vector: ContextVector,
    start: Coefficients,
    texts: Sequence[str],
    *,
    steps: int,
    batch_size: int = 48,
    rate: float = 0.03,
) -> Coefficients:
    """Raise the mutual information between public texts and the answers to them over the coefficients.

    Args:
        backbone: the frozen model.
        task: a classification task's wording, which is public.
        vector: as released.
        start: public coefficients.
        texts: public ones, without labels; batches are drawn from them by a seed that everybody knows.
        steps: of Adam.
        batch_size: texts a step.
        rate: Adam's learning rate.
    """
    labels = label_tokens(backbone, task)
    prompts = backbone.encode_prompts([task.prompt(text) for text in texts])
    injected = torch.from_numpy(vector.values.copy()).to(backbone.device)
    scalars = torch.from_numpy(start.values.copy()).to(backbone.device).requires_grad_()
    optimizer = torch.optim.Adam([scalars], lr=rate)
    rng = np.random.default_rng(len(prompts))
    size = min(batch_size, len(prompts))
    with inject(backbone, injected, scalars):
        for _ in range(steps):
            chosen = rng.choice(len(prompts), size=size, replace=False)
            loss = -mutual_information(answer_scores(backbone, labels, [prompts[i] for i in chosen]))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return Coefficients(scalars.detach().cpu().numpy())
