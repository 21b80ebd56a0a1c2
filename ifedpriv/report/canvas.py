"""What every figure is drawn on: matplotlib with settings of ours, and the SVG text that a page may hold.

The one invariant: the same report gives the same bytes, whatever the user's matplotlib is set to: settings
start from matplotlib's defaults, ids come from a fixed salt, and no date is written. Lines and text are drawn
in ``currentColor``, so that they take the colour of the text around them, and data in the page's own two
colours. Figures are drawn so narrow that a telephone shows them whole, in letters that can be read.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import Any

# Two of Okabe and Ito's colours, which the colour-blind can tell apart. Where a page sets --first and --second,
# the figures take these; alone, they stand out from white.
FIRST = "#0072b2"
SECOND = "#d55e00"
# A colour that nothing else uses: it is replaced by currentColor in the finished SVG.
INK = "#010203"
_GREY = "#8a8a8a"
# In inches; at 350 pixels, a telephone's, 9 points still have 9 pixels.
WIDTH = 4.8
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ifedpriv",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    # Names may hold dollar signs, which are no formulas.
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
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
    "xtick.color": INK,
    "ytick.color": INK,
}


def svg(name: str, title: str, height: float, draw: Callable[[Any], None], width: float = WIDTH) -> str:
    """What ``draw`` draws on an empty figure, as an SVG element that may stand in a page beside others."""
    with own_settings(), warnings.catch_warnings():
        # Text stays text in the SVG, so a reader's own font shows what matplotlib's font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure as Canvas

        figure = Canvas(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        text = _rendered(figure)
    # Only tags are rewritten: a name that a user chose may look like an id or a colour.
    text = re.sub(r"<[^>]*>", lambda tag: _own_tag(tag[0], name), text[text.index("<svg") :])
    opening, rest = text.split(">", 1)
    size = ' class="broad"' if width > WIDTH else ""
    return f'{opening}{size} role="img" aria-label="{escape(title)}">{rest.strip()}\n'


def _rendered(figure: Any) -> str:
    """A figure's SVG file."""
    # `savefig` would find the places by drawing everything once for nothing else; an SVG's points are its unit.
    kept, figure.dpi = figure.dpi, 72
    figure.get_layout_engine().execute(figure)
    figure.dpi = kept
    figure.set_layout_engine(None)
    out = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(out, format="svg", metadata=nothing)
    return out.getvalue()


def _own_tag(tag: str, name: str) -> str:
    """A tag that follows the page's colours, and whose ids are its own in a page with several figures."""
    tag = tag.replace(INK, "currentColor")
    tag = tag.replace(FIRST, f"var(--first, {FIRST})").replace(SECOND, f"var(--second, {SECOND})")
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", tag)


@contextmanager
def own_settings(more: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Matplotlib's defaults with ours on top, and ``more``; the caller's settings come back afterwards."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_SETTINGS, **(more or {})})
        yield
