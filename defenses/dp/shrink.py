"""Less of a noisy vector is often nearer to the truth: positive-part James-Stein, free of privacy cost.

Invariant: works on what was released and on public facts alone, so the guarantee stays as it was.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def shrunk(
    values: npt.NDArray[np.float64], deviation: float, blocks: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.float64]:
    """Each block times ``max(0, 1 - (d - 2) s² / |x|²)``, with d its numbers and s the noise's standard deviation.

    Args:
        values: ``[rank]``, truth plus noise, in coordinates centred where nothing is known.
        deviation: s, the same for all coordinates; known, since the mechanism is public.
        blocks: ``[rank]`` block numbers; None for one block.

    Reference: James and Stein 1961; positive part: Baranchik 1964. For three coordinates and more it has a smaller
    expected squared error than the values themselves, whatever the truth.
    """
    blocks, squared, noise = _by_block(values, deviation, blocks)
    factors = np.clip(1 - np.divide(noise, squared, out=np.ones_like(squared), where=squared > 0), 0, 1)
    shrunken: npt.NDArray[np.float64] = values * factors[blocks]
    return shrunken


def unshrunk(
    values: npt.NDArray[np.float64], deviation: float, blocks: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.float64]:
    """What `shrunk` made these values of; blocks that it made zero are lost, and stay so.

    Whoever has a shrunk release can do this, so nobody is better protected by shrinking: the factor of a block follows
    from its shrunk norm y and the noise, since x - (d - 2) s² / x = y has one positive root.

    Args:
        values: ``[rank]``, as `shrunk` returned them.
        deviation: as it was given.
        blocks: as they were given.
    """
    blocks, squared, noise = _by_block(values, deviation, blocks)
    norms = np.sqrt(squared)
    before = (norms + np.sqrt(squared + 4 * noise)) / 2
    restored: npt.NDArray[np.float64] = (
        values * np.divide(before, norms, out=np.zeros_like(norms), where=norms > 0)[blocks]
    )
    return restored


def _by_block(
    values: npt.NDArray[np.float64], deviation: float, blocks: npt.NDArray[np.int64] | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The blocks, the squared norm of each, and what noise is expected to add to it, but for two numbers' part."""
    if blocks is None:
        blocks = np.zeros(len(values), dtype=np.int64)
    size = np.bincount(blocks).astype(np.float64)
    squared: npt.NDArray[np.float64] = np.bincount(blocks, weights=np.square(values)).astype(np.float64)
    return blocks, squared, np.maximum(size - 2, 0) * deviation**2
