"""What a configuration may say about compressing uploads: frozen models, unknown keys forbidden.

Invariant: a projection follows from what stands here, the round's number and the upload's layout, so every end draws
the same one and nothing private goes into it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Compressible = Literal["vector", "coefficients", "weights", "prompts"]


class _Compression(BaseModel):
    """What both kinds have.

    Attributes:
        seed: of the projection; public, and no protection hangs on it.
        each_round: draw a projection for each round, so that what one round cannot carry the next one may; false takes
            one for the whole run.
        kinds: which uploads are projected. Arrays of one axis in them, such as counts, travel as they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(0, ge=0)
    each_round: bool = True
    kinds: tuple[Compressible, ...] = Field(("vector", "weights", "prompts"), min_length=1)


class RowsCompression(_Compression):
    """Multiplies every array from the left by a matrix with orthonormal rows, ``[keep, n]``, n its first axis.

    Attributes:
        kind: ``rows``.
        keep: rows that are left of every array, L' in place of L.
    """

    kind: Literal["rows"] = "rows"
    keep: int = Field(5, ge=1)


class FlatCompression(_Compression):
    """Keeps some coordinates of a randomised Hadamard transform of all arrays together.

    Attributes:
        kind: ``flat``.
        keep: numbers that are left of the whole upload.
    """

    kind: Literal["flat"] = "flat"
    keep: int = Field(4096, ge=1)


CompressionSpec = Annotated[RowsCompression | FlatCompression, Field(discriminator="kind")]
"""The ``compression`` section of a defense; ``kind`` says which."""
