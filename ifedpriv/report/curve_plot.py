"""The figure of a curve, fit for a paper: vector graphics and pixels, told apart without colour.

The one invariant: the same curve gives the same bytes of SVG and PDF, whatever the user's matplotlib is set to; what
epsilon means stands under the axes, so that the figure can leave its folder.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence
from typing import Any

from ifedpriv.report import attack_points, wording
from ifedpriv.report.canvas import own_settings
from ifedpriv.report.curve import Curve, Level, caption, line_name
from ifedpriv.report.mean import Mean
from ifedpriv.report.parts import PUBLIC_MEAN

KINDS = ("svg", "pdf", "png")

_INK = "#000000"
# Okabe and Ito's, each with a marker and a dash of its own.
_STYLES = (
    ("#0072b2", "o", "-"),
    ("#d55e00", "s", "--"),
    ("#009e73", "^", "-."),
    ("#cc79a7", "D", ":"),
    ("#e69f00", "v", (0, (5, 1, 1, 1, 1, 1))),
    ("#56b4e9", "P", (0, (1, 1))),
)
# Without privacy for one unit and for another, and the bare model.
_LEVELS = (("#000000", (0, (6, 2))), ("#444444", (0, (3, 1, 1, 1))), ("#777777", (0, (1, 2))))
# Controls: greys, each with a marker and a dash of its own.
_CONTROLS = {
    "zero_vector": ("#8c8c8c", "x", (0, (1, 1.5))),
    "random_vector": ("#707070", "v", (0, (4, 2, 1, 2))),
    "public_mean": ("#303030", "D", (0, (5, 2))),
    "other_task": ("#585858", "s", (0, (2, 1))),
}
_BELOW = {
    "found": "below: found in the vectors",
    "loudest": "below: loudest unit",
    "allowed": "below: allowed by ε",
    "chance": "below: chance",
}
# How far beyond the largest budget, as a factor.
_STEP = 2
_WIDTH, _AXES_HEIGHT, _BELOW_HEIGHT = 5.0, 2.7, 1.7
_LINE = 0.14
_LETTERS = 104
_SMALL = 7.5
_MOST_TICKS = 10
_DPI = 200


def draw(curve: Curve, kind: str) -> bytes:
    """The figure as the contents of a file.

    Args:
        curve: what was measured.
        kind: one of `KINDS`.
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
        # Letters as letters, which journals ask for.
        "pdf.fonttype": 42,
    }
    with own_settings(ours):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Canvas

        figure = Canvas(figsize=(_WIDTH, _AXES_HEIGHT), layout="constrained")
        FigureCanvasAgg(figure)
        _fill(figure, curve)
        out = io.BytesIO()
        figure.savefig(out, format=kind, dpi=_DPI, metadata=_no_dates(kind))
    if kind != "svg":
        return out.getvalue()
    # Named for those who hear the page instead of seeing it.
    label = f"Test {wording.metric_name(curve.primary_metric)} against epsilon"
    return re.sub(rb"<svg ", f'<svg role="img" aria-label="{label}" '.encode(), out.getvalue(), count=1)


def _no_dates(kind: str) -> dict[str, None]:
    names = {"svg": ("Date", "Creator"), "pdf": ("CreationDate", "Creator", "Producer"), "png": ("Software",)}
    return dict.fromkeys(names[kind])


def _fill(figure: Any, curve: Curve) -> None:
    attacked = any(level.attack for level in curve.summary)
    tall = _AXES_HEIGHT + _BELOW_HEIGHT * attacked
    if attacked:
        axes, below = figure.subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": (_AXES_HEIGHT, _BELOW_HEIGHT)}
        )
    else:
        axes = below = figure.add_subplot()
    epsilons = sorted({s.epsilon for s in curve.summary if s.epsilon is not None})
    axes.set_xscale("log")
    for (unit, trust), (colour, marker, dash) in zip(curve.lines(), _STYLES, strict=False):
        levels = curve.levels("private", unit, trust)
        at = [level.epsilon for level in levels]
        values, low, high = _ends(curve, levels)
        axes.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0)
        for edge in (low, high):
            axes.plot(at, edge, color=colour, linewidth=0.4, alpha=0.6)
        axes.plot(
            at,
            values,
            color=colour,
            marker=marker,
            linestyle=dash,
            markersize=5,
            label=line_name(unit, trust),
        )
    _controls(axes, curve)
    _levels(axes, curve)
    _ticks(axes, epsilons, beyond=_beyond(curve, epsilons))
    if attacked:
        _attacks(below, curve)
    below.set_xlabel(f"privacy budget ε of the whole run (δ = {curve.delta:g}), log scale")
    axes.set_ylabel(f"test {wording.metric_name(curve.primary_metric)} (0 to 1)")
    axes.grid(axis="y")
    handles, labels = axes.get_legend_handles_labels()
    if attacked:
        handles, labels = (
            [*mine, *others]
            for mine, others in zip((handles, labels), below.get_legend_handles_labels(), strict=True)
        )
    figure.legend(handles, labels, loc="outside upper left", ncols=2, fontsize=_SMALL, columnspacing=1.2)
    parts = [*caption(curve), *(["Bands: those intervals."] if len(curve.seeds) > 1 else [])]
    if _beyond(curve, epsilons) is not None:
        parts.append("At ∞: controls of the runs without privacy.")
    if len(curve.lines()) > 1 and set(curve.controls()) - {PUBLIC_MEAN}:
        parts.append("The other controls are in curve.csv.")
    if attacked:
        found = [point.attack for point in curve.points if point.attack]
        parts.append(f"Below: {attack_points.explained(found)}")
    said = " ".join(parts)
    lines = textwrap.wrap(said.replace("epsilon", "ε").replace("delta", "δ"), _LETTERS)
    # Legend and caption take room of their own, so that the axes keep theirs.
    under = _LINE * len(lines) + 0.08
    height = tall + under + 1.15 * _LINE * -(-len(labels) // 2)
    figure.set_size_inches(_WIDTH, height)
    figure.get_layout_engine().set(rect=(0, under / height, 1, 1 - under / height))
    figure.text(0.015, 0.02, "\n".join(lines), fontsize=_SMALL - 1, va="bottom", linespacing=1.25)


def _controls(axes: Any, curve: Curve) -> None:
    """Means of the controls, thin and hollow; of several lines only the public mean, in the line's own colour."""
    lines = curve.lines()
    single = len(lines) == 1
    epsilons = [s.epsilon for s in curve.summary if s.epsilon is not None]
    for (unit, trust), (own, _, _) in zip(lines, _STYLES, strict=False):
        for control in curve.controls():
            if not single and control != PUBLIC_MEAN:
                continue
            colour, marker, dash = _CONTROLS[control]
            name = f"control: {wording.CONTROLS[control]}" + ("" if single else f" ({unit}, {trust})")
            style = {"color": colour if single else own, "linewidth": 0.8, "zorder": 1.8}
            style |= {"marker": marker, "markersize": 4, "markerfacecolor": "white", "markeredgewidth": 0.8}
            levels = curve.levels("private", unit, trust, control)
            at = [level.epsilon for level in levels]
            axes.plot(at, _ends(curve, levels)[0], linestyle=dash, label=name, **style)
            # Without privacy they have no place on the axis, and stand where the run's own line ends.
            beyond = curve.levels("no privacy", unit, None, control)
            where = [_beyond(curve, epsilons)] * len(beyond)
            axes.plot(where, _ends(curve, beyond)[0], linestyle="", clip_on=False, **style)


def _attacks(axes: Any, curve: Curve) -> None:
    """What was found in the noised vectors, and the loudest of it, under what epsilon allows."""
    axes.set_yscale("log")
    several = len(curve.lines()) > 1
    allowed: dict[float, float] = {}
    for (unit, trust), (colour, marker, dash) in zip(curve.lines(), _STYLES, strict=False):
        levels = [level for level in curve.levels("private", unit, trust) if level.attack]
        at = [level.epsilon for level in levels]
        which = f" ({unit}, {trust})" if several else ""
        for name, size, width in (("found", 5, 1.5), ("loudest", 3, 0.8)):
            means = [getattr(level.attack, name) for level in levels]
            style = {"color": colour, "marker": marker, "linestyle": dash, "linewidth": width}
            label = f"{_BELOW[name]}{which}"
            hollow = {} if name == "found" else {"markerfacecolor": "white"}
            values, low, high = _spans(means)
            axes.plot(at, values, markersize=size, label=label, **style, **hollow)
            axes.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0)
        allowed |= {level.epsilon: level.attack.allowed for level in levels if level.attack and level.epsilon}
    ends = sorted(allowed.items())
    axes.plot(*zip(*ends, strict=True), color=_INK, linestyle=(0, (6, 2)), label=_BELOW["allowed"])
    axes.axhline(attack_points.FALSE_ALARMS, color="#777777", linestyle=(0, (1, 2)), label=_BELOW["chance"])
    axes.set_ylim(attack_points.FALSE_ALARMS / 2, 1.2)
    axes.set_yticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
    axes.set_ylabel("found at 1%\nfalse alarms")
    axes.grid(axis="y")


def _beyond(curve: Curve, epsilons: Sequence[float]) -> float | None:
    """Where controls of runs without privacy stand on the axis; None where there are none."""
    if not any(level.control and level.kind == "no privacy" for level in curve.summary):
        return None
    return max(epsilons) * _STEP


def _levels(axes: Any, curve: Curve) -> None:
    """What does not depend on epsilon: lines that go through, with their bands."""
    shown = [("no privacy", unit) for unit in dict.fromkeys(unit for unit, _ in curve.lines())]
    names = {
        ("no privacy", unit): "no privacy" + (f" ({unit})" if len(shown) > 1 else "") for _, unit in shown
    }
    styles = [*_LEVELS[: len(shown)], _LEVELS[-1]]
    names["zero-shot", ""] = "zero-shot"
    for (kind, unit), (colour, dash) in zip([*shown, ("zero-shot", "")], styles, strict=True):
        for level in curve.levels(kind, unit or None):
            (value,), (low,), (high,) = _ends(curve, [level])
            axes.axhspan(low, high, color=colour, alpha=0.1, linewidth=0)
            axes.axhline(value, color=colour, linestyle=dash, linewidth=1.1, label=names[kind, unit])


def _ends(curve: Curve, levels: Sequence[Level]) -> tuple[list[float], list[float], list[float]]:
    """`_spans` of the metric that is drawn."""
    return _spans([level.means[curve.primary_metric] for level in levels])


def _spans(means: Sequence[Mean]) -> tuple[list[float], list[float], list[float]]:
    """Means, and both ends of their intervals; a mean without one is its own."""
    values = [mean.value for mean in means]
    low = [mean.value if mean.low is None else mean.low for mean in means]
    high = [mean.value if mean.high is None else mean.high for mean in means]
    return values, low, high


def _ticks(axes: Any, epsilons: Sequence[float], *, beyond: float | None) -> None:
    """A tick at each budget that was measured, as far as they can be read, and where controls without one stand."""
    from matplotlib.ticker import NullLocator

    step = -(-len(epsilons) // _MOST_TICKS)
    at, names = epsilons[::step], [f"{epsilon:g}" for epsilon in epsilons[::step]]
    axes.set_xticks([*at, *([beyond] if beyond else [])], [*names, *(["∞"] if beyond else [])])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(epsilons[0] / 1.25, (beyond or epsilons[-1]) * 1.25)
