"""Texts by descent: mixtures of tokens in every place, moved through the frozen model until they give the vector.

The invariant: the model's weights stay as they are, its embedding is left as it was found, and what is answered are
tokens, never mixtures.

References: Dong et al., Depth Gives a False Sense of Privacy, arXiv 2507.16372 (soft tokens through the model);
Guo et al., Gradient-based Adversarial Attacks against Text Transformers, arXiv 2104.13733 (mixtures of embeddings).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attacks._base.attack import Answer, Knowledge, Texts
from attacks._base.declared import Declared
from attacks._base.space import Space, clipped, seen
from attacks._base.targets import Floats, Target
from attacks._mixes.mixture import CERTAIN
from attacks._texts.few import Told, few_examples
from attacks._texts.wording import Encoder, Text, Wording
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.hooks import capture

_RESTARTS = 4
_STEPS = 120
_RATE = 0.3
_SHARES = (1.0, 1e-3)
"""Of one text's variance that is expected to stay unexplained, at the first step and at the last."""
_HEAT = (1.0, 0.2)
"""Temperature of the mixtures, likewise."""
_TRUST = 0.5
"""Weight of the start's own token in its place, beside that of all public tokens."""
_RIDGE = 1e-3
_TRIED = 5
_SWEEPS = 3


@dataclass(frozen=True, slots=True, eq=False)
class _Public:
    """Public texts as starts, and as the metric in which a vector is matched; ``site`` is the first that is read."""

    space: Space
    points: Floats
    texts: tuple[tuple[int, ...], ...]
    labels: NDArray[np.int64]
    tokens: NDArray[np.int64]
    share: Floats
    site: tuple[int, int]
    first: Floats


def soft(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> tuple[Answer, ...]:
    """Guess the texts behind each vector that stands for few examples, in any family of models.

    Each place of a public text that lies near is a mixture of tokens; Adam moves all mixtures at once so that the mean
    activations come to the vector in all layers; they are cooled, committed to their heaviest tokens, and then single
    tokens are replaced by the next heaviest ones as long as that helps.

    Raises:
        TooManyError: no vector stands for so few examples.
    """
    wording = Wording.of(backbone, knowledge)
    told = few_examples(backbone, knowledge, targets, len(wording.tails), parts=True)
    public = _public(backbone, knowledge, wording, [each.target for each in told])
    encoder = Encoder(backbone, knowledge, wording)
    answers = []
    for number, each in enumerate(told):
        knowledge.progress("optimising soft tokens", number, len(told))
        encoder.forget()
        before = encoder.forwards
        rng = np.random.default_rng([knowledge.seed, 29, number])
        texts, certain = soft_one(encoder, public, each, rng)
        content = Texts(tuple(wording.bare(text.tokens) for text in texts), certain, each.labels)
        ran = encoder.forwards - before + _STEPS * _RESTARTS * len(each.labels)
        answers.append(Answer(each.target.who, content, ran))
    knowledge.progress("optimising soft tokens", len(told), len(told))
    return tuple(answers)


def _public(backbone: Backbone, knowledge: Knowledge, wording: Wording, targets: Sequence[Target]) -> _Public:
    values = seen(backbone, knowledge, knowledge.public, "reading public texts")
    space = Space.of(values, targets)
    texts = wording.inner
    tokens, counts = np.unique(
        np.concatenate([np.asarray(ids, dtype=np.int64) for ids in texts]), return_counts=True
    )
    labels = np.array([e.label if len(wording.tails) > 1 else 0 for e in knowledge.public])
    layer, branch, _ = np.argwhere(knowledge.sites.mask(backbone.n_layers))[0].tolist()
    first = values[:, layer, branch].astype(np.float64)
    share = counts / counts.sum()
    return _Public(space, space.enter(values), texts, labels, tokens, share, (layer, branch), first)


def soft_one(
    encoder: Encoder, public: _Public, told: Told, rng: np.random.Generator
) -> tuple[tuple[Text, ...], bool]:
    """Guess the texts behind one vector; also whether they account for it down to rounding."""
    starts = [_start(public, told, number, rng) for number in range(_RESTARTS)]
    mixtures = _descend(encoder, public, told, starts)
    best: tuple[float, tuple[Text, ...]] | None = None
    for start, mixed in zip(starts, mixtures, strict=True):
        ranked = [np.argsort(-each, axis=1, kind="stable")[:, :_TRIED] for each in mixed]
        committed = tuple(
            Text(tuple(public.tokens[order[:, 0]].tolist()), text.label)
            for text, order in zip(start, ranked, strict=True)
        )
        found = _polish(encoder, public, told, committed, ranked)
        if best is None or found[0] < best[0]:
            best = found
    assert best is not None
    left = told.target.vector - encoder(best[1]).mean(axis=0)
    mask = np.broadcast_to(encoder.knowledge.sites.mask(encoder.backbone.n_layers), left.shape)
    residual = float(np.mean((left**2 / told.target.variance)[mask]))
    return best[1], residual <= CERTAIN and not encoder.knowledge.declared.noisy


def _start(public: _Public, told: Told, number: int, rng: np.random.Generator) -> tuple[Text, ...]:
    """Public texts that lie near in the first site that is read, apart from what classes explain.

    That is the first attention, which says most of words, unless it is left out.
    """
    rows, aim = public.first, told.target.vector[public.site]
    classes = np.unique(public.labels)
    means = {int(c): rows[public.labels == c].mean(axis=0) for c in classes}
    within = rows - np.stack([means[int(c)] for c in public.labels])
    rest = aim - np.mean([means.get(label, rows.mean(axis=0)) for label in told.labels], axis=0)
    covariance = within.T @ within / len(within)
    covariance += np.diag(_RIDGE * np.trace(covariance) / len(covariance) + told.target.variance[public.site])
    white = np.linalg.inv(np.linalg.cholesky(covariance))
    distance = np.sum(((within / len(told.labels) - rest) @ white.T) ** 2, axis=1)
    near = np.argsort(distance, kind="stable")
    taken = []
    for place, label in enumerate(told.labels):
        index = number if len(told.labels) == 1 else int(rng.integers(min(8, len(near))))
        taken.append(Text(public.texts[near[min(index + place, len(near) - 1)]], label))
    return tuple(taken)


def _descend(
    encoder: Encoder, public: _Public, told: Told, starts: Sequence[tuple[Text, ...]]
) -> list[list[Floats]]:
    """The mixtures that descent ends with: for each start and text, weights of public tokens by place."""
    backbone, wording = encoder.backbone, encoder.wording
    flat = [text for start in starts for text in start]
    count = len(told.labels)
    embedding: nn.Module = backbone.model.get_input_embeddings()
    device = backbone.device
    rows: Tensor = backbone.model.get_input_embeddings().weight
    table = rows.detach()[torch.as_tensor(public.tokens, device=device)].float()
    share = torch.as_tensor(np.log((1 - _TRUST) * public.share), dtype=torch.float32, device=device)
    column = {int(token): i for i, token in enumerate(public.tokens)}
    logits = []
    for text in flat:
        begin = share.expand(len(text.tokens), -1).clone()
        at = torch.as_tensor([column[token] for token in text.tokens], device=device)
        begin[torch.arange(len(at), device=device), at] = float(np.log(_TRUST))
        logits.append(begin.requires_grad_(True))
    optimiser = torch.optim.Adam(logits, lr=_RATE)
    shown = [wording.demonstration(text) for text in flat]
    batch = backbone.make_batch([each.ids for each in shown])
    last = torch.as_tensor([len(each.ids) - 1 for each in shown], device=device)
    match = _Match(public.space, told.target, encoder.knowledge.declared, device)
    for step in range(_STEPS):
        done = step / max(1, _STEPS - 1)
        heat = _HEAT[0] * (_HEAT[1] / _HEAT[0]) ** done
        mixed = [torch.softmax(each / heat, dim=1) @ table for each in logits]
        with (
            torch.enable_grad(),
            _in_place(embedding, mixed, len(wording.head)),
            capture(backbone, last) as captured,
        ):
            backbone.hidden(batch)
            loss = match(
                captured.contributions().float(), count, float(_SHARES[0] * (_SHARES[1] / _SHARES[0]) ** done)
            )
        optimiser.zero_grad()
        # A clone outside inference mode: gradients reach the mixtures and nothing of the model.
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    weights = [each.detach().double().cpu().numpy() for each in logits]
    return [weights[i * count : (i + 1) * count] for i in range(len(starts))]


class _Match:
    """How far mean activations are from a vector, in the space of public texts, as torch computes it."""

    def __init__(self, space: Space, target: Target, declared: Declared, device: torch.device) -> None:
        self.space, self.declared = space.told(target), declared
        self.centre = torch.as_tensor(space.centre, dtype=torch.float32, device=device)
        self.spread = torch.as_tensor(space.spread, dtype=torch.float32, device=device)
        self.axes = torch.as_tensor(space.axes, dtype=torch.float32, device=device)
        self.point = torch.as_tensor(space.enter(target.vector), dtype=torch.float32, device=device)

    def __call__(self, made: Tensor, count: int, share: float) -> Tensor:
        """The sum over starts of the logarithm of the weighted square: each moves at its own scale."""
        flat = made.flatten(1)
        if self.declared.bounds is not None:
            # Bounded by the release's own code, and with the gradient of what was not bounded: both fall together.
            bounded = torch.as_tensor(clipped(made.detach().cpu().numpy(), self.declared), device=made.device)
            flat = flat + (bounded - made.detach()).flatten(1)
        means = flat.view(-1, count, flat.shape[1]).mean(dim=1)
        weights = torch.as_tensor(
            self.space.weights(count / share), dtype=torch.float32, device=self.axes.device
        )
        left = ((means - self.centre) / self.spread) @ self.axes - self.point
        return ((left * weights) ** 2).mean(dim=1).log().sum()


@contextmanager
def _in_place(embedding: nn.Module, mixed: Sequence[Tensor], start: int) -> Iterator[None]:
    """Until the block ends, the model is shown these vectors where texts stand, in place of their tokens'."""

    def put(module: Any, args: Any, output: Tensor) -> Tensor:
        # As the embedding scales its own rows, where it does.
        own = module.weight[args[0]].float()
        scale = (output.float().norm() / own.norm().clamp(min=1e-30)).detach()
        rows = []
        for row, vectors in zip(output, mixed, strict=True):
            stop = start + len(vectors)
            rows.append(torch.cat((row[:start], (vectors * scale).to(row.dtype), row[stop:])))
        return torch.stack(rows)

    handle = embedding.register_forward_hook(put)
    try:
        yield
    finally:
        handle.remove()


def _polish(
    encoder: Encoder,
    public: _Public,
    told: Told,
    texts: tuple[Text, ...],
    ranked: Sequence[NDArray[np.int64]],
) -> tuple[float, tuple[Text, ...]]:
    """Replace single tokens by the next heaviest of their place as long as the model comes nearer to the vector."""
    point, weights = public.space.enter(told.target.vector), public.space.weights(1e4)
    current = list(texts)
    points = public.space.enter(encoder(current))
    score = float(np.sum(((points.mean(axis=0) - point) * weights) ** 2))
    for _ in range(_SWEEPS):
        before = score
        for which, order in enumerate(ranked):
            for place in range(len(order)):
                tokens = current[which].tokens
                tried = [
                    Text((*tokens[:place], token, *tokens[place + 1 :]), current[which].label)
                    for token in public.tokens[order[place]].tolist()
                    if token != tokens[place]
                ]
                made = public.space.enter(encoder(tried))
                means = points.mean(axis=0) + (made - points[which]) / len(current)
                scores = np.sum(((means - point) * weights) ** 2, axis=1)
                best = int(np.argmin(scores))
                if scores[best] < score:
                    score, current[which], points[which] = float(scores[best]), tried[best], made[best]
        if score >= before:
            break
    return score, tuple(current)
