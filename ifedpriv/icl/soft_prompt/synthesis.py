"""What a prototype prompt knows, written out: texts that the frozen model makes with it, and its own answers to them.

The invariant: all of it is public computing. Texts begin with public seed texts, and nothing else is read but the
released prompts and the model, so it costs no privacy beyond what their release has cost.

The FICPD paper leaves open what the desired output y_k is; here it is what prototype k itself says: the probabilities
that the model gives the label words behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.generation import Sampling
from ifedpriv.data.task import Task, TaskKind
from ifedpriv.errors import InputError
from ifedpriv.icl.predict import score_labels
from ifedpriv.icl.soft_prompt.prompt import SoftPrompt


@dataclass(frozen=True, slots=True)
class SeedTexts:
    """Public inputs of one task: the space Z that synthetic examples begin in.

    Attributes:
        task: a classification task's public wording.
        texts: public texts; none of a client.
    """

    task: Task
    texts: Sequence[str]

    def __post_init__(self) -> None:
        if self.task.kind is not TaskKind.CLASSIFICATION:
            raise InputError(
                f"task {self.task.name!r} has no label words, and prompts are distilled through them",
                "distil on a classification task",
            )
        if not any(text.strip() for text in self.texts):
            raise InputError(f"there are no seed texts for task {self.task.name!r}", "give public texts")


@dataclass(frozen=True, slots=True)
class SynthesisPlan:
    """How texts are made.

    Attributes:
        seed_words: words of a seed text that a synthetic one begins with.
        new_tokens: the most tokens that the model adds; 0 takes the seed texts themselves.
        temperature: divides the logits that tokens are drawn from.
        batch_size: texts at a time.
    """

    seed_words: int = 4
    new_tokens: int = 24
    temperature: float = 1.0
    batch_size: int = 32

    def __post_init__(self) -> None:
        if min(self.seed_words, self.batch_size) < 1 or self.new_tokens < 0:
            raise InputError(
                f"synthesis has seed_words {self.seed_words}, new_tokens {self.new_tokens} and batch_size "
                f"{self.batch_size}",
                "give at least 1 word, 0 tokens and 1 text",
            )


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Synthetic texts of one task with soft labels.

    Attributes:
        task: the wording.
        texts: inputs, without template.
        probabilities: of the label words, float32 ``[texts, classes]``, read-only.
    """

    task: Task
    texts: tuple[str, ...]
    probabilities: NDArray[np.float32]

    def __post_init__(self) -> None:
        copy = np.array(self.probabilities, dtype=np.float32)
        if copy.shape != (len(self.texts), self.task.n_classes) or not np.isfinite(copy).all():
            raise InputError(
                f"soft labels of shape {copy.shape} for {len(self.texts)} texts of task {self.task.name!r}",
                f"give {self.task.n_classes} finite numbers for each",
            )
        copy.flags.writeable = False
        object.__setattr__(self, "probabilities", copy)

    def __repr__(self) -> str:
        """Show size only."""
        return f"Labelled({self.task.name!r}, {len(self.texts)} texts)"


@dataclass(frozen=True, slots=True, eq=False)
class Synthetic:
    """The synthetic examples of one prototype: X_k with y_k.

    Attributes:
        prototype: its index k.
        parts: one for each task.
        dropped: seed texts to which the model added nothing.
        fell_back: tasks for which it added nothing to any, so that the seed texts themselves stand in.
    """

    prototype: int
    parts: tuple[Labelled, ...]
    dropped: int
    fell_back: tuple[str, ...]

    def __len__(self) -> int:
        return sum(len(part.texts) for part in self.parts)


def synthesise(
    backbone: Backbone,
    prototypes: NDArray[np.float32],
    seeds: Sequence[SeedTexts],
    plan: SynthesisPlan,
    seed: int,
) -> tuple[Synthetic, ...]:
    """Synthetic examples of every prototype.

    A text is the beginning of a seed text with what the model, behind the prototype, draws as its continuation inside
    the task's template, up to what the template writes after a text, or to the end of its line. A seed text to which
    nothing is added is dropped and counted; where nothing is added to any of a task's, they are used as they are.

    Args:
        backbone: the frozen model.
        prototypes: released prompts, ``[K, L, width]``.
        seeds: public texts, task by task.
        plan: how texts are made.
        seed: public; fixes every draw.
    """
    if not seeds:
        raise InputError("there are no seed texts", "give public texts of at least one task")
    found = []
    for index, values in enumerate(prototypes):
        prompt = SoftPrompt(values)
        parts, dropped, fell_back = [], 0, []
        for number, given in enumerate(seeds):
            draws = int(np.random.SeedSequence([seed, index, number]).generate_state(1)[0])
            made = _written(backbone, prompt, given, plan, draws)
            dropped += sum(1 for text in made if not text)
            texts = tuple(text for text in made if text)
            if not texts:
                fell_back.append(given.task.name)
                texts = tuple(text for text in given.texts if text.strip())
            parts.append(Labelled(given.task, texts, _answers(backbone, prompt, given.task, texts, plan)))
        found.append(Synthetic(index, tuple(parts), dropped, tuple(fell_back)))
    return tuple(found)


def _written(
    backbone: Backbone, prompt: SoftPrompt, given: SeedTexts, plan: SynthesisPlan, seed: int
) -> list[str]:
    """The synthetic text of every seed text; empty where the model adds nothing."""
    if not plan.new_tokens:
        return list(given.texts)
    before, after = given.task.template.split("{text}")
    beginnings = [" ".join(text.split()[: plan.seed_words]) for text in given.texts]
    with prompt.on(backbone):
        added = backbone.generate(
            [before + beginning for beginning in beginnings],
            plan.new_tokens,
            after if after.strip() else given.task.separator,
            batch_size=plan.batch_size,
            sampling=Sampling(seed, plan.temperature),
        )
    lines = [text.split(given.task.separator)[0] if given.task.separator else text for text in added]
    return [
        (beginning + line).strip() if line.strip() else ""
        for beginning, line in zip(beginnings, lines, strict=True)
    ]


def _answers(
    backbone: Backbone, prompt: SoftPrompt, task: Task, texts: Sequence[str], plan: SynthesisPlan
) -> NDArray[np.float32]:
    scores = score_labels(backbone, task, texts, injection=prompt, batch_size=plan.batch_size)
    raised = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    shares: NDArray[np.float32] = (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
