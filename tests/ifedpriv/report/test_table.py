"""The table is known to the letter, fits its width, and says what a number does not mean."""

import unicodedata
from dataclasses import replace

import pytest
from hostile import hostile_report
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_report import classification_report, classification_rows, generation_report, privacy, score

from ifedpriv.report import table, wording
from ifedpriv.report.schema import Figure, Row, Traffic

GOLDEN = """\
ifedpriv run fixture-places: 8 clients, 8 rounds, task places (4 classes), backbone ifedpriv-small
  (5 layers, width 128)

Method                                 accuracy              macro-F1         up       down   client
                                 [95% interval]        [95% interval]    /client    /client  seconds
-------------------------  --------------------  --------------------  ---------  ---------  -------
Zero-shot                  0.310 [0.267, 0.353]  0.284 [0.239, 0.329]        0 B        0 B     0.00
Local ICL (a)              0.694 [0.651, 0.737]  0.671 [0.626, 0.716]        0 B        0 B     0.00
Local injection (a)        0.612 [0.569, 0.655]  0.588 [0.543, 0.633]        0 B        0 B     17.6
Global injection           0.832 [0.789, 0.875]  0.820 [0.775, 0.865]     6.4 kB     6.4 kB     18.2
Control: no vector         0.402 [0.359, 0.445]  0.360 [0.315, 0.405]     6.4 kB     6.4 kB     18.1

(a) mean over the 8 clients
Intervals: accuracy 95% Wilson; macro-F1 95% bootstrap. n = 500 test texts. Seeds: run 7,
  partition 11.
Bytes: sent and received on the wire by one client in the whole run, mean over clients; 1 kB =
  1000 B.
Test accuracy by round: last 0.832, mean of the last five 0.824, peak 0.838 (round 5).
Note: the peak is chosen on test data; it is there only for comparison with papers that report it.
Guard: accepted. On 160 held-out examples the injection scores 0.821, zero-shot 0.305. The
  injection beats zero-shot.
Warning: these numbers are a fixture for tests, not a measurement
Privacy: There is no privacy bound. The server reads every upload. Releases: 8.
"""


def test_the_table_is_the_known_one():
    assert table.render(classification_report()) == GOLDEN


def test_a_generation_task_has_its_own_metrics_and_its_guard_speaks_up():
    text = table.render(generation_report())
    assert "exact match" in text and "ROUGE-L" in text and "accuracy" not in text
    assert "Guard: REFUSED. On 160 held-out examples the injection scores 0.380, zero-shot 0.400." in text
    assert "by round" not in text


def test_a_verdict_that_holds_its_numbers_is_not_told_twice():
    told = replace(classification_report().guard, text="it improves: 0.821 against 0.305 without it")
    text = table.render(classification_report(guard=told))
    assert "Guard: accepted. it improves: 0.821 against 0.305 without it\n" in text


def test_a_bound_in_simulation_is_never_shown_alone():
    one_line = " ".join(table.render(generation_report()).split())
    assert "epsilon = 2, delta = 1e-05, in simulation only: nobody is protected." in one_line


def test_a_real_bound_is_shown_and_no_bound_is_said():
    bounded = " ".join(table.render(classification_report(privacy=privacy(0.5))).split())
    assert "Privacy: epsilon = 0.5, delta = 1e-05. The run is" in bounded and "nobody" not in bounded
    silent = replace(privacy(), text="The server sees sums only.")
    assert "Privacy: no privacy bound. The server sees" in table.render(classification_report(privacy=silent))


def columns(line):
    return sum(
        0 if unicodedata.combining(mark) else 2 if unicodedata.east_asian_width(mark) in "WF" else 1
        for mark in line
    )


@settings(max_examples=30, deadline=None)
@given(
    st.text(max_size=60) | st.sampled_from(["数据" * 30, "\x1b[31mred", "a\u202eb", "é" * 90, "x" * 200]),
    st.integers(0, 10**15),
    st.floats(0, 1e300),
    st.floats(0, 1),
    st.floats(0, 70),
)
def test_no_line_is_too_wide_and_none_can_steer_a_terminal(name, count, seconds, value, half):
    figure = Figure(value, value - half, value + half, 0.95, name, 10)
    row = Row("mine", name, {"accuracy": figure}, Traffic(1, count), Traffic(1, count), seconds, 1.0, name)
    text = table.render(classification_report(run=name, rows=(*classification_rows(), row), warnings=(name,)))
    lines = text.split("\n")
    assert max(columns(line) for line in lines) <= table.WIDTH
    assert not any(unicodedata.category(mark) in ("Cc", "Cf") for line in lines for mark in line)


def test_numbers_of_a_column_end_in_the_same_place():
    lines = table.render(classification_report()).splitlines()
    body = lines[lines.index("") + 4 :][:5]
    for end in (47, 69, 80, 91, 100):
        assert all(line[end - 1].isalnum() or line[end - 1] == "]" for line in body), end
        assert all(len(line) == end or line[end] == " " for line in body), end


def test_a_hostile_report_stays_within_its_lines():
    for make in (classification_report, generation_report):
        lines = table.render(hostile_report(make())).split("\n")
        assert max(columns(line) for line in lines) <= table.WIDTH
        assert not any(unicodedata.category(mark) in ("Cc", "Cf") for line in lines for mark in line)


def test_equal_notes_share_a_footnote():
    rows = [replace(row, notes=note) for row, note in zip(classification_rows(), "xyxyx", strict=True)]
    text = table.render(classification_report(rows=rows))
    assert "Zero-shot (a)" in text and "Local ICL (b)" in text and "Control: no vector (a)" in text
    assert text.count("\n(a) x\n") == 1 and text.count("\n(b) y\n") == 1


def test_a_missing_figure_is_a_dash_and_differing_levels_leave_the_header():
    only = Row("mine", "Mine", {"accuracy": replace(score(0.5), level=0.9)}, None, None, None, None, "")
    text = table.render(classification_report(rows=(*classification_rows(), only)))
    line = next(line for line in text.splitlines() if line.startswith("Mine"))
    assert line.split() == ["Mine", "0.500", "[0.460,", "0.540]", "-", "-", "-", "-"]
    header = text.splitlines()[4]
    assert header.split("interval]")[0].split() == ["["] or header.lstrip().startswith("[interval]")
    assert "accuracy 95% Wilson or 90% Wilson" in text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1049, "1.0 kB"),
        (1051, "1.1 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (12_345_678, "12.3 MB"),
        (10**15, "1.0 PB"),
        (5 * 10**20, "500.0 EB"),
    ],
)
def test_bytes_are_decimal(count, text):
    assert wording.byte_count(count) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0.00"), (9.994, "9.99"), (17.62, "17.6"), (145.93, "146"), (2e6, "2e+06")],
)
def test_seconds_have_about_three_digits(value, text):
    assert wording.seconds(value) == text


def test_an_interval_stays_where_a_score_can_be():
    assert wording.figure(Figure(0.9, 0.5, 1.7, 0.95, "t, 2 seeds", 5)) == "0.900 [0.500, 1.000]"
