"""Figures of attacks against epsilon, and of what each layer tells."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib.pyplot as plt
from _drawing import COLOURS, DOCS, STYLES, save
from _order_tables import ATTACKS, found_of, headlines, orders, plural

from ifedpriv.report import layers_plot

_NO_NOISE = 160.0
"""Where no noise at all stands on the axis."""


def epsilons(folder: Path = DOCS) -> Path | None:
    """Each attack's gain over its best control against epsilon: a panel a model and number of examples."""
    panels = {
        f"{name}, {plural(examples)}": headlines(found, examples)
        for name, found in orders().items()
        for examples in sorted({cell["examples"] for cell in found["cells"]})
    }
    if not panels:
        return None
    figure, drawn = plt.subplots(
        1, len(panels), figsize=(max(7.8, 3.1 * len(panels)), 3.4), sharey=True, squeeze=False
    )
    for axes, (title, by_epsilon) in zip(drawn[0], panels.items(), strict=True):
        for place, (method, (name, _)) in enumerate(ATTACKS.items()):
            points = [
                (_NO_NOISE if math.isinf(epsilon) else epsilon, row[method]["gain"])
                for epsilon, row in by_epsilon.items()
            ]
            at = [epsilon for epsilon, _ in points]
            gains = [gain["value"] for _, gain in points]
            reach = [
                [gain["value"] - gain["interval"][0] for _, gain in points],
                [gain["interval"][1] - gain["value"] for _, gain in points],
            ]
            marker, dash = STYLES[place]
            axes.errorbar(
                at,
                gains,
                yerr=reach,
                label=name,
                marker=marker,
                linestyle=dash,
                color=COLOURS[place],
                markersize=4,
                linewidth=1.2,
                capsize=2,
            )
        axes.axhline(0, color="#888888", linewidth=0.9)
        axes.set_xscale("log")
        axes.set_xticks([1, 4, 8, 24, 50, _NO_NOISE], ["1", "4", "8", "24", "50", "none"], fontsize=7)
        axes.minorticks_off()
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("ε of the run")
        axes.grid(alpha=0.3)
    drawn[0][0].set_ylabel("gain over the best control")
    handles, labels = drawn[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=7, loc="lower center", ncol=len(ATTACKS) // 2)
    return save(figure, "epsilon_order", folder, margin=(0, 0.14, 1, 1))


def layers(real: bool, folder: Path = DOCS) -> Path | None:
    """The curve by layer, as the program itself draws it."""
    document = found_of("parts", real).get("layers")
    if document is None:
        return None
    path = folder / f"layers{'_real' if real else ''}.svg"
    path.write_bytes(layers_plot.draw(document, "svg"))
    return path
