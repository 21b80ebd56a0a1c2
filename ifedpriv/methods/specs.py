"""What a configuration may say about a method; imports nothing heavy, so that configs load in no time."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class CalibrationSpec(BaseModel):
    """How the coefficients are calibrated; the defaults are those of the shipped results."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rounds: int = Field(15, ge=0, le=10_000)
    steps: int = Field(4, ge=1)
    batch_size: int = Field(16, ge=1)
    rate: float = Field(0.1, gt=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    decay: float = Field(0.0, ge=0)
    proximal: float = Field(0.0, ge=0)
    loss: Literal["vocabulary", "labels"] = "vocabulary"
    start_lambda: float = 0.1
    start_beta: float = 1.0


class IfedIclSpec(BaseModel):
    """IFed-ICL: one context vector, then rounds of coefficients.

    ``branches``, ``layers`` (thirds of the model) and ``form`` (``add`` keeps β at 1) leave the other coefficients
    at the identity; they exist for the ablations of I2CL (arXiv 2405.14660, Tables 3 to 8).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["ifed_icl"] = "ifed_icl"
    position: Literal["last", "label", "prompt_end"] = "last"
    branches: Literal["both", "attention", "mlp"] = "both"
    layers: Literal["all", "early", "middle", "late"] = "all"
    form: Literal["linear", "add"] = "linear"
    aggregation: Literal["uniform", "count", "class_balanced"] = "uniform"
    batch_size: int = Field(32, ge=1)
    guard: bool = True
    calibration: CalibrationSpec = CalibrationSpec()


class FedLoraSpec(BaseModel):
    """FedAvg over LoRA adapters (the baseline of the IFed-ICL paper)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["fed_lora"] = "fed_lora"
    rank: int = Field(8, ge=1)
    alpha: float = Field(16.0, gt=0)
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    rounds: int = Field(15, ge=1)
    steps: int = Field(4, ge=1)
    batch_size: int = Field(16, ge=1)
    rate: float = Field(1e-3, gt=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    aggregation: Literal["uniform", "count"] = "count"


MethodSpec = IfedIclSpec | FedLoraSpec
