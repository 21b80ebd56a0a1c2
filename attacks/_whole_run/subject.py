"""What of a run is attacked: each recording of vectors that the server or somebody else reads, and who knows what.

The invariant: whatever is made of a recording here could be made by the server itself, from frames and from what is
public; the truth goes to the judge alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from attacks._base.attack import Capability, Progress, Scope
from attacks._base.targets import read_targets
from attacks._judging.score import Subject, Wishes, open_subject
from attacks._readings.readings import Reading, readings_of, told_of
from attacks._whole_run.request import Request
from defenses.upload import UploadKind
from ifedpriv.config import load_config
from ifedpriv.report.wording import defense_in_words


def open_readings(request: Request, folder: Path, progress: Progress) -> tuple[Reading, ...]:
    """The vectors of a recording, opened and read (see `opened` and `readings_for`)."""
    return readings_for(request, opened(request, progress), folder)


def opened(request: Request, progress: Progress) -> Subject:
    """The recording that is asked for, with what is known of it; a model is loaded, and the truth made anew."""
    wishes = Wishes(
        config=request.config,
        public=request.public,
        pool_file=request.pool_file,
        pool=request.pool,
        covered=request.covered,
        strong="others" not in request.without,
        own_config=True,
        shadows=request.shadows,
        seed=request.seed,
    )
    return _limited(open_subject(request.target, wishes, progress), request)


def readings_for(
    request: Request, subject: Subject, folder: Path, reads: UploadKind | None = UploadKind.VECTOR
) -> tuple[Reading, ...]:
    """What is to be attacked.

    Args:
        request: what is asked for.
        subject: the recording as it was `opened`.
        folder: an empty one, for recordings that are made of the run's.
        reads: what kind of upload is to be read; None for none.
    """
    path = request.config_path
    config = None if path is None else load_config(path)
    strong = "others" not in request.without
    return readings_of(subject, config, folder, strong=strong, clients=request.colluding, reads=reads)


def _limited(subject: Subject, request: Request) -> Subject:
    knowledge = subject.knowledge
    if "pool" in request.without:
        knowledge = replace(knowledge, pool=(), others={})
    if "public-texts" in request.without:
        knowledge = replace(knowledge, public=(), labelled=False, provenance="none")
    if "label-words" in request.without:
        knowledge = replace(knowledge, worded=False)
    return replace(subject, knowledge=knowledge)


# ---- who knows what


def knowledge_of(readings: tuple[Reading, ...], request: Request) -> list[dict[str, Any]]:
    """The attacker's means, each held or not, with what is to be said of it."""
    first = readings[0].subject
    knowledge, view = first.knowledge, readings[-1].subject.view
    refused = {}
    for reading in readings:
        for found in read_targets(reading.subject.view, reading.subject.backbone):
            if found.scope in reading.scopes:
                refused[found.scope] = found.refused
    noise = "; ".join(
        f"{told['noise']:.4g} in each number of {scope} on average, "
        "its size in each and how examples are bounded known"
        for scope, told in told_of(readings).items()
        if told["noise"]
    )
    classes = ", ".join(knowledge.task.label_words[:12])
    covered = "a file" if request.pool_file else f"{request.covered:.0%} of the true texts among others"
    if not request.pool_file and len(knowledge.pool) > request.pool:
        covered += f"; more than the {request.pool} asked for, so that half of them are others"
    withheld = "withheld by --without"
    scored = first.truth is not None
    rows = [
        (
            str(Scope.UPLOADS.capability),
            not refused.get(Scope.UPLOADS, ""),
            refused.get(Scope.UPLOADS, "") or "read one by one",
        ),
        (
            str(Scope.AGGREGATE.capability),
            not refused.get(Scope.AGGREGATE, ""),
            refused.get(Scope.AGGREGATE, "") or "what all uploads come to",
        ),
        (
            "the model and the template",
            True,
            f"public; model {view.facts.backbone[:12]}",
        ),
        ("how uploads are protected", True, f"public; {defense_in_words(view.facts.defense.model_dump())}"),
        (
            str(Capability.CLASSES),
            knowledge.task.n_classes > 0 and knowledge.worded,
            (classes if knowledge.worded else withheld) or "the task has no classes",
        ),
        (
            str(Capability.PUBLIC_TEXTS),
            bool(knowledge.public),
            f"{len(knowledge.public)}, {knowledge.provenance}" if knowledge.public else withheld,
        ),
        (
            str(Capability.LABELLED_PUBLIC_TEXTS),
            bool(knowledge.public) and knowledge.labelled,
            "their labels are known" if knowledge.public and knowledge.labelled else "not known",
        ),
        (
            str(Capability.POOL),
            bool(knowledge.pool),
            f"{len(knowledge.pool)} with their labels, {covered}"
            if knowledge.pool
            else (
                withheld if "pool" in request.without else "none is given, and no truth to draw one around"
            ),
        ),
        (
            str(Capability.OTHERS),
            bool(knowledge.others),
            "used by the method 'all others known' alone"
            if knowledge.others
            else (withheld if {"others", "pool"} & set(request.without) else "nobody here knows them"),
        ),
        (str(Capability.COLLUDERS), bool(knowledge.colluding), _who_colludes(first)),
        (
            "the finished injection",
            knowledge.artifact is not None,
            "used by the attack 'deployed' alone" if knowledge.artifact is not None else "the run made none",
        ),
        (
            "how clients calibrate",
            bool(knowledge.plans),
            f"told to every client, for {len(knowledge.plans)} rounds"
            if knowledge.plans
            else "no round calibrates, or nothing says how",
        ),
        ("declared noise", bool(noise), noise or "no noise is declared for vectors"),
        ("influence on what clients compute", False, "but for the cheating server, in simulated rounds"),
        ("the truth, to score guesses", scored, "for the judge alone" if scored else first.why_no_truth),
    ]
    return [{"what": what, "has": has, "detail": detail} for what, has, detail in rows]


def _who_colludes(subject: Subject) -> str:
    knowledge = subject.knowledge
    if knowledge.cannot:
        return knowledge.cannot
    if not knowledge.colluding:
        return "nobody colludes"
    who = ", ".join(map(str, knowledge.colluding))
    privacy = subject.view.facts.defense.privacy
    noise = ""
    if privacy is not None and privacy.trust != "central":
        gone = subject.told and all(upload.noise for upload in subject.told.values())
        noise = "; their own noise is taken off, too" if gone else "; their own noise stays in"
    return f"clients {who}: their uploads are in no sum that is attacked, and their texts are no candidates{noise}"


def hasher(request: Request) -> Callable[[str], str]:
    """From a text to what stands for it in the document: itself if it may be seen, else a keyed hash.

    The key is a hash of the recording. Whoever has that can make the guesses anew and learns nothing from the key; to
    anybody else it is as good as random. So equal texts have equal hashes, in every audit of one recording.
    """
    if request.reveal:
        return lambda text: text
    key = hashlib.sha256(b"ifedpriv audit texts 1\0")
    with (request.view / "frames.bin").open("rb") as file:
        while block := file.read(1 << 20):
            key.update(block)
    made = key.digest()
    return lambda text: hashlib.blake2b(text.encode(), key=made, digest_size=6).hexdigest()
