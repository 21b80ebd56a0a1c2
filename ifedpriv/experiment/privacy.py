"""From a configuration's privacy section to bounded releases: how each kind is clipped, and with how much noise.

Invariant: everything here is decided before a private text is read; the only data that are looked at are public.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from defenses.accounting.composition import Bound
from defenses.accounting.mechanism import Mechanism
from defenses.accounting.plan import Plan, Planned
from defenses.accounting.sampled_discrete import SampledDiscreteGaussian
from defenses.accounting.spent import ROUNDING
from defenses.compression import compresses, projection
from defenses.dp.beforehand import Beforehand
from defenses.dp.by_layout import ByLayout, ring_of
from defenses.dp.compressed import Compressed
from defenses.dp.release import Bounded, Release
from defenses.dp.transform import Transform
from defenses.errors import UserError
from defenses.ledger import PublicDeclaration
from defenses.privacy_specs import PrivacySpec, PublicSpec, VectorPrivacy
from defenses.prototypes.slots import MEMBERS
from defenses.units import Neighbouring, Trust, Unit
from defenses.upload import Layout, UploadKind
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import RunConfig
from ifedpriv.data.public import public_examples
from ifedpriv.data.task import Task
from ifedpriv.icl.private_calibrate import PrivateSteps
from ifedpriv.icl.prompts import Position
from ifedpriv.icl.public import public_transform
from ifedpriv.methods.method import Client, Method
from ifedpriv.methods.specs import IclSpec, IfedIclSpec, PrototypeIclSpec

Asked = tuple[UploadKind, Layout]
"""What a round asks for; rounds that ask for the same share a clip and a noise."""

_ATTEMPTS = 12
"""How often the noise is chosen anew for the lattice that it leads to; once is enough but for Skellam noise."""

_RINGS = "the ring of each sum"

_CLUSTERED = math.sqrt(3)
"""The most that a client's moments or its part of a sum of sketches come to: parts of length at most 1 each."""


@dataclass(frozen=True, slots=True, eq=False)
class Privacy:
    """How one run is made private.

    Attributes:
        releases: the way of each kind of upload.
        steps: how clients calibrate where each example is hidden; None where they do as usual.
        epsilon: what all releases come to.
        declarations: what the accounting takes as public.
    """

    releases: dict[UploadKind, Release | ByLayout]
    steps: PrivateSteps | None
    epsilon: float
    declarations: tuple[PublicDeclaration, ...]


class PublicCoordinates:
    """Coordinates in which activations are clipped, made once for each way of making them.

    Args:
        backbone: the frozen model.
        task: the task's wording.
        root: where relative data paths start.
        embedded: whether the task is a shipped one, whose generator can write public texts.
    """

    def __init__(self, backbone: Backbone, task: Task, root: Path | None, *, embedded: bool) -> None:
        self._backbone = backbone
        self._task = task
        self._root = root
        self._embedded = embedded
        self._made: dict[tuple[PublicSpec, VectorPrivacy, Position], tuple[Transform, float]] = {}

    def of(self, public: PublicSpec, vector: VectorPrivacy, position: Position) -> tuple[Transform, float]:
        """The transform, and the clip in it."""
        key = (public, vector, position)
        if key not in self._made:
            texts = public_examples(self._task, public, self._root, embedded=self._embedded)
            self._made[key] = public_transform(self._backbone, self._task, texts, position, vector)
        return self._made[key]


def plan_privacy(
    config: RunConfig,
    spec: PrivacySpec,
    method: Method,
    *,
    clients: Sequence[Client],
    coordinates: PublicCoordinates,
) -> Privacy:
    """Clips from public texts, and noise from the budget.

    Args:
        config: the run's.
        spec: its privacy section.
        method: what will be uploaded, and how often.
        clients: everybody; only how many they are, and how much they hold, is looked at.
        coordinates: what public texts tell.
    """
    kinds = Counter(map(method.asks, range(method.rounds)))
    through = Counter({kind: times for kind, times in kinds.items() if config.defense.bounds(kind[0])})
    # Each round has as large a part of the chance of a wrap as any other.
    wrap = spec.grid.wrap / max(1, through.total())
    bounded = {kind: replace(_bounded(*kind, spec, config, coordinates), wrap=wrap) for kind in through}
    fewest: dict[Asked, int] = {}
    for number in range(method.rounds):
        eligible = sum(method.takes_part(number, client) for client in clients) or len(clients)
        size = eligible if method.cohort(number) == 0 else config.cohort.size(eligible)
        # Where the bound depends on the size of a round at all, it is the dearer the fewer are asked.
        fewest[method.asks(number)] = min(size, fewest.get(method.asks(number), size))

    def asked(kind: Asked) -> int:
        return fewest[kind]

    def mechanism(kind: Asked, multiplier: float) -> Mechanism:
        if kind in bounded:
            return replace(bounded[kind], multiplier=multiplier).mechanism(asked(kind))
        assert isinstance(config.method, IfedIclSpec)
        steps = config.method.calibration.steps
        return SampledDiscreteGaussian(multiplier, spec.coefficients.rate, steps)

    multipliers, bound = calibrated(spec, kinds, mechanism, _units(spec, clients))
    found_for: dict[UploadKind, dict[Layout, Release]] = {}
    c = spec.coefficients
    steps = PrivateSteps(c.rate) if spec.unit == "example" else None
    for each, multiplier in multipliers.items():
        kind, layout = each
        release: Release
        if each in bounded:
            release = replace(bounded[each], multiplier=multiplier)
        else:
            beforehand = Beforehand(kind, Unit.EXAMPLE, mechanism(each, multiplier))
            compression = config.defense.compression
            release = (
                Compressed(compression, beforehand)
                if compression is not None and compresses(compression, kind)
                else beforehand
            )
            steps = PrivateSteps(c.rate, c.clip, multiplier)
        found_for.setdefault(kind, {})[layout] = release
    releases: dict[UploadKind, Release | ByLayout] = {
        kind: next(iter(by.values())) if len(by) == 1 else ByLayout(by) for kind, by in found_for.items()
    }
    declarations = _declarations(spec, held_out=method.guard_round is not None)
    if wrap:
        declarations += (_rings(spec, releases, {each: asked(each) for each in bounded}),)
    return Privacy(releases, steps, bound.epsilon, declarations)


def calibrated(
    spec: PrivacySpec, kinds: Counter[Asked], mechanism: Callable[[Asked, float], Mechanism], units: int
) -> tuple[dict[Asked, float], Bound]:
    """Each release's noise over what one unit moves it by, and what all of them come to.

    Args:
        spec: the privacy section.
        kinds: what is asked for, and how often.
        mechanism: of one release at such a ratio.
        units: how many there are.
    """
    # Shares are of what is released: without a guard, say, the others have its part.
    together = Counter(kind for kind, _ in kinds.elements())
    whole = math.fsum(_share(spec, kind) for kind in together)
    multipliers = dict.fromkeys(kinds, 1.0)
    for attempt in range(_ATTEMPTS):
        wanted = tuple(
            # What several layouts of one kind get goes by how often each is asked for.
            Planned(
                mechanism(kind, multipliers[kind]),
                times,
                _share(spec, kind[0]) * times / together[kind[0]] / whole,
                fixed=False,
            )
            for kind, times in kinds.items()
        )
        plan = Plan(wanted, spec.delta, Unit(spec.unit), Neighbouring.ADD_OR_REMOVE, units)
        found, _ = plan.calibrated(spec.epsilon)
        # What is proved of Skellam noise depends on how fine the lattice is, and the lattice on the noise.
        slack = 1 + 1e-6 * 4.0**attempt if attempt else 1.0
        multipliers = {
            kind: slack * entry.mechanism.spread / entry.mechanism.moved
            for kind, entry in zip(kinds, found.releases, strict=True)
        }
        # The lattice is finer where the noise is smaller, so the bound is taken anew from what will run.
        used = tuple(Planned(mechanism(kind, multipliers[kind]), times) for kind, times in kinds.items())
        bound = replace(plan, releases=used).bound()
        if bound.epsilon <= spec.epsilon * (1 + ROUNDING):
            return multipliers, bound
    raise UserError(
        f"privacy.bits is {spec.bits}, too coarse for {spec.grid.noise} noise at epsilon {spec.epsilon:g}",
        "raise privacy.bits",
    )


def rings_in(declarations: Iterable[PublicDeclaration]) -> tuple[PublicDeclaration, ...]:
    """Those that say in which rings a run is summed: one where they were chosen for a chance of a wrap, else none."""
    return tuple(each for each in declarations if each.what.startswith(_RINGS))


def _rings(
    spec: PrivacySpec, releases: Mapping[UploadKind, Release | ByLayout], rosters: Mapping[Asked, int]
) -> PublicDeclaration:
    """At how many bits a value sums are formed and sent."""
    told = []
    for (kind, layout), roster in rosters.items():
        found = releases[kind]
        release = found.only(layout) if isinstance(found, ByLayout) else found
        bits = ring_of(found, release.travels(layout), roster)
        told.append(f"{bits} bits a value in {kind} uploads of {roster} clients")
    return PublicDeclaration(
        f"{_RINGS}, {', '.join(dict.fromkeys(told))}",
        f"chosen from the configuration for a chance of {spec.grid.wrap:g} that a sum of the run wraps, in equal parts "
        "for its rounds",
    )


def _units(spec: PrivacySpec, clients: Sequence[Client]) -> int:
    """How many units there are in the simulation; delta may not allow to publish one of them whole."""
    if spec.unit == "client":
        return len(clients)
    return sum(len(client.train) + len(client.validation) for client in clients)


def _share(spec: PrivacySpec, kind: UploadKind) -> float:
    shares = {
        UploadKind.VECTOR: spec.vector.share,
        UploadKind.SCORES: spec.scores.share,
        UploadKind.PROMPTS: spec.prompts.share,
        UploadKind.COUNTS: spec.counts.share,
        UploadKind.CLUSTERS: spec.clusters.share,
    }
    return shares.get(kind, spec.coefficients.share)


def _bounded(
    kind: UploadKind,
    layout: Layout,
    spec: PrivacySpec,
    config: RunConfig,
    coordinates: PublicCoordinates,
) -> Bounded:
    size, compression = layout.size, config.defense.compression
    compressed = compression is not None and compresses(compression, kind)
    count_weight = spec.vector.count_weight
    if kind is UploadKind.VECTOR:
        assert isinstance(config.method, IclSpec)
        transform, clip = coordinates.of(spec.public, spec.vector, Position(config.method.position))
        if isinstance(config.method, PrototypeIclSpec):
            transform, clip = _blocks_of(transform, layout, clip, count_weight)
        if compression is not None and compressed:
            # A typical public row is so much shorter once it is projected.
            clip *= math.sqrt(projection(compression, layout, 0).kept.size / size)
    elif kind is UploadKind.CLUSTERS:
        transform, clip = Transform.identity(size), _CLUSTERED
    elif kind is UploadKind.COEFFICIENTS and MEMBERS in layout.names:
        transform, clip = (
            _prompt_coordinates(layout, spec.coefficients.clip),
            math.sqrt(2) * spec.coefficients.clip,
        )
    elif kind is UploadKind.PROMPTS:
        transform, clip = _prompt_coordinates(layout, spec.prompts.clip), math.sqrt(2) * spec.prompts.clip
    elif kind is UploadKind.COUNTS:
        # A client is one of one cluster.
        transform, clip = Transform.identity(size), 1.0
    elif kind is UploadKind.SCORES:
        # Right or wrong, with the injection and without: two numbers from 0 to 1.
        transform, clip, count_weight = Transform.identity(size), math.sqrt(size), 1.0
    else:
        transform, clip = Transform.identity(size), spec.coefficients.clip
    gradients = spec.unit == "example" and kind is UploadKind.COEFFICIENTS
    return Bounded(
        kind,
        Unit(spec.unit),
        Trust(spec.trust),
        transform,
        clip,
        multiplier=1.0,
        bits=spec.bits,
        count_weight=count_weight,
        most_units=spec.max_examples,
        relative=kind in (UploadKind.COEFFICIENTS, UploadKind.WEIGHTS)
        and not gradients
        and MEMBERS not in layout.names,
        rate=spec.coefficients.rate if gradients else 1.0,
        honest=spec.honest,
        # Counts that were pulled toward nothing would be wrong.
        shrink=kind is UploadKind.VECTOR and spec.vector.shrink and MEMBERS not in layout.names,
        by_block=(kind is UploadKind.PROMPTS or (kind is UploadKind.COEFFICIENTS and MEMBERS in layout.names))
        or (kind is UploadKind.VECTOR and spec.vector.by_block),
        compression=compression if compressed else None,
        layout=layout if compressed else None,
        grid=spec.grid,
    )


def _blocks_of(
    transform: Transform, layout: Layout, clip: float, count_weight: float
) -> tuple[Transform, float]:
    """Coordinates for a block of vectors for each cluster, measured from the public centre already, and for the counts.

    A client fills one block and is one of its members, so a row is as long as its vector and what one member counts.
    """
    shapes = dict(zip(layout.names, layout.shapes, strict=True))
    slots = shapes[MEMBERS][0]
    parts = {
        MEMBERS: np.full(slots, 1 / (count_weight * clip), dtype=np.float32),
        **{name: np.tile(transform.scale, slots) for name in layout.names if name != MEMBERS},
    }
    scale = np.concatenate([parts[name] for name in layout.names])
    blocks = np.zeros(layout.size, dtype=np.int64)
    tiled = Transform(np.zeros_like(scale), scale, blocks=blocks, noise_unit=transform.noise_unit)
    return tiled, clip * math.sqrt(1 + count_weight**2)


def _prompt_coordinates(layout: Layout, clip: float) -> Transform:
    """Two blocks of equal length: the change to one cluster's prompt, and the one that says which cluster it is."""
    counts = np.concatenate(
        [np.full(size, name == MEMBERS) for name, size in zip(layout.names, layout.sizes, strict=True)]
    )
    scale = np.where(counts, 1 / clip, 1.0)
    zeros = np.zeros(layout.size, dtype=np.float32)
    return Transform(zeros, scale.astype(np.float32), blocks=counts.astype(np.int64))


def _declarations(spec: PrivacySpec, *, held_out: bool) -> tuple[PublicDeclaration, ...]:
    fixed = "fixed in the configuration"
    found = [
        PublicDeclaration("every clip, noise, rate of sampling and share of the budget", fixed),
        PublicDeclaration(
            "centre, scales and directions in which activations are clipped", "made from public texts alone"
        ),
        PublicDeclaration("which clients take part, and which fail", "seen by everybody, whatever they hold"),
    ]
    if spec.grid.rotate:
        found.append(
            PublicDeclaration("the rotation of rows in each round", "made from a seed in the configuration")
        )
    if spec.unit == "example":
        found.append(
            PublicDeclaration(
                "that each client holds examples" + (", and that some are held out" if held_out else ""),
                "agreed on beforehand",
            )
        )
    return tuple(found)
