"""Controls beside prototypes: each cluster gets another vector and keeps its clients; nothing else differs."""

import json

import numpy as np
import pytest
from controlled import controls_section
from killed_run import kill_run
from program import called
from runs import found
from tiny import tiny_config, write_config
from tiny_public import all_members, public

from ifedpriv.config import load_config, parse_config
from ifedpriv.experiment import controls, measures
from ifedpriv.experiment.comparisons import members, together
from ifedpriv.experiment.play import play
from ifedpriv.experiment.prepare import prepare
from ifedpriv.icl.evaluate import Answers
from ifedpriv.icl.prototypes import PrototypeBank
from ifedpriv.measure.share import share_over_queries
from ifedpriv.methods.clustering import ALIVE, CENTRES
from ifedpriv.methods.prototype_icl import COEFFICIENTS, VECTORS
from ifedpriv.report.schema import CONTROL_ROWS, PUBLIC_MEAN, RANDOM_VECTOR, Report

SLOTS, CLIENTS = 3, 4


def configured(folder, clusters=None, method=None, **changes):
    texts = [f"a {word} day number {n}" for n in range(10) for word in ("fine", "dull")]
    known = folder / "known.jsonl"
    known.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    public_texts = {"path": str(known), "texts": 20}
    base = {
        **tiny_config(folder),
        "partition": {"kind": "contradictory", "clients": CLIENTS, "groups": 2},
        "method": {
            "kind": "prototype_icl",
            "clusters": {
                "number": SLOTS,
                "min_members": 1,
                "rank": 4,
                "public": public_texts,
                **(clusters or {}),
            },
            "calibration": {"rounds": 2, "steps": 2, "batch_size": 4},
            **(method or {}),
        },
        "controls": controls_section(folder),
        "evaluation": {"local_icl": False, "local_injection": False, "every_round": False, "batch_size": 32},
    }
    return {**base, **changes}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_config(folder / "config.yaml", configured(folder))
    return folder


@pytest.fixture(scope="module")
def setup(world):
    return prepare(load_config(world / "config.yaml"))


@pytest.fixture(scope="module")
def finished(world):
    done = called("run", world / "config.yaml", "--out", world / "whole")
    assert done.code == 0, done
    return done, world / "whole"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"defense": {"kind": "masked"}, "cohort": {"failure_rate": 0.15, "failure_point": "any"}},
        {"clusters": {"use": "mix", "steps": 2}},
        {"clusters": {"found_by": "oracle", "number": 2}},
        {"clusters": {"number": 1}},
        {"privacy": {"unit": "client", "epsilon": 40, "delta": 0.1}},
        {"method": {"guard": False, "calibration": {"rounds": 0}}},
    ],
    ids=str,
)
def test_with_its_own_vectors_a_control_is_the_run(tmp_path, changes):
    """So that whatever differs is the vectors': same clusters, rounds, failures, noise and coefficients."""
    changes = dict(changes)
    config = configured(tmp_path, changes.pop("clusters", None), changes.pop("method", None))
    if "privacy" in changes:
        texts = config["method"]["clusters"]["public"]
        config["defense"] = {"kind": "none", "privacy": {**changes.pop("privacy"), "public": texts}}
    setup = prepare(parse_config({**config, **changes}, "test"))
    state, _ = play(setup)
    for known in (state, None):
        again = controls.calibrated(setup, state.arrays[VECTORS], known=known)
        for name in (VECTORS, COEFFICIENTS, ALIVE, CENTRES):
            assert np.array_equal(again.arrays[name], state.arrays[name]), name
    assert np.array_equal(controls.own_vector(setup), state.arrays[VECTORS])


def test_every_cluster_gets_the_controls_vector(setup):
    made_from = controls.sources(setup)
    own = np.random.default_rng(0).normal(size=(SLOTS, 2, 2, 16)).astype(np.float32)
    vectors = {each: controls.stand_in(each, setup, made_from, lambda: own) for each in CONTROL_ROWS}
    assert all(vector.shape == own.shape for vector in vectors.values())
    for name in (PUBLIC_MEAN, "other_task"):
        mean = controls.mean_of(made_from[name], setup)
        assert all(np.array_equal(each, mean) for each in vectors[name])
    assert np.linalg.norm(vectors[RANDOM_VECTOR], axis=-1) == pytest.approx(
        np.linalg.norm(own, axis=-1), rel=1e-5
    )
    assert not np.array_equal(vectors[RANDOM_VECTOR][0], vectors[RANDOM_VECTOR][1])
    assert not vectors["zero_vector"].any()


def test_coefficients_are_each_clusters_own(setup):
    """With one vector for all, clusters that label in contrary ways still calibrate apart."""
    state, _ = play(setup)
    made = controls.stand_in(PUBLIC_MEAN, setup, controls.sources(setup), lambda: state.arrays[VECTORS])
    other = controls.calibrated(setup, made, known=state)
    alive = np.flatnonzero(state.arrays[ALIVE] > 0)
    assert len(alive) > 1
    assert len({other.arrays[COEFFICIENTS][slot].tobytes() for slot in alive}) == len(alive)


def test_a_run_has_all_rows_and_a_share(finished, setup):
    done, out = finished
    report = Report.load(out / "report.json")
    assert [row.key for row in report.rows] == ["zero_shot", "prototype_injection", *CONTROL_ROWS]
    for row in report.rows[2:]:
        assert row.figures["accuracy"].n == CLIENTS * 20
        assert row.up_bytes_per_client is None and row.client_seconds is None
        assert "for every cluster of the run, coefficients calibrated as in the run" in row.notes
    assert report.controls.enabled and report.controls.share is not None
    assert "The vector's share of the gain" in done.out
    bank = PrototypeBank.load(out / "prototypes.safetensors")
    assert len(bank) > 1


def test_rows_are_what_the_python_functions_find(finished, setup):
    state, _ = play(setup)
    rows = {row.key: row for row in Report.load(finished[1] / "report.json").rows}
    made_from = controls.sources(setup)
    for control in CONTROL_ROWS:
        vectors = controls.stand_in(control, setup, made_from, lambda: state.arrays[VECTORS])
        artifact = setup.method.artifact(controls.calibrated(setup, vectors, known=state))
        lists = together(setup, artifact)
        assert len(lists) == len(members(setup)) == CLIENTS
        value = np.mean([each.right.mean() for each in lists])
        assert rows[control].figures["accuracy"].value == pytest.approx(value)


def test_killed_in_the_middle_of_the_controls(finished, world, tmp_path):
    """The pieces of a control are each client's; those that are there are not made again."""
    kill_run(43, "run", world / "config.yaml", "--out", tmp_path / "cut")
    pieces = {path.stem for path in (tmp_path / "cut" / "checkpoint").glob("*_*-*.json")}
    assert any(name.startswith("random_vector-") for name in pieces)
    assert not any(name.startswith("other_task-") for name in pieces)
    assert called("run", "--resume", tmp_path / "cut").code == 0
    assert found(tmp_path / "cut") == found(finished[1])


def test_frozen_coefficients_are_chosen_anew_for_each_vector(tmp_path):
    public(members=all_members(("only",))).save(tmp_path / "one.safetensors")
    method = {
        "coefficients": "public",
        "coefficients_file": str(tmp_path / "one.safetensors"),
        "public_steps": 0,
    }
    setup = prepare(parse_config(configured(tmp_path, method=method), "test"))
    state, _ = play(setup)
    assert setup.frozen
    again = controls.calibrated(setup, state.arrays[VECTORS], known=state)
    assert np.array_equal(again.arrays[COEFFICIENTS], state.arrays[COEFFICIENTS])
    made = controls.stand_in(PUBLIC_MEAN, setup, controls.sources(setup), lambda: state.arrays[VECTORS])
    mean = controls.mean_of(controls.sources(setup)[PUBLIC_MEAN], setup)
    assert np.array_equal(made[0], setup.public.centred(mean))
    expected = setup.public.choice(setup.public.centred(mean), 0.0).coefficients.values
    other = controls.calibrated(setup, made, known=state)
    for slot in np.flatnonzero(state.arrays[ALIVE] > 0):
        assert np.array_equal(other.arrays[COEFFICIENTS][slot], expected)


# ---- one score for each test text


def by_hand(setup, right):
    """Answers of each client, right where ``right[client, text]`` says so."""
    lists = []
    for client, row in zip(members(setup), right, strict=True):
        truth = tuple(query.label for query in setup.queries(client.group))
        said = tuple(label if ok else 1 - label for label, ok in zip(truth, row, strict=True))
        lists.append(Answers(truth, said))
    return lists


def test_a_texts_score_is_the_mean_over_clients(setup):
    right = np.random.default_rng(1).random((CLIENTS, 20)) < 0.6
    assert measures.by_text(setup, by_hand(setup, right)) == pytest.approx(right.mean(axis=0))


def test_one_list_for_all_groups_weighs_them_by_their_clients(setup):
    groups = setup.groups
    assert len(groups) == 2
    truth = tuple(query.label for query in setup.all_queries)
    # Right for the first group's questions, wrong for the second's.
    said = tuple(label if place < 20 else 1 - label for place, label in enumerate(truth))
    share = np.mean([client.group == groups[0] for client in members(setup)])
    assert measures.by_text(setup, [Answers(truth, said)]) == pytest.approx(np.full(20, share))


def test_the_share_is_of_the_tables_rows(finished):
    report = Report.load(finished[1] / "report.json")
    value = {row.key: row.figures["accuracy"].value for row in report.rows}
    ours, mean, bare = (value[key] for key in ("prototype_injection", PUBLIC_MEAN, "zero_shot"))
    share = report.controls.share
    if share.value is None:
        assert share_over_queries([ours], [mean], [bare]).value is None or ours - bare < 0.2
    else:
        assert share.value == pytest.approx((ours - mean) / (ours - bare))
