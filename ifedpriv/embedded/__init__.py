"""The small world that ships with the project: texts, labelling conventions, tasks and a model of them.

A fresh clone has no model hub. So that in-context learning can be seen, measured and attacked all the same,
this package writes believable service messages with invented private details, labels them by conventions
that only demonstrations reveal, and holds a small language model trained on such text.
"""

from pathlib import Path

MODEL_PATH = Path(__file__).parent / "model"
COEFFICIENTS_PATH = MODEL_PATH / "coefficients.safetensors"
"""Coefficients for that model from public tasks: what `ifedpriv coefficients embedded` writes."""

__all__ = ["COEFFICIENTS_PATH", "MODEL_PATH"]
