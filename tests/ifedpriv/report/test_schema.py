"""A report that exists is whole: what was written comes back, and nothing else is taken."""

import json
import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_report import classification_report, classification_rows, generation_report, round_records, score

from ifedpriv.errors import InputError
from ifedpriv.report.schema import (
    PEAK_REMARK,
    SCHEMA_VERSION,
    CoefficientRecord,
    Figure,
    Holdings,
    PrivacyRecord,
    Report,
    RoundRecord,
    RoundSummary,
    Row,
    Traffic,
)

SHARE = {"value": 0.5, "low": 0.4, "high": 0.6, "level": 0.95, "method": "bootstrap", "why": ""}
SAMPLES = [classification_report, generation_report]


def changed(path: str, value: object) -> str:
    """The sample's JSON text with one value replaced, added or (for ``...``) removed."""
    data = classification_report().to_json()
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place = data
    for step in steps:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return json.dumps(data)


@pytest.mark.parametrize("make", SAMPLES)
def test_what_is_written_comes_back(make, tmp_path):
    report = make()
    report.save(tmp_path / "report.json")
    again = Report.load(tmp_path / "report.json")
    assert again == report
    assert again.dumps() == report.dumps()
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize("make", SAMPLES)
def test_the_text_is_plain_json_with_a_version(make):
    data = json.loads(make().dumps())
    assert data["schema_version"] == SCHEMA_VERSION == 2
    assert next(iter(data)) == "schema_version"


def test_a_report_takes_copies_and_cannot_be_changed():
    config = {"method": {"rounds": 7}, "seeds": [1, 2]}
    report = classification_report(config=config)
    config["method"]["rounds"] = 8
    config["seeds"].append(3)
    assert report.to_json()["config"] == {"method": {"rounds": 7}, "seeds": [1, 2]}
    with pytest.raises(TypeError):
        report.config["method"]["rounds"] = 9
    with pytest.raises(FrozenInstanceError):
        report.run = "another"


@pytest.mark.parametrize("version", [0, 1, 3, 2.0, "2", None, True])
def test_another_version_is_refused_in_one_sentence(version):
    with pytest.raises(InputError) as caught:
        Report.loads(changed("schema_version", version))
    shown = version if isinstance(version, int) else "no number"
    assert caught.value.message == f"schema_version is {shown}; this version of ifedpriv reads 2"
    assert "\n" not in str(caught.value) and caught.value.hint


def test_the_version_is_judged_before_anything_else():
    with pytest.raises(InputError, match="schema_version is 3"):
        Report.loads('{"schema_version": 3, "something": "new"}')


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("surprise", 1, "surprise is not a known key"),
        ("rows.2.surprise", 1, r"rows\[2\]\.surprise is not a known key"),
        ("rows.2.notes", ..., r"rows\[2\]\.notes is missing"),
        ("schema_version", ..., "schema_version is missing"),
        (
            "rows.0.figures.accuracy.value",
            "0.3",
            r"rows\[0\]\.figures.accuracy.value is text, not a number",
        ),
        (
            "rows.0.figures.accuracy.value",
            31.0,
            r"rows\[0\]\.figures.accuracy.value is 31.0, outside 0 to 1",
        ),
        ("rows.0.figures.accuracy.value", True, r"value is true or false, not a number"),
        ("rows.0.figures.accuracy.low", 0.9, r"low is 0.9, above high, which is 0.353"),
        ("rows.0.figures.accuracy.level", 95, r"level is 95.0, outside 0 to 1"),
        ("rows.0.figures.accuracy.n", 0, "n is 0, below 1"),
        ("rows.0.figures.accuracy.n", 2.5, "n is a number, not a whole number"),
        ("rows.0.key", "Zero shot", "key is 'Zero shot'"),
        ("rows.1.key", "zero_shot", r"rows\[1\]\.key repeats 'zero_shot'"),
        ("rows.3.figures", {}, r"rows\[3\]\.figures lack 'accuracy', the primary metric"),
        ("rows.3.up_bytes_per_client.wire", -1, r"up_bytes_per_client\.wire is -1, below 0"),
        ("rows", [], "rows is empty"),
        ("rows", {}, "rows is an object, not a list"),
        ("rounds.1", [], r"rounds\[1\] is a list, not an object"),
        ("rounds.1.round", 0, r"rounds\[1\]\.round is 0, which does not follow 0"),
        ("rounds.4.dropped", ["client-0"], r"rounds\[4\]\.dropped names \['client-0'\], who also took part"),
        ("rounds.4.epsilon", -1, r"rounds\[4\]\.epsilon is -1.0, below 0"),
        ("round_summary.peak", 0.99, "round_summary is not what the rounds give"),
        ("round_summary", None, "round_summary is not what the rounds give"),
        ("coefficients.final.1", [[0, 1]], r"coefficients\.final\[1\] is not of shape 2 x 2"),
        ("backbone.layers", 6, "coefficients have 5 layers, the backbone has 6"),
        ("backbone.width", 0, r"backbone\.width is 0, below 1"),
        ("task.kind", "regression", r"task\.kind is 'regression', not one of"),
        ("task.holdings.counts.0", [1], r"task\.holdings\.counts\[0\] has 1 entries, not 4"),
        ("task.holdings.counts.0.1", -1, r"task\.holdings\.counts\[0\] holds a number below 0"),
        ("task.holdings.groups", ["one"], r"task\.holdings\.groups has 1 entries for 8 clients"),
        ("seeds.run", "seven", r"seeds\.run is text, not a whole number"),
        ("privacy.text", " ", r"privacy\.text is empty"),
        ("privacy.statement.epsilon", 1.0, r"privacy\.statement has half a bound"),
        ("privacy.statement.epsilon", ..., r"privacy\.statement\.epsilon is missing"),
        ("privacy.statement.simulation", "no", r"privacy\.statement\.simulation is not true or false"),
        ("warnings", "one", "warnings is text, not a list"),
        ("totals.seconds", 10**400, r"totals\.seconds is too large"),
        ("controls", {"enabled": True}, r"controls\.share is missing"),
        (
            "controls",
            {"enabled": True, "share": {**SHARE, "low": None}},
            r"controls\.share\.value and interval",
        ),
        (
            "controls",
            {"enabled": True, "share": {**SHARE, "value": 9}},
            r"controls\.share\.value is 9.0, outside",
        ),
        ("controls", {"enabled": True, "share": {**SHARE, "why": "x"}}, r"controls\.share\.why says why"),
        ("controls", {"enabled": True, "share": {**SHARE, "level": 95}}, r"controls\.share\.level is 95"),
        ("run", "half \ud800", "run holds half of a surrogate pair"),
    ],
)
def test_what_does_not_belong_is_refused_by_its_path(path, value, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        Report.loads(changed(path, value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("path", ["rows.0.client_seconds", "rounds.3.loss", "config.method.rounds"])
def test_numbers_that_are_none_are_refused_in_a_file(word, path):
    text = changed(path, "HERE").replace('"HERE"', word)
    with pytest.raises(InputError, match=r"NaN|Infinity|inf"):
        Report.loads(text)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_numbers_that_are_none_cannot_enter_a_report(bad):
    with pytest.raises(InputError, match=r"value is (nan|inf|-inf)"):
        Figure(bad, 0.1, 0.2, 0.95, "Wilson", 10)
    with pytest.raises(InputError, match=r"loss is (nan|inf|-inf)"):
        replace(round_records()[1], loss=bad)
    with pytest.raises(InputError, match=r"config\.method\[1\] is (nan|inf|-inf)"):
        classification_report(config={"method": [1, bad]})


def test_arrays_cannot_enter_a_report():
    with pytest.raises(InputError, match=r"config\.vector is of type ndarray, which JSON cannot hold"):
        classification_report(config={"vector": np.zeros(3)})


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", '"report"', '{"schema_version": 1', "{'schema_version': 1}", "[" * 100_000],
)
def test_text_that_is_no_report_is_refused_in_one_sentence(text):
    with pytest.raises(InputError) as caught:
        Report.loads(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_a_key_given_twice_is_refused():
    text = classification_report().dumps()
    with pytest.raises(InputError, match="'run' stands twice"):
        Report.loads(text.replace('"run": ', '"run": "another", "run": ', 1))


def test_a_configuration_that_is_nested_too_deeply_is_refused():
    deep: object = 0
    for _ in range(50):
        deep = [deep]
    text = classification_report(config={"deep": deep}).dumps()
    assert Report.loads(text).dumps() == text
    for depth in (70, 500, 20_000):
        middle = "[" * depth + "]" * depth
        with pytest.raises(InputError, match="nested too deeply"):
            Report.loads(changed("config.deep", "HERE").replace('"HERE"', middle))


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"{}", b"not json"])
def test_a_file_that_is_no_report_is_named(content, tmp_path):
    path = tmp_path / "report.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"report\.json (cannot be read|is not a report): ") as caught:
        Report.load(path)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_report(tmp_path):
    with pytest.raises(InputError, match="cannot be read: is a directory"):
        Report.load(tmp_path)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_cut_of_the_text_is_refused_and_never_a_crash(data):
    text = classification_report().dumps()
    cut = data.draw(st.integers(0, len(text) - 3))
    with pytest.raises(InputError):
        Report.loads(text[:cut])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(), json_values, max_size=4), st.text())
def test_any_configuration_and_name_come_back(config, name):
    report = classification_report(config=config, run=name, warnings=(name,))
    again = Report.loads(report.dumps())
    assert again == report and again.to_json()["config"] == config


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["rows.0", "rounds.2", "task", "privacy", "coefficients", "totals", "guard", "versions"]),
    json_values,
)
def test_any_wrong_part_is_refused_or_a_whole_report(path, value):
    try:
        report = Report.loads(changed(path, value))
    except InputError as error:
        assert "\n" not in error.message[:20]
    else:
        assert Report.loads(report.dumps()) == report


@pytest.mark.parametrize("key", ["\n", "a\x1b[2Jb", "\u202ec"])
def test_no_key_breaks_a_message_or_steers_a_terminal(key):
    with pytest.raises(InputError) as error:
        Report.loads(changed("task", {key: None}))
    assert error.value.message.isprintable() and "task." in error.value.message


def rounds_that_score(values):
    template = round_records()[0]
    return tuple(
        replace(template, round=number, test=None if value is None else score(value))
        for number, value in enumerate(values)
    )


def test_the_summary_of_rounds_is_the_known_one():
    found = RoundSummary.of(rounds_that_score([0.5, 0.9, None, 0.6, 0.7, 0.9, 0.8, None]))
    assert found == RoundSummary(0.8, (0.9 + 0.6 + 0.7 + 0.9 + 0.8) / 5, 0.9, 1, PEAK_REMARK)


def test_the_summary_of_few_rounds_takes_those_there_are():
    assert RoundSummary.of(rounds_that_score([0.25, 0.75])) == RoundSummary(0.75, 0.5, 0.75, 1)
    assert RoundSummary.of(rounds_that_score([None, None])) is None
    assert RoundSummary.of(()) is None


def test_the_remark_on_the_peak_is_in_the_file():
    data = json.loads(classification_report().dumps())
    assert "chosen on test data" in data["round_summary"]["remark"]


def test_a_round_is_a_record_of_its_own():
    for record in round_records():
        assert RoundRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_rows_are_found_by_key_and_metrics_keep_their_order():
    report = classification_report()
    assert report.row("local_icl").name == "Local ICL"
    assert report.row("pooled_icl") is None
    assert report.metrics() == ("accuracy", "macro_f1")
    assert classification_report(primary_metric="macro_f1").metrics() == ("macro_f1", "accuracy")


def test_a_row_may_lack_what_is_unknown():
    row = Row("mine", "Mine", {"accuracy": score(0.5)}, None, None, None, None, "")
    report = classification_report(rows=(*classification_rows(), row))
    assert Report.loads(report.dumps()).row("mine") == row


def test_records_built_by_hand_are_checked_too():
    with pytest.raises(InputError, match="clients repeats a name"):
        Holdings(("a", "a"), ("x", "x"), ("one",), ((1,), (2,)))
    with pytest.raises(InputError, match="payload is a number, not a whole number"):
        Traffic(1.5, 2)
    with pytest.raises(InputError, match="final has 1 layers, initial has 2"):
        CoefficientRecord((((0, 1), (0, 1)),) * 2, (((0, 1), (0, 1)),))
    with pytest.raises(InputError, match=r"statement\.delta is neither null nor a number"):
        PrivacyRecord("text", {"epsilon": 1, "delta": True, "simulation": False})


def test_a_report_that_was_written_before_there_were_controls_is_read():
    assert Report.loads(changed("controls", ...)).controls is None
    with_share = Report.loads(changed("controls", {"enabled": True, "share": SHARE}))
    assert with_share.controls.share.value == 0.5
    assert Report.loads(with_share.dumps()) == with_share
