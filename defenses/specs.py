"""What a configuration may say about the defense: frozen models, unknown keys forbidden.

Invariant: a spec is data only; building one makes no session, draws nothing and opens nothing.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from defenses.codec import Precision
from defenses.upload import UploadKind


class WireSpec(BaseModel):
    """How the numbers of each kind of upload travel, in both directions.

    Attributes:
        vector: precision of context vectors.
        coefficients: precision of λ and β, which travel as two arrays.
        weights: precision of adapter weights.
        scores: precision of held-out scores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vector: Precision = Precision.FP16
    coefficients: Precision = Precision.FP16
    weights: Precision = Precision.FP16
    scores: Precision = Precision.FP32

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


# Kinds of defense, and later their steps, are a closed set on purpose, with no registry and no plug-ins: each
# stands for a theorem about what leaves a client, and a stranger's step would silently void the guarantee.
class DefenseSpec(BaseModel):
    """What stands between a client and the server.

    Attributes:
        kind: ``none`` sends uploads as they are; it is the only kind so far.
        wire: how the numbers travel.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["none"] = "none"
    wire: WireSpec = WireSpec()
