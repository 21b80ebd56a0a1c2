"""Figures are the same bytes every time, whole XML, and show names as they are."""

import base64
import hashlib
import os
import re
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from functools import cache
from pathlib import Path

import matplotlib
import pytest
from hostile import hostile_report
from sample_report import classification_report, generation_report, round_records, row

from ifedpriv.report import plots
from ifedpriv.report.schema import Holdings, RoundSummary, TaskFacts

ROOT = Path(__file__).parents[3]
SVG = "{http://www.w3.org/2000/svg}"
FIGURES = {
    "holdings": plots.holdings,
    "rounds": plots.rounds,
    "coefficients": plots.coefficients,
    "methods": plots.methods,
    "traffic": plots.traffic,
}


@cache
def sample(name):
    return FIGURES[name](classification_report())


def texts(svg):
    return ["".join(element.itertext()).strip() for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def holdings_report(clients, classes):
    found = Holdings(
        tuple(f"c{i}" for i in range(clients)),
        ("all",) * clients,
        tuple(f"w{i}" for i in range(classes)),
        tuple(tuple((i * j) % 9 for j in range(classes)) for i in range(clients)),
    )
    return classification_report(task=TaskFacts("t", "classification", found.classes, 5, found))


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_xml_in_the_colour_of_the_text_without_a_date(name):
    svg = sample(name)
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg" and root.attrib["role"] == "img" and root.attrib["aria-label"]
    assert "currentColor" in svg and "#010203" not in svg
    assert "metadata" not in svg and "dc:date" not in svg
    assert "<!DOCTYPE" not in svg and "<?xml" not in svg
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids)) and all(one.startswith(f"{name}-") for one in ids)
    targets = [
        value[1:] for element in root.iter() for key, value in element.attrib.items() if key.endswith("href")
    ]
    assert set(targets) <= set(ids)


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_report_gives_the_same_bytes_whatever_the_settings(name):
    report = classification_report()
    first = sample(name)
    with matplotlib.rc_context(
        {"font.size": 20, "svg.hashsalt": "other", "axes.grid": True, "svg.fonttype": "path"}
    ):
        again = FIGURES[name](report)
        assert matplotlib.rcParams["font.size"] == 20
    assert first == again


def test_another_process_with_other_settings_gives_the_same_bytes(tmp_path):
    (tmp_path / "matplotlibrc").write_text("font.size: 17\nlines.linewidth: 5\ntimezone: Asia/Tokyo\n")
    code = (
        "import hashlib\nfrom sample_report import classification_report\nfrom ifedpriv.report import page\n"
        "print(hashlib.sha256(page.render(classification_report()).encode()).hexdigest())"
    )
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "_support")])
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths, "MPLCONFIGDIR": str(tmp_path), "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    from ifedpriv.report import page

    here = hashlib.sha256(page.render(classification_report()).encode()).hexdigest()
    assert found.stdout.strip() == here


def test_importing_the_report_package_loads_no_matplotlib():
    code = (
        "import sys\nfrom ifedpriv.report import page, plots, schema, table\n"
        "assert not {'matplotlib', 'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)


def test_who_holds_what_shows_every_count_and_the_groups():
    report = classification_report()
    found = texts(sample("holdings"))
    counts = [str(count) for line in report.task.holdings.counts for count in line]
    assert sorted(word for word in found if word.isdigit()) == sorted(counts)
    assert "client-0 (inland)" in found and "client-1 (coast)" in found
    assert all(word in found for word in report.task.label_words)


def test_many_clients_are_shown_as_a_shaded_grid():
    svg = plots.holdings(holdings_report(300, 12))
    assert "<image" in svg and len(svg) < 60_000
    assert "broad" not in svg.split(">")[0], "its scale must be seen on a telephone too"
    assert "<image" not in plots.holdings(holdings_report(20, 12))
    assert svg == plots.holdings(holdings_report(300, 12))


@pytest.mark.parametrize("clients", [100, 1000])
def test_a_shaded_grid_has_every_cell(clients):
    """Drawn to the size of the figure, the image had fewer lines than there are clients."""
    svg = plots.holdings(holdings_report(clients, 20))
    grid = re.findall(r"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)", svg)[0]
    width, height = struct.unpack(">II", base64.b64decode(grid)[16:24])
    assert (width, height) == (20, clients)
    assert "pixelated" in svg


@pytest.mark.parametrize(("clients", "classes"), [(31, 2), (100, 1), (1, 100), (100, 20), (20, 40)])
def test_names_that_would_lie_on_each_other_are_left_out(clients, classes):
    found = texts(plots.holdings(holdings_report(clients, classes)))
    assert len(found) <= 40
    for count, letter, axis in ((clients, "c", "client"), (classes, "w", "class")):
        names = [word for word in found if re.fullmatch(rf"{letter}\d+", word)]
        if count > 30:
            assert not names and f"{axis}, counted from 0" in found


def test_one_client_with_nothing_can_be_drawn():
    ElementTree.fromstring(plots.holdings(holdings_report(1, 1)))


@pytest.mark.parametrize("name", FIGURES)
def test_a_telephone_shows_figures_whole_in_letters_that_can_be_read(name):
    svg = sample(name)
    root = ElementTree.fromstring(svg)
    width = float(root.attrib["viewBox"].split()[2])
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", svg)]
    assert sizes and width <= 346 and "broad" not in root.attrib.get("class", "")
    assert min(sizes) * 350 / width >= 8


def test_clients_without_classes_are_bars_with_their_numbers():
    counts = [str(row[0]) for row in generation_report().task.holdings.counts]
    found = texts(plots.holdings(generation_report()))
    assert [word for word in found if word in counts][-8:] == counts
    assert {"examples", "client-0", "client-7"} <= set(found) and "class" not in found


def test_what_is_wider_says_so():
    root = ElementTree.fromstring(plots.holdings(holdings_report(10, 14)))
    assert root.attrib["class"] == "broad" and float(root.attrib["viewBox"].split()[2]) > 346


@pytest.mark.parametrize("name", FIGURES)
def test_data_takes_the_colours_of_the_page(name):
    svg = sample(name)
    assert "var(--first, #0072b2)" in svg
    for colour in (plots.FIRST, plots.SECOND):
        assert svg.count(colour) == len(re.findall(rf"var\(--(?:first|second), {colour}\)", svg))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("rounds", "held out by clients"),
        ("coefficients", "at the start"),
        ("methods", "zero-shot"),
        ("traffic", "sent"),
    ],
)
def test_legends_hide_no_data(name, label):
    root = ElementTree.fromstring(sample(name))
    legend = next(one for one in root.iter(f"{SVG}text") if "".join(one.itertext()).strip() == label)
    frame = next(one for one in root.iter() if one.attrib.get("id") == f"{name}-patch_2")
    path = next(one for one in frame.iter(f"{SVG}path")).attrib["d"]
    top = min(float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", path))
    assert float(legend.attrib["y"]) < top


def test_intervals_end_where_scores_end():
    wide = replace(classification_report().rows[0].figures["accuracy"], value=0.5, low=-0.4, high=1.7)
    rows = [replace(one, figures={**one.figures, "accuracy": wide}) for one in classification_report().rows]
    records = [replace(one, test=wide, validation=None, loss=None) for one in round_records()]
    report = classification_report(rows=rows, rounds=records, round_summary=RoundSummary.of(records))
    for draw in (plots.methods, plots.rounds):
        numbers = [
            float(word.replace("−", "-")) for word in texts(draw(report)) if re.match(r"[−\d][\d.]*$", word)
        ]
        scores = [number for number in numbers if number != int(number) or number < 2]
        assert scores and min(scores) >= 0 and max(scores) <= 1


def test_rounds_have_axes_with_units_a_band_and_the_zero_shot_level():
    found = texts(sample("rounds"))
    for word in (
        "accuracy (0 to 1)",
        "training loss (nats)",
        "round",
        "test, 95% interval",
        "zero-shot, test",
    ):
        assert word in found
    assert "FillBetweenPolyCollection" in sample("rounds")


@pytest.mark.parametrize("missing", [{"test"}, {"loss"}, {"validation"}, {"test", "validation"}])
def test_rounds_can_be_drawn_with_what_there_is(missing):
    records = tuple(replace(record, **dict.fromkeys(missing)) for record in round_records())
    report = classification_report(rounds=records, round_summary=RoundSummary.of(records))
    found = texts(plots.rounds(report))
    assert ("test, 95% interval" in found) == ("test" not in missing)
    assert ("training loss (nats)" in found) == ("loss" not in missing)


def test_coefficients_tell_attention_from_mlp():
    found = texts(sample("coefficients"))
    assert {"attention", "MLP", "at the start", "layer, counted from 0", "λ: strength of"} <= set(found)


def test_methods_come_in_the_order_of_the_table_with_their_scores_in_place():
    report = classification_report()
    found = texts(sample("methods"))
    names = [one.name for one in report.rows]
    assert [word for word in found if word in names] == names
    assert any("95% interval" in word for word in found)
    other = classification_report(
        rows=(*report.rows[:3], row("global_injection", "Global injection", 0.5, 0.5))
    )
    assert plots.methods(other) != plots.methods(classification_report(rows=report.rows[:4]))


def test_traffic_says_bytes_in_words_and_zero_as_zero():
    found = texts(sample("traffic"))
    ticks = ["0 B", "2.0 kB", "4.0 kB", "6.0 kB", "8.0 kB"]
    assert found[: len(ticks)] == ticks, "the axis begins at nothing and goes in equal steps"
    assert found[len(ticks) :].count("0 B") == 6 and found[len(ticks) :].count("6.4 kB") == 4


def test_what_is_not_there_cannot_be_drawn():
    empty = generation_report(task=TaskFacts("t", "generation", (), 5, None))
    silent = replace(row("zero_shot", "Zero-shot", 0.5, 0.5), up_bytes_per_client=None)
    blank = (replace(round_records()[0], test=None, validation=None, loss=None),)
    for draw, report in (
        (plots.rounds, classification_report(rounds=blank, round_summary=None)),
        (plots.holdings, empty),
        (plots.rounds, empty),
        (plots.coefficients, empty),
        (plots.traffic, classification_report(rows=(silent,))),
    ):
        with pytest.raises(ValueError):
            draw(report)


@pytest.mark.parametrize("name", FIGURES)
def test_names_are_drawn_as_they_are_and_become_nothing_else(name):
    svg = FIGURES[name](hostile_report(classification_report()))
    root = ElementTree.fromstring(svg)
    plain = {element.tag for element in ElementTree.fromstring(sample(name)).iter()}
    assert {element.tag for element in root.iter()} <= plain
    assert not [key for element in root.iter() for key in element.attrib if key.startswith("on")]
    assert "\x1b" not in svg and "\x00" not in svg


def test_a_long_name_is_cut_and_a_formula_is_no_formula():
    rows = [
        replace(one, name=f"$x^2_{i}$ " + "long " * 20) for i, one in enumerate(classification_report().rows)
    ]
    found = texts(plots.methods(classification_report(rows=rows)))
    at = found.index("$x^2_0$ long long")
    assert found[at : at + 2] == ["$x^2_0$ long long", "long long…"]


def test_a_script_that_the_font_lacks_is_text_without_a_warning(recwarn):
    task = replace(classification_report().task, label_words=("天气", "市场"))
    task = replace(task, holdings=Holdings(("甲",), ("all",), ("天气", "市场"), ((3, 4),)))
    found = texts(plots.holdings(classification_report(task=task)))
    assert {"甲", "天气", "市场"} <= set(found)
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
