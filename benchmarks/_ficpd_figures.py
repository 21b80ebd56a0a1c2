"""Figures of FICPD's ablations, one for each part that has results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
from _cells import Figures, by_cell
from _drawing import DOCS, line, save
from _sweep import RESULTS

OWN, META, PLAIN = "own cluster's prompt", "distilled prompt", "zero-shot"
PROMPTS = (OWN, META, "worst client", PLAIN)
UP = "MB up a client and round"

Found = Mapping[str, Mapping[str, Figures]]


@dataclass(frozen=True)
class Panel:
    """One panel of a part's figure: cells from left to right, a line for each figure.

    Attributes:
        label: of the upright axis.
        keys: the figures that are drawn.
        of: only cells whose name begins so, and the name's rest is written below; all where empty.
    """

    label: str
    keys: tuple[str, ...]
    of: str = ""


UNSEEN_KEYS = (
    "library, tuned",
    "from scratch, tuned",
    "library, only chosen",
    "prompt of up to 8 examples",
    PLAIN,
)
PANELS: dict[str, tuple[Panel, ...]] = {
    "clusters": (Panel("accuracy", PROMPTS),),
    "compression": (Panel("accuracy", PROMPTS), Panel("MB up, a client and round", (UP,))),
    "length": (Panel("accuracy", PROMPTS), Panel("MB up, a client and round", (UP,))),
    "epsilon": (Panel("accuracy", PROMPTS),),
    "clustering": tuple(
        Panel(f"accuracy, {task}", (OWN, "alone", META, "worst client", PLAIN), f"{task}, ")
        for task in ("domains", "dialects", "mood")
    ),
    "estimator": tuple(
        Panel(f"accuracy, {name}", PROMPTS, f"{name}, ") for name in ("gradient", "zeroth-order")
    ),
    "clients": (Panel("accuracy", PROMPTS),),
    "unseen": tuple(
        Panel(f"accuracy, unseen {name}", UNSEEN_KEYS, f"{name}, ") for name in ("domain", "language", "task")
    ),
    "membership": (
        Panel("advantage", ("advantage",)),
        Panel("share found at 1% false alarms", ("found at 1% false alarms",)),
    ),
}


def draw(part: str, results: Path = RESULTS, folder: Path = DOCS) -> Path | None:
    """``ficpd_<part>.svg``; None where the part has no results."""
    found = by_cell(f"ficpd_{part}", results)
    if not found:
        return None
    panels = PANELS[part]
    figure, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels) + 0.4, 3.2), squeeze=False)
    for panel, one in zip(panels, axes[0], strict=True):
        _panel(one, panel, found)
    axes[0][-1].legend(fontsize=7)
    return save(figure, f"ficpd_{part}", folder)


def _panel(axes: plt.Axes, panel: Panel, found: Found) -> None:
    cells = [name for name in found if name.startswith(panel.of)]
    for place, key in enumerate(panel.keys):
        # A cell may lack what only others have, such as clients who tune alone.
        has = [i for i, cell in enumerate(cells) if any(key in one for one in found[cell].values())]
        values: Sequence[Sequence[float]] = [
            [figures[key] for figures in found[cells[i]].values() if key in figures] for i in has
        ]
        if has:
            line(axes, place, key, [float(i) for i in has], values)
    axes.set_xticks(range(len(cells)))
    axes.set_xticklabels([cell.removeprefix(panel.of) for cell in cells], rotation=20, fontsize=7, ha="right")
    axes.set_ylabel(panel.label, fontsize=8)
    axes.grid(alpha=0.3)
