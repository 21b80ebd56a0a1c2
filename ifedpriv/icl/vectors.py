"""The two things that IFed-ICL learns: a context vector and the coefficients that inject it.

The one invariant: both own their numbers, which are finite float32 of the stated shape and read-only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ifedpriv.errors import ModelError, NotFiniteModelError

ATTENTION, MLP = 0, 1
LAMBDA, BETA = 0, 1


@dataclass(frozen=True, slots=True, eq=False)
class ContextVector:
    """Mean of what attention and MLP add to the residual stream at the end of demonstrations.

    Attributes:
        values: float32 ``[layers, 2, width]``; second axis 0 attention, 1 MLP.
        count: number of examples behind the mean.

    Reference: IFed-ICL (arXiv 2511.06757), Eq. 2; I2CL (arXiv 2405.14660), section 3.1.
    """

    values: NDArray[np.float32]
    count: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _owned(self.values, "context vector", 2))
        if self.count < 0:
            raise ModelError(f"the context vector's count is {self.count}", "it must be 0 or more")

    def __repr__(self) -> str:
        """Show shape, never content: the values are activations of private text."""
        return f"ContextVector(shape={self.values.shape}, count={self.count})"


@dataclass(frozen=True, slots=True, eq=False)
class Coefficients:
    """Strengths of injection, 4 per layer.

    Attributes:
        values: float32 ``[layers, 2, 2]``; second axis 0 attention, 1 MLP; last axis 0 is λ for the vector, 1 is β
            for the live activation.

    Reference: IFed-ICL, Eq. 5.
    """

    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _owned(self.values, "coefficients", 2))
        if self.values.shape[2] != 2:
            raise ModelError(
                f"the coefficients have shape {self.values.shape}", "they must be [layers, 2, 2]"
            )

    @classmethod
    def identity(cls, layers: int) -> Coefficients:
        """λ = 0 and β = 1: the model as it is."""
        return cls.uniform(layers, 0.0, 1.0)

    @classmethod
    def uniform(cls, layers: int, lambda_: float, beta: float) -> Coefficients:
        """The same λ and β everywhere; the paper's lineage starts from 0.1 and 1."""
        values = np.empty((layers, 2, 2), dtype=np.float32)
        values[..., LAMBDA] = lambda_
        values[..., BETA] = beta
        return cls(values)

    @property
    def is_identity(self) -> bool:
        """Whether they leave the model bit for bit as it is."""
        return bool(np.all(self.values[..., LAMBDA] == 0) and np.all(self.values[..., BETA] == 1))


def _owned(values: ArrayLike, name: str, second: int) -> NDArray[np.float32]:
    array = np.array(values, dtype=np.float32)
    if array.ndim != 3 or array.shape[1] != second:
        raise ModelError(f"the {name} has shape {array.shape}", f"it must be [layers, {second}, ...]")
    if not np.isfinite(array).all():
        raise NotFiniteModelError(
            f"the {name}",
            f"the {name} holds a number that is not finite",
            "look for an overflow in half precision",
        )
    array.flags.writeable = False
    return array
