"""From a configuration to public coefficients that fit the run: the file, the check, and the public texts.

Invariant: everything here is settled before a private text is read, and comes from files that are nobody's secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from defenses.ledger import PublicDeclaration
from defenses.privacy_specs import PublicSpec
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import RunConfig
from ifedpriv.data.public import public_examples
from ifedpriv.data.task import Task, TaskKind
from ifedpriv.embedded import COEFFICIENTS_PATH
from ifedpriv.errors import InputError
from ifedpriv.experiment.control_plan import public_field
from ifedpriv.icl.prompts import Position
from ifedpriv.icl.public_coefficients import PublicCoefficients
from ifedpriv.methods.public_start import PublicStart
from ifedpriv.methods.specs import IclSpec

_TEXTS = 384
"""Public texts that a choice between sets of coefficients looks at, at most."""


def public_start(config: RunConfig, backbone: Backbone, task: Task, root: Path | None) -> PublicStart | None:
    """Public coefficients for a run, or None where it calibrates its own from the beginning.

    Args:
        config: the run's.
        backbone: the frozen model.
        task: the private task's wording.
        root: where relative paths start.

    Raises:
        InputError: there is no file, or it was made for something else.
    """
    spec = config.method
    if not isinstance(spec, IclSpec) or spec.coefficients == "federated":
        return None
    public = PublicCoefficients.load(_file(config, spec, root))
    public.check(backbone, task, Position(spec.position))
    if not _asks_texts(public, task, spec):
        return PublicStart(public, backbone, task, ())
    field, texts = public_field(config)
    embedded = config.data.source == "embedded"
    examples = public_examples(task, texts, root, embedded=embedded, field=field)
    return start_on(public, backbone, task, spec, [example.text for example in examples], written=False)


def start_on(
    public: PublicCoefficients,
    backbone: Backbone,
    task: Task,
    spec: IclSpec,
    texts: Sequence[str],
    *,
    written: bool,
) -> PublicStart:
    """Public coefficients with public texts that the caller has.

    Args:
        public: all sets, which are known to fit the rest.
        backbone: the frozen model.
        task: the private task's wording.
        spec: how far coefficients are fitted.
        texts: public texts; may be empty where none are asked.
        written: texts of the shipped writer stand in where they are asked and there are none.

    Raises:
        InputError: texts are asked, and there are none.
    """
    if not _asks_texts(public, task, spec):
        return PublicStart(public, backbone, task, ())
    if not texts and not written:
        raise InputError(
            "public_texts is empty, and a set of public coefficients is chosen by public texts",
            "give some texts that are nobody's, of the clients' sort",
        )
    if not texts:
        own = public_examples(task, PublicSpec(), None, embedded=True)
        texts = [example.text for example in own]
    return PublicStart(public, backbone, task, tuple(texts[:_TEXTS]), spec.public_steps)


def _asks_texts(public: PublicCoefficients, task: Task, spec: IclSpec) -> bool:
    several = len({member.kind for member in public.members if member.task_kind is task.kind}) > 1
    return task.kind is not TaskKind.GENERATION and (several or bool(spec.public_steps))


def declared(start: PublicStart | None) -> tuple[PublicDeclaration, ...]:
    """What the ledger says about public coefficients."""
    if start is None:
        return ()
    return (
        PublicDeclaration(
            "the coefficients that a run begins with, or keeps",
            f"calibrated on {len(start.public.tasks)} public tasks, before any private text was read "
            f"(file {start.public.digest[:16]})",
        ),
        PublicDeclaration(
            "which set of these coefficients is used",
            "follows from the released vector and from public texts",
        ),
    )


def _file(config: RunConfig, spec: IclSpec, root: Path | None) -> Path:
    if spec.coefficients_file is not None:
        return (root or Path()) / spec.coefficients_file
    if config.backbone.path == "embedded":
        return COEFFICIENTS_PATH
    raise InputError(
        f"method.coefficients is {spec.coefficients!r}, and method.coefficients_file names no file for this model",
        "make one with `ifedpriv coefficients`, and name it",
    )
