"""Slopes from losses alone: how a client tunes a prompt for a model that it may only ask.

The invariant: what is learnt of the model comes through a `LossOracle`, and nothing here imports a model. Directions
are drawn from the client's generator; the subspace that they may be confined to is public.

Reference: two-point estimates as in Ghadimi and Lan, arXiv 1309.5549; random subspaces for prompts as in Sun et al.,
*Black-Box Tuning*, arXiv 2201.03514.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ifedpriv.errors import InputError
from ifedpriv.icl.soft_prompt.oracle import LossOracle


@dataclass(frozen=True, slots=True)
class ZerothOrder:
    """How a slope is estimated.

    Attributes:
        directions: K; each costs two losses. For the same losses, more steps of one direction lead further than fewer
            steps of several, unless the number of steps is given.
        mu: how far a prompt's numbers are moved to either side (root mean square).
        shape: directions are drawn from a Gaussian, or from the sphere of the same mean square length.
        intrinsic: dimension of the public subspace that prompts move in; 0 for all of them.
    """

    directions: int = 1
    mu: float = 0.1
    shape: Literal["gaussian", "sphere"] = "sphere"
    intrinsic: int = 0

    def __post_init__(self) -> None:
        if self.directions < 1:
            raise InputError(f"zeroth-order directions is {self.directions}", "give at least 1")
        if not (np.isfinite(self.mu) and self.mu > 0):
            raise InputError(f"zeroth-order mu is {self.mu}", "give a positive number")
        if self.shape not in ("gaussian", "sphere"):
            raise InputError(f"zeroth-order shape is {self.shape!r}", "say gaussian or sphere")
        if self.intrinsic < 0:
            raise InputError(f"zeroth-order intrinsic is {self.intrinsic}", "give a dimension, or 0 for none")


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A slope, and the mean of the losses that it was made from.

    Attributes:
        gradient: float64, shaped as the prompt; with a basis ``[intrinsic]``, with respect to its coordinates.
        loss: over all directions and both sides.
    """

    gradient: NDArray[np.float64]
    loss: float


@lru_cache(maxsize=2)
def subspace(intrinsic: int, length: int, width: int, seed: int) -> NDArray[np.float64]:
    """A random public subspace of the prompts of one shape.

    Args:
        intrinsic: its dimension r.
        length: L.
        width: of a prompt.
        seed: public; all who have it move in the same subspace, so their means stay in it.

    Returns:
        ``[r, L * width]``, read-only: orthogonal rows, of such length that moving every coordinate by one moves the
        prompt's numbers by one in root mean square.
    """
    size = length * width
    if not 0 < intrinsic <= size:
        raise InputError(
            f"zeroth-order intrinsic is {intrinsic}, and a prompt has {size} numbers", f"give 1 to {size}"
        )
    drawn = np.random.default_rng([seed, intrinsic, length, width]).standard_normal((size, intrinsic))
    basis: NDArray[np.float64] = np.ascontiguousarray(np.linalg.qr(drawn)[0].T) * np.sqrt(size / intrinsic)
    basis.flags.writeable = False
    return basis


def estimate(
    oracle: LossOracle,
    prompt: NDArray[np.float32],
    chosen: Sequence[int],
    plan: ZerothOrder,
    rng: np.random.Generator,
    basis: NDArray[np.float64] | None = None,
) -> Estimate:
    """The two-point estimate of the loss's slope at a prompt; ``2 K`` losses, asked for at once.

    It is unbiased for the slope of the loss smoothed over the directions, and for the slope itself of a quadratic.

    Args:
        oracle: answers with losses.
        prompt: ``[L, width]``.
        chosen: numbers of the examples that the loss is taken over.
        plan: how many directions, how far.
        rng: draws them.
        basis: of the subspace to stay in, as `subspace` gives it.

    Returns:
        The estimate; not finite where a loss is not.
    """
    size = prompt.size if basis is None else len(basis)
    drawn = rng.standard_normal((plan.directions, size))
    if plan.shape == "sphere":
        drawn *= np.sqrt(size) / np.linalg.norm(drawn, axis=1, keepdims=True)
    moves = plan.mu * (drawn if basis is None else drawn @ basis)
    moves = moves.reshape(plan.directions, *prompt.shape)
    around = np.concatenate((prompt + moves, prompt - moves)).astype(np.float32)
    losses = oracle.losses(around, chosen)
    rises = losses[: plan.directions] - losses[plan.directions :]
    # The FICPD paper writes a sum over the directions; without 1/K the step would grow with their number.
    slope: NDArray[np.float64] = (rises @ drawn) / (2 * plan.mu * plan.directions)
    return Estimate(slope if basis is not None else slope.reshape(prompt.shape), float(losses.mean()))
