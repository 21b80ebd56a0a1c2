"""Draw the figures of the pages of docs from ``benchmarks/results``: the same results, the same bytes.

    python benchmarks/figures.py

Lines are told apart by marker and dash as well as by colour. Points are means over seeds, bars the range of the seeds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import _curve_tables
import _ficpd_figures
import _one_shot_tables
import _order_figures
import matplotlib.pyplot as plt
import numpy as np
from _drawing import DOCS, STYLES, line, save
from _sweep import RESULTS

from ifedpriv.report import curve_plot

CONTROLS = (
    "8-shot prompt",
    "public texts, random labels",
    "random vector",
    "another task's vector",
    "zero-shot",
)
Found = Mapping[str, Mapping[str, Mapping[str, float]]]


def _load(name: str) -> Found:
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found.pop("backbone", None)
    return found


def budgets(task: str) -> None:
    """Accuracy against epsilon, one panel for each number of examples; controls, which no budget moves, as lines."""
    found = {**_load("one_shot_curve"), **_one_shot_tables.adapters()}
    cells = {name: by for name, by in found.items() if name.startswith(f"{task}, ")}
    still = _load("one_shot_gain")[task].values()
    sizes = sorted({int(name.split(", ")[2].split()[0]) for name in cells})
    wide = max(2.6 * len(sizes), 7.8)
    figure, panels = plt.subplots(1, len(sizes), figsize=(wide, 3.4), sharey=True, squeeze=False)
    for axes, size in zip(panels[0], sizes, strict=True):
        for place, mode in enumerate(("public", "public+rounds", "federated", "DP-SGD LoRA")):
            by_seed = cells.get(f"{task}, {mode}, {size} examples")
            if by_seed is None:
                continue
            measured = {key for figures in by_seed.values() for key in figures if math.isfinite(float(key))}
            keys = sorted(measured, key=float)
            values = [[figures[key] for figures in by_seed.values() if key in figures] for key in keys]
            line(axes, place, mode, [float(key) for key in keys], values)
        for place, control in enumerate(CONTROLS):
            height = float(np.mean([figures[control] for figures in still]))
            axes.axhline(height, color="#888888", linewidth=0.9, linestyle=STYLES[place][1], label=control)
        axes.set_xscale("log")
        axes.set_title(f"{size} examples", fontsize=9)
        axes.set_xlabel("ε of the whole run")
        axes.grid(alpha=0.3)
    panels[0][0].set_ylabel(f"accuracy, task {task}")
    handles = {
        name: handle
        for axes in panels[0]
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), fontsize=7, loc="lower center", ncol=5)
    save(figure, "one_shot_budgets" if task == "mood" else f"one_shot_budgets_{task}", margin=(0, 0.12, 1, 1))


def default_curve() -> None:
    """`configs/curve.yaml`, as the program itself draws it."""
    (DOCS / "curve.svg").write_bytes(curve_plot.draw(_curve_tables.load("curve"), "svg"))


def shares() -> None:
    """The run, the public mean and no vector, by examples, rounds, skew and number of conventions."""
    found = _load("vector_share")
    skews = [name for name in found if name == "IID" or name.startswith("Dirichlet")]
    panels: dict[str, dict[str, str]] = {
        what: {name.split()[0]: name for name in found if name.endswith(what)}
        for what in ("examples a client", "rounds", "conventions")
    }
    # Clients who all agree have one convention: the same run as the one without skew.
    panels["conventions"] = {"1": "IID", **panels["conventions"]}
    panels["skew"] = {name: name for name in skews}
    figure, drawn = plt.subplots(1, len(panels), figsize=(12.4, 3.0), sharey=True)
    for axes, (what, chosen) in zip(drawn, panels.items(), strict=True):
        known = [(label, found[name]) for label, name in chosen.items() if name in found]
        for place, key in enumerate(("IFed-ICL", "public mean", "no vector", "zero-shot")):
            line(axes, place, key, range(len(known)), [[f[key] for f in by.values()] for _, by in known])
        axes.set_xticks(range(len(known)), [label for label, _ in known])
        axes.set_xlabel(what)
        axes.grid(alpha=0.3)
    drawn[0].set_ylabel("accuracy, task mood")
    drawn[-1].legend(fontsize=7, loc="lower right")
    save(figure, "vector_share")


if __name__ == "__main__":
    for name in ("mood", "request"):
        budgets(name)
    default_curve()
    shares()
    _order_figures.epsilons()
    for real in (False, True):
        _order_figures.layers(real)
    for part in _ficpd_figures.PANELS:
        _ficpd_figures.draw(part)
