"""A run's own releases as something to audit, each kind of upload by itself: the very code that noised it.

Records are the auditor's.

The invariant: what is called here is the release that the run's configuration plans, and what is claimed of it is what
its ledger entry says; the auditor brings records and randomness, and no second copy of the mechanism.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from attacks._mechanisms.canaries import LOUD
from attacks._mechanisms.mechanism import Claim, Floats
from attacks._mechanisms.one_round import OneRound
from attacks._mechanisms.text_canaries import TextCanaries, text_canaries
from defenses.accounting.composition import Composition
from defenses.dp.release import Bounded
from defenses.noise.distributed import NoiseKind
from defenses.units import Neighbouring
from defenses.upload import Layout
from ifedpriv.data.task import Example
from ifedpriv.icl.prompts import Position
from ifedpriv.methods.specs import IclSpec

if TYPE_CHECKING:
    from ifedpriv.experiment.prepare import Setup

ONE_ARRAY = "one array"
_NOT_ALONE = (
    "its noise is added in each client's own steps, and no round of it can be played without private texts"
)
_ALL_ROWS = (
    "played with all rows and held to the bound of all rows; a round of the run takes each with chance {:g}"
)
_NEARLY_NORMAL = 30.0
"""Deviation in steps from which Skellam noise has an excess kurtosis of about a thousandth and below."""


def claim_of(release: Bounded, roster: int, delta: float) -> Claim:
    """What the ledger's entry of one round comes to by itself, in steps."""
    mechanism = release.mechanism(roster)
    terms = release.lattice(roster)
    epsilon, _ = Composition.of([mechanism]).epsilon(delta)
    # Skellam noise of fewer steps has tails that tests for normal noise would take for a fault.
    normal = terms.kind is NoiseKind.DISCRETE_GAUSSIAN or terms.noise >= _NEARLY_NORMAL
    # Where more clients' noise arrives than is counted on, there is more than is declared, never less.
    return Claim(
        epsilon,
        delta,
        sensitivity=terms.sensitivity,
        noise=terms.noise if normal else None,
        unit=release.unit,
        neighbouring=Neighbouring.ADD_OR_REMOVE,
    )


def records_near(
    release: Bounded, shape: Sequence[int], clients: int, examples: int, seed: int
) -> list[Floats]:
    """Each client's records, ``[examples, *shape]``: around the public centre, and too short to be clipped."""
    rng = np.random.default_rng([seed, 31])
    transform = release.transform
    reach = 0.2 * release.clip / np.sqrt(transform.size)
    return [
        (transform.centre + transform.scale * reach * rng.normal(size=(examples, transform.size))).reshape(
            examples, *shape
        )
        for _ in range(clients)
    ]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class OwnRelease:
    """One round of a run as something to audit.

    Attributes:
        name: the kind of upload, with its arrays where a run has several releases of the kind.
        rounds: how many rounds of the run release it.
        mechanism: the round's release, called by itself.
        claim: what is declared of it.
        base: records for it.
        texts: canaries that are texts, where its records are activations; None otherwise.
        note: how what is played differs from a round of the run; empty if it does not.
    """

    name: str
    rounds: int
    mechanism: OneRound
    claim: Claim
    base: list[Floats]
    texts: TextCanaries | None
    note: str = ""

    @property
    def numbers(self) -> int:
        """How many numbers each client sends."""
        return self.mechanism.release.travels(self.mechanism.layout).size

    @property
    def natural(self) -> Floats | None:
        """Records of everyday texts, where there are any."""
        return None if self.texts is None else self.texts.natural

    @property
    def crafted(self) -> Mapping[str, Floats]:
        """Records of made-up texts, by the canary's name; of several arrays, one of the first array alone."""
        layout = self.mechanism.layout
        if len(layout.shapes) == 1:
            return {} if self.texts is None else self.texts.crafted
        alone = np.zeros(layout.size)
        alone[: layout.sizes[0]] = LOUD * max(float(np.linalg.norm(held, axis=1).max()) for held in self.base)
        return {ONE_ARRAY: alone}


@dataclass(frozen=True, slots=True)
class NotPlayed:
    """A release that cannot be played alone.

    Attributes:
        name: of the release.
        rounds: how many rounds of the run release it.
        why: one half-sentence.
    """

    name: str
    rounds: int
    why: str


def own_releases(
    setup: Setup, delta: float, clients: int, examples: int, seed: int, public: Sequence[Example] = ()
) -> tuple[OwnRelease | NotPlayed, ...]:
    """Every distinct release of a run's rounds, in order, each as something to audit, or why it cannot be.

    Rounds that ask for the same kind and layout share a clip and a noise, and are one release here.

    Args:
        setup: of the run.
        delta: at which claims are stated.
        clients: how many hold records.
        examples: how many each.
        seed: of the records.
        public: texts that are no client's, for canaries.
    """
    asked = Counter(map(setup.method.asks, range(setup.method.rounds)))
    alike = Counter(kind for kind, _ in asked)
    found: list[OwnRelease | NotPlayed] = []
    for (kind, layout), rounds in asked.items():
        name = str(kind) if alike[kind] == 1 else f"{kind} ({', '.join(layout.names)})"
        release = setup.defense.release(kind, layout)
        if not isinstance(release, Bounded):
            found.append(NotPlayed(name, rounds, _NOT_ALONE))
            continue
        note = "" if release.rate == 1 else _ALL_ROWS.format(release.rate)
        # What is sampled is sampled before it is offered, so the same code with all rows has the bound of all rows.
        whole = replace(release, rate=1.0)
        # Room for a client that joins; the noise over the sensitivity is the same for every roster.
        roster = clients + 1
        # Several arrays are one row of numbers.
        shape = layout.shapes[0] if len(layout.shapes) == 1 else (layout.size,)
        found.append(
            OwnRelease(
                name,
                rounds,
                OneRound(whole, layout, roster),
                claim_of(whole, roster, delta),
                records_near(whole, shape, clients, examples, seed),
                _texts(setup, layout, public, seed),
                note,
            )
        )
    return tuple(found)


def _texts(setup: Setup, layout: Layout, public: Sequence[Example], seed: int) -> TextCanaries | None:
    backbone, spec = setup.backbone, setup.config.method
    if not isinstance(spec, IclSpec) or layout.shapes != ((backbone.n_layers, 2, backbone.width),):
        return None
    return text_canaries(backbone, setup.data.task, Position(spec.position), public, seed)
