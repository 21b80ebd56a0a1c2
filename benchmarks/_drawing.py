"""What all figures of the pages have in common: told apart by marker and dash as well as by colour, bars over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("svg")
import matplotlib.pyplot as plt

DOCS = Path(__file__).parent.parent / "docs" / "figures"
STYLES = (("o", "-"), ("s", "--"), ("^", "-."), ("D", ":"), ("v", (0, (5, 1, 1, 1))), ("P", (0, (1, 1))))
COLOURS = ("#0b6fa4", "#c4501b", "#3d8b37", "#7a4fa3", "#555555", "#a8842c")


def line(axes: Any, place: int, name: str, xs: Sequence[float], values: Sequence[Sequence[float]]) -> None:
    """Means over seeds as a line, the range of the seeds as bars."""
    means = [float(np.mean(v)) for v in values]
    reach = [[m - min(v) for m, v in zip(means, values, strict=True)]]
    reach.append([max(v) - m for m, v in zip(means, values, strict=True)])
    marker, dash = STYLES[place % len(STYLES)]
    axes.errorbar(
        xs,
        means,
        yerr=reach,
        label=name,
        marker=marker,
        linestyle=dash,
        color=COLOURS[place % len(COLOURS)],
        markersize=4,
        linewidth=1.2,
        capsize=2,
    )


def save(
    figure: Any, name: str, folder: Path = DOCS, margin: tuple[float, float, float, float] = (0, 0, 1, 1)
) -> Path:
    """Write ``<name>.svg``, the same bytes for the same figure; panels fill the margin, in shares of the whole."""
    folder.mkdir(exist_ok=True)
    figure.tight_layout(rect=margin)
    path = folder / f"{name}.svg"
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path
