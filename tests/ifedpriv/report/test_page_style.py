"""The colours of the page can be read, in light and in dark, and nothing in it is squeezed or cut off."""

import re

import pytest

from ifedpriv.report import plots
from ifedpriv.report.page_style import STYLE

LIGHT, DARK = (
    dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})\b", block))
    for block in re.findall(r":root \{(.*?)\}", STYLE, re.S)
)
SCHEMES = pytest.mark.parametrize("scheme", [LIGHT, {**LIGHT, **DARK}], ids=["light", "dark"])


def luminance(colour):
    """Relative luminance after WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mixed(colour, ground, alpha):
    """``colour`` at ``alpha`` on ``ground``."""
    pairs = ((int(colour[i : i + 2], 16), int(ground[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(alpha * a + (1 - alpha) * b):02x}" for a, b in pairs)


def test_contrast_is_measured_rightly():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@SCHEMES
@pytest.mark.parametrize("ground", ["paper", "wash", "alarm-wash"])
@pytest.mark.parametrize("text", ["ink", "soft", "alarm", "link"])
def test_text_stands_out(scheme, text, ground):
    assert contrast(scheme[text], scheme[ground]) >= 4.5


@SCHEMES
@pytest.mark.parametrize("data", ["first", "second"])
def test_data_stands_out(scheme, data):
    assert contrast(scheme[data], scheme["paper"]) >= 3


@SCHEMES
def test_counts_can_be_read_in_the_strongest_shade(scheme):
    assert contrast(scheme["ink"], mixed(scheme["first"], scheme["paper"], plots.STRONGEST)) >= 4.5


def test_figures_alone_have_the_colours_of_the_light_page():
    assert (LIGHT["first"], LIGHT["second"]) == (plots.FIRST, plots.SECOND)


def test_paper_is_never_dark():
    assert STYLE.count("prefers-color-scheme") == 1
    assert "@media screen and (prefers-color-scheme: dark)" in STYLE
    printed = STYLE[STYLE.index("@media print") :]
    assert "overflow: visible" in printed and "details::details-content" in printed


def test_no_column_is_squeezed_to_a_letter():
    """Where any letter may end a line, a column of words gives all its width to the columns of numbers."""
    rules = re.findall(r"^ *([a-z., ]+) \{(.*?)\}", STYLE, re.S | re.M)
    assert [name for name, rule in rules if "anywhere" in rule] == ["td.words", "pre"]
    widths = [re.search(r"min-width: ([\d.]+)rem", rule)[1] for name, rule in rules if "th.words" in name]
    assert len(widths) == 3 and min(map(float, widths)) >= 8
