"""Rounds that release noised sums of examples' gradients, made ready to be read by the attack on coefficients.

The invariant: nothing here is private; clip, steps, noise, rosters and the chance of being sampled are everybody's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attacks._base.noised_sum import NoisedSum
from attacks._judging.changed_copy import changed_copy, read_frame
from attacks._readings.read_back import contributors, vector_of
from defenses.codec import Precision
from defenses.dp.release import ARRAY, Bounded
from defenses.frame import encode, peek
from defenses.units import Unit
from defenses.upload import Upload, UploadKind
from defenses.view import Direction, FrameRecord, ServerView
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.experiment.prepare import Setup

KIND = UploadKind.COEFFICIENTS


def gradient_release(setup: Setup) -> Bounded | None:
    """How a private run releases sums of examples' gradients; None where its rounds release none."""
    asked = dict(setup.method.asks(number) for number in range(setup.method.rounds))
    if KIND not in asked or setup.config.defense.privacy is None:
        return None
    release = setup.defense.release(KIND, asked[KIND])
    whole = setup.backbone.n_layers * 4
    if not isinstance(release, Bounded) or release.unit is not Unit.EXAMPLE:
        return None
    return release if release.transform.size == whole and release.compression is None else None


def sums_told(view: ServerView, release: Bounded, layers: int, *, single: bool) -> dict[int, NoisedSum]:
    """What is known of each round's sum, by number.

    Args:
        view: the recording.
        release: of the gradients.
        layers: of the model.
        single: of one client's upload, and not of what is released of all.
    """
    found = {}
    for entry in view.facts.rounds:
        if entry.kind is KIND:
            roster = len(entry.roster)
            terms = release.lattice(roster)
            # Where the server adds the noise, a client adds none: a share of 0.
            steps = terms.share if single else release.deviation(terms, contributors(view, entry.number))
            found[entry.number] = NoisedSum.of(release, (layers, 2, 2), steps, roster)
    return found


def as_gradients(
    view: ServerView, releases: Mapping[UploadKind, Bounded], backbone: Backbone, folder: Path
) -> ServerView:
    """The recording with single uploads' whole numbers turned back into mean gradients, and those before into vectors.

    Released sums are left out. They are read as they stand in the recording itself.

    Args:
        view: the recording, of a server that reads single uploads.
        releases: of gradients, and of vectors where they are read, too.
        backbone: the public model.
        folder: where the copy goes, an empty one.
    """
    rosters = {entry.number: len(entry.roster) for entry in view.facts.rounds}
    layers, width = backbone.n_layers, backbone.width

    def arrays(kind: UploadKind, mean: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        if kind is UploadKind.VECTOR:
            return {"vector": mean.reshape(layers, 2, width)}
        return dict(zip(("beta", "lambda"), mean.reshape(2, layers, 2), strict=True))

    def change(record: FrameRecord) -> bytes | None:
        kind = peek(record.frame).kind
        if record.direction is Direction.DOWN or kind not in releases:
            return record.frame
        if record.direction is Direction.COMPUTED:
            return None
        old = read_frame(view, record)
        if old is None or ARRAY not in old.upload.arrays:
            return None
        number = old.upload.round
        mean, units = vector_of(old.upload.arrays[ARRAY], releases[kind], rosters[number], number)
        return encode(Upload(arrays(kind, mean), units, number, kind), old.sender, Precision.FP32)

    return changed_copy(view, folder, change)
