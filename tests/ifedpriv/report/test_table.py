"""The table is known to the letter, fits its width, and says what a number does not mean."""

import unicodedata
from dataclasses import replace

import pytest
from hostile import hostile_report
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_report import classification_report, classification_rows, generation_report, privacy, score

from ifedpriv.report import table, wording
from ifedpriv.report.schema import CONTROL_ROWS, ControlsRecord, Figure, Row, Traffic, VectorShare

GOLDEN = """\
ifedpriv run fixture-places: 8 clients, 8 rounds, task places (4 classes),
  backbone ifedpriv-small (5 layers, width 128)

Method                                            accuracy              macro-F1
                                            [95% interval]        [95% interval]
------------------------------------  --------------------  --------------------
Zero-shot                             0.310 [0.267, 0.353]  0.284 [0.239, 0.329]
Local ICL (a)                         0.694 [0.651, 0.737]  0.671 [0.626, 0.716]
Local injection (a)                   0.612 [0.569, 0.655]  0.588 [0.543, 0.633]
Global injection                      0.832 [0.789, 0.875]  0.820 [0.775, 0.865]
Control: no vector                    0.402 [0.359, 0.445]  0.360 [0.315, 0.405]

Cost of one client                         sent   received   seconds      prompt
                                                                          tokens
------------------------------------  ---------  ---------  --------  ----------
Zero-shot                                   0 B        0 B      0.00          21
Local ICL                                   0 B        0 B      0.00       253.4
Local injection                             0 B        0 B      17.6          21
Global injection                         6.4 kB     6.4 kB      18.2          21
Control: no vector                       6.4 kB     6.4 kB      18.1          21

(a) mean over the 8 clients

Intervals: accuracy 95% Wilson; macro-F1 95% bootstrap. n = 500 answers.
  Seeds: run 7, partition 11.
Sent, received: bytes on the wire of one client in the whole run, mean over
  clients; 1 kB = 1000 B. Seconds: processor time that one client spends until
  the method can answer. Prompt tokens: what the model reads for one query,
  mean over queries.
Test accuracy by round: last 0.832, mean of the last five 0.824, peak 0.838
  (round 5).
Note: the peak is chosen on test data; it is there only for comparison with
  papers that report it.

Guard: accepted. On 160 held-out examples the injection scores 0.821,
  zero-shot 0.305. The injection beats zero-shot.
Warning: these numbers are a fixture for tests, not a measurement

Privacy: There is no privacy bound. The server reads every upload.
  Releases: 8.
"""


def test_the_table_is_the_known_one():
    assert table.render(classification_report()) == GOLDEN


def test_a_generation_task_has_its_own_metrics_and_its_guard_speaks_up():
    text = table.render(generation_report())
    assert "exact match" in text and "ROUGE-L" in text and "accuracy" not in text
    one_line = " ".join(text.split())
    assert "Guard: REFUSED. On 160 held-out examples the injection scores 0.380, zero-shot 0.400." in one_line
    assert "by round" not in text


def test_a_verdict_that_holds_its_numbers_is_not_told_twice():
    told = replace(classification_report().guard, text="it improves: 0.821 against 0.305 without it")
    text = table.render(classification_report(guard=told))
    assert "Guard: accepted. It improves: 0.821 against 0.305 without it.\n" in text


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
    first = lines.index("") + 4
    for start, ends in ((first, (58, 80)), (first + 9, (47, 58, 68, 80))):
        body = lines[start : start + 5]
        assert [line.split("  ")[0].removesuffix(" (a)") for line in body] == [
            row.name for row in classification_rows()
        ]
        for end in ends:
            assert all(line[end - 1].isalnum() or line[end - 1] == "]" for line in body), end
            assert all(len(line) == end or line[end] == " " for line in body), end


def test_the_table_fits_the_terminal_that_nobody_widened():
    assert table.WIDTH == 80
    assert max(map(len, GOLDEN.splitlines())) == 80


def test_the_names_of_a_standard_run_need_no_second_line():
    names = ("local ICL, up to 8 shots", "global injection (IFed-ICL)", "global LoRA (FedAvg)")
    rows = [
        replace(row, name=name, notes=name) for row, name in zip(classification_rows(), names, strict=False)
    ]
    text = table.render(classification_report(rows=rows))
    for name, mark in zip(names, "abc", strict=True):
        assert f"\n{name} ({mark})  " in text and f"\n{name}  " in text


def test_the_parts_of_the_statement_stand_apart_and_below_it():
    text = "There is no privacy bound. Releases: 8. Not covered: the server. It reads: all of it."
    told = table.render(classification_report(privacy=replace(privacy(), text=text)))
    assert told.endswith(
        "\n\nPrivacy: There is no privacy bound.\n  Releases: 8.\n  Not covered: the server.\n"
        "  It reads: all of it.\n"
    )


@pytest.mark.parametrize(
    ("started", "told"),
    [
        ("2026-01-02T03:04:05+00:00", "2026-01-02 03:04 UTC"),
        ("2026-01-02T03:04:05.678901+00:00", "2026-01-02 03:04 UTC"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T03:04:05+02:00"),
        ("yesterday", "yesterday"),
    ],
)
def test_the_beginning_is_told_for_readers(started, told):
    assert wording.started(classification_report(started=started)) == told


def test_means_over_clients_do_not_pass_for_more_test_texts():
    rows = classification_rows()
    many = replace(rows[1], figures={k: replace(f, n=4000) for k, f in rows[1].figures.items()})
    text = wording.intervals_line(classification_report(rows=(rows[0], many)))
    assert "n = 500 or 4000 answers (a mean over clients counts the answers of each)" in text
    assert "n = 500 answers. " in wording.intervals_line(classification_report())


def test_every_metric_that_a_run_has_is_explained():
    unknown = wording.metric_explanation("mine")
    metrics = [*classification_report().metrics(), *generation_report().metrics()]
    assert len({unknown, *map(wording.metric_explanation, metrics)}) == 5


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
    scores, costs = (line.split() for line in text.splitlines() if line.startswith("Mine"))
    assert scores == ["Mine", "0.500", "[0.460,", "0.540]", "-"]
    assert costs == ["Mine", "-", "-", "-", "-"]
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


def with_controls(controls):
    costless = {"up_bytes_per_client": None, "down_bytes_per_client": None, "client_seconds": None}
    *methods, control = classification_rows()
    control = replace(control, **costless, inference_tokens_per_query=None)
    return classification_report(rows=(*methods, control), controls=controls)


def told(controls):
    return " ".join(table.render(with_controls(controls)).split())


def test_a_control_without_costs_is_not_among_the_costs():
    text = table.render(with_controls(None))
    assert text.count("Control: no vector") == 1
    assert "share" not in text and "Controls:" not in text


def test_the_share_is_told_with_its_interval_or_why_there_is_none():
    share = VectorShare(0.004, -0.004, 1.2345, 0.95, "paired bootstrap", "")
    said = told(ControlsRecord(True, share))
    assert (
        "The vector's share of the gain: 0.00 [0.00, 1.23] (95% interval). 0: the public mean does as well"
        in said
    )
    assert "vector's share 95% paired bootstrap" in said
    missing = VectorShare(None, None, None, 0.95, "", "the run does not beat zero-shot")
    assert "The vector's share of the gain is not defined: the run does not beat zero-shot." in told(
        ControlsRecord(True, missing)
    )
    assert "is not known, since there is no public mean" in told(ControlsRecord(True, None))
    assert "Controls: switched off, so nothing is known of what the vector adds." in told(
        ControlsRecord(False, None)
    )


def test_every_control_is_explained():
    assert set(CONTROL_ROWS) <= set(wording.EXPLANATIONS)
    assert set(CONTROL_ROWS) == set(wording.CONTROLS)
    assert "labels drawn at random" in wording.EXPLANATIONS["public_mean"]
