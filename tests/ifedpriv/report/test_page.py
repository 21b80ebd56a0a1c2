"""The page holds what the table holds, needs nothing, and no text in it becomes markup."""

import re
from collections import Counter
from dataclasses import replace
from functools import cache

import pytest
from hostile import MARKUP, hostile_report
from page_reader import Reader
from sample_report import FIXTURE_WARNING, classification_report, generation_report, privacy

from ifedpriv.report import page, table, wording
from ifedpriv.report.schema import TaskFacts

SAMPLES = {"classification": classification_report, "generation": generation_report}


@cache
def page_of(make):
    """The page of a sample: drawing takes most of these tests' time."""
    return page.render(make())


@pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES)
def test_the_page_is_whole_and_needs_nothing(make):
    text = page_of(make)
    found = Reader(text)
    assert found.tags["title"] == found.tags["h1"] == found.tags["html"] == 1
    assert not {"script", "link", "iframe", "object", "embed", "form"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert all(target.startswith(("#", "data:image/png")) for target in found.targets)
    outside = {
        name
        for name in re.findall(r"https?://[^\s\"'<)]+", text)
        if not name.startswith("http://www.w3.org/")
    }
    assert not outside
    assert "@import" not in text and "prefers-color-scheme: dark" in text and 'name="viewport"' in text


@pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES)
def test_ids_are_unique_and_links_lead_somewhere(make):
    found = Reader(page_of(make))
    assert not [name for name, count in Counter(found.ids).items() if count > 1]
    assert {target[1:] for target in found.targets if target.startswith("#")} <= set(found.ids)


@pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES)
def test_the_page_is_the_same_every_time(make):
    assert page.render(make()) == page_of(make)


@pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES)
def test_every_number_and_caveat_of_the_table_is_on_the_page(make):
    report = make()
    text = Reader(page_of(make)).text
    for line in table.render(report).splitlines():
        for number in re.findall(r"\d[\d.,]*(?: [kMG]?B\b)?|\[[\d., ]+\]", line):
            assert number in text, number
    for sentence in (
        wording.intervals_line(report),
        wording.COSTS_REMARK,
        *wording.rounds_lines(report),
        wording.guard_line(report),
        report.privacy.text,
        FIXTURE_WARNING,
    ):
        assert sentence in text


def test_every_row_stands_in_one_line_of_the_page_with_its_own_numbers():
    report = classification_report()
    text = page_of(classification_report)
    rows = [" ".join(Reader(line).text.split()) for line in re.findall(r"<tr[^>]*>.*?</tr>", text)]
    for row in report.rows:
        expected = [wording.figure(row.figures[metric]) for metric in ("accuracy", "macro_f1")]
        expected += [wording.wire(row.up_bytes_per_client), wording.wire(row.down_bytes_per_client)]
        expected += [wording.seconds(row.client_seconds), wording.number(row.inference_tokens_per_query)]
        line = " ".join([row.name + (" (a)" if row.notes else ""), *expected])
        assert line in rows
    assert '<p class="soft note">(a) mean over the 8 clients</p>' in text


def test_without_a_bound_the_page_says_so_before_the_results():
    text = Reader(page_of(classification_report)).text
    assert "Privacy: no privacy bound" in text
    assert text.index("Privacy: no privacy bound") < text.index("Zero-shot 0.310")
    assert "nothing limits what the messages of this run tell about the private examples" in text


def test_a_bound_in_simulation_alarms_and_a_real_one_does_not():
    simulated = page.render(classification_report(privacy=privacy(2.0, simulation=True)))
    assert 'class="box alarm" id="privacy"' in simulated
    assert "in simulation only: nobody is protected" in simulated
    real = page.render(classification_report(privacy=privacy(2.0)))
    assert 'class="box" id="privacy"' in real and "nothing limits" not in real
    assert "Privacy: epsilon = 2, delta = 1e-05" in real and "nobody is protected" not in real


def test_a_bound_is_explained_and_its_absence_is_not_called_one():
    bounded = Reader(page.render(classification_report(privacy=privacy(2.0)))).text
    assert "How to read the bound" in bounded and "e^epsilon" in bounded
    assert "How to read the bound" not in Reader(page_of(classification_report)).text


def test_scores_and_chance_are_explained():
    text = Reader(page_of(classification_report)).text
    for metric in ("accuracy", "macro_f1"):
        assert wording.metric_explanation(metric)[1:] in text
    assert "Guessing would be right once in 4." in text
    assert "Guessing" not in Reader(page_of(generation_report)).text


def test_a_newcomer_is_told_what_the_methods_are():
    text = Reader(page_of(classification_report)).text
    for key in ("zero_shot", "local_icl", "local_injection", "global_injection", "zero_vector"):
        assert wording.EXPLANATIONS[key][1:] in text
    assert "which of the 4 words harbour, market, theatre, weather fits a text" in text


def test_what_is_needed_to_repeat_is_there():
    text = Reader(page_of(classification_report)).text
    for words in ("sha256:0f1e2d3c4b5a6978", "seed: partition 11", "torch 2.6.0", '"alpha": 0.5', "3.11.9"):
        assert words in text


def test_rounds_and_who_holds_what_are_there_as_numbers_too():
    report = classification_report()
    text = Reader(page_of(classification_report)).text
    for record in report.rounds:
        assert wording.figure(record.test) in text and wording.figure(record.validation) in text
    assert "client-3" in text and "no bound" in text
    line = report.task.holdings.counts[2]
    assert f"client-2 inland {' '.join(map(str, line))} {sum(line)}" in text


def test_sections_without_content_are_left_out():
    report = generation_report(task=TaskFacts("names", "generation", (), 500, None), guard=None, warnings=())
    found = Reader(page.render(report))
    assert not {"rounds", "holdings", "coefficients", "guard", "warnings"} & set(found.ids)
    assert {"what", "results", "traffic", "privacy", "repeat"} <= set(found.ids)


def test_columns_of_rounds_that_hold_nothing_are_left_out():
    kept = classification_report()
    rounds = tuple(replace(one, validation=None, dropped=()) for one in kept.rounds)
    text = page.render(classification_report(rounds=rounds))
    heads = re.findall(r'<thead><tr><th scope="col">Round</th>(.*?)</tr>', text)
    assert len(heads) == 1
    names = re.findall(r">([^<]+)</th>", heads[0])
    assert names == ["loss", "test", "sent", "received", "seconds", "epsilon", "clients"]
    every = re.findall(r'<th scope="col">Round</th>(.*?)</tr>', page_of(classification_report))[0]
    assert "held out" in every and every.endswith('class="words">dropped out</th>')


def test_many_who_drop_out_are_counted_and_some_are_named():
    first, *others = classification_report().rounds
    lost = replace(first, took_part=(), dropped=tuple(f"client {i}" for i in range(100)))
    text = Reader(page.render(classification_report(rounds=(lost, *others)))).text
    assert "100: client 0, client 1" in text and "client 7 and 92 more" in text and "client 8," not in text


def test_holdings_are_told_in_a_sentence():
    text = Reader(page_of(classification_report)).text
    counts = classification_report().task.holdings.counts
    sizes = sorted(sum(row) for row in counts)
    middle = (sizes[3] + sizes[4]) / 2
    assert f"{sum(sizes)} examples, {sizes[0]} to {sizes[-1]} each (median {middle:g})." in text
    held = sorted(4 - row.count(0) for row in counts)
    assert held[3:5] == [3, 4] and "a client has examples of 3.5 of the 4 classes." in text
    assert "20 to 27 each (median 23.5)." in Reader(page_of(generation_report)).text


@pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES)
def test_who_cannot_see_finds_the_way(make):
    """Landmarks hold everything, headings go down by one, and what scrolls has a name and takes the keyboard."""
    text = page_of(make)
    main = text[text.index("<main>") : text.index("</main>")]
    assert text.count("<section") == main.count("<section")
    assert text.count("<h2") == main.count("<h2") and not re.search(r"<h[3-6]", text)
    sections = re.findall(r'<section[^>]* id="([a-z]+)"', main)
    links = re.findall(r'<a href="#([a-z]+)">', text[text.index("<nav") : text.index("</nav>")])
    assert links == sections and {"privacy", "warnings"} <= set(links)
    regions = re.findall(r'role="region" tabindex="0" aria-label="([^"]+)"><table>', text)
    assert len(regions) == text.count("<table>") == len(set(regions))
    assert len(re.findall(r'<svg[^>]* role="img" aria-label="[^"]+"', text)) == text.count("<svg")
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    assert len(captions) == text.count("<figure>") and all(one.endswith(".") for one in captions)


def test_what_scrolls_sideways_holds_no_sentence():
    """On a telephone, a sentence inside it could be read only by pushing it to and fro."""
    text = page_of(classification_report)
    assert "<caption" not in text
    for cells in re.findall(r"<t[dh](?! class=\"words\")[^>]*>(.*?)</t[dh]>", text):
        assert len(re.sub(r"<[^>]+>|&[a-z]+;", "", cells)) <= 40, cells


def test_rounds_without_a_score_are_listed_and_not_drawn():
    blank = (replace(classification_report().rounds[0], test=None, validation=None, loss=None),)
    found = Reader(page.render(classification_report(rounds=blank, round_summary=None)))
    assert "All rounds as numbers" in found.text and "rounds-figure_1" not in found.ids


def test_methods_of_others_are_explained_by_their_notes():
    own = replace(classification_report().rows[0], key="mine", name="Mine", notes="what I do")
    text = Reader(page.render(classification_report(rows=(own,)))).text
    assert "Mine What I do." in text


@pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES)
def test_no_text_becomes_markup(make):
    bad = hostile_report(make())
    text = page.render(bad)
    found = Reader(text)
    # The same elements with the same attributes in the same order: nothing was opened, closed or added.
    assert found.outside == Reader(page_of(make)).outside
    assert "script" not in found.tags
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert "\x1b" not in text and "\x00" not in text
    shown = wording.printable(MARKUP)
    names = (bad.run, bad.task.name, bad.rows[0].name, bad.privacy.text, bad.warnings[0], bad.guard.text)
    for origin in names:
        assert MARKUP in origin and wording.printable(origin) in found.text
    assert found.text.count(shown) > 40
