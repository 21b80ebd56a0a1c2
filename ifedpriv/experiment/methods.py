"""From a configuration's method section to the method itself.

The one invariant: every method that a configuration can name is made here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from defenses.entropy import Entropy
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import RunConfig
from ifedpriv.data.public import public_examples
from ifedpriv.data.task import Task
from ifedpriv.errors import UserError
from ifedpriv.icl.private_calibrate import PrivateSteps
from ifedpriv.icl.prompts import Position
from ifedpriv.icl.sketch import PublicSketch, public_sketch
from ifedpriv.methods.client_work import ClientWork
from ifedpriv.methods.fed_lora import FedLora
from ifedpriv.methods.ficpd import Ficpd
from ifedpriv.methods.ifed_icl import IfedIcl
from ifedpriv.methods.prototype_icl import PrototypeIcl
from ifedpriv.methods.public_start import PublicStart
from ifedpriv.methods.specs import FedLoraSpec, FicpdSpec, PrototypeIclSpec

AnyMethod = IfedIcl | PrototypeIcl | FedLora | Ficpd


def build_method(
    config: RunConfig,
    backbone: Backbone,
    task: Task,
    root: Path | None,
    private: PrivateSteps | None = None,
    entropy: Entropy | None = None,
    work: ClientWork | None = None,
    public: PublicStart | None = None,
    groups: Sequence[str] = (),
) -> AnyMethod:
    """The method that a configuration names.

    Args:
        config: the run's.
        backbone: the frozen model.
        task: the task's wording.
        root: where relative data paths start.
        private: how coefficients are calibrated where each example is to be hidden.
        entropy: draws what private calibration draws.
        work: what has been computed of the clients' examples already.
        public: public coefficients, where the run has them.
        groups: whose labelling each client follows, in a simulation.
    """
    spec = config.method
    if isinstance(spec, FedLoraSpec):
        return FedLora(spec, backbone, task, config.seed)
    if isinstance(spec, FicpdSpec):
        return Ficpd(spec, backbone, task, config.seed, _seed_texts(config, spec, task, root))
    noised = config.defense.privacy is not None
    if isinstance(spec, PrototypeIclSpec):
        return PrototypeIcl(
            spec,
            backbone,
            task,
            _sketch(config, spec, backbone, task, root),
            seed=config.seed,
            groups=_told(spec, groups),
            noised=noised,
            work=work,
            public=public,
        )
    return IfedIcl(
        spec,
        backbone,
        task,
        private=private,
        noised=noised,
        entropy=entropy,
        work=work,
        public=public,
    )


def _sketch(
    config: RunConfig, spec: PrototypeIclSpec, backbone: Backbone, task: Task, root: Path | None
) -> PublicSketch:
    """Public coordinates in which clients are compared."""
    embedded = config.data.source == "embedded"
    found = public_examples(
        task, spec.clusters.public, root, embedded=embedded, field="method.clusters.public"
    )
    return public_sketch(backbone, task, found, Position(spec.position), spec.clusters.rank)


def _told(spec: PrototypeIclSpec, groups: Sequence[str]) -> tuple[str, ...]:
    """The groups that an oracle knows; none where there is no oracle."""
    if spec.clusters.found_by != "oracle":
        return ()
    found = tuple(sorted(set(groups)))
    if len(found) > spec.clusters.slots:
        raise UserError(
            f"method.clusters.number is {spec.clusters.slots}, and there are {len(found)} groups",
            "raise it, or find clusters by moments",
        )
    return found


def _seed_texts(config: RunConfig, spec: FicpdSpec, task: Task, root: Path | None) -> tuple[str, ...]:
    """Public texts that the server distils on; none where it does not."""
    if spec.meta.when == "never":
        return ()
    embedded = config.data.source == "embedded"
    found = public_examples(task, spec.meta.public, root, embedded=embedded, field="method.meta.public")
    return tuple(example.text for example in found)
