"""The trained artifact: a vector, its coefficients, and the statement of what it reveals.

An injection is a context manager on a backbone, a file, or a plain checkpoint after folding. It knows the
backbone it was made for and refuses any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.hooks import inject
from ifedpriv.errors import ModelError
from ifedpriv.icl.tensor_file import reading, write_tensors
from ifedpriv.icl.vectors import Coefficients, ContextVector

FORMAT = "ifedpriv-injection-1"


@dataclass(frozen=True, slots=True, eq=False)
class Injection:
    """A context vector with the coefficients that inject it.

    Attributes:
        vector: what is added, ``[layers, 2, width]``.
        coefficients: how strongly, ``[layers, 2, 2]``.
        backbone: fingerprint of the model it was made for; empty if not yet known.
        facts: strings that travel with it: task, template, label words, privacy statement, versions.
    """

    vector: ContextVector
    coefficients: Coefficients
    backbone: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        layers, scalars = self.vector.values.shape[0], self.coefficients.values.shape[0]
        if layers != scalars:
            raise ModelError(
                f"the injection's vector has {layers} layers and its coefficients {scalars}",
                "both must fit one model",
            )

    @contextmanager
    def on(self, backbone: Backbone) -> Iterator[None]:
        """Inject into every forward pass of this backbone until the block ends.

        Reference: IFed-ICL, Eq. 5: r ← r + β·out + λ·v at every layer, both branches, every position.
        """
        self.check(backbone)
        vector = torch.from_numpy(self.vector.values.copy()).to(backbone.device)
        coefficients = torch.from_numpy(self.coefficients.values.copy()).to(backbone.device)
        with inject(backbone, vector, coefficients):
            yield

    def check(self, backbone: Backbone) -> None:
        """Refuse a backbone that this injection was not made for."""
        layers, _, width = self.vector.values.shape
        if (layers, width) != (backbone.n_layers, backbone.width):
            raise ModelError(
                f"the injection is for {layers} layers of width {width}, the model has {backbone.n_layers} of "
                f"width {backbone.width}",
                "use the backbone that the run's config.yaml names",
            )
        if self.backbone and self.backbone != backbone.fingerprint:
            raise ModelError(
                f"the injection was made for the model with fingerprint {self.backbone[:12]}, this one has "
                f"{backbone.fingerprint[:12]}",
                "use the very weights that the run used",
            )

    def save(self, path: Path) -> None:
        """Write a safetensors file; an interrupted write leaves nothing under the final name."""
        metadata = {"format": FORMAT, "count": str(self.vector.count), "backbone": self.backbone}
        tensors = {"vector": self.vector.values, "coefficients": self.coefficients.values}
        write_tensors(path, tensors, metadata, self.facts)

    @classmethod
    def load(cls, path: Path) -> Injection:
        """Read a file that `save` wrote."""
        with reading(path, "injection", FORMAT) as (tensors, metadata, facts):
            vector = ContextVector(tensors["vector"], int(metadata["count"]))
            return cls(vector, Coefficients(tensors["coefficients"]), metadata["backbone"], facts)
