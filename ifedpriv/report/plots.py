"""The figures of a report: who holds what, rounds, coefficients, methods and bytes.

The one invariant: data is told apart by shape, dash or hatch as well as by colour, and legends stand beside the data,
never on it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from ifedpriv.report import wording
from ifedpriv.report.canvas import FIRST, INK, SECOND, WIDTH, svg
from ifedpriv.report.schema import CONTROL_ROWS, ZERO_SHOT, Figure, Grid, Holdings, Report

# In inches, as WIDTH is.
_WIDEST = 8.0
_MAX_NAME = 28
# A name this long takes two lines beside an axis.
_LINE = 18
# What can be shown with a number in each cell; a larger grid is shaded only.
_MAX_CELLS = 240
_MAX_COLUMNS = 16
_MAX_ROWS = 30
_SMALL = 8
# How much of a cell's colour covers the page: a number has to be read on it.
_WEAKEST, STRONGEST = 0.08, 0.5


def holdings(report: Report) -> str:
    """Who holds what: a number in a shaded cell for each client and class; for many, the shade alone."""
    found = report.task.holdings
    if found is None:
        raise ValueError("this report does not say who holds what")
    clients, classes = len(found.clients), len(found.classes)
    told = clients * classes <= _MAX_CELLS and classes <= _MAX_COLUMNS and clients <= _MAX_ROWS
    if classes == 1:
        height = 1.0 + 0.27 * clients if told else 2.4
        return svg(
            "holdings", f"Examples of each of {clients} clients", height, lambda f: _sizes(f, found, told)
        )
    title = f"Who holds what: examples of {clients} clients by class"
    if not told:
        return svg("holdings", title, min(2.5 + 0.03 * clients, 9), lambda figure: _shades(figure, found))
    width = min(max(WIDTH, 1.6 + 0.42 * classes), _WIDEST)
    return svg("holdings", title, 0.8 + 0.27 * clients, lambda figure: _cells(figure, found), width)


def _cells(figure: Any, found: Holdings) -> None:
    from matplotlib.patches import Rectangle

    axes = figure.add_subplot()
    largest = max(1, max(max(row) for row in found.counts))
    for y, row in enumerate(found.counts):
        for x, count in enumerate(row):
            if count:
                shade = _WEAKEST + (STRONGEST - _WEAKEST) * count / largest
                axes.add_patch(
                    Rectangle((x - 0.47, y - 0.44), 0.94, 0.88, color=FIRST, alpha=shade, linewidth=0)
                )
            axes.annotate(str(count), (x, y), ha="center", va="center", fontsize=_SMALL)
    axes.set_xlim(-0.5, len(found.classes) - 0.5)
    axes.set_ylim(len(found.clients) - 0.5, -0.5)
    axes.set_yticks(range(len(found.clients)), _with_groups(found))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    _name_classes(axes, found.classes)


def _shades(figure: Any, found: Holdings) -> None:
    axes = figure.add_subplot()
    # "none" puts every cell into the image as it is; any other way drops rows that are thinner than a pixel.
    image = axes.imshow(found.counts, aspect="auto", interpolation="none", cmap="cividis", vmin=0)
    bar = figure.colorbar(image, ax=axes, label="examples")
    bar.locator.set_params(integer=True)
    bar.update_ticks()
    if len(found.clients) <= _MAX_ROWS:
        axes.set_yticks(range(len(found.clients)), [_short(name) for name in found.clients])
    else:
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel("client, counted from 0")
    if len(found.classes) <= _MAX_ROWS:
        _name_classes(axes, found.classes)
    else:
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("class, counted from 0")


def _name_classes(axes: Any, classes: Sequence[str]) -> None:
    names = [_short(name) for name in classes]
    turn = len(classes) * max(map(len, names)) > 36
    axes.set_xticks(
        range(len(classes)),
        names,
        rotation=40 if turn else 0,
        ha="right" if turn else "center",
        rotation_mode="anchor" if turn else "default",
    )
    axes.set_xlabel("class")


def _sizes(figure: Any, found: Holdings, told: bool) -> None:
    axes = figure.add_subplot()
    sizes = [row[0] for row in found.counts]
    if told:
        axes.barh(range(len(sizes)), sizes, height=0.7, color=FIRST)
        for place, size in enumerate(sizes):
            _tell(axes, size, place, str(size))
        axes.set_yticks(range(len(sizes)), _with_groups(found))
        axes.set_ylim(len(sizes) - 0.4, -0.6)
        axes.set_xlim(0, max(1, *sizes) * 1.1)
        axes.tick_params(axis="y", length=0)
    else:
        axes.stairs(sizes, fill=True, color=FIRST)
        axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("examples" if told else "client, counted from 0")
    axes.set_ylabel("" if told else "examples")
    axes.xaxis.get_major_locator().set_params(integer=True)


def _tell(axes: Any, value: float, place: float, said: str) -> None:
    """A number at the end of its bar."""
    axes.annotate(said, (value, place), (3, 0), textcoords="offset points", va="center", fontsize=_SMALL)


def _with_groups(found: Holdings) -> list[str]:
    if len(set(found.groups)) == 1:
        return [_short(name) for name in found.clients]
    return [
        f"{_short(name)} ({_short(group)})" for name, group in zip(found.clients, found.groups, strict=True)
    ]


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
        size = 4 if len(records) <= 40 else 2
        if tested or held_out:
            axes = next(grid)
            if tested:
                at = [number for number, _ in tested]
                low, high = zip(*(_ends(found) for _, found in tested), strict=True)
                axes.fill_between(at, low, high, color=FIRST, alpha=0.25, linewidth=0)
                label = f"test, {wording.percent(tested[0][1].level)} interval"
                axes.plot(at, [f.value for _, f in tested], "o-", color=FIRST, label=label, markersize=size)
            if held_out:
                axes.plot(
                    [number for number, _ in held_out],
                    [f.value for _, f in held_out],
                    "s--",
                    color=SECOND,
                    label="held out by clients",
                    markersize=size,
                )
            if zero_shot is not None:
                level = zero_shot.figures[report.primary_metric].value
                axes.axhline(level, color=INK, linestyle=":", linewidth=1, label="zero-shot, test")
            axes.set_ylabel(f"{metric} (0 to 1)")
            _legend(figure, axes)
            axes.grid(axis="y")
        if losses:
            axes = next(grid)
            axes.plot(*zip(*losses, strict=True), "o-", color=INK, markersize=min(size, 3))
            axes.set_ylabel("training loss (nats)")
            axes.grid(axis="y")
        axes.set_xlabel("round")
        axes.xaxis.get_major_locator().set_params(integer=True)

    return svg("rounds", f"{metric} and training loss by round", 1.0 + 1.7 * panels, draw)


def coefficients(report: Report) -> str:
    """Lambda and beta of attention and MLP by layer, with the values that the run started from."""
    found = report.coefficients
    if found is None:
        raise ValueError("this report has no coefficients")
    layers = range(len(found.final))
    size = 4 if len(layers) <= 40 else 2

    def series(grid: Grid, site: int, which: int) -> list[float]:
        return [layer[site][which] for layer in grid]

    def draw(figure: Any) -> None:
        names = ("λ: strength of\nthe vector", "β: strength of\nthe activation")
        for which, (axes, name) in enumerate(zip(figure.subplots(2, 1, sharex=True), names, strict=True)):
            # The start goes underneath: where nothing was learned, all lines are one.
            for site, label in enumerate(("at the start", "")):
                axes.plot(
                    layers, series(found.initial, site, which), ":", color=INK, linewidth=1, label=label
                )
            for site, (label, style, colour) in enumerate(
                (("attention", "o-", FIRST), ("MLP", "s--", SECOND))
            ):
                axes.plot(
                    layers,
                    series(found.final, site, which),
                    style,
                    color=colour,
                    label=label,
                    markersize=size,
                )
            axes.set_ylabel(name)
            axes.grid(axis="y")
            if which == 0:
                _legend(figure, axes)
        axes.set_xlabel("layer, counted from 0")
        axes.xaxis.get_major_locator().set_params(integer=True)

    return svg("coefficients", "Coefficients by layer, which have no unit", 4.2, draw)


def methods(report: Report) -> str:
    """Each method's primary metric as a dot (a control's is hollow) with its interval; zero-shot goes through."""
    figures = [row.figures[report.primary_metric] for row in report.rows]
    metric = wording.metric_name(report.primary_metric)
    zero_shot = report.row(ZERO_SHOT)

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        if zero_shot is not None:
            level = zero_shot.figures[report.primary_metric].value
            axes.axvline(level, color=INK, linestyle=":", linewidth=1, label="zero-shot")
        places = range(len(figures))
        for place, found, row in zip(places, figures, report.rows, strict=True):
            label = "" if place else f"score, {_level(figures)}"
            wide, filled = (1, "none") if row.key in CONTROL_ROWS else (2, "full")
            axes.plot(_ends(found), [place, place], color=FIRST, linewidth=wide)
            axes.plot(found.value, place, "o", color=FIRST, markersize=6, label=label, fillstyle=filled)
        axes.set_yticks(places, [_lines(row.name) for row in report.rows])
        axes.set_ylim(len(figures) - 0.5, -0.5)
        axes.set_xlabel(f"test {metric} (0 to 1)")
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        _legend(figure, axes)

    return svg("methods", f"Test {metric} by method with intervals", 1.1 + 0.36 * len(figures), draw)


def traffic(report: Report) -> str:
    """Bytes that one client sends and receives in the whole run, by method, from 0 on."""
    rows = [
        (_lines(row.name), (row.up_bytes_per_client.wire, row.down_bytes_per_client.wire))
        for row in report.rows
        if row.up_bytes_per_client and row.down_bytes_per_client
    ]
    if not rows:
        raise ValueError("this report has no traffic")

    def draw(figure: Any) -> None:
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        axes = figure.add_subplot()
        largest = max(10, max(max(pair) for _, pair in rows))
        axes.set_xlim(0, largest * 1.3)
        ways = (("sent", FIRST, ""), ("received", SECOND, "////"))
        for side, (name, colour, hatch) in enumerate(ways):
            at = [place + (side - 0.5) * 0.38 for place in range(len(rows))]
            values = [pair[side] for _, pair in rows]
            style = {"color": colour} if not hatch else {"facecolor": "none", "edgecolor": colour}
            # Nothing is drawn for nothing: the edge of an empty bar is as wide as a few bytes.
            edges = [1 if value else 0 for value in values]
            axes.barh(at, values, height=0.34, hatch=hatch, linewidth=edges, label=name, **style)
            for place, value in zip(at, values, strict=True):
                _tell(axes, value, place, wording.byte_count(value))
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        # Steps of 2.5 would need a second decimal.
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: wording.byte_count(round(value))))
        axes.set_xlabel("wire bytes of one client, whole run")
        axes.tick_params(axis="y", length=0)
        _legend(figure, axes)

    return svg("traffic", "Bytes of one client by method", 1.1 + 0.42 * len(rows), draw)


def _legend(figure: Any, axes: Any) -> None:
    """One legend above everything, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3, fontsize=_SMALL, columnspacing=1.2)


def _short(name: str) -> str:
    """A name that fits an axis."""
    clean = wording.printable(name)
    return clean if len(clean) <= _MAX_NAME else clean[: _MAX_NAME - 1] + "…"


def _lines(name: str) -> str:
    """A name beside an axis, in two lines of about a length where it is long."""
    short = _short(name)
    width = max(len(short) * 3 // 5 + 1, 12) if len(short) > _LINE else _LINE
    return "\n".join(textwrap.wrap(short, width, break_on_hyphens=False)) or "-"


def _ends(found: Figure) -> tuple[float, float]:
    """The interval as it is told in words: within 0 and 1."""
    return max(found.low, 0.0), min(found.high, 1.0)


def _level(figures: Sequence[Figure]) -> str:
    levels = {figure.level for figure in figures}
    return f"{wording.percent(levels.pop())} interval" if len(levels) == 1 else "with interval"
