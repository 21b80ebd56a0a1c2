"""Figures of a report as SVG text, fit for a page in light or dark and for print in grey.

The one invariant: the same report gives the same bytes, whatever the user's matplotlib is set to: settings
start from matplotlib's defaults, ids come from a fixed salt, and no date is written. Lines and text are drawn
in ``currentColor``, so that they take the colour of the text around them; data is told apart by shape, dash
or hatch as well as by colour.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

from ifedpriv.report import wording
from ifedpriv.report.schema import ZERO_SHOT, Figure, Grid, Report

# Okabe and Ito's palette, which the colour-blind can tell apart; the two differ in lightness too.
BLUE = "#0072b2"
ORANGE = "#e69f00"
# A colour that nothing else uses: it is replaced by currentColor in the finished SVG.
_INK = "#010203"
_GREY = "#8a8a8a"
_WIDTH = 6.4
_MAX_NAME = 28
# Above this many cells, circles and counts are too small to read, and a shaded grid takes their place.
_MAX_CIRCLES = 240
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ifedpriv",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    # Names may hold dollar signs, which are no formulas.
    "text.parse_math": False,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlesize": 9,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "grid.color": _GREY,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "savefig.facecolor": "none",
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def holdings(report: Report) -> str:
    """Who holds what: one circle for each client and class, its area the number of examples."""
    found = report.task.holdings
    if found is None:
        raise ValueError("this report does not say who holds what")
    clients, classes = len(found.clients), len(found.classes)
    named = len(set(found.groups)) > 1
    labels = [
        f"{_short(name)} ({_short(group)})" if named else _short(name)
        for name, group in zip(found.clients, found.groups, strict=True)
    ]
    circles = clients * classes <= _MAX_CIRCLES
    height = 1.1 + min(0.3 * clients, 9) if circles else 4.4

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        largest = max(1, max(max(row) for row in found.counts))
        if circles:
            cells = [(x, y, found.counts[y][x]) for y in range(clients) for x in range(classes)]
            held = [cell for cell in cells if cell[2]]
            axes.scatter(
                [x for x, _, _ in held],
                [y for _, y, _ in held],
                s=[230 * count / largest for _, _, count in held],
                color=BLUE,
                alpha=0.55,
                linewidths=0,
            )
            for x, y, count in cells:
                shift, side = ((11, 0), "left") if count else ((0, 0), "center")
                axes.annotate(
                    str(count), (x, y), shift, textcoords="offset points", ha=side, va="center", fontsize=7
                )
            axes.set_xlim(-0.6, classes - 0.4)
            axes.set_ylim(clients - 0.4, -0.6)
            axes.set_yticks(range(clients), labels)
            axes.tick_params(length=0)
        else:
            image = axes.imshow(found.counts, aspect="auto", interpolation="nearest", cmap="cividis", vmin=0)
            figure.colorbar(image, ax=axes, label="examples")
            axes.set_ylabel("client")
        if classes <= 30:
            turn = sum(len(_short(name)) for name in found.classes) > 60
            axes.set_xticks(
                range(classes),
                [_short(name) for name in found.classes],
                rotation=40 if turn else 0,
                ha="right" if turn else "center",
                rotation_mode="anchor" if turn else "default",
            )
        axes.set_xlabel("class; number of examples" if circles else "class")

    return _svg("holdings", "Who holds what: examples by client and class", height, draw)


def rounds(report: Report) -> str:
    """The primary metric and the loss by round, with the test interval as a band and zero-shot as a line."""
    records = report.rounds
    metric = wording.metric_name(report.primary_metric)
    zero_shot = report.row(ZERO_SHOT)
    tested = [(record.round, record.test) for record in records if record.test is not None]
    held_out = [(record.round, record.validation) for record in records if record.validation is not None]
    losses = [(record.round, record.loss) for record in records if record.loss is not None]
    panels = bool(tested or held_out) + bool(losses)
    if not panels:
        raise ValueError("this report has no round with a score or a loss")

    def draw(figure: Any) -> None:
        grid = iter(figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0])
        if tested or held_out:
            axes = next(grid)
            if tested:
                at = [number for number, _ in tested]
                low, high = [f.low for _, f in tested], [f.high for _, f in tested]
                axes.fill_between(at, low, high, color=BLUE, alpha=0.2, linewidth=0)
                label = f"test, {wording.percent(tested[0][1].level)} interval"
                axes.plot(at, [f.value for _, f in tested], "o-", color=BLUE, label=label)
            if held_out:
                values = [f.value for _, f in held_out]
                axes.plot(
                    [number for number, _ in held_out],
                    values,
                    "s--",
                    color=ORANGE,
                    label="held out by clients",
                )
            if zero_shot is not None:
                level = zero_shot.figures[report.primary_metric].value
                axes.axhline(level, color=_INK, linestyle=":", linewidth=1, label="zero-shot, test")
            axes.set_ylabel(f"{metric} (0 to 1)")
            axes.legend(loc="best", fontsize=8)
            axes.grid(axis="y")
        if losses:
            axes = next(grid)
            axes.plot(*zip(*losses, strict=True), "o-", color=_INK, markersize=3)
            axes.set_ylabel("training loss (nats)")
            axes.grid(axis="y")
        axes.set_xlabel("round")
        axes.xaxis.get_major_locator().set_params(integer=True)

    return _svg("rounds", f"{metric} and loss by round", 1.0 + 2.0 * panels, draw)


def coefficients(report: Report) -> str:
    """Lambda and beta of attention and MLP by layer, with the values that the run started from."""
    found = report.coefficients
    if found is None:
        raise ValueError("this report has no coefficients")
    layers = range(len(found.final))

    def series(grid: Grid, site: int, which: int) -> list[float]:
        return [layer[site][which] for layer in grid]

    def draw(figure: Any) -> None:
        titles = ("λ: strength of the vector", "β: strength of the activation")
        for which, (axes, title) in enumerate(zip(figure.subplots(1, 2), titles, strict=True)):
            for site, (name, style, colour) in enumerate((("attention", "o-", BLUE), ("MLP", "s--", ORANGE))):
                axes.plot(layers, series(found.final, site, which), style, color=colour, label=name)
            for site, label in enumerate(("at the start", "")):
                axes.plot(
                    layers, series(found.initial, site, which), ":", color=_GREY, linewidth=1, label=label
                )
            axes.set_title(title, loc="left")
            axes.set_xlabel("layer")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(axis="y")
            if which == 0:
                axes.set_ylabel("coefficient (no unit)")
                axes.legend(loc="best", fontsize=8)

    return _svg("coefficients", "Coefficients by layer", 2.7, draw)


def methods(report: Report) -> str:
    """Each method's primary metric as a dot with its interval; zero-shot goes through as a line."""
    figures = [row.figures[report.primary_metric] for row in report.rows]
    metric = wording.metric_name(report.primary_metric)
    zero_shot = report.row(ZERO_SHOT)

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        if zero_shot is not None:
            level = zero_shot.figures[report.primary_metric].value
            axes.axvline(level, color=_INK, linestyle=":", linewidth=1)
        places = range(len(figures))
        for place, found in zip(places, figures, strict=True):
            axes.plot([found.low, found.high], [place, place], color=BLUE, linewidth=1.6)
            axes.plot(found.value, place, "o", color=BLUE, markersize=6)
        axes.set_yticks(places, [_short(row.name) for row in report.rows])
        axes.set_ylim(len(figures) - 0.5, -0.5)
        axes.set_xlabel(
            f"test {metric} (0 to 1), {_level(figures)}" + (", dotted: zero-shot" if zero_shot else "")
        )
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)

    return _svg("methods", f"{metric} by method", 0.8 + 0.32 * len(figures), draw)


def traffic(report: Report) -> str:
    """Bytes that one client sends and receives in the whole run, by method, on a logarithmic axis."""
    rows = [row for row in report.rows if row.up_bytes_per_client and row.down_bytes_per_client]
    if not rows:
        raise ValueError("this report has no traffic")

    def draw(figure: Any) -> None:
        from matplotlib.ticker import FuncFormatter, NullLocator

        axes = figure.add_subplot()
        counts = [
            (row.up_bytes_per_client.wire, row.down_bytes_per_client.wire)
            for row in rows
            if row.up_bytes_per_client and row.down_bytes_per_client
        ]
        largest = max(max(pair) for pair in counts)
        axes.set_xscale("log")
        axes.set_xlim(1, max(10, largest) * 12)
        ways = (("sent by a client", BLUE, ""), ("received by a client", ORANGE, "////"))
        for side, (name, colour, hatch) in enumerate(ways):
            at = [place + (side - 0.5) * 0.38 for place in range(len(rows))]
            values = [pair[side] for pair in counts]
            style = (
                {"color": colour, "alpha": 0.75} if not hatch else {"facecolor": "none", "edgecolor": colour}
            )
            axes.barh(at, [max(value, 1) for value in values], height=0.34, hatch=hatch, label=name, **style)
            for place, value in zip(at, values, strict=True):
                axes.text(max(value, 1) * 1.2, place, wording.byte_count(value), va="center", fontsize=7)
        axes.set_yticks(range(len(rows)), [_short(row.name) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: wording.byte_count(round(value))))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("wire bytes per client, whole run (logarithmic, 1 kB = 1000 B)")
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside upper right", ncols=2, fontsize=8)

    return _svg("traffic", "Bytes per client by method", 1.2 + 0.42 * len(rows), draw)


def _svg(name: str, title: str, height: float, draw: Callable[[Any], None]) -> str:
    """What ``draw`` draws on an empty figure, as an SVG element that may stand in a page beside others."""
    with _own_settings(), warnings.catch_warnings():
        # Text stays text in the SVG, so a reader's own font shows what matplotlib's font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure as Canvas

        figure = Canvas(figsize=(_WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        out = io.StringIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(out, format="svg", metadata=nothing)
    text = out.getvalue()
    # Only tags are rewritten: a name that a user chose may look like an id or a colour.
    text = re.sub(r"<[^>]*>", lambda tag: _own_tag(tag[0], name), text[text.index("<svg") :])
    opening, rest = text.split(">", 1)
    return f'{opening} role="img" aria-label="{escape(title)}">{rest.strip()}\n'


def _own_tag(tag: str, name: str) -> str:
    """A tag that follows the text's colour, and whose ids are its own in a page with several figures."""
    tag = tag.replace(_INK, "currentColor")
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", tag)


@contextmanager
def _own_settings() -> Iterator[None]:
    """Matplotlib's defaults with ours on top; the caller's settings come back afterwards."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def _short(name: str) -> str:
    """A name that fits an axis."""
    clean = wording.printable(name)
    return clean if len(clean) <= _MAX_NAME else clean[: _MAX_NAME - 1] + "…"


def _level(figures: Sequence[Figure]) -> str:
    levels = {figure.level for figure in figures}
    return f"{wording.percent(levels.pop())} interval" if len(levels) == 1 else "with interval"
