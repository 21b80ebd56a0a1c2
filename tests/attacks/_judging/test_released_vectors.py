"""Finding one unit in noised vectors: as often as the theorem says for the noise that is there, and never more."""

import json

import numpy as np
import pytest
from scipy.special import ndtr
from tiny import examples, tiny_config

from attacks._judging.released_vectors import MEMBERS, TRIALS, attack_release, noise
from defenses.accounting.tradeoff import gaussian_tpr, pair_tpr
from defenses.dp.release import ARRAY
from defenses.entropy import InsecureSeeded
from ifedpriv.config import parse_config
from ifedpriv.experiment.prepare import prepare


def made(folder, method=None, defense="none", clients=4, **privacy):
    lines = [json.dumps({"text": example.text}) for example in examples(40, 9)]
    (folder / "public.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    public = {"path": str(folder / "public.jsonl"), "texts": 32}
    base = {"epsilon": 8.0, "delta": 1e-3, "max_examples": 16, "public": public}
    given = None if privacy.get("epsilon") is None and "epsilon" in privacy else {**base, **privacy}
    aggregation = "uniform" if privacy.get("unit") == "client" else "count"
    config = {
        **tiny_config(folder),
        "partition": {"kind": "iid", "clients": clients},
        "method": {
            "calibration": {"rounds": 1},
            **(method or {"kind": "ifed_icl", "aggregation": aggregation}),
        },
        "defense": {"kind": defense, "privacy": given},
    }
    return prepare(parse_config(config, "test"))


def release_of(setup):
    return setup.defense.release(*setup.method.asks(0))


WAYS = {
    "central": {},
    "local": {"trust": "local"},
    "distributed": {"trust": "distributed", "defense": "masked"},
    "clients": {"unit": "client"},
}


@pytest.mark.parametrize("way", WAYS)
def test_units_are_found_as_often_as_the_noise_has_it(tmp_path, way):
    """The rate of a unit that fills the clip is that of a Gaussian of its size, within six standard deviations of it.

    The threshold is of 8 directions and more, the rate of 8 times ``trials`` releases: less than one false alarm in a
    million runs.
    """
    setup = made(tmp_path, **WAYS[way])
    found, release = attack_release(setup), release_of(setup)
    roster = len(setup.clients)
    terms = release.lattice(roster)
    clients = 1 if way == "local" else roster
    row = terms.sensitivity if release.unit == "client" else float(np.hypot(terms.steps, terms.unit))
    mu = row / release.deviation(terms, clients)
    expected = gaussian_tpr(0.01, mu)
    width = 6 * np.sqrt(expected * (1 - expected) / found["trials"] / 8 + 0.01 * 0.99 / found["trials"])
    assert found["loudest_found"] == pytest.approx(expected, abs=width)
    assert found["loudest_area"] == pytest.approx(ndtr(mu / np.sqrt(2)), abs=0.05)
    # No unit moves the sum by more.
    assert found["found"] <= found["loudest_found"] + width
    assert found["found"] > 0.01
    held = sum(len(setup.clients[client].train) for client in range(roster))
    assert found["members"] == (roster if way == "clients" else min(MEMBERS, held))
    assert found["trials"] == TRIALS


def test_what_is_found_stays_below_what_epsilon_allows(tmp_path):
    for epsilon in (0.5, 2.0, 16.0):
        found = attack_release(made(tmp_path, epsilon=epsilon))
        assert found["loudest_found"] <= pair_tpr(0.01, epsilon, 1e-3) + 0.01


def test_more_noise_finds_less(tmp_path):
    rates = [attack_release(made(tmp_path, epsilon=epsilon))["found"] for epsilon in (1.0, 8.0, 64.0)]
    assert rates[0] < rates[1] < rates[2]


def test_clusters_have_vectors_too(tmp_path):
    texts = {"path": str(tmp_path / "public.jsonl"), "texts": 32}
    clusters = {"number": 2, "min_members": 1, "rank": 4, "public": texts}
    privacy = {"epsilon": 40.0, "delta": 0.1, "unit": "client"}
    setup = made(tmp_path, {"kind": "prototype_icl", "clusters": clusters}, **privacy)
    found = attack_release(setup)
    assert found["members"] == 4
    assert 0.01 < found["found"] <= 1


def test_without_noise_there_is_nothing_to_test(tmp_path):
    assert attack_release(made(tmp_path, epsilon=None)) is None


@pytest.mark.parametrize("way", ["central", "local", "distributed"])
def test_the_noise_is_that_of_the_release(tmp_path, way):
    """What is drawn has the deviation of what clients and server add; 60,000 draws, six deviations of it."""
    setup = made(tmp_path, **WAYS[way])
    release, roster = release_of(setup), len(setup.clients)
    terms = release.lattice(roster)
    clients = 1 if way == "local" else roster
    draws = -(-60_000 // terms.width)
    layout = setup.method.asks(0)[1]
    found = noise(release, layout, roster, clients, draws, InsecureSeeded(1, "test"))
    assert found.shape == (draws, terms.width)
    deviation = release.deviation(terms, clients)
    assert found.std() == pytest.approx(deviation, rel=6 / np.sqrt(2 * found.size))
    assert abs(found.mean()) < 6 * deviation / np.sqrt(found.size)


def test_what_units_move_adds_up_to_what_a_client_sends(tmp_path):
    setup = made(tmp_path)
    release, client = release_of(setup), setup.clients[0]
    rng = np.random.default_rng(0)

    def offered():
        return setup.method.client_step(setup.method.initial_state(), client, rng).upload

    moves = release.alone(offered(), 4)
    assert len(moves) == len(client.train)
    # Under central trust the client adds no noise.
    sent = release.give(offered(), None, 4, InsecureSeeded(0, "unused")).arrays[ARRAY]
    assert np.array_equal(moves.sum(axis=0), sent.astype(np.int64))
