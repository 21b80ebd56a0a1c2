"""ROC curves with logarithmic axes, beside what a declared bound allows.

The invariant: the curves are those of the JSON; the bound's edge is computed from ε and δ alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defenses.decimals import at_most
from ifedpriv.report.canvas import FIRST, SECOND, svg

_FLOOR = 1e-4
_INK = "#010203"
# Two colours of the page and ink, told apart by dash as well.
_STYLES = (
    (FIRST, "-"),
    (SECOND, "--"),
    (_INK, "-."),
    (FIRST, ":"),
    (SECOND, (0, (5, 1, 1, 1))),
    (_INK, (0, (1, 1))),
)


def draw(name: str, curves: Sequence[Mapping[str, Any]], allowed: tuple[float, float] | None) -> str:
    """The figure as an SVG element.

    Args:
        name: by which its ids differ from those of other figures.
        curves: ``method`` and ``points`` of each.
        allowed: ε and δ of a bound; None for none.
    """

    def fill(figure: Any) -> None:
        axes = figure.add_subplot()
        grid = np.geomspace(_FLOOR, 1, 200)
        axes.plot(grid, grid, color=_INK, linestyle=":", linewidth=0.8, label="knows nothing")
        if allowed is not None:
            edge = most_allowed(grid, *allowed)
            axes.plot(grid, edge, color=_INK, linewidth=0.8, label=f"allowed, ε = {at_most(allowed[0], 3)}")
            axes.fill_between(grid, edge, 1, color=_INK, alpha=0.08, linewidth=0)
        for curve, (colour, dash) in zip(curves, _STYLES * (1 + len(curves) // len(_STYLES)), strict=False):
            points = np.maximum(np.asarray(curve["points"], dtype=np.float64), _FLOOR)
            axes.step(
                points[:, 0], points[:, 1], where="post", color=colour, linestyle=dash, label=curve["method"]
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            # Powers are set as mathematics, which figures here do not have.
            axis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlim(_FLOOR, 1)
        axes.set_ylim(_FLOOR, 1.15)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        axes.grid(True)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)

    slug = re.sub(r"[^a-z]+", "-", name.lower())
    return svg(slug, f"ROC of {len(curves)} scores", 4.6, fill)


def most_allowed(false_positive: NDArray[np.float64], epsilon: float, delta: float) -> NDArray[np.float64]:
    """The largest true positive rate of any test under (ε, δ), at false positive rates ``[n]``.

    Reference:
        Kairouz, Oh & Viswanath, The composition theorem for differential privacy, 2015, Theorem 2.1.
    """
    with np.errstate(over="ignore"):
        first = np.exp(min(epsilon, 700.0)) * false_positive + delta
        second = 1 - np.exp(-epsilon) * (1 - delta - false_positive)
    return np.asarray(np.clip(np.minimum(first, second), 0.0, 1.0), dtype=np.float64)
