"""What stands beside the scores: whole or not there, and never without what it has to be read against."""

from dataclasses import replace

import pytest
from measured_report import estimate, fairness, measured_report, membership
from sample_report import classification_report, row

from ifedpriv.report import measures_text, page, table
from ifedpriv.report.records import FieldError
from ifedpriv.report.schema import MembershipRecord, NumberError, Report, TargetRecord


def one_line(text):
    return " ".join(text.split())


def test_what_is_written_comes_back(tmp_path):
    report = measured_report()
    report.save(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json") == report


@pytest.mark.parametrize("render", [table.render, page.render], ids=["table", "page"])
def test_nothing_is_said_of_what_was_not_measured(render):
    text = render(classification_report())
    for word in ("Fairness", "Membership", "Per round", "Target", "RMSE"):
        assert word not in text


def test_the_table_says_everything_in_lines_that_fit():
    text = table.render(measured_report())
    assert max(map(len, text.splitlines())) <= 80
    said = one_line(text)
    assert "accuracy worst 0.350" in said
    assert "Demographic parity difference over groups 0.311 (perfect 0.522)" in said
    assert "Equalised odds difference 0.270 (perfect 0)" in said
    assert "advantage 0.137 [-0.063, 0.337], where 0 is guessing" in said
    assert "a client sends 0.0012 MB and receives 0.0034 MB" in said
    assert "reached after 5 rounds, 0.048 MB up and 0.136 MB down, 3860 queries" in said
    assert "RMSE (0 is best): Zero-shot 2.5 [2, 3] (0 of 500 no number, 1 out of range)" in said


def test_the_page_shows_every_row_and_explains_it():
    text = page.render(measured_report())
    assert text.count("(perfect 0.522)") == len(measured_report().rows) + 1 - 1
    for words in ("Fairness over clients", "Errors of numbers", "that of perfect answers", "nrefs:1|tok:13a"):
        assert words in text
    assert 'id="measures"' in text and 'href="#measures"' in text


def test_a_target_that_was_not_reached_is_censored_and_says_so():
    missed = TargetRecord(0.9, False, 8, 0.07, 0.2, None, 7, 0.83)
    said = measures_text.target_line(measured_report(target=missed))
    assert "NOT REACHED within 8 rounds" in said and "censored there" in said
    assert "The last of 7 scores is 0.830" in said and "queries" not in said


def test_membership_on_private_data_is_called_so():
    report = measured_report()
    assert "measured on private data, outside of any privacy statement" in measures_text.membership_line(
        report
    )
    said = replace(report.privacy, statement={**report.privacy.statement, "simulation": True})
    assert "a simulation's measurement" in measures_text.membership_line(replace(report, privacy=said))
    off = MembershipRecord(measured=False, why="evaluation.membership is off")
    assert measures_text.membership_line(replace(report, membership=off)) == (
        "Membership: not measured, since evaluation.membership is off."
    )


def test_a_third_metric_has_a_line_of_its_own():
    report = measured_report()
    rows = tuple(replace(r, figures={**r.figures, "bleu": r.figures["accuracy"]}) for r in report.rows)
    text = one_line(table.render(replace(report, rows=rows)))
    assert "BLEU: Zero-shot 0.310 [0.267, 0.353]; Local ICL 0.694" in text


def test_the_row_that_costs_bytes_is_the_method_where_its_key_is_not_known():
    report = measured_report()
    mine = replace(row("mine", "Mine", 0.7, 0.6), fairness=fairness(0.123))
    paid = replace(report.rows[3], key="another", fairness=fairness(0.321))
    assert measures_text.main_row(replace(report, rows=(mine, paid))).key == "another"
    assert measures_text.main_row(replace(report, rows=(mine,))) is None


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: fairness(parity_perfect=None), "parity is told without what perfect answers have"),
        (lambda: fairness(worst=1.2), "worst is 1.2, outside 0 to 1"),
        (lambda: fairness(parity_over="everybody"), "parity_over is 'everybody', not groups or clients"),
        (lambda: replace(membership(), advantage=None), "measured does not fit what is there"),
        (lambda: replace(membership(), why="because"), "why says why nothing was measured"),
        (lambda: MembershipRecord(measured=False, why=""), "why says why nothing was measured"),
        (lambda: NumberError(3.0, 1.0, 2.0, 0.95, "x", 5, 0, 0), "rmse is 3.0, outside of its interval"),
        (lambda: NumberError(1.5, 1.0, 2.0, 0.95, "x", 5, 3, 3), "unread and outside are more than n"),
        (lambda: TargetRecord(1.5, True, 1, 0.0, 0.0, None, 0, None), "target is 1.5, outside 0 to 1"),
        (lambda: replace(estimate(0.2), low=0.3), "value is 0.2, outside of its interval"),
    ],
)
def test_half_a_measure_is_refused(make, sentence):
    with pytest.raises(FieldError, match=sentence):
        make()


def test_queries_of_all_rounds_are_told_and_the_servers_where_it_has_some():
    report = measured_report()
    asked = tuple(replace(record, queries=100) for record in report.rounds)
    said = one_line(table.render(replace(report, rounds=asked)))
    assert "in all rounds: 800 by all clients together. Test accuracy" in said
    both = tuple(replace(record, server_queries=3) for record in asked)
    said = one_line(table.render(replace(report, rounds=both)))
    assert "800 by all clients together, 24 by the server." in said
    assert "Queries" not in table.render(report)
