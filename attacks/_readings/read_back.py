"""What privacy makes of vectors, read back: by the server, from frames and from what is public.

The invariant: nothing here is private; clip, steps, coordinates, noise and rosters are everybody's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from attacks._base.noised_sum import NoisedSum
from attacks._judging.changed_copy import changed_copy, read_frame, written_anew
from defenses.codec import Precision
from defenses.dp.lattice import Lattice
from defenses.dp.release import ARRAY, Bounded
from defenses.dp.shrink import unshrunk
from defenses.frame import SERVER, encode
from defenses.session import RoundInfo
from defenses.specs import ClearSpec
from defenses.upload import Upload, UploadKind
from defenses.view import Direction, FrameRecord, ServerView, ServerViewWriter
from ifedpriv.errors import UserError
from ifedpriv.experiment.prepare import Setup

_Steps = TypeVar("_Steps", float, NDArray[np.float64])


def vector_release(setup: Setup) -> Bounded | None:
    """How a private run releases whole vectors; None where it releases none, or parts them by class or cluster."""
    asked = dict(setup.method.asks(number) for number in range(setup.method.rounds))
    if UploadKind.VECTOR not in asked:
        return None
    release = setup.defense.release(UploadKind.VECTOR, asked[UploadKind.VECTOR])
    # Of one vector a class, say, what travels says nothing of how to part it.
    whole = setup.backbone.n_layers * 2 * setup.backbone.width
    return release if isinstance(release, Bounded) and release.transform.size == whole else None


def vector_of(
    steps: NDArray[np.floating], release: Bounded, roster: int, number: int = 0
) -> tuple[NDArray[np.float32], float]:
    """What one client's whole numbers of a round say: the mean of its units, flat, and how many they are."""
    terms, values = release.lattice(roster), release.turned_back(steps.astype(np.float64), number)
    units = max(_units(steps, terms), 1.0)
    return release.transform.back(_of_mean(values, units, terms)), units


def total_of(
    steps: NDArray[np.floating], release: Bounded, roster: int, number: int
) -> tuple[NDArray[np.float64], float]:
    """What one client's whole numbers of a round add to the sum over all units, flat, and how many they say to be.

    Noise can make that number 0 or less, of which there is no mean.
    """
    terms, values = release.lattice(roster), release.turned_back(steps.astype(np.float64), number)
    units = _units(steps, terms)
    moved = release.transform.back(_of_mean(values, 1.0, terms)).astype(np.float64)
    return moved + (units - 1) * release.transform.centre.astype(np.float64).reshape(-1), units


def _units(steps: NDArray[np.floating], terms: Lattice) -> float:
    return float(steps[-1]) / terms.unit if terms.counted else 1.0


def _of_mean(steps: _Steps, units: float, terms: Lattice) -> _Steps:
    """Steps in a sum as coordinates of the mean over units."""
    return steps * terms.clip / terms.steps / units


def released_sum(view: ServerView, release: Bounded, shape: tuple[int, ...]) -> NoisedSum | None:
    """What is known of the sum behind a released mean of this shape; None where none was released."""
    for frame in view.computed(UploadKind.VECTOR):
        if "vector" in frame.upload.arrays:
            number = frame.upload.round
            roster = len(_round(view, number).roster)
            steps = release.deviation(release.lattice(roster), contributors(view, number))
            return NoisedSum.of(release, shape, steps, roster)
    return None


def _round(view: ServerView, number: int) -> RoundInfo:
    found = next((entry for entry in view.facts.rounds if entry.number == number), None)
    if found is None:
        raise UserError(
            f"the recording holds an upload of round {number}, which its view.json does not name",
            "use the folder as it was recorded",
        )
    return found


def as_vectors(
    view: ServerView, release: Bounded, shape: tuple[int, ...], folder: Path
) -> tuple[ServerView, NoisedSum | None]:
    """The recording with every upload's whole numbers turned back into a vector, and what is known of each one's sum.

    The server can do the same: clip, steps and coordinates are public. A client's count of examples is part of what it
    sends, and with noise where the client adds some.
    """
    known: NoisedSum | None = None
    facts = view.facts
    with ServerViewWriter.create(
        folder, backbone=facts.backbone, task=facts.task, defense=ClearSpec()
    ) as writer:
        begun = set()
        for frame in view.uploads(UploadKind.VECTOR):
            if ARRAY not in frame.upload.arrays:
                continue
            entry = _round(view, frame.upload.round)
            roster = len(entry.roster)
            vector, units = vector_of(frame.upload.arrays[ARRAY], release, roster, frame.upload.round)
            upload = Upload({"vector": vector.reshape(shape)}, units, frame.upload.round, UploadKind.VECTOR)
            if frame.upload.round not in begun:
                begun.add(frame.upload.round)
                writer.begin_round(replace(entry, layout=upload.layout))
            sent = encode(upload, frame.sender, Precision.FP32)
            writer.append(
                Direction.UP, sender=frame.sender, recipient=SERVER, round_number=upload.round, frame=sent
            )
            # Where the server adds the noise, a client adds none: a share of 0.
            known = known or NoisedSum.of(release, shape, release.lattice(roster).share, roster)
    return ServerView.open(folder), known


def not_shrunk(view: ServerView, release: Bounded, folder: Path) -> ServerView:
    """The recording with every released mean as it was before it was pulled toward the centre.

    Pulling is a function of what was released and of public facts, and it has an inverse, but for blocks that it made
    zero. A test that takes a pulled mean for a mean with noise has the wrong scale, and finds less than is there.

    Args:
        view: the recording.
        release: what was made of the vectors.
        folder: where the copy goes, an empty one.
    """
    if not release.shrink or release.compression is not None:
        return view

    def change(record: FrameRecord) -> bytes | None:
        old = read_frame(view, record) if record.direction is Direction.COMPUTED else None
        vector = None if old is None else old.upload.arrays.get("vector")
        if old is None or vector is None or vector.size != release.transform.size:
            return record.frame
        upload = old.upload
        roster, clients = len(_round(view, upload.round).roster), contributors(view, upload.round)
        before = before_pulling(vector, upload.weight, release, roster, clients)
        arrays = {**upload.arrays, "vector": before}
        return written_anew(old, Upload(arrays, upload.weight, upload.round, upload.kind))

    return changed_copy(view, folder, change)


def before_pulling(
    vector: NDArray[np.float32], weight: float, release: Bounded, roster: int, clients: int
) -> NDArray[np.float32]:
    """A released mean as it was before it was pulled toward the centre; itself where none is.

    Args:
        vector: as it was released.
        weight: what it is the mean over.
        release: what was made of the vectors.
        roster: how many clients its round asked.
        clients: how many of them are in it.
    """
    if not release.shrink:
        return vector
    terms = release.lattice(roster)
    noise = _of_mean(release.deviation(terms, clients), max(weight, 1.0), terms)
    values = release.transform.forward(vector.reshape(1, -1))[0]
    values = unshrunk(values, noise, release.transform.coordinate_blocks)
    return release.transform.back(values).reshape(vector.shape)


def contributors(view: ServerView, number: int) -> int:
    """Over how many clients a round's sum is: those that it was said to be over, else all that were asked."""
    summed = next((entry.clients for entry in view.facts.sums if entry.round == number), None)
    return len(_round(view, number).roster if summed is None else summed)
