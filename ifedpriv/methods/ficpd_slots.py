"""FICPD's arithmetic on clusters: which one a client is in, what it adds to the sum, what the server makes of it.

The server never sees a client's prompt or cluster: a client adds its change in the place of its own cluster and zeros
in all others, with a one beside it, so that the sum holds each cluster's changes and how many they are of. The server's
step is then Lloyd's (the mean of the members), and similarity is the cosine, as in spherical k-means.

Invariant: what is here reads arrays that everybody has, or one client's own, and draws only from public seeds.

Reference: spherical k-means: Dhillon and Modha, Machine Learning 42 (2001).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from defenses.dp.shrink import shrunk
from defenses.prototypes.slots import MEMBERS, per_slot, slotted
from defenses.upload import Layout

Prompts = NDArray[np.float32]
Floats = NDArray[np.float64]

_BLOCK = "prompt"
_HALF = 0.5


def slot_name(slot: int) -> str:
    """The array of one cluster's changes; one for each, so that a compression of its rows is that of a prompt's."""
    return f"slot.{slot:02d}"


def prompt_layout(clusters: int, length: int, width: int) -> Layout:
    """Changes by cluster, ``[length, width]`` each, and how many clients' they are, ``[clusters]``."""
    slots = {slot_name(slot): (length, width) for slot in range(clusters)}
    return Layout.of({**slots, MEMBERS: (clusters,)})


def count_layout(clusters: int) -> Layout:
    """How many clients are in each cluster."""
    return Layout.of({MEMBERS: (clusters,)})


def in_slot(slot: int, change: Prompts, clusters: int) -> dict[str, Prompts]:
    """One client's part of the sum."""
    filled = slotted({_BLOCK: change}, slot, clusters)
    return {**{slot_name(k): filled[_BLOCK][k] for k in range(clusters)}, MEMBERS: filled[MEMBERS]}


def nothing(clusters: int, length: int, width: int) -> dict[str, Prompts]:
    """The part of a client that is in no cluster."""
    empty = in_slot(0, np.zeros((length, width), dtype=np.float32), clusters)
    return {**empty, MEMBERS: np.zeros(clusters, dtype=np.float32)}


def frame(clusters: int, length: int, width: int, seed: Sequence[int]) -> Floats:
    """Public directions to begin with, ``[clusters, length, width]``: pairs of opposite ones, at right angles.

    Measured from the clients' mean, the prompts of two equal groups lie opposite each other, so that a pair of opposite
    directions parts them whichever way it points.
    """
    pairs = (clusters + 1) // 2
    drawn = np.random.default_rng(list(seed)).normal(size=(length * width, pairs))
    basis = np.linalg.qr(drawn)[0].T if pairs <= length * width else drawn.T
    both = np.stack([basis, -basis], axis=1).reshape(2 * pairs, length, width)
    found: Floats = both[:clusters]
    return found


def directions(prototypes: Prompts, origin: Prompts, taken: NDArray[np.bool_], begin: Floats) -> Floats:
    """Where the clusters lie, seen from the mean; those that nobody has been in yet lie where they began.

    Args:
        prototypes: ``[clusters, length, width]``.
        origin: ``[length, width]``.
        taken: which clusters have had members.
        begin: `frame`.
    """
    found: Floats = np.where(taken[:, None, None], prototypes.astype(np.float64) - origin, begin)
    return found


def lloyd(
    means: Mapping[str, Prompts], clients: float, prototypes: Prompts, least: int, noise: float = 0.0
) -> tuple[Prompts, NDArray[np.bool_], Floats]:
    """The members' mean for each cluster with enough of them; the others keep their prompt.

    Args:
        means: the mean over clients of what `in_slot` gave.
        clients: how many they are.
        prototypes: the prompts that changes were measured from, ``[clusters, length, width]``.
        least: the fewest members.
        noise: standard deviation of noise in the means. Where there is none members are whole; where there is, changes
            give way to it (James-Stein), so that what is mostly noise moves a prompt little.

    Returns:
        The prompts, which of them are new, and how many members each has, float64 ``[clusters]``.
    """
    members = means[MEMBERS].astype(np.float64) * clients
    if not noise:
        members = np.rint(members)
    new: NDArray[np.bool_] = members > least - _HALF
    block = np.stack([means[slot_name(k)] for k in range(len(prototypes))])
    counted = {_BLOCK: block, MEMBERS: (members / clients).astype(np.float32)}
    changes = per_slot(counted, round(clients), {_BLOCK: np.zeros_like(prototypes)})[_BLOCK].astype(
        np.float64
    )
    for slot in np.flatnonzero(new) if noise else ():
        changes[slot] = calmed(changes[slot], noise * clients / members[slot])
    found = np.where(new[:, None, None], prototypes + changes, prototypes).astype(np.float32)
    return found, new, members


def calmed(change: NDArray[np.floating], noise: float) -> Floats:
    """A change with noise in it, shrunk by what is known of the noise; see `defenses.dp.shrink`."""
    found: Floats = shrunk(change.astype(np.float64).reshape(-1), noise).reshape(change.shape)
    return found


def pooled(prototypes: Prompts, members: Floats, new: NDArray[np.bool_], otherwise: Prompts) -> Prompts:
    """The mean over all clients whose cluster has enough of them."""
    if not new.any():
        return otherwise
    weights = members[new] / members[new].sum()
    found: Prompts = np.tensordot(weights, prototypes[new].astype(np.float64), axes=1).astype(np.float32)
    return found
