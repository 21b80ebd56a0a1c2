"""The finished injection: losses are the pipeline's, Min-K%++ is its definition, and a leak is found."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from attacked import attacked_run, tiny_view
from program import called
from tiny import examples, injection, task, tiny_backbone

from attacks import deployed, membership
from attacks._base.attack import Knowledge, Scope
from attacks._judging.controls import random_knowledge, random_view
from attacks._judging.metrics import private_strings
from attacks._judging.score import Wishes, open_subject
from attacks._members.near import near_duplicate, near_pool, paraphrase_pool
from attacks._members.token_scores import LOWEST, token_scores
from attacks._statistics.roc import auc
from ifedpriv.data import shipped
from ifedpriv.icl.objective import Objective
from ifedpriv.icl.prompts import Position, tokenize_all

POOL = examples(30, 4)


def knowledge(**changes):
    return Knowledge(task(), Position.LABEL, examples(40, 3), pool=POOL, **changes)


# ---- what is read of a text


@pytest.mark.parametrize("injected", [False, True])
def test_losses_are_those_that_clients_minimise(injected):
    backbone = tiny_backbone()
    artifact = injection(backbone) if injected else None
    found = token_scores(backbone, knowledge(batch_size=7), POOL, artifact, "")
    objective = Objective(backbone, task(), POOL)
    with torch.inference_mode():
        if artifact is None:
            expected = objective.losses_of(range(len(POOL)))
        else:
            with artifact.on(backbone):
                expected = objective.losses_of(range(len(POOL)))
    assert np.allclose(found.loss, expected.numpy(), atol=1e-5)


def test_min_k_is_its_definition_text_by_text():
    backbone = tiny_backbone()
    found = token_scores(backbone, knowledge(batch_size=5), POOL, None, "")
    for i, d in enumerate(tokenize_all(backbone, task(), POOL[:4])):
        ids = d.ids[: d.prompt_length + d.answer_length]
        with torch.inference_mode():
            logits = backbone.model(torch.tensor([ids])).logits[0, :-1].double()
        logs = torch.log_softmax(logits, dim=-1)
        mean = (logs.exp() * logs).sum(-1)
        spread = ((logs.exp() * (logs - mean[:, None]) ** 2).sum(-1)).sqrt()
        own = logs[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
        scaled = np.sort(((own - mean) / spread).numpy())
        assert found.lowest[i] == pytest.approx(
            scaled[: max(1, round(LOWEST * len(scaled)))].mean(), abs=1e-3
        )


# ---- near duplicates


def test_names_and_numbers_are_exchanged_and_nothing_else():
    rng = np.random.default_rng(0)
    text = "Review of order 7298 by Aria Drummond, Stonebury: friendly shop"
    found = near_duplicate(text, ["Otto", "Birch", "Hana"], ["counter"], rng)
    before, after = (
        text.replace(",", "").replace(":", "").split(),
        found.replace(",", "").replace(":", "").split(),
    )
    changed = [a for a, b in zip(before, after, strict=True) if a != b]
    assert set(changed) == {"7298", "Aria", "Drummond", "Stonebury"}
    assert len(after[3]) == 4 and after[3].isdigit() and after[3][0] != "0"


def test_one_word_changes_where_there_is_no_name():
    text = "a good day for everybody"
    found = near_duplicate(text, [], ["night", "winter"], np.random.default_rng(1))
    assert sum(a != b for a, b in zip(text.split(), found.split(), strict=True)) == 1
    assert near_duplicate("", [], [], np.random.default_rng(1)) == ""


def test_every_candidate_has_one_of_its_own_with_its_label():
    made = near_pool(knowledge())
    assert [(e.label, e.answer) for e in made] == [(e.label, e.answer) for e in POOL]
    assert all(e.text != own.text for e, own in zip(made, POOL, strict=True))
    assert made == near_pool(knowledge())


def test_a_name_in_brackets_is_exchanged_and_a_small_word_is_not():
    found = near_duplicate("nurse Ines (Arkwell) said élan", ["Otto"], [], np.random.default_rng(0))
    assert found == "nurse Otto (Otto) said élan"


def test_every_candidate_of_the_shipped_writer_has_a_paraphrase_of_its_own_and_others_have_none():
    data = shipped.load("topic", train=40, validation=1, test=1)
    told = Knowledge(data.task, Position.LABEL, pool=tuple(data.train))
    made = paraphrase_pool(told)
    assert [e.label for e in made] == [e.label for e in data.train]
    for one, own in zip(made, data.train, strict=True):
        assert one.text != own.text
        # One of the sentences says 555 before every number.
        assert private_strings(one.text) ^ private_strings(own.text) <= {"555"}
    assert made == paraphrase_pool(told)
    assert paraphrase_pool(replace(told, pool=(*told.pool, POOL[0]))) == ()


# ---- the attack


def test_an_injection_that_knows_its_examples_is_found_out(tmp_path):
    """Calibrated on a few texts with wrong labels for long, it answers them as they were, and others less."""
    from ifedpriv.icl.calibrate import CalibrationPlan, Calibrator
    from ifedpriv.icl.vectors import Coefficients, ContextVector

    view, _ = tiny_view(tmp_path / "view", 3)
    backbone, members = tiny_backbone(), [e for e in POOL if e.label == 0][:8]
    others = [replace(e, label=1) for e in POOL if e.label == 0][8:]
    vector = ContextVector(np.random.default_rng(0).normal(size=(2, 2, 16)), 0)
    plan = CalibrationPlan(60, 8, 0.05)
    after = Calibrator(backbone, task(), members).run(
        vector, Coefficients.uniform(2, 0.1, 1.0), plan, np.random.default_rng(0)
    )
    artifact = replace(injection(backbone), vector=vector, coefficients=after.coefficients)
    pool = (*members, *others)
    known = replace(knowledge(artifact=artifact), pool=pool)
    found = {g.method: np.array(g.answers[0].content.values) for g in deployed.guess(view, backbone, known)}
    assert auc(found["loss, calibrated"][:8], found["loss, calibrated"][8:]) > 0.95
    assert len(found) == 6


def test_without_an_artifact_or_a_pool_it_says_so(tmp_path):
    view, _ = tiny_view(tmp_path / "view", 3)
    told = deployed.guess(view, tiny_backbone(), knowledge())
    assert all("there is no injection" in guess.refused for guess in told)
    poor = replace(knowledge(artifact=injection(tiny_backbone())), pool=())
    assert all("no pool" in guess.refused for guess in deployed.guess(view, tiny_backbone(), poor))
    few = replace(knowledge(artifact=injection(tiny_backbone())), public=())
    refused = {g.method: g.refused for g in deployed.guess(view, tiny_backbone(), few)}
    assert refused["loss"] == "" and "no public texts" in refused["loss, calibrated, near duplicates"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return attacked_run(tmp_path_factory.mktemp("run"))


def test_the_random_control_has_another_vector_and_the_same_coefficients(run, tmp_path):
    subject = open_subject(run, Wishes(pool=160))
    control = random_view(subject.view, subject.backbone, subject.knowledge, tmp_path / "random")
    drawn = random_knowledge(subject.knowledge, subject.view, control, subject.backbone)
    real, other = subject.knowledge.artifact, drawn.artifact
    assert np.array_equal(real.coefficients.values, other.coefficients.values)
    assert not np.allclose(real.vector.values, other.vector.values)
    again = random_knowledge(subject.knowledge, subject.view, subject.view, subject.backbone)
    assert np.allclose(real.vector.values, again.artifact.vector.values)


def test_from_the_command_line(run):
    said = called("attack", "deployed", run, "--pool", 160, "--json")
    assert said.code == 0, said
    result = json.loads(said.out)
    methods = {finding["method"] for finding in result["findings"]}
    assert {"loss", "loss, calibrated", "Min-K%++", "loss, calibrated, near duplicates"} <= methods
    for finding in result["findings"]:
        assert {"prior only", "random vector", "words alone"} <= set(finding["controls"])
    told = called("attack", "deployed", run, "--pool", 160)
    assert "all scores together: area" in told.out


def test_near_duplicates_of_members_are_members_in_meaning(tmp_path):
    """On recordings: the method is there in every scope, and scores every candidate."""
    view, _ = tiny_view(tmp_path / "view", 3)
    found = {(g.method, g.scope): g for g in membership.guess(view, tiny_backbone(), knowledge())}
    for scope in Scope:
        assert len(found["near duplicates", scope].answers[0].content.values) == len(POOL)
        assert found["paraphrases", scope].refused == "no other wording of the candidates is known"
