"""Clients that tell the server what they have uploaded: what is left of each sum is the others' alone.

The invariant: what is attacked holds nothing of a colluding client any more: no upload, no part in a sum, no example
among the candidates, and none in the truth that guesses are judged by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attacks._base.recorded_sums import SumsInOrder
from attacks._base.targets import VARIANCE, OwnUpload, grid_variance, read_targets, rounding_variance
from attacks._judging.changed_copy import changed_copy, read_frame
from attacks._judging.score import Subject, all_but_one
from attacks._readings.read_back import total_of
from defenses.codec import Precision
from defenses.dp.release import ARRAY, Bounded
from defenses.entropy import InsecureSeeded
from defenses.frame import DecodedFrame, encode
from defenses.records import Records
from defenses.units import Trust
from defenses.upload import Layout, Upload, UploadKind
from defenses.view import Direction, FrameRecord, ServerView
from defenses.view_facts import Computes, SumFacts
from ifedpriv.config import load_config
from ifedpriv.data.task import key_of
from ifedpriv.errors import InputError
from ifedpriv.experiment.prepare import Setup, prepare
from ifedpriv.federation.offering import draws_of, noise_of, offer, step_rng
from ifedpriv.methods.method import State

_ANY = InsecureSeeded(0, "colluding clients")
"""Rounds rows of clients whose own draws nobody knows here."""
NOBODY_KNOWS = (
    "what colluding clients have uploaded is not known here: a bare recording says nothing of whose texts are "
    "behind it"
)


def numbers_of(text: str | None) -> tuple[int, ...]:
    """The clients that ``--colluding`` names, ascending."""
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise InputError(f"--colluding is {text!r}", "write numbers of clients with commas, such as 3,4")
    return tuple(sorted({int(part) for part in parts}))


def colluding(subject: Subject, clients: Sequence[int], setup: Setup | None) -> Subject:
    """The subject for a server that has been told these clients' uploads and examples; the recording is as it was.

    Args:
        subject: a recording as it is, with the truth of all clients.
        clients: who colludes.
        setup: of the run, from which their uploads are made anew; None where nobody knows it.

    Raises:
        InputError: a client is none of the run, or nobody is left.
    """
    if not clients:
        return subject
    knowledge, truth = subject.knowledge, subject.truth
    if truth is None or setup is None:
        return replace(subject, knowledge=replace(knowledge, cannot=NOBODY_KNOWS))
    strange = [client for client in clients if client not in truth]
    if strange:
        raise InputError(
            f"--colluding names client {strange[0]}, and the run's are 0 to {max(truth)}",
            "name some of those",
        )
    left = {number: held for number, held in truth.items() if number not in clients}
    if not left:
        raise InputError(
            "--colluding names every client of the run", "leave at least one out, whose texts are looked for"
        )
    others = {key_of(example) for held in left.values() for example in held}
    own = {key_of(example) for client in clients for example in truth[client]} - others
    pool = tuple(example for example in knowledge.pool if key_of(example) not in own)
    told = replace(knowledge, colluding=tuple(clients), pool=pool)
    return replace(
        subject, knowledge=told, truth=left, told=_uploads(subject.view, truth.keys() & set(clients), setup)
    )


def _uploads(view: ServerView, clients: set[int], setup: Setup) -> dict[int, OwnUpload]:
    """What clients add to a sum, by the method's own step; under privacy clipped.

    A client that adds noise tells it with the rest, where anybody can say here what it was: where the server reads what
    the client sent, and in a simulation, whose draws come from its seed. Else its upload stands here without noise.
    """
    shape = (setup.backbone.n_layers, 2, setup.backbone.width)
    entry = next((each for each in view.facts.rounds if each.kind is UploadKind.VECTOR), None)
    if entry is None or setup.method.asks(entry.number) != (
        UploadKind.VECTOR,
        layout := Layout.of({"vector": shape}),
    ):
        return {}
    state = State(entry.number, setup.method.initial_state().arrays)
    release = setup.defense.release(UploadKind.VECTOR, layout)
    roster, sent = len(entry.roster), _sent(view, entry.number)
    found = {}
    for client in sorted(clients):
        rng = step_rng(setup.config.seed, entry.number, client)
        if not isinstance(release, Bounded):
            given = setup.method.client_step(state, setup.clients[client], rng).upload
            upload = given.mean() if isinstance(given, Records) else given
            found[client] = OwnUpload(
                upload.weight * upload.arrays["vector"].astype(np.float64), upload.weight
            )
            continue
        noisy = release.trust is not Trust.CENTRAL and (client in sent or setup.config.simulation)
        # Where somebody trusted adds the noise, a client's whole numbers have none.
        made = release if noisy else replace(release, trust=Trust.CENTRAL)
        if client in sent:
            steps = sent[client]
        else:
            drawn = draws_of(setup.entropy, entry.number, client)
            draws = drawn if setup.config.simulation else _ANY.branch(f"client {client}")
            _, upload = offer(
                setup.method,
                state,
                setup.clients[client],
                made,
                rng=rng,
                centre=None,
                roster=roster,
                noise=noise_of(draws),
            )
            steps = upload.arrays[ARRAY]
        total, units = total_of(steps, made, roster, entry.number)
        found[client] = OwnUpload(total.reshape(shape), units, noisy)
    return found


def _sent(view: ServerView, number: int) -> dict[int, NDArray[np.float32]]:
    """The whole numbers that each client of a round sent, where the server reads them one by one."""
    if Computes.INDIVIDUAL_UPLOADS not in view.facts.server_computes:
        return {}
    return {
        frame.sender: frame.upload.arrays[ARRAY]
        for frame in view.uploads(UploadKind.VECTOR)
        if frame.upload.round == number and ARRAY in frame.upload.arrays
    }


def others_alone(subject: Subject, folder: Path) -> Subject:
    """The subject with a recording in which colluding clients' uploads are in no sum, and are not shown by themselves.

    A mean over fewer has more noise and more rounding: the declared noise grows with it, less what colluding clients
    told of their own, and the rounding stands beside the vector.

    Args:
        subject: as `colluding` made it.
        folder: where the copy goes, an empty one.
    """
    knowledge, view = subject.knowledge, subject.view
    gone = set(knowledge.colluding)
    if not gone:
        return subject
    readable = Computes.INDIVIDUAL_UPLOADS in view.facts.server_computes
    listed = SumsInOrder(view)
    rosters = {entry.number: entry.roster for entry in view.facts.rounds if entry.kind is UploadKind.VECTOR}
    shrunk: list[float] = []
    noise_left: list[float] = []

    def change(record: FrameRecord) -> bytes | None:
        if record.direction is Direction.UP and record.sender in gone:
            return None
        if record.direction is not Direction.COMPUTED:
            return record.frame
        old = read_frame(view, record)
        if old is None or old.upload.kind is not UploadKind.VECTOR:
            return record.frame
        sums = listed.next(record.round, UploadKind.VECTOR)
        # Where nothing says whose uploads these are, they are everybody's who was asked.
        inside = rosters.get(record.round, ()) if sums is None else sums.clients
        told = {n: subject.told[n] for n in inside if n in subject.told}
        if not told or "vector" not in old.upload.arrays:
            return record.frame
        made = _less(view, old, told)
        if made is None:
            return None
        shrunk.append(old.upload.weight / made.weight)
        noise_left.append(np.sqrt(1 - sum(upload.noise for upload in told.values()) / len(inside)))
        return encode(made, old.sender, Precision.FP32)

    rounds = [
        replace(entry, roster=tuple(n for n in entry.roster if n not in gone))
        # Sums of other kinds are as they were.
        if readable or entry.kind is UploadKind.VECTOR
        else entry
        for entry in view.facts.rounds
    ]

    def whose(told: SumFacts) -> SumFacts:
        if told.kind is not UploadKind.VECTOR:
            return told
        return replace(told, clients=tuple(n for n in told.clients if n not in gone))

    layouts = [
        Layout.of({"vector": upload.total.shape, VARIANCE: (upload.total.size,)})
        for upload in subject.told.values()
    ][:1]
    copy = changed_copy(view, folder, change, rounds, layouts=layouts, whose=whose)
    singles, _ = read_targets(copy, subject.backbone)
    declared = knowledge.declared
    if shrunk and not singles.targets:
        # What is declared is then the noise of the mean; one upload's stays as it is.
        # Clients add equal shares of the noise; what some told of theirs is gone.
        part, known = max(noise_left), declared.mechanism
        declared = replace(
            declared,
            noise=declared.noise * max(shrunk) * part,
            mechanism=replace(known, noise=known.noise * part) if known is not None else None,
        )
    others = knowledge.others
    if others and subject.truth is not None:
        others = all_but_one(copy, subject.truth, knowledge.pool, knowledge.seed)
    return replace(subject, view=copy, knowledge=replace(knowledge, declared=declared, others=others))


def _less(view: ServerView, old: DecodedFrame, told: Mapping[int, OwnUpload]) -> Upload | None:
    """A mean over all but those who have told what they added; None where that leaves nobody."""
    weight = old.upload.weight
    left = weight - sum(upload.weight for upload in told.values())
    if left < 0.5:
        return None
    vector = old.upload.arrays["vector"].astype(np.float64)
    total = weight * vector - sum(upload.total for upload in told.values())
    # What travelled of their own was rounded to the grid, and nobody here knows up or down.
    variance = (weight / left) ** 2 * rounding_variance(vector, old.precision)
    variance = variance + grid_variance(view, 1) * sum(
        (upload.weight / left) ** 2 for upload in told.values()
    )
    arrays = {
        "vector": np.asarray(total / left, dtype=np.float32),
        VARIANCE: np.asarray(variance, dtype=np.float32).reshape(-1),
    }
    return Upload(arrays, left, old.upload.round, old.upload.kind)


def setup_of(config: Path | None, subject: Subject) -> Setup | None:
    """The parts of a run by its configuration's file; None where there is none."""
    if config is None or not config.is_file():
        return None
    return prepare(load_config(config), backbone=subject.backbone)
