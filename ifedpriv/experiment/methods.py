"""From a configuration's method section to the method itself.

The one invariant: every method that a configuration can name is made here, and nowhere else.
"""

from __future__ import annotations

from pathlib import Path

from defenses.entropy import Entropy
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import RunConfig
from ifedpriv.data.public import public_examples
from ifedpriv.data.task import Task
from ifedpriv.icl.private_calibrate import PrivateSteps
from ifedpriv.methods.client_work import ClientWork
from ifedpriv.methods.fed_lora import FedLora
from ifedpriv.methods.ficpd import Ficpd
from ifedpriv.methods.ifed_icl import IfedIcl
from ifedpriv.methods.public_start import PublicStart
from ifedpriv.methods.specs import FedLoraSpec, FicpdSpec

AnyMethod = IfedIcl | FedLora | Ficpd


def build_method(
    config: RunConfig,
    backbone: Backbone,
    task: Task,
    root: Path | None,
    private: PrivateSteps | None = None,
    entropy: Entropy | None = None,
    work: ClientWork | None = None,
    public: PublicStart | None = None,
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
    """
    spec = config.method
    if isinstance(spec, FedLoraSpec):
        return FedLora(spec, backbone, task, config.seed)
    if isinstance(spec, FicpdSpec):
        return Ficpd(spec, backbone, task, config.seed, _seed_texts(config, spec, task, root))
    noised = config.defense.privacy is not None
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


def _seed_texts(config: RunConfig, spec: FicpdSpec, task: Task, root: Path | None) -> tuple[str, ...]:
    """Public texts that the server distils on; none where it does not."""
    if spec.meta.when == "never":
        return ()
    embedded = config.data.source == "embedded"
    found = public_examples(task, spec.meta.public, root, embedded=embedded, field="method.meta.public")
    return tuple(example.text for example in found)
