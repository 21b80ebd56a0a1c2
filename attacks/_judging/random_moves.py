"""The control of attacks on coefficients: the same rounds with every upload drawn as clients of public texts move.

The invariant: what was broadcast stays as it is, and of what a client sent nothing is left but how many did.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import Knowledge
from attacks._base.targets import Floats
from attacks._judging.changed_copy import changed_copy, read_frame, written_anew
from attacks._members.calibrations import examples_told, read_rounds, shadow_clients
from defenses.frame import peek
from defenses.upload import Upload, UploadKind
from defenses.view import Direction, FrameRecord, ServerView
from defenses.view_facts import Computes
from ifedpriv.backbone.backbone import Backbone


def random_moves_view(view: ServerView, backbone: Backbone, knowledge: Knowledge, folder: Path) -> ServerView:
    """The recording with all uploads of coefficients drawn anew, with mean and covariance of shadow clients' moves.

    Each upload of each round is drawn by itself, a sum as the mean of so many; so no two rounds have a client in
    common. Of the rounds, those that attacks look at are kept; vectors stay, which only tell how many examples there
    are.
    """
    recorded = read_rounds(view, backbone)
    examples = examples_told(view, backbone, knowledge, recorded)
    shadows = shadow_clients(backbone, knowledge, recorded, examples)
    rng = np.random.default_rng([knowledge.seed, 59])
    readable = Computes.INDIVIDUAL_UPLOADS in view.facts.server_computes
    drawn = {
        each.number: Draw(each.start, moves, 1 if readable else each.clients, rng)
        for each, moves in zip(recorded.rounds, shadows.moves, strict=True)
    }

    def change(record: FrameRecord) -> bytes | None:
        header = peek(record.frame)
        if view.facts.layout(header.layout_digest) is None or (
            record.direction is Direction.UP and not readable
        ):
            return None
        if header.kind is UploadKind.VECTOR or record.direction is Direction.DOWN:
            return record.frame
        old = read_frame(view, record)
        if header.kind is not UploadKind.COEFFICIENTS or header.round not in drawn or old is None:
            return None
        arrays = {**old.upload.arrays, **drawn[header.round]()}
        return written_anew(old, Upload(arrays, old.upload.weight, header.round, header.kind))

    return changed_copy(view, folder, change)


class Draw:
    """Random coefficients of one round: normal, about where shadows end up and as far from each other.

    Args:
        start: what was broadcast, ``[layers, 2, 2]``.
        moves: of shadows, flat, ``[shadows, 4 layers]``.
        clients: over how many an upload is the mean.
        rng: draws.
    """

    def __init__(
        self, start: NDArray[np.float32], moves: Floats, clients: int, rng: np.random.Generator
    ) -> None:
        self._start, self._centre = start, moves.mean(axis=0)
        self._spread, self._clients, self._rng = moves - self._centre, clients, rng

    def __call__(self) -> Mapping[str, NDArray[np.float32]]:
        count = len(self._spread)
        # A sum of centred moves with normal weights has exactly their covariance.
        mix = self._rng.standard_normal(count) / np.sqrt(count * self._clients)
        move = (self._centre + mix @ self._spread).reshape(self._start.shape)
        values = (self._start + move).astype(np.float32)
        return {"lambda": values[..., 0], "beta": values[..., 1]}
