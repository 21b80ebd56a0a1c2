"""A newcomer's own prompt, tuned from a finished run's library on a few labelled texts of a task it may not have met.

The one invariant: what is tuned here is fitted to the newcomer's texts without a defense, and the file says so; nothing
of it goes back to the federation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import RunConfig
from ifedpriv.data.task import Example, Task, TaskKind
from ifedpriv.errors import InputError, UserError
from ifedpriv.experiment.artifact import has_library, labelled_texts, load_library
from ifedpriv.experiment.facts import task_facts
from ifedpriv.experiment.rundir import RunDirectory
from ifedpriv.icl.evaluate import answer
from ifedpriv.icl.predict import Adaptation
from ifedpriv.icl.soft_prompt.client_model import BlackBox, WhiteBox
from ifedpriv.icl.soft_prompt.library import Adapted, adapt
from ifedpriv.icl.soft_prompt.prompt import SoftPrompt, embedding_scale, start_from_task
from ifedpriv.icl.soft_prompt.tune import TunePlan
from ifedpriv.methods.ficpd import tune_plan
from ifedpriv.methods.ficpd_specs import FicpdSpec

TRIAL_STEPS = 5


@dataclass(frozen=True, slots=True)
class Wording:
    """Where a newcomer's task differs from the run's; what is None stays.

    Attributes:
        template: text around the input, with ``{text}`` once.
        labels: label words, in index order.
    """

    template: str | None = None
    labels: tuple[str, ...] | None = None

    def of(self, task: Task) -> Task:
        """The newcomer's task.

        Raises:
            InputError: label words for a task that has none, or a wording that makes no task.
        """
        if self.labels is not None and task.kind is TaskKind.GENERATION:
            raise InputError("--labels is given, and the run's task has no label words", "leave it out")
        labels = task.label_words if self.labels is None else self.labels
        changed = self.template is not None or self.labels is not None
        name = f"{task.name}-adapted" if changed else task.name
        # What classes stand for as numbers is a matter of the labels.
        values = task.label_values if self.labels is None else ()
        template = task.template if self.template is None else self.template
        return replace(task, name=name, template=template, label_words=labels, label_values=values)


@dataclass(frozen=True, slots=True)
class Share:
    """Right answers on labelled texts that were not tuned on, by what stood in front of them."""

    texts: int
    plain: float
    start: float
    adapted: float


@dataclass(frozen=True, slots=True, eq=False)
class Newcomer:
    """What a newcomer made of a library.

    Attributes:
        task: its task.
        prompt: its prompt, with the task's wording among its facts.
        found: how it was found.
        began: where it began, in words.
        tested: how well it does; None without texts to test on.
    """

    task: Task
    prompt: SoftPrompt
    found: Adapted
    began: str
    tested: Share | None


def adapt_to(
    run: Path,
    examples: Path,
    wording: Wording,
    *,
    steps: int | None = None,
    test: Path | None = None,
    seed: int = 0,
) -> Newcomer:
    """Tune a prompt on a few labelled texts, as clients of the run tuned theirs, from what fits these texts best.

    It begins with the library's distilled prompt, one of its prototypes, or the task's own wording: each is tuned for
    `TRIAL_STEPS` steps, and the one with the least loss on the texts is gone on with from its beginning.

    Args:
        run: folder of a finished run of soft prompts.
        examples: JSON Lines of ``text`` and ``label`` (or ``answer``).
        wording: of the newcomer's task, where it is not the run's.
        steps: of tuning; as many as a client took in the whole run where left out.
        test: JSON Lines of labelled texts to answer, before and after.
        seed: of batches and directions.

    Raises:
        UserError: the run has no library, or the files cannot be used.
    """
    if not has_library(run):
        raise UserError(
            f"{run} is a run of method {_config(run).method.kind!r}, which has no prompts to start from",
            "give a run of method ficpd",
        )
    backbone, task, library = load_library(run)
    task = wording.of(task)
    few = labelled_texts(task, examples)
    asked = labelled_texts(task, test) if test is not None else []
    config = _config(run)
    spec = config.method
    assert isinstance(spec, FicpdSpec)
    plan = _plan(spec, backbone, config.seed, steps)
    make = WhiteBox if spec.access == "white_box" else BlackBox
    found = adapt(
        library,
        make(backbone, task, few),
        plan,
        np.random.default_rng([seed, 91]),
        own=[start_from_task(backbone, task, library.meta.shape[0])],
        trial_steps=min(TRIAL_STEPS, plan.steps),
    )
    began = _began(found.start, len(library.prototypes))
    facts = {**task_facts(task), "adapted": _said(began, len(few), plan.steps)}
    prompt = SoftPrompt(found.prompt.values, backbone.fingerprint, facts)
    known = library.prompt(found.start) if found.start < len(library) else None
    tested = _tested(backbone, task, asked, known, prompt) if asked else None
    return Newcomer(task, prompt, found, began, tested)


def _config(run: Path) -> RunConfig:
    return RunDirectory.open(run).config()


def _plan(spec: FicpdSpec, backbone: Backbone, seed: int, steps: int | None) -> TunePlan:
    plan = tune_plan(spec, embedding_scale(backbone), seed)
    whole = plan.steps * (spec.warmup + spec.rounds)
    return replace(plan, steps=whole if steps is None else steps)


def _began(start: int, prototypes: int) -> str:
    if start == 0:
        return "the distilled prompt"
    return f"prototype {start}" if start <= prototypes else "the task's own wording"


def _said(began: str, examples: int, steps: int) -> str:
    """What a reader of the file must know: it is private, and protected by nothing."""
    return json.dumps(
        {
            "began": began,
            "examples": examples,
            "steps": steps,
            "protection": "none: fitted to these examples, and not to be shared with whom they may not be shared",
        }
    )


def _tested(
    backbone: Backbone, task: Task, asked: list[Example], known: Adaptation | None, prompt: SoftPrompt
) -> Share:
    def right(used: Adaptation | None) -> float:
        return answer(backbone, task, asked, injection=used).share_correct

    plain = right(None)
    # The task's own wording in front of the text is not what anybody would use untuned.
    return Share(len(asked), plain, plain if known is None else right(known), right(prompt))
