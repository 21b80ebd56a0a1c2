"""One sum that holds a mean for each cluster: a client fills the block of its own cluster and leaves the others zero.

Which block a client fills is decided by the client and is nowhere but in the sum, so that under secure aggregation
nobody learns it. The invariant: what `slotted` writes, `per_slot` reads back as the mean of each cluster's members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from defenses.errors import UserError
from defenses.upload import Float32Array, Layout

MEMBERS = "members"
"""Name of the array that counts each block's clients."""

_HALF_A_CLIENT = 0.5


def slot_layout(shapes: Mapping[str, Sequence[int]], slots: int) -> Layout:
    """The layout of an upload with a block of every array for each of ``slots`` clusters, and their counts."""
    if slots < 1:
        raise UserError(f"the number of clusters is {slots}", "use 1 or more")
    if MEMBERS in shapes:
        raise UserError(f"an array is named {MEMBERS!r}, which counts clients here", "give it another name")
    return Layout.of({MEMBERS: (slots,), **{name: (slots, *shape) for name, shape in shapes.items()}})


def slotted(arrays: Mapping[str, Float32Array], slot: int, slots: int) -> dict[str, Float32Array]:
    """A client's arrays in the block of its own cluster.

    Args:
        arrays: name to array, each of any shape.
        slot: the client's cluster.
        slots: how many clusters there are.

    Returns:
        Arrays ``[slots, *shape]`` that are zero but at ``slot``, and ``members``, float32 ``[slots]``.
    """
    if not 0 <= slot < slots:
        raise UserError(f"a client's cluster is {slot}", f"clusters are numbered from 0 to {slots - 1}")
    members = np.zeros(slots, dtype=np.float32)
    members[slot] = 1
    filled = {MEMBERS: members}
    for name, array in arrays.items():
        filled[name] = np.zeros((slots, *array.shape), dtype=np.float32)
        filled[name][slot] = array
    return filled


def per_slot(
    means: Mapping[str, Float32Array], clients: int, kept: Mapping[str, Float32Array]
) -> dict[str, Float32Array]:
    """Each cluster's mean, from the mean over all clients.

    Args:
        means: what came of the sum of `slotted` uploads of weight 1, divided by the number of clients.
        clients: that number.
        kept: what a cluster has that nobody is in, name to ``[slots, *shape]``. Noise may leave any number for the
            count of an empty cluster; below half a client it is taken as empty.

    Returns:
        Name to float32 ``[slots, *shape]``.
    """
    members = means[MEMBERS].astype(np.float64)
    filled = members * clients >= _HALF_A_CLIENT
    divisor = np.where(filled, members, 1.0)
    found: dict[str, Float32Array] = {}
    for name, array in kept.items():
        shape = (-1, *[1] * (array.ndim - 1))
        mean = means[name].astype(np.float64) / divisor.reshape(shape)
        found[name] = np.where(filled.reshape(shape), mean, array).astype(np.float32)
    return found


def living(members: npt.NDArray[np.floating], clients: int, least: int) -> npt.NDArray[np.bool_]:
    """Clusters that may be released, bool ``[slots]``: those with at least ``least`` clients.

    Args:
        members: share of the clients in each cluster, ``[slots]``; the nearest whole number of clients counts.
        clients: how many there are.
        least: the agreed minimum. If no cluster has as many, the largest lives alone: all clients then go there.
    """
    counts = np.rint(np.asarray(members, dtype=np.float64) * clients)
    alive: npt.NDArray[np.bool_] = counts >= least
    if not alive.any():
        alive[int(np.argmax(members))] = True
    return alive
