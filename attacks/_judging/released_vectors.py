"""Who was in a run's noised vectors, asked by whoever knows everything but that: the tightest test that there is.

Without the unknown unit the release is noise around a known sum; with it, around one that is moved by what the unit
alone contributes. Against Gaussian noise the product of the release with that move orders releases as the likelihood
ratio does, so by Neyman and Pearson no other test finds more units at the same false alarms.

The invariant: moves and noise come from the release that the run's configuration plans, and from no second copy of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks._mechanisms.one_round import offered
from attacks._statistics.roc import auc
from defenses.dp.release import Bounded
from defenses.entropy import Entropy, InsecureSeeded
from defenses.records import Records
from defenses.units import Trust, Unit
from defenses.upload import Layout, Upload
from ifedpriv.experiment.prepare import Setup
from ifedpriv.methods.ifed_icl import IfedIcl
from ifedpriv.methods.method import State
from ifedpriv.methods.prototype_icl import PrototypeIcl
from ifedpriv.report.attack_points import FALSE_ALARMS

MEMBERS, TRIALS = 64, 2000
"""Units whose presence is tested, and releases with each and without."""
_LOUDEST = 8
_DRAWS = 32_000
"""Draws of noise by single clients, at most, where each of them adds some: the time grows with both."""
_FEWEST = 500
_MEMBERS_STREAM, _LOUD_STREAM = 71, 72

Steps = NDArray[np.int64]


def attack_release(setup: Setup) -> dict[str, Any] | None:
    """How often units of a run are found in its noised vectors; None where vectors are not noised.

    Args:
        setup: the run's parts; nothing is played.

    Returns:
        ``members`` and ``trials``; ``found`` and ``area``, the true positive rate at `FALSE_ALARMS` and the area under
        the ROC curve, means over units of the run drawn at random; ``loudest_found`` and ``loudest_area``, the same
        over units in random directions that fill the clip.
    """
    method = setup.method
    if not isinstance(method, IfedIcl | PrototypeIcl):
        return None
    number = method.vector_round
    kind, layout = method.asks(number)
    release = setup.defense.release(kind, layout)
    if not isinstance(release, Bounded):
        return None
    roster = len(setup.clients.numbers(number))
    # Where each client's numbers are sent by themselves, a unit is looked for in those of its own client.
    clients = 1 if release.trust is Trust.LOCAL else roster
    trials = max(_FEWEST, min(TRIALS, _DRAWS // clients)) if release.lattice(roster).share else TRIALS
    entropy = InsecureSeeded(setup.config.seed, "attacked vectors")
    without = noise(release, layout, roster, clients, trials, entropy.branch("without"))
    within = noise(release, layout, roster, clients, trials, entropy.branch("within"))
    some, loud = _members(setup, release, number, roster), _loudest(setup, release, layout, roster)
    moves = np.concatenate([some, loud]).astype(np.float64)
    lengths = np.linalg.norm(moves, axis=1)
    moved = lengths > 0
    directions = moves / np.where(moved, lengths, 1.0)[:, None]
    outside = without @ directions.T
    # Noise is as large in every direction, so all of them share a threshold, which more draws make surer.
    bar = np.quantile(outside[:, moved], 1 - FALSE_ALARMS) if moved.any() else np.inf
    inside = within @ directions.T + lengths
    # A unit that moves nothing is found as often as chance has it.
    found = np.where(moved, (inside > bar).mean(axis=0), FALSE_ALARMS)
    area = np.asarray([auc(inside[:, each], outside[:, each]) for each in range(len(moves))])
    return {
        "members": len(some),
        "trials": trials,
        "found": float(found[: len(some)].mean()),
        "area": float(area[: len(some)].mean()),
        "loudest_found": float(found[len(some) :].mean()),
        "loudest_area": float(area[len(some) :].mean()),
    }


def noise(
    release: Bounded, layout: Layout, roster: int, clients: int, draws: int, entropy: Entropy
) -> NDArray[np.float64]:
    """Releases of nothing, which are noise: ``[draws, width]`` whole steps.

    Args:
        release: of the round.
        layout: of the method's arrays.
        roster: how many clients the round asks.
        clients: how many uploads are in a sum.
        draws: how many sums.
        entropy: of all noise.
    """
    terms = release.lattice(roster)
    total = np.zeros((draws, terms.width))
    for client in range(clients if terms.share else 1):
        # What is offered is read once.
        nothing = offered(None, release, layout)
        total += release.several(nothing, None, roster, entropy.branch(f"client {client}"), draws)
    return release.noised(total, roster, entropy.branch("server"))


def _members(setup: Setup, release: Bounded, number: int, roster: int) -> Steps:
    """Moves of units that are in the run: some of its examples, or some of its clients."""
    rng = np.random.default_rng([setup.config.seed, _MEMBERS_STREAM])
    state = State(number, setup.method.initial_state().arrays)
    numbers = rng.permutation(setup.clients.numbers(number))
    each = MEMBERS if release.unit is Unit.CLIENT else -(-MEMBERS // len(numbers))
    moves: list[Steps] = []
    for client in numbers[:MEMBERS].tolist():
        offered = setup.method.client_step(state, setup.clients[client], rng).upload
        own = release.alone(offered, roster, _rounding(setup, f"members of {client}"))
        moves.append(own[rng.permutation(len(own))[:each]])
    return np.concatenate(moves)[:MEMBERS]


def _rounding(setup: Setup, label: str) -> Entropy:
    """Where rows are rounded at random, the draws."""
    return InsecureSeeded(setup.config.seed, f"attacked vectors, {label}")


def _loudest(setup: Setup, release: Bounded, layout: Layout, roster: int) -> Steps:
    """Moves of made-up units that are clipped: they move the sum as far as one unit may."""
    rng = np.random.default_rng([setup.config.seed, _LOUD_STREAM])
    transform = release.coordinates(None, 0)
    drawn = rng.normal(size=(_LOUDEST, transform.rank))
    drawn *= 4 * release.clip / np.linalg.norm(drawn, axis=1, keepdims=True)
    rows = np.stack([transform.back(row) for row in drawn])
    if release.unit is Unit.CLIENT:
        uploads = [Upload(layout.unflatten(row), 1, 0, release.kind) for row in rows]
        moves = [release.alone(each, roster, _rounding(setup, f"loud {n}")) for n, each in enumerate(uploads)]
        return np.concatenate(moves)
    offered = Records(layout, iter([rows]), 0, release.kind)
    return release.alone(offered, roster, _rounding(setup, "loud"))
