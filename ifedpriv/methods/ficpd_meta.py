"""The server's last step: one prompt distilled from all clusters', on texts that are nobody's secret.

The invariant: it reads prompts that the server has anyway and public texts, so it costs no privacy; the same prompts
give the same result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Task
from ifedpriv.icl.soft_prompt.distil import Distilled, MetaMethod, MetaPlan, distil
from ifedpriv.icl.soft_prompt.prompt import embedding_scale
from ifedpriv.icl.soft_prompt.synthesis import SeedTexts, SynthesisPlan, synthesise
from ifedpriv.icl.soft_prompt.zeroth_order import ZerothOrder
from ifedpriv.methods.ficpd_specs import MetaSpec

_WRITE, _DISTIL = 44, 45


class Distiller:
    """Synthetic examples of every cluster's prompt, and the prompt that answers them all.

    Args:
        spec: how.
        backbone: the frozen model.
        task: the task's wording.
        seed: public.
        texts: public seed texts.
        zeroth: how slopes are estimated where the model is a black box; None to take gradients.
    """

    def __init__(
        self,
        spec: MetaSpec,
        backbone: Backbone,
        task: Task,
        seed: int,
        texts: Sequence[str],
        zeroth: ZerothOrder | None = None,
    ) -> None:
        self._backbone = backbone
        self._seed = seed
        self._texts = (SeedTexts(task, texts),)
        self._writing = SynthesisPlan(new_tokens=spec.new_tokens)
        self._plan = MetaPlan(
            MetaMethod(spec.method),
            spec.steps,
            spec.rate,
            spec.inner_steps,
            spec.inner_rate,
            spec.batch_size,
            zeroth=zeroth,
            subspace_seed=seed,
            unit=embedding_scale(backbone),
        )
        self._last: tuple[bytes, Distilled] | None = None

    def of(self, prototypes: NDArray[np.float32], start: NDArray[np.float32]) -> Distilled:
        """The distilled prompt of prompts ``[clusters, length, width]``, begun at ``[length, width]``."""
        key = hashlib.sha256(prototypes.tobytes() + start.tobytes()).digest()
        if self._last is None or self._last[0] != key:
            written = synthesise(
                self._backbone, prototypes, self._texts, self._writing, self._seed * 64 + _WRITE
            )
            rng = np.random.default_rng([self._seed, _DISTIL])
            self._last = (key, distil(self._backbone, written, start, self._plan, rng))
        return self._last[1]
