"""What a configuration may say about the defense: frozen models, unknown keys forbidden.

Invariant: a spec is data only; building one makes no session, draws nothing and opens nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from defenses.codec import Precision
from defenses.compression_specs import CompressionSpec
from defenses.privacy_specs import PrivacySpec
from defenses.upload import UploadKind


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WireSpec(_Spec):
    """How the numbers of each kind of upload travel, in both directions.

    Attributes:
        vector: precision of context vectors.
        coefficients: precision of λ and β, which travel as two arrays.
        weights: precision of adapter weights.
        scores: precision of held-out scores.
        clusters: precision of what clients are clustered by.
        prompts: precision of soft prompts.
        counts: precision of how many clients are in each cluster.
    """

    vector: Precision = Precision.FP16
    coefficients: Precision = Precision.FP16
    weights: Precision = Precision.FP16
    scores: Precision = Precision.FP32
    clusters: Precision = Precision.FP32
    prompts: Precision = Precision.FP16
    counts: Precision = Precision.FP32

    def for_kind(self, kind: UploadKind) -> Precision:
        """The precision for one kind of upload."""
        match UploadKind(kind):
            case UploadKind.VECTOR:
                return self.vector
            case UploadKind.COEFFICIENTS:
                return self.coefficients
            case UploadKind.WEIGHTS:
                return self.weights
            case UploadKind.SCORES:
                return self.scores
            case UploadKind.CLUSTERS:
                return self.clusters
            case UploadKind.PROMPTS:
                return self.prompts
            case UploadKind.COUNTS:
                return self.counts


class ClipsSpec(_Spec):
    """The largest magnitude that each kind of upload carries, in the upload's own units.

    Attributes:
        vector: clip of context vectors, which are activations.
        coefficients: clip of λ and β, which begin at 0 and 1.
        weights: clip of adapter weights.
        scores: clip of held-out scores, which are shares of right answers.
        clusters: clip of what clients are clustered by, which is of length 1.
        prompts: clip of soft prompts' changes, and of what stands beside them.
        counts: clip of how many clients are in a cluster, of which one client is one.
    """

    vector: float = Field(64.0, ge=1e-30, le=1e30)
    coefficients: float = Field(8.0, ge=1e-30, le=1e30)
    weights: float = Field(4.0, ge=1e-30, le=1e30)
    scores: float = Field(1.0, ge=1e-30, le=1e30)
    clusters: float = Field(1.0, ge=1e-30, le=1e30)
    prompts: float = Field(4.0, ge=1e-30, le=1e30)
    counts: float = Field(1.0, ge=1e-30, le=1e30)

    def for_kind(self, kind: UploadKind) -> float:
        """The clip for one kind of upload."""
        match UploadKind(kind):
            case UploadKind.VECTOR:
                return self.vector
            case UploadKind.COEFFICIENTS:
                return self.coefficients
            case UploadKind.WEIGHTS:
                return self.weights
            case UploadKind.SCORES:
                return self.scores
            case UploadKind.CLUSTERS:
                return self.clusters
            case UploadKind.PROMPTS:
                return self.prompts
            case UploadKind.COUNTS:
                return self.counts


class GridSpec(_Spec):
    """The fixed-point grid on which uploads are summed without wrapping.

    Attributes:
        bits: levels of one number: 2^(bits-1) - 1 on either side of 0. A client of weight w has w times as many.
        max_weight: the largest weight of one client; weights are whole numbers.
        outside: what happens to a number beyond its clip: ``clip`` moves it there, and the client counts how many;
            ``refuse`` sends nothing.
        clip: the largest magnitude that is carried, by kind of upload.
        scale: factors of clip and step by array name, from public facts only; an array that is not named has 1.
    """

    bits: int = Field(16, ge=2, le=24)
    max_weight: int = Field(256, ge=1, le=2**20)
    outside: Literal["clip", "refuse"] = "clip"
    clip: ClipsSpec = ClipsSpec()
    scale: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}


# Kinds of defense, and later their steps, are a closed set on purpose, with no registry and no plug-ins: each
# stands for a theorem about what leaves a client, and a stranger's step would silently void the guarantee.
class _Defense(_Spec):
    """What every kind of defense has.

    Attributes:
        wire: how the numbers travel wherever they travel unprotected: the server's broadcasts, and without a
            defense the uploads too.
        privacy: differential privacy; left out, there is none.
        compression: a public random projection of what clients upload, before it is clipped and noised; left out, there
            is none.
    """

    wire: WireSpec = WireSpec()
    privacy: PrivacySpec | None = None
    compression: CompressionSpec | None = None

    @model_validator(mode="after")
    def _compressed_vectors_have_no_other_coordinates(self) -> _Defense:
        if self.compression is None or self.privacy is None or "vector" not in self.compression.kinds:
            return self
        vector = self.privacy.vector
        for name, value in (("rank", vector.rank), ("by_block", vector.by_block)):
            if value:
                raise ValueError(
                    f"privacy.vector.{name} is {value} and compression is on for vectors, whose directions it mixes; "
                    f"leave {name} out, or take vector out of compression.kinds"
                )
        return self

    def bounds(self, kind: UploadKind) -> bool:
        """Whether uploads of a kind travel as the whole numbers of a private release.

        Where examples are hidden by local steps, coefficients are private before they are offered, and travel as usual.
        """
        if self.privacy is None:
            return False
        local = self.privacy.unit == "example" and self.privacy.coefficients.steps == "local"
        return not (local and kind is UploadKind.COEFFICIENTS)


class ClearSpec(_Defense):
    """Sends uploads as they are.

    Attributes:
        kind: ``none``.
    """

    kind: Literal["none"] = "none"


class _Homomorphic(_Defense):
    """What both homomorphic kinds have.

    Attributes:
        grid: the fixed-point grid.
        min_clients: the fewest uploads whose sum the key holder decrypts.
        encryption: ``public`` gives clients the public key alone; ``symmetric`` gives every client the secret key,
            which saves encryption time and lets any client that joins with the server read every upload.
    """

    grid: GridSpec = GridSpec()
    min_clients: int = Field(3, ge=2)
    encryption: Literal["public", "symmetric"] = "public"

    @model_validator(mode="after")
    def _ciphertexts_have_no_ring_to_choose(self) -> _Homomorphic:
        if self.privacy is not None and self.privacy.grid.wrap:
            raise ValueError(
                f"privacy.grid.wrap is {self.privacy.grid.wrap:g}, and ciphertexts are as long for any ring; leave it "
                "out, or use kind masked"
            )
        return self


class CkksSpec(_Homomorphic):
    """Sums under CKKS encryption; a key holder apart from the server decrypts them, rounded to the grid.

    Attributes:
        kind: ``ckks``.
    """

    kind: Literal["ckks"] = "ckks"


class BfvSpec(_Homomorphic):
    """Sums under BFV encryption, exact and at half the bytes; a key holder apart from the server decrypts them.

    Attributes:
        kind: ``bfv``.
    """

    kind: Literal["bfv"] = "bfv"


class MaskedSpec(_Defense):
    """Sums under masks that cancel: secure aggregation. The server reads sums over enough clients and nothing else.

    Attributes:
        kind: ``masked``.
        grid: the fixed-point grid.
        min_clients: the fewest clients in a sum; a client refuses to take part in a smaller one.
        collusion: share of a round's clients that may collude with a server that breaks the rules. More of it asks
            for more clients that stay to the end.
        dropout: share of a round's clients that may drop out, where the graph of masks is sparse (100 clients and
            more).
        ratchet: rounds of coefficients take three small frames a client in place of five, under keys agreed once. A
            client that drops out after its input then costs the round, and a round takes fewer than 100 clients.
        groups: 3 or more deals the clients out to so many groups, each with a sum of its own, and takes the median of
            the groups' means, number by number: a client's false numbers spoil its own group only. 1 is one sum over
            all.
    """

    kind: Literal["masked"] = "masked"
    grid: GridSpec = GridSpec()
    min_clients: int = Field(3, ge=2)
    collusion: float = Field(0.2, ge=0, lt=0.5)
    dropout: float = Field(0.1, ge=0, lt=0.5)
    ratchet: bool = False
    groups: int = Field(1, ge=1, le=1024)

    @model_validator(mode="after")
    def _groups_hold(self) -> MaskedSpec:
        if self.groups == 2:
            raise ValueError("groups is 2, and of two groups neither outvotes the other; use 1, or 3 or more")
        if self.groups > 1 and self.privacy is not None:
            raise ValueError(
                f"groups is {self.groups} and privacy is on, which bounds sums over all clients and not medians; use 1"
            )
        if self.groups > 1 and self.groups * self.collusion >= 0.5:
            raise ValueError(
                f"groups {self.groups} times collusion {self.collusion:g} is {self.groups * self.collusion:g}, and all "
                f"who collude may sit in one group, where they must be fewer than half; lower collusion below "
                f"{0.5 / self.groups:.3g}, or use fewer groups"
            )
        return self


def carrying(spec: DefenseSpec, kind: UploadKind, roster: int) -> DefenseSpec:
    """The spec under which uploads of a kind are sent: whole numbers must arrive as they are, and enough of them.

    Args:
        spec: the defense.
        kind: what the uploads are.
        roster: how many clients the round asks.
    """
    if spec.privacy is None or not spec.bounds(kind):
        return spec
    if isinstance(spec, ClearSpec):
        return spec.model_copy(
            update={"wire": WireSpec(**dict.fromkeys(WireSpec.model_fields, Precision.FP32))}
        )
    levels = float(2 ** (spec.privacy.bits - 1) - 1)
    grid = GridSpec(
        bits=spec.privacy.bits, max_weight=1, clip=ClipsSpec(**dict.fromkeys(ClipsSpec.model_fields, levels))
    )
    least = max(spec.min_clients, spec.privacy.least(roster))
    return spec.model_copy(update={"grid": grid, "min_clients": least})


DefenseSpec = Annotated[ClearSpec | MaskedSpec | CkksSpec | BfvSpec, Field(discriminator="kind")]
"""The ``defense`` section of a configuration; ``kind`` says which."""

_DEFENSE: TypeAdapter[DefenseSpec] = TypeAdapter(DefenseSpec)


def defense_spec(data: Mapping[str, Any]) -> DefenseSpec:
    """The spec in a mapping, as `model_dump` wrote it.

    Raises:
        pydantic.ValidationError: it is none.
    """
    return _DEFENSE.validate_python(data)
