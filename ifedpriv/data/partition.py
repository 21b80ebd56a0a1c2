"""Spreads examples over simulated clients.

The one invariant: no example goes to two clients, every client gets at least ``min_examples``, and the same
examples, spec and seed give the same partition. A request that cannot be met so is refused in one sentence;
nothing is redrawn until it fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ifedpriv.data.apportion import apportion
from ifedpriv.data.specs import (
    AttributePartition,
    ContradictoryPartition,
    DirichletPartition,
    IidPartition,
    PartitionSpec,
    PathologicalPartition,
)
from ifedpriv.data.task import Example
from ifedpriv.errors import InputError

EVERYBODY = "all"
GROUP_ATTRIBUTE = "group"
# Keeps this draw apart from others that a run makes from the same seed.
_STREAM = 0x70617274

Indices = NDArray[np.int64]
_Key = TypeVar("_Key", str, int)


@dataclass(frozen=True, slots=True, repr=False)
class Partition:
    """Who holds what.

    Attributes:
        clients: each client's examples, in a random order, so that a prefix is a fair sample of them.
        groups: each client's group; all ``"all"`` where there are no groups.
        attribute: the attribute whose value is the group; empty where groups come from nothing in the data.
        relabel: for groups that rename classes, the new label of each old one; empty otherwise.
    """

    clients: tuple[tuple[Example, ...], ...]
    groups: tuple[str, ...]
    attribute: str = ""
    relabel: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.clients) != len(self.groups):
            raise ValueError(f"{len(self.clients)} clients have {len(self.groups)} groups")
        object.__setattr__(self, "relabel", MappingProxyType(dict(self.relabel)))

    def __repr__(self) -> str:
        sizes = [len(client) for client in self.clients]
        return f"Partition({len(sizes)} clients with {sizes} examples, {len(set(self.groups))} groups)"


def partition(examples: Sequence[Example], n_classes: int, spec: PartitionSpec, seed: int) -> Partition:
    """Spread examples over clients as ``spec`` asks.

    Args:
        examples: what there is to hold.
        n_classes: number of classes; 0 for a generation task, which only ``iid``, ``attribute`` and
            ``dirichlet`` by an attribute can spread.
        spec: the ``partition`` section of a configuration.
        seed: the run's seed; ``spec.seed`` goes before it where it is set.

    Raises:
        InputError: the request cannot be met with these examples.

    Reference:
        Shards: McMahan et al., AISTATS 2017 (arXiv 1602.05629), section 3. Dirichlet over clients for each
        class: Yurochkin et al., ICML 2019 (arXiv 1905.12022); Li et al., ICDE 2022 (arXiv 2102.02079).
    """
    _check(examples, n_classes, spec)
    entropy = np.random.SeedSequence(seed if spec.seed is None else spec.seed, spawn_key=(_STREAM,))
    rng = np.random.Generator(np.random.PCG64(entropy))
    match spec:
        case IidPartition():
            shares = _iid(np.arange(len(examples)), spec.clients, rng)
            groups, attribute = [EVERYBODY] * spec.clients, ""
        case DirichletPartition():
            shares = _dirichlet(examples, spec, rng)
            groups, attribute = [EVERYBODY] * spec.clients, ""
        case PathologicalPartition():
            shares = _pathological(examples, spec, rng)
            groups, attribute = [EVERYBODY] * spec.clients, ""
        case AttributePartition():
            shares, groups = _by_value(examples, spec, spec.name, spec.values, rng)
            attribute = spec.name
        case ContradictoryPartition():
            if not _is_given(examples, spec):
                return _permuted(examples, n_classes, spec, rng)
            shares, groups = _by_group(examples, spec, rng)
            attribute = GROUP_ATTRIBUTE
    return Partition(_dealt(examples, shares, spec, rng), tuple(groups), attribute)


def test_for_group(test: Sequence[Example], group: str, partition: Partition) -> list[Example]:
    """The test examples that a group's clients are judged on, with the labels that the group gives them.

    Args:
        test: held-out examples of the whole task (or validation examples).
        group: one of ``partition.groups``.
        partition: what `partition` returned.

    Returns:
        All examples where there are no groups, those with the group's attribute value where the data has
        groups, and all of them relabelled where the groups rename classes.
    """
    if group not in partition.groups:
        raise InputError(
            f"there is no client of group {group!r}", f"use one of {', '.join(sorted(set(partition.groups)))}"
        )
    if group in partition.relabel:
        return [_renamed(example, group, partition.relabel[group]) for example in test]
    if not partition.attribute:
        return list(test)
    own = [example for example in test if example.attributes.get(partition.attribute) == group]
    if not own:
        raise InputError(
            f"no test example has {group!r} in attribute {partition.attribute!r}, as clients' examples have",
            "add some to test, or leave the value out of partition.values",
        )
    return own


# Otherwise pytest takes the function for a test wherever it is imported.
test_for_group.__test__ = False  # type: ignore[attr-defined]


def holdings(clients: Sequence[Sequence[Example]], n_classes: int) -> Indices:
    """How many examples of each class each client holds: int64 ``[clients, classes]``."""
    counts = np.zeros((len(clients), n_classes), dtype=np.int64)
    for row, client in zip(counts, clients, strict=True):
        for example in client:
            if example.label >= 0:
                row[example.label] += 1
    return counts


# ---- checks


def _check(examples: Sequence[Example], n_classes: int, spec: PartitionSpec) -> None:
    labelled = not isinstance(spec, IidPartition | AttributePartition) and not (
        isinstance(spec, DirichletPartition) and spec.by is not None
    )
    if labelled and (n_classes == 0 or any(example.label < 0 for example in examples)):
        raise InputError(
            f"partition.kind is {spec.kind}, which needs labels, but the task has none",
            "use iid, attribute, or dirichlet with by set to an attribute",
        )
    for example in examples:
        if example.label >= n_classes > 0:
            raise InputError(
                f"an example has label {example.label}, but the task has {n_classes} classes",
                f"give labels from 0 to {n_classes - 1}",
            )
    if len(examples) < spec.clients * spec.min_examples:
        raise InputError(
            f"partition.clients is {spec.clients} with at least {spec.min_examples} examples each, "
            f"but there are {len(examples)} examples",
            "lower partition.clients or partition.min_examples, or give more examples",
        )


def _values(examples: Sequence[Example], attribute: str) -> list[str]:
    missing = sum(attribute not in example.attributes for example in examples)
    if missing:
        known = sorted({name for example in examples for name in example.attributes})
        raise InputError(
            f"{missing} of {len(examples)} examples lack the attribute {attribute!r} to partition by",
            f"list it in data.attribute_columns, or use one that is there: {', '.join(known) or 'none'}",
        )
    return [example.attributes[attribute] for example in examples]


# ---- one function a kind: index lists, one for each client


def _iid(indices: Indices, clients: int, rng: np.random.Generator) -> list[Indices]:
    return list(np.array_split(rng.permutation(indices), clients))


def _dirichlet(
    examples: Sequence[Example], spec: DirichletPartition, rng: np.random.Generator
) -> list[Indices]:
    """For each class, proportions over the clients from Dir(alpha), apportioned by largest remainders.

    Clients below ``min_examples`` then get examples one by one from whoever holds most, of the class in which
    their own draw was largest: the least change to the draw, where a redraw may never end.
    """
    if spec.by is None:
        by_class = list(_grouped([example.label for example in examples]).values())
    else:
        by_class = list(_grouped(_values(examples, spec.by)).values())
    drawn = np.stack([_proportions(spec.alpha, spec.clients, rng) for _ in by_class], axis=1)
    counts = np.stack([apportion(len(own), drawn[:, k]) for k, own in enumerate(by_class)], axis=1)
    while (totals := counts.sum(axis=1)).min() < spec.min_examples:
        poor, rich = int(totals.argmin()), int(totals.argmax())
        k = int(np.where(counts[rich] > 0, drawn[poor], -1.0).argmax())
        counts[rich, k] -= 1
        counts[poor, k] += 1
    return _cut(by_class, counts, rng)


def _proportions(alpha: float, clients: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """One Dirichlet draw; where alpha is so small that it underflows, its limit: one client takes all."""
    drawn: NDArray[np.float64] = rng.dirichlet(np.full(clients, alpha))
    if np.isfinite(drawn).all() and drawn.sum() > 0:
        return drawn
    everything: NDArray[np.float64] = np.eye(clients)[rng.integers(clients)]
    return everything


def _pathological(
    examples: Sequence[Example], spec: PathologicalPartition, rng: np.random.Generator
) -> list[Indices]:
    """Cut every class into shards by its size, and deal each client shards of different classes.

    McMahan et al. cut the sorted list regardless of class, so that a shard may straddle two; here none does,
    and a client holds exactly ``classes_per_client`` classes.
    """
    by_class = _grouped([example.label for example in examples])
    sizes = np.array([len(own) for own in by_class.values()])
    needed = spec.clients * spec.classes_per_client
    if spec.classes_per_client > len(sizes):
        raise InputError(
            f"partition.classes_per_client is {spec.classes_per_client}, but the examples have "
            f"{len(sizes)} classes",
            f"lower it to {len(sizes)} or less",
        )
    if needed < len(sizes):
        raise InputError(
            f"{spec.clients} clients with {spec.classes_per_client} classes each cannot hold all "
            f"{len(sizes)} classes",
            "raise partition.clients or partition.classes_per_client",
        )
    most = np.minimum(sizes, spec.clients)
    if most.sum() < needed:
        raise InputError(
            f"{spec.clients} clients with {spec.classes_per_client} classes each need {needed} shards, "
            f"but the rare classes allow only {most.sum()}",
            "lower partition.clients or partition.classes_per_client",
        )
    shards = apportion(needed, sizes, np.ones_like(sizes), most)
    holds = np.zeros((spec.clients, len(sizes)), dtype=np.int64)
    left = shards.copy()
    for client in rng.permutation(spec.clients):
        # Whoever takes from the classes with most shards left never leaves two shards of one class to one
        # client (Gale-Ryser); the random part breaks ties only.
        order = np.argsort(-(left + rng.random(len(left)) / 2))
        chosen = order[: spec.classes_per_client]
        holds[client, chosen] = 1
        left[chosen] -= 1
    counts = np.zeros_like(holds)
    for k, size in enumerate(sizes):
        counts[:, k] = apportion(int(size), holds[:, k])
    return _cut(list(by_class.values()), counts, rng)


def _by_value(
    examples: Sequence[Example],
    spec: AttributePartition | ContradictoryPartition,
    attribute: str,
    wanted: Sequence[str],
    rng: np.random.Generator,
) -> tuple[list[Indices], list[str]]:
    """Apportion clients to values by their numbers of examples, at least one each; within a value, iid."""
    by_value = _grouped(_values(examples, attribute))
    for value in wanted:
        if value not in by_value:
            raise InputError(
                f"partition.values names {value!r}, which no example has in attribute {attribute!r}",
                f"use some of {', '.join(by_value)}",
            )
    if wanted:
        by_value = {value: own for value, own in by_value.items() if value in wanted}
    if spec.clients < len(by_value):
        raise InputError(
            f"partition.clients is {spec.clients}, but attribute {attribute!r} has {len(by_value)} values "
            f"and a client holds one: {', '.join(list(by_value)[:12])}",
            f"raise it to at least {len(by_value)}"
            + (", or name fewer in partition.values" if isinstance(spec, AttributePartition) else ""),
        )
    sizes = np.array([len(own) for own in by_value.values()])
    most = sizes // spec.min_examples
    if most.min() == 0 or most.sum() < spec.clients:
        rarest = list(by_value)[int(sizes.argmin())]
        raise InputError(
            f"{spec.clients} clients with at least {spec.min_examples} examples of one value each cannot be "
            f"filled: {rarest!r} in attribute {attribute!r} has only {sizes.min()}",
            "lower partition.clients or partition.min_examples",
        )
    number = apportion(spec.clients, sizes, np.ones_like(sizes), most)
    shares: list[Indices] = []
    groups: list[str] = []
    for (value, own), clients in zip(by_value.items(), number, strict=True):
        shares += _iid(own, int(clients), rng)
        groups += [value] * int(clients)
    return shares, groups


def _is_given(examples: Sequence[Example], spec: ContradictoryPartition) -> bool:
    return spec.mode == "given" or (
        spec.mode == "auto" and all(GROUP_ATTRIBUTE in example.attributes for example in examples)
    )


def _by_group(
    examples: Sequence[Example], spec: ContradictoryPartition, rng: np.random.Generator
) -> tuple[list[Indices], list[str]]:
    present = len(set(_values(examples, GROUP_ATTRIBUTE)))
    if present != spec.groups:
        raise InputError(
            f"partition.groups is {spec.groups}, but attribute {GROUP_ATTRIBUTE!r} has {present} values",
            f"set it to {present}, or set mode to permute to make groups of another number",
        )
    return _by_value(examples, spec, GROUP_ATTRIBUTE, (), rng)


def _permuted(
    examples: Sequence[Example], n_classes: int, spec: ContradictoryPartition, rng: np.random.Generator
) -> Partition:
    """An iid partition in which each group but the first renames the classes.

    The renamings are rotations of one random order of the classes, each by another number of steps: a Latin
    rectangle, so any two groups disagree about every class.
    """
    if spec.groups > n_classes:
        raise InputError(
            f"partition.groups is {spec.groups}, but {n_classes} classes allow only {n_classes} groups "
            "of which any two disagree about every class",
            f"lower it to {n_classes} or less",
        )
    order = rng.permutation(n_classes)
    place = np.argsort(order)
    relabel = {
        f"group {g}": tuple(int(order[(place[label] + g) % n_classes]) for label in range(n_classes))
        for g in range(spec.groups)
    }
    groups = [f"group {client % spec.groups}" for client in range(spec.clients)]
    dealt = _dealt(examples, _iid(np.arange(len(examples)), spec.clients, rng), spec, rng)
    clients = tuple(
        tuple(_renamed(example, group, relabel[group]) for example in client)
        for client, group in zip(dealt, groups, strict=True)
    )
    return Partition(clients, tuple(groups), "", relabel)


# ---- shared steps


def _renamed(example: Example, group: str, relabel: Sequence[int]) -> Example:
    attributes = {**example.attributes, GROUP_ATTRIBUTE: group}
    return replace(example, label=relabel[example.label], attributes=attributes)


def _grouped(keys: Sequence[_Key]) -> dict[_Key, Indices]:
    """Indices by key, keys sorted, so that the order of examples does not decide which class comes first."""
    found: dict[_Key, list[int]] = {key: [] for key in sorted(set(keys))}
    for i, key in enumerate(keys):
        found[key].append(i)
    return {key: np.array(own, dtype=np.int64) for key, own in found.items()}


def _cut(by_class: Sequence[Indices], counts: Indices, rng: np.random.Generator) -> list[Indices]:
    """Deal each class's shuffled examples in the numbers that ``counts`` ``[clients, classes]`` says."""
    pieces = [np.split(rng.permutation(own), np.cumsum(counts[:-1, k])) for k, own in enumerate(by_class)]
    return [np.concatenate([piece[client] for piece in pieces]) for client in range(len(counts))]


def _dealt(
    examples: Sequence[Example], shares: Sequence[Indices], spec: PartitionSpec, rng: np.random.Generator
) -> tuple[tuple[Example, ...], ...]:
    """Shuffle each share, cut it to the cap, and check the minimum once for all kinds."""
    dealt = []
    for client, share in enumerate(shares):
        if len(share) < spec.min_examples:
            raise InputError(
                f"client {client} would hold {len(share)} examples, below "
                f"partition.min_examples {spec.min_examples}",
                "lower partition.min_examples or partition.clients",
            )
        kept = rng.permutation(share)[: spec.examples_per_client]
        dealt.append(tuple(examples[i] for i in kept))
    return tuple(dealt)
