"""A run's own release of vectors as something to audit: the very code that noised it, on records of the auditor's.

The invariant: what is called here is the release that the run's configuration plans, and what is claimed of it is what
its ledger entry says; the auditor brings records and randomness, and no second copy of the mechanism.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attacks._mechanisms.mechanism import Claim, Floats, Mechanism
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
        mechanism: the round's release, called by itself.
        claim: what is declared of it.
        base: records for it.
        texts: canaries that are texts, where its records are activations; None otherwise.
    """

    mechanism: Mechanism
    claim: Claim
    base: list[Floats]
    texts: TextCanaries | None

    @property
    def natural(self) -> Floats | None:
        """Records of everyday texts, where there are any."""
        return None if self.texts is None else self.texts.natural

    @property
    def crafted(self) -> Mapping[str, Floats]:
        """Records of made-up texts, by the canary's name."""
        return {} if self.texts is None else self.texts.crafted


def own_release(
    setup: Setup, delta: float, clients: int, examples: int, seed: int, public: Sequence[Example] = ()
) -> OwnRelease | None:
    """The first round of a run whose release can be played alone, what is declared of it, and records for it.

    Args:
        setup: of the run.
        delta: at which the claim is stated.
        clients: how many hold records.
        examples: how many each.
        seed: of the records.
        public: texts that are no client's, for canaries.
    """
    for number in range(setup.method.rounds):
        kind, layout = setup.method.asks(number)
        release = setup.defense.release(kind, layout)
        if isinstance(release, Bounded) and release.rate == 1:
            # Room for a client that joins; the noise over the sensitivity is the same for every roster.
            roster = clients + 1
            base = records_near(release, next(iter(layout.shapes)), clients, examples, seed)
            return OwnRelease(
                OneRound(release, layout, roster),
                claim_of(release, roster, delta),
                base,
                _texts(setup, layout, public, seed),
            )
    return None


def _texts(setup: Setup, layout: Layout, public: Sequence[Example], seed: int) -> TextCanaries | None:
    backbone, spec = setup.backbone, setup.config.method
    if not isinstance(spec, IclSpec) or layout.shapes != ((backbone.n_layers, 2, backbone.width),):
        return None
    return text_canaries(backbone, setup.data.task, Position(spec.position), public, seed)
