"""What a client would like the server to have: named float arrays, and the one order in which they lie flat.

Invariant: an `Upload` that exists is finite, owns its arrays and cannot be written to; a `Layout` orders
arrays by name, so that two ends that agree on names and shapes agree on every number's place.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from defenses.errors import NotFiniteError, UserError

Float32Array = npt.NDArray[np.float32]

MAX_U32 = 0xFFFF_FFFF
_MAX_NUMBERS = 2**31 - 1
_MAX_AXES = 8
# The digest's text separates with ':', 'x' and newline, so names must hold neither ':' nor space.
_NAME = re.compile(r"[A-Za-z0-9_./-]{1,200}")


class UploadKind(StrEnum):
    """What the numbers of an upload are; the wire chooses its precision and its scales by this."""

    VECTOR = "vector"
    COEFFICIENTS = "coefficients"
    WEIGHTS = "weights"
    SCORES = "scores"
    CLUSTERS = "clusters"
    PROMPTS = "prompts"
    COUNTS = "counts"


@dataclass(frozen=True, slots=True)
class Layout:
    """Names and shapes of an upload's arrays, known to both ends from the run's configuration.

    Attributes:
        names: array names, ascending (given in any order).
        shapes: their shapes, in the order of the names; an empty shape is a single number.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if not self.names or len(self.names) != len(self.shapes):
            raise UserError(
                f"layout has {len(self.names)} names and {len(self.shapes)} shapes",
                "give one shape for each of at least one name",
            )
        if len(set(self.names)) != len(self.names):
            raise UserError(f"layout names {list(self.names)} repeat one", "give each array its own name")
        for name, shape in zip(self.names, self.shapes, strict=True):
            if not _NAME.fullmatch(name):
                raise UserError(
                    f"layout name {name!r} cannot be used",
                    "use up to 200 letters, digits and _ . / -",
                )
            if len(shape) > _MAX_AXES or any(axis < 1 for axis in shape):
                raise UserError(
                    f"layout shape of {name!r} is {tuple(shape)}",
                    f"use at most {_MAX_AXES} axes, each of length 1 or more",
                )
        pairs = sorted(zip(self.names, self.shapes, strict=True))
        object.__setattr__(self, "names", tuple(name for name, _ in pairs))
        object.__setattr__(self, "shapes", tuple(tuple(int(axis) for axis in shape) for _, shape in pairs))
        if self.size > _MAX_NUMBERS:
            raise UserError(f"layout holds {self.size} numbers", f"split it: {_MAX_NUMBERS} is the most")

    @classmethod
    def of(cls, shapes: Mapping[str, Sequence[int]]) -> Layout:
        """The layout of named shapes, for example ``Layout.of({"vector": (32, 2, 4096)})``."""
        return cls(tuple(shapes), tuple(tuple(shape) for shape in shapes.values()))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each array holds."""
        return tuple(math.prod(shape) for shape in self.shapes)

    @property
    def size(self) -> int:
        """How many numbers all arrays hold together."""
        return sum(self.sizes)

    @property
    def digest(self) -> int:
        """16 bits by which a frame names its layout: guards against a mistake, not against an attacker."""
        pairs = zip(self.names, self.shapes, strict=True)
        text = "".join(f"{name}:{'x'.join(map(str, shape))}\n" for name, shape in pairs)
        return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:2], "little")

    def flatten(self, arrays: Mapping[str, Float32Array]) -> Float32Array:
        """All arrays in name order, each in C order, as one float32 vector of ``size`` numbers; one is no copy."""
        found = {name: tuple(array.shape) for name, array in arrays.items()}
        if found != dict(zip(self.names, self.shapes, strict=True)):
            raise UserError(
                f"arrays {found} do not fit the layout {self.to_dict()}",
                "use the same model and configuration on both ends",
            )
        parts = [np.asarray(arrays[name], dtype=np.float32).reshape(-1) for name in self.names]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def unflatten(self, flat: npt.ArrayLike) -> dict[str, Float32Array]:
        """The named arrays that lie in one float32 vector of ``size`` numbers; views, as an `Upload` copies them in."""
        vector = np.asarray(flat, dtype=np.float32)
        if vector.shape != (self.size,):
            raise UserError(f"flat vector has shape {vector.shape}", f"give {self.size} numbers")
        parts = np.split(vector, np.cumsum(self.sizes)[:-1])
        return {
            name: part.reshape(shape)
            for name, shape, part in zip(self.names, self.shapes, parts, strict=True)
        }

    def to_dict(self) -> dict[str, list[int]]:
        """Name to shape, as it goes into JSON."""
        return {name: list(shape) for name, shape in zip(self.names, self.shapes, strict=True)}


def frozen_arrays(arrays: Mapping[str, npt.ArrayLike], owner: str) -> Mapping[str, Float32Array]:
    """Read-only float32 copies of named arrays, in name order; refuses what is not a finite real number.

    Args:
        arrays: anything numpy can read as real numbers.
        owner: what the arrays belong to, for the error's sentence.
    """
    frozen: dict[str, Float32Array] = {}
    for name in sorted(arrays):
        given = np.asarray(arrays[name])
        if given.dtype.kind not in "fiu":
            raise UserError(f"{owner} array {name!r} has dtype {given.dtype}", "give real numbers")
        with np.errstate(over="ignore"):
            copy = np.array(given, dtype=np.float32, order="C")
        if not np.isfinite(copy).all():
            raise NotFiniteError(
                f"the array {name!r} of its {owner}",
                f"{owner} array {name!r} holds a number that is not a finite float32",
                "look for an overflow or an empty mean before it",
            )
        copy.flags.writeable = False
        frozen[name] = copy
    return MappingProxyType(frozen)


def shapes_of(arrays: Mapping[str, Float32Array]) -> str:
    """Names and shapes for a repr, without a single number of the content."""
    return ", ".join(f"{name}{list(array.shape)}" for name, array in arrays.items())


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Upload:
    """What one client would like the server to have; nothing leaves a client in another form.

    Attributes:
        arrays: name to float32 array; copied in, read-only, finite.
        weight: above 0, usually the number of examples behind the arrays. Rounded to float32 here, because
            that is what the wire carries: both ends then work with the same number.
        round: number of the round, 0 to 2^32 - 1.
        kind: what the numbers are.
    """

    arrays: Mapping[str, Float32Array]
    weight: float
    round: int
    kind: UploadKind

    def __post_init__(self) -> None:
        object.__setattr__(self, "arrays", frozen_arrays(self.arrays, "upload"))
        object.__setattr__(self, "kind", UploadKind(self.kind))
        with np.errstate(over="ignore"):
            weight = float(np.float32(self.weight))
        if not (math.isfinite(weight) and weight > 0):
            raise UserError(
                "upload.weight is not a finite float32 above 0",
                "a client without examples sends nothing",
            )
        object.__setattr__(self, "weight", weight)
        if not 0 <= self.round <= MAX_U32:
            raise UserError(f"upload.round is {self.round}", f"use 0 to {MAX_U32}")
        _ = self.layout

    @property
    def layout(self) -> Layout:
        """Names and shapes of the arrays."""
        return Layout.of({name: array.shape for name, array in self.arrays.items()})

    def __repr__(self) -> str:
        """Show shapes, never content; the weight says how much data a client has, so it stays hidden too."""
        return f"Upload({self.kind}, round={self.round}, {shapes_of(self.arrays)})"
