"""The three forms of an audit say the same, need nothing, and no text in them becomes markup."""

import json
import re
from collections import Counter

import numpy as np
import pytest
from attacked import attacked_run
from hostile import MARKUP
from page_reader import Reader
from program import called

from ifedpriv.report import wording
from ifedpriv.report.audit import details, markdown, page, table
from ifedpriv.report.audit.curves import most_allowed
from ifedpriv.report.audit.parts import bracketed, number
from ifedpriv.report.audit.sections import sections


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    run = attacked_run(tmp_path_factory.mktemp("run"))
    assert called("audit", run, "--pool", "150").code == 0
    return json.loads((run / "audit_report.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def html(document):
    return page.render(document)


def test_the_page_is_whole_and_needs_nothing(html):
    found = Reader(html)
    assert found.tags["title"] == found.tags["h1"] == found.tags["html"] == 1
    assert not {"script", "link", "iframe", "object", "embed", "form"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert all(target.startswith("#") for target in found.targets)
    outside = set(re.findall(r"https?://[^\s\"'<)]+", html))
    assert all(name.startswith("http://www.w3.org/") for name in outside)
    assert "@import" not in html and "url(http" not in html
    assert not [name for name, count in Counter(found.ids).items() if count > 1]
    assert {target[1:] for target in found.targets} <= set(found.ids)
    assert len(re.findall(r'<svg[^>]* role="img" aria-label="[^"]+"', html)) == html.count("<svg") == 4
    # Powers set as mathematics would stand there as they are written.
    assert "mathdefault" not in html
    assert ">0.001<" in html


@pytest.mark.parametrize(
    ("defense", "said"),
    [
        ({"kind": "none"}, "no defense"),
        ({"kind": "masked"}, "sums under masks"),
        ({"kind": "masked", "ratchet": True, "groups": 3}, "sums under masks with a ratchet in 3 groups"),
        ({"kind": "bfv"}, "sums under homomorphic encryption (BFV)"),
        (
            {"kind": "none", "privacy": {"trust": "local"}},
            "uploads as they are, with differential privacy (local trust)",
        ),
    ],
)
def test_a_defense_is_told_in_words(defense, said):
    assert wording.defense_in_words(defense) == said


def test_a_reader_is_told_how_uploads_were_protected(document, html):
    (row,) = (row for row in document["knowledge"] if row["what"] == "how uploads are protected")
    assert row["detail"] == "public; no defense"
    assert "(defense: no defense)" not in Reader(html).text
    assert "under no defense" in Reader(html).text


def test_the_verdict_comes_first(html):
    text = Reader(html).text
    assert text.index("Verdict: attacks:") < text.index("What was attacked") < text.index("Vector by vector")


def test_every_number_is_on_the_page_and_in_markdown(document, html):
    text = Reader(html[: html.index('<section id="data">')] + "</main></body></html>").text
    written = markdown.render(document).replace("\\", "")
    findings = [finding for test in document["tests"] for finding in test["findings"]]
    assert len(findings) > 20
    for shown in (text, written):
        for finding in findings:
            assert bracketed(finding["value"], finding["interval"]) in shown
            for name, value in finding["controls"].items():
                assert f"{name} {number(value)}" in shown
        for curve in document["curves"]:
            assert bracketed(curve["auc"], curve["interval"]) in shown
        for row in document["knowledge"]:
            assert row["what"] in shown and row["detail"] in shown
        for line in document["not_covered"]:
            assert line in shown
        assert document["model"] in shown


def test_every_part_of_the_vectors_has_a_row_with_its_control(document, html):
    assert {part["what"] for part in document["parts"]} >= {"everything", "layer 0, both branches"}
    (part, *_) = document["parts"]
    row = f"{part['measure']}: {part['metric']} | {bracketed(part['value'], part['interval'])}"
    assert row in markdown.render(document).replace("\\", "")
    assert "Each part is read as if nothing else had been uploaded." in Reader(html).text


def test_the_layers_are_drawn_in_the_pages_colours_for_the_parts_that_there_are(document, html):
    section = html[html.index('<section id="layers">') : html.index('<section id="diff">')]
    assert section.count("<svg") == 1
    assert "var(--first, #0072b2)" in section and "currentColor" in section
    assert "#ffffff" not in section
    drawn = details.curve_of(document["parts"])
    assert drawn["metrics"]["attributes"] == "attribute variation"
    assert {(p["group"], p["branches"]) for p in drawn["parts"]} == {
        ("all", "both"), ("branch", "attention"), ("branch", "mlp"), ("single", "both"),
    }  # fmt: skip
    for name, metric in drawn["metrics"].items():
        assert f"{name}: {metric}" in section
    for said in ("one layer", "everything", "MLP of all layers", "best control"):
        assert said in section
    assert "<svg" not in page.render({**document, "parts": []}).split('id="layers"')[1].split('id="diff"')[0]


def test_a_vector_has_each_guess_once_and_its_main_numbers(document):
    for vector in document["vectors"]:
        said = [(result["attack"], result["method"]) for result in vector["results"]]
        assert len(said) == len(set(said)) > 10
    (numbers,) = details.of_vectors(document["vectors"])
    (row,) = (row for row in numbers.rows if row[0] == "all clients")
    assert row[numbers.heads.index("corpus: corpus recall")] != "-"


def test_what_could_not_be_run_for_one_reason_is_said_once(document):
    def test(method, verdict, why):
        return {**told, "method": method, "verdict": verdict, "why": why}

    told = {"attack": "diff", "scope": "sums of vectors", "decided_by": "", "findings": []}
    tests = [
        test("rosters", "resisted", "no combination depends on fewer than 3 clients"),
        test("unmix", "not evaluable", "there is no pool"),
        test("probe", "not evaluable", "there is no pool"),
    ]
    others = [each for each in document["tests"] if each["attack"] != "diff"]
    (section,) = (s for s in sections({**document, "tests": [*others, *tests]}) if s.anchor == "diff")
    assert section.lines == (
        "RESISTED: rosters, sums of vectors; no combination depends on fewer than 3 clients.",
        "NOT EVALUABLE: unmix / probe, sums of vectors; there is no pool.",
    )
    assert [each.name for each in section.tables][:2] == [
        "diff: verdicts without a number",
        "diff: not measured",
    ]
    assert [row[0] for row in section.tables[0].rows] == ["rosters"]


def test_settings_are_told_in_words(document):
    (table_,) = next(s for s in sections(document) if s.anchor == "repeat").tables
    told = dict(table_.rows)
    assert told["candidates asked for"] == "150"
    assert told["releases a side and canary"] == "10000"
    assert "inverters" not in told and "False" not in told.values()


def test_sums_and_whom_they_isolate_are_shown():
    sums = [{"round": 0, "clients": [0, 1, 2], "weight": 3.0}, {"round": 0, "clients": [3, 4], "weight": 2.0}]
    isolated = [{"who": "clients 3, 4", "combination": "2", "examples": None, "error": 0.01}]
    first, second = details.of_sums(sums, isolated)
    assert first.rows == (("1", "0", "3", "0, 1, 2"), ("2", "0", "2", "3, 4"))
    assert second.rows == (("clients 3, 4", "2", "-", "0.01"),)
    assert details.of_sums([], []) == [] == details.of_parts([])


def test_the_json_is_on_the_page_as_it_is(document, html):
    data = html[html.index('<section id="data">') :]
    from html import unescape

    held = re.search(r"<pre[^>]*>(.*?)</pre>", data, re.S)
    assert json.loads(unescape(held[1])) == document


def release(name, **more):
    return {"release": name, "rounds": 2, "note": "", "conclusion": "consistent", "why": "so", **more}


def test_every_release_that_was_played_or_not_has_a_row(document):
    claim = {"epsilon": 1.25}
    held = {"lower_bound": 0.75, "ceiling": 3.5, "decided_by": "gaussian", "trials": 1234}
    releases = [
        release("coefficients", claim=claim, **held, note="all rows"),
        release("own steps", conclusion="not evaluable", why="cannot be played"),
    ]
    declared = {"epsilon": 2.0, "delta": 1e-5, "unit": "example", "neighbouring": "x", "simulation": False}
    bound = {
        "declared": declared,
        "accounted": {"epsilon": 1.9},
        "audited": {"releases": releases},
        "conclusion": "not evaluable",
        "why": "so",
    }
    told = {**document, "bound": bound, "verdict": {**document["verdict"], "declared": True}}
    shown = Reader(page.render(told)).text
    for said in (shown, markdown.render(told).replace("\\", ""), table.render(told)):
        for cell in (
            "coefficients, one of 2 rounds",
            "own steps, one of 2 rounds",
            "1.250",
            "0.750",
            "3.500",
        ):
            assert cell in said
        assert "all rows" in said and "cannot be played" in said
    assert max(map(len, table.render(told).splitlines())) <= 98


def test_the_table_has_a_line_for_every_test(document):
    said = table.render(document)
    for test in document["tests"]:
        assert f"{test['verdict'].upper():<15}{test['attack']}, {test['method']} ({test['scope']})" in said


def hostile(value, name=""):
    if isinstance(value, dict):
        return {key: hostile(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [hostile(each, name) for each in value]
    fixed = {
        "verdict",
        "method",
        "attacks",
        "bound",
        "protocol",
        "attack",
        "scope",
        "metric",
        "decided_by",
        "conclusion",
        "group",
        "branches",
    }
    return f"{value} {MARKUP}" if isinstance(value, str) and name not in fixed else value


def test_no_text_becomes_markup(document):
    told = {**document, "lacks": "the recording ends early"}
    bad = hostile(told)
    text = page.render(bad)
    found, plain = Reader(text), Reader(page.render(told))
    assert found.outside == plain.outside
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert "\x1b" not in text and "\x00" not in text
    assert found.text.count(wording.printable(MARKUP)) > 40
    written = markdown.render(bad)
    assert "<script" not in written.replace("\\<", "") and "\x1b" not in written
    # A cell that breaks out of its row would change how many there are.
    rows = [line for line in written.splitlines() if line.startswith("|")]
    assert len(rows) == len([line for line in markdown.render(document).splitlines() if line.startswith("|")])
    assert all(mark.isprintable() for line in table.render(bad).splitlines() for mark in line)


def test_what_a_bound_allows_is_its_two_lines():
    rates = np.array([0.0, 0.01, 0.5, 1.0])
    found = most_allowed(rates, 1.0, 0.001)
    assert found == pytest.approx([0.001, 0.01 * np.e + 0.001, 1 - np.exp(-1) * 0.499, 1.0])
    assert most_allowed(rates, 0.0, 0.0) == pytest.approx(rates)
    assert most_allowed(rates, 1e6, 0.0)[1:] == pytest.approx(1.0)
