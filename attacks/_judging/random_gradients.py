"""The control of attacks on sums of gradients: the same rounds with every sum drawn as examples like public ones give.

The invariant: what was broadcast stays as it is, and of what a client sent nothing is left but how many examples it
said to have.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from attacks._base.attack import Knowledge
from attacks._base.targets import Floats
from attacks._judging.changed_copy import changed_copy, is_of, read_frame, written_anew
from attacks._members.calibrations import gradients, joined
from attacks._members.gradient_sums import examples_of, read_gradient_sums, usual_sum
from defenses.upload import Upload, UploadKind
from defenses.view import Direction, FrameRecord, ServerView
from ifedpriv.backbone.backbone import Backbone


def random_gradients_view(
    view: ServerView, backbone: Backbone, knowledge: Knowledge, folder: Path
) -> ServerView:
    """The recording with all sums of gradients drawn anew, with mean and covariance of public texts' and the noise."""
    rounds = read_gradient_sums(view, backbone, knowledge.declared.gradients)
    found = gradients(backbone, knowledge, rounds.points, knowledge.public, "gradients of public texts")
    rng = np.random.default_rng([knowledge.seed, 61])

    @cache
    def public(number: int) -> Floats:
        return rounds.at(found, number)

    def change(record: FrameRecord) -> bytes | None:
        single = is_of(record, Direction.UP, UploadKind.COEFFICIENTS)
        if not single and not is_of(record, Direction.COMPUTED, UploadKind.COEFFICIENTS):
            return record.frame
        old = read_frame(view, record)
        if old is None or joined(old.upload.arrays, backbone) is None:
            return record.frame
        number = old.upload.round
        sums = rounds.singles[old.sender] if single else rounds.together
        told = usual_sum(rounds.told[number], public(number), examples_of(rounds, sums))
        total = rng.multivariate_normal(told.mean, told.covariance, method="cholesky")
        mean = (total / old.upload.weight).reshape(-1, 2, 2).astype(np.float32)
        arrays = {"lambda": mean[..., 0], "beta": mean[..., 1]}
        return written_anew(old, Upload(arrays, old.upload.weight, number, old.upload.kind))

    return changed_copy(view, folder, change)
