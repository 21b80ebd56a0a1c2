"""A server that chooses the template: the family, what honest clients tell it, and the pin that refuses it."""

import argparse
import json
from dataclasses import replace

import numpy as np
import pytest
from attacked import attacked_config, attacked_run
from program import called
from tiny import examples, task, tiny_backbone, write_config

from attacks import template
from attacks._server.templates import SHIPPED, Told, endings, family, measured, search
from ifedpriv.data.task import Example
from ifedpriv.experiment.facts import task_hash
from ifedpriv.icl.prompts import Position

PUBLIC = (
    Example("Case 4711 of Ann Moore from Rome, sir.", 0),
    Example("Case 4712 of Tom Reed from Paris, sir.", 1),
    Example("Nobody writes from Rome.", 0),
)


def test_endings_are_words_that_stand_before_what_is_private():
    from ifedpriv.embedded.words import CITIES, FIRST_NAMES

    city, name = CITIES[0], FIRST_NAMES[0]
    texts = [Example(f"case 4711 of {name} from {city}"), Example(f"we came from {city}, sir")]
    assert endings(texts, 2)[0] == "from"
    assert set(endings(texts, 9)) == {"from", "of", "case"}


def test_the_family_begins_with_what_is_shipped_and_words_each_text_once():
    made = family(task(), Position.LABEL, PUBLIC, 2)
    assert made[0].name == SHIPPED
    assert made[0].task == task()
    assert len({(each.task, each.position) for each in made}) == len(made)
    assert {each.position for each in made} == set(Position)
    for each in made:
        assert each.task.template.count("{text}") == 1


def test_what_is_measured_is_what_honest_clients_send():
    """Without noise, every member of a small pool is named and every label is right on the tiny backbone."""
    public, texts = examples(60, 3), examples(40, 4)
    shipped = family(task(), Position.LABEL, public, 0)[0]
    told = measured(tiny_backbone(), shipped, public, texts[:10], texts, 2, 0.0, 0)
    assert told.by_vector.shape == (5, 4)
    assert told.members == 1.0
    assert told.labels == 1.0
    drowned = measured(tiny_backbone(), shipped, public, texts[:10], texts, 2, 1e3, 0)
    assert drowned.members < 0.5


def test_the_search_takes_what_tells_most_of_its_own_trial_texts(monkeypatch):
    from attacks._server import templates

    options = family(task(), Position.LABEL, PUBLIC, 0)
    worth = {each.name: 0.1 * n for n, each in enumerate(options)}
    monkeypatch.setattr(
        templates, "measured", lambda backbone, each, *_: Told(0, 0, 0, worth[each.name], np.zeros((5, 4)))
    )
    best, found = search(tiny_backbone(), options, (), (), (), 1, 0.0, 0, lambda *_: None)
    assert best is options[-1]
    assert {name: told.members for name, told in found.items()} == worth


def options_of(**changes):
    given = {
        "examples": 1,
        "clients": 5,
        "endings": 1,
        "noise": 0.0,
        "seed": 0,
        "public_texts": 60,
        "pool": 40,
    }
    return argparse.Namespace(**{**given, **changes})


def test_choosing_and_measuring_use_different_texts(monkeypatch):
    """Trial texts choose, fresh texts measure, and the document says both."""
    from attacks._server import templates

    asked = []
    real = templates.measured

    def heard(backbone, agreed, public, texts, *rest):
        asked.append((agreed.name, texts))
        return real(backbone, agreed, public, texts, *rest)

    monkeypatch.setattr(templates, "measured", heard)
    trial, fresh = examples(40, 5), examples(40, 6)
    document = template.measure(
        tiny_backbone(), task(), examples(60, 3), trial, fresh, options_of(), lambda *_: None
    )
    unseen = {example.text for example in fresh}
    used = {name for name, texts in asked if {example.text for example in texts} <= unseen}
    assert used == {SHIPPED, document["chosen"]}
    assert document["tried"][0]["name"] == SHIPPED
    assert set(document["gains"]) == set(template.METRICS)
    assert document["verdict"] in ("works", "resisted", "inconclusive")
    said = template.render(document)
    assert "pin.task and pin.position" in said
    assert document["chosen"] in said


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (("--clients", "2"), "--clients is 2"),
        (("--examples", "0"), "--examples is 0"),
        (("--noise", "-1"), "--noise is -1.0"),
        (("--pool", "3"), "fewer than the 40 texts of the clients"),
        (("--task", "nothing"), "data.name is 'nothing', which is not shipped"),
    ],
)
def test_what_is_refused(given, sentence):
    assert sentence in called("attack", "template", *given).refusal()


# ---- the pin


def test_a_client_that_pins_its_task_takes_that_one_and_no_other(tmp_path):
    config = attacked_config(tmp_path)
    pinned = task_hash(replace(task(), name=json.loads(_facts(tmp_path))["name"]))
    run = attacked_run(tmp_path / "right", pin={"task": pinned, "position": "label"})
    assert json.loads((run / "view" / "view.json").read_text())["task"] == pinned
    config["pin"] = {"task": pinned}
    config["data"]["template"] = "Text: {text}\nName:"
    path = write_config(tmp_path / "crafted.yaml", config)
    said = called("run", path, "--out", tmp_path / "crafted").refusal()
    assert f"pin.task is {pinned}" in said
    assert "take no part in it" in said
    assert not (tmp_path / "crafted").exists()


def _facts(folder):
    from ifedpriv.config import load_config
    from ifedpriv.data.loaders import load_task_data
    from ifedpriv.experiment.facts import task_facts

    config = load_config(write_config(folder / "plain.yaml", attacked_config(folder)))
    return task_facts(load_task_data(config.data, None).task)["task"]


def test_a_client_that_pins_the_position_refuses_another(tmp_path):
    config = attacked_config(tmp_path, pin={"position": "label"})
    config["method"]["position"] = "prompt_end"
    path = write_config(tmp_path / "moved.yaml", config)
    said = called("run", path, "--out", tmp_path / "moved").refusal()
    assert "method.position prompt_end, and pin.position is label" in said
    config["pin"] = {"task": "xyz"}
    assert "pin.task" in called("run", write_config(path, config), "--out", tmp_path / "x").refusal()
