"""The figure of leakage by layer: one panel a measure, lines for branches and for depth, controls in grey.

The one invariant: the same document gives the same bytes of SVG, whatever the user's matplotlib is set to; lines are
told apart by marker and dash as well as by colour. A file stands alone on white; in a page the figure takes the page's
colours, as all figures of `ifedpriv.report.plots` do.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from ifedpriv.report import wording
from ifedpriv.report.canvas import FIRST, SECOND, own_settings, svg

_INK = "#000000"
_LINES = (
    ("single", "attention", "attention of one layer", "#0072b2", "o", "-"),
    ("single", "mlp", "MLP of one layer", "#d55e00", "s", "--"),
    ("single", "both", "one layer", "#009e73", "^", "-."),
    ("prefix", "both", "all layers up to it", "#cc79a7", "D", ":"),
)
_Line = tuple[str, str, str, str, str, str]
"""Group, branches, what it is called, colour, marker, dash."""
_Level = tuple[str, str, str, str, str]
"""Likewise, without a marker: it lies flat across all layers."""
_PAGE_INK = "#010203"
_PAGE_LINES = (("single", "both", "one layer", FIRST, "o", "-"),)
_PAGE_LEVELS = (
    ("all", "both", "everything", SECOND, "-"),
    ("branch", "attention", "attention of all layers", _PAGE_INK, "--"),
    ("branch", "mlp", "MLP of all layers", _PAGE_INK, ":"),
)
_PANEL = (2.6, 2.0)
_DPI = 200
_SMALL = 7.5


def draw(document: Mapping[str, Any], kind: str) -> bytes:
    """The figure as the contents of a file.

    Args:
        document: what `ifedpriv attack layers --json` prints.
        kind: ``svg``, ``pdf`` or ``png``.
    """
    ours = {
        "text.color": _INK,
        "axes.edgecolor": _INK,
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "axes.facecolor": "white",
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
    }
    dates = {"svg": ("Date", "Creator"), "pdf": ("CreationDate", "Creator", "Producer"), "png": ("Software",)}
    with own_settings(ours):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Canvas

        columns, rows = _grid(document)
        figure = Canvas(figsize=(_PANEL[0] * columns, _PANEL[1] * rows + 0.5), layout="constrained")
        FigureCanvasAgg(figure)
        _panels(figure, document, _LINES, ())
        out = io.BytesIO()
        figure.savefig(out, format=kind, dpi=_DPI, metadata=dict.fromkeys(dates[kind]))
    return out.getvalue()


def in_page(document: Mapping[str, Any]) -> str:
    """The figure as an SVG element for a page: what each layer tells, beside everything, each branch and the control.

    Args:
        document: as for `draw`; of lines, single layers alone are drawn.
    """
    height = _PANEL[1] * _grid(document)[1] + 0.6
    title = f"What each layer tells, by {len(document['metrics'])} measures"
    return svg("layers", title, height, lambda figure: _panels(figure, document, _PAGE_LINES, _PAGE_LEVELS))


def _grid(document: Mapping[str, Any]) -> tuple[int, int]:
    columns = min(2, len(document["metrics"]))
    return columns, -(-len(document["metrics"]) // columns)


def _panels(
    figure: Any, document: Mapping[str, Any], lines: Sequence[_Line], levels: Sequence[_Level]
) -> None:
    columns, rows = _grid(document)
    for place, name in enumerate(document["metrics"]):
        _panel(figure.add_subplot(rows, columns, place + 1), document, name, lines, levels)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2, fontsize=_SMALL)


def _panel(
    axes: Any, document: Mapping[str, Any], name: str, lines: Sequence[_Line], levels: Sequence[_Level]
) -> None:
    whole = next(part for part in document["parts"] if part["group"] == "all")["measured"][name]
    for group, branches, label, colour, marker, dash in lines:
        points = [
            (part["at"], part["measured"][name])
            for part in document["parts"]
            if (part["group"], part["branches"]) == (group, branches)
            and part["measured"][name]["value"] is not None
        ]
        if group == "prefix" and whole["value"] is not None:
            points.append((document["layers"] - 1, whole))
        at, values = [layer for layer, _ in points], [one["value"] for _, one in points]
        axes.plot(at, values, color=colour, marker=marker, linestyle=dash, label=label)
        if all(one["interval"] for _, one in points):
            ends = ([one["interval"][end] for _, one in points] for end in (0, 1))
            axes.fill_between(at, *ends, color=colour, alpha=0.12, linewidth=0)
    for group, branches, label, colour, dash in levels:
        for part in document["parts"]:
            value = part["measured"][name]["value"]
            if (part["group"], part["branches"]) == (group, branches) and value is not None:
                axes.axhline(value, color=colour, linestyle=dash, linewidth=1.0, label=label)
    if whole["control"] is not None:
        axes.axhline(whole["control"], color="#777777", linewidth=0.8, label="best control")
    axes.set_title(wording.printable(f"{name}: {document['metrics'][name]}"))
    axes.set_xlabel("layer")
    axes.set_xticks(range(0, document["layers"], max(1, document["layers"] // 8)))
    axes.set_ylim(0, 1.05)
    axes.grid(axis="y")
