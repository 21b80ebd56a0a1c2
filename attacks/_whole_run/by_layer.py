"""Which layers and branches of the vectors tell most, as a piece of an audit.

The invariant: of each measure the part with the worst verdict counts, and since it is picked among all parts, each part
is judged at an even share of the error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from attacks._base.attack import Progress
from attacks._base.targets import Targets
from attacks._judging.controls import random_view
from attacks._judging.finding import Finding
from attacks._judging.rules import RULES
from attacks._program.answers import finding_to_json
from attacks._program.layers_launch import METHODS, by_part, named, targets_of
from attacks._readings.readings import Reading
from attacks._whole_run.pieces import worst

LAYERS = "layers"
MOST_VECTORS, MOST_LAYERS = 8, 8
"""The most vectors and single layers that an audit looks at; `ifedpriv attack layers` has no such bound on layers."""


def by_layer(readings: Sequence[Reading], folder: Path, progress: Progress) -> dict[str, Any]:
    """All of the vectors, each branch, and each layer by itself, read by the measures of `attacks.layers`.

    Args:
        readings: what is attacked; the first that has vectors is looked at.
        folder: an empty one, for the control's recording.
        progress: told of progress.
    """
    from attacks.layers import MEASURES, parts_of

    subject = readings[0].subject
    depth = subject.backbone.n_layers
    chosen = set(np.unique(np.linspace(0, depth - 1, min(depth, MOST_LAYERS)).round().astype(int)).tolist())
    parts = [
        part
        for part in parts_of(depth)
        if part.group in ("all", "branch")
        or (part.group == "single" and part.sites.branches == "both" and part.at in chosen)
    ]
    every = targets_of(subject, None)
    targets = targets_of(subject, MOST_VECTORS)
    found: dict[str, list[tuple[dict[str, Any], Finding]]] = {name: [] for name in METHODS}
    for part, findings in by_part(
        subject,
        targets,
        parts,
        METHODS,
        random=_random(readings[0], targets, folder),
        among=len(parts),
        progress=progress,
    ):
        told = {"group": part.group, "at": part.at, "branches": part.sites.branches}
        for name in METHODS:
            metric = MEASURES[name][1]
            own = [each for each in findings if each.method == name]
            finding = next((each for each in own if each.metric == metric), own[0])
            found[name].append(({**told, "what": named(told)}, finding))
    left_out = []
    if len(every.targets) > len(targets.targets):
        left_out.append(
            f"layer by layer: all but the first {len(targets.targets)} of {len(every.targets)} uploads"
        )
    if len(chosen) < depth:
        left_out.append(f"layer by layer: all but {len(chosen)} of {depth} layers")
    return {
        "attack": LAYERS,
        "tests": [_test(name, str(targets.scope), rows) for name, rows in found.items()],
        "curves": [],
        "guesses": [],
        "parts": [
            {"measure": name, **part, **_row(finding)}
            for name, rows in found.items()
            for part, finding in rows
            if finding.value is not None
        ],
        "left_out": left_out,
    }


def _random(reading: Reading, targets: Targets, folder: Path) -> Targets | None:
    """Vectors with the mean and covariance of public texts' in place of the real ones, for the control."""
    subject = reading.subject
    if subject.truth is None or not subject.knowledge.public or not targets.targets:
        return None
    control = random_view(subject.view, subject.backbone, subject.knowledge, folder)
    drawn = targets_of(replace(subject, view=control), len(targets.targets))
    return drawn if len(drawn.targets) == len(targets.targets) else None


def _row(finding: Finding) -> dict[str, Any]:
    row = finding_to_json(finding)
    return {name: row[name] for name in ("metric", "value", "interval", "controls", "verdict", "why")}


def _strength(row: tuple[dict[str, Any], Finding]) -> float:
    finding = row[1]
    if finding.value is None:
        return -np.inf
    return -finding.value if RULES[finding.metric].lower_is_better else finding.value


def _test(name: str, scope: str, rows: Sequence[tuple[dict[str, Any], Finding]]) -> dict[str, Any]:
    verdict = worst([finding.verdict for _, finding in rows if finding.verdict is not None])
    same = [(part, finding) for part, finding in rows if finding.verdict is verdict]
    part, first = max(same, key=_strength)
    measured = first.value is not None
    return {
        "attack": LAYERS,
        # Which part it was belongs to what is said of it, wherever that is said.
        "method": f"{name} by {part['what']}" if measured else name,
        "scope": scope,
        "verdict": str(verdict),
        "decided_by": first.metric,
        "why": f"the worst of {len(rows)} parts: {first.why}" if measured else first.why,
        "findings": [{**finding_to_json(first), "by_vector": dict(first.by_vector)}] if measured else [],
    }
