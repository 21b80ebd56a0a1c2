"""Activations, gradients and losses that are not finite, in whole runs: zero, and only the client is told."""

import json
import logging

import numpy as np
import pytest
from program import called
from tiny_public import public_world, ready, sets

from defenses.dp.release import ARRAY, Bounded
from defenses.upload import UploadKind
from defenses.view import ServerView
from ifedpriv.icl import extract, objective
from ifedpriv.methods import client_work

BROKEN = 2
EXAMPLE = {"trust": "central", "coefficients": {"steps": "shared", "rate": 1.0}}
STEPS = {"trust": "local", "coefficients": {"steps": "local", "rate": 1.0}}
CLIENT = {"trust": "central", "unit": "client"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    quick = {"local_icl": False, "membership": False}
    calibration = {"rounds": 1, "steps": 2, "batch_size": 4}
    public_world(folder, evaluation=quick, method={"kind": "ifed_icl", "calibration": calibration})
    return folder


def texts_of(world, privacy):
    return {example.text for example in ready(world, "federated", privacy).clients[BROKEN].train[:1]}


class Spoiled:
    """One text of one client is read with numbers that are not finite, whoever asks and whenever."""

    def __init__(self, patch, texts):
        self.patch = patch
        self.texts = texts

    def activations(self):
        real = extract.activations

        def spoiling(backbone, task, examples, **more):
            bad = np.array([example.text in self.texts for example in examples])
            for chosen, values in real(backbone, task, examples, **more):
                values = values.copy()
                values[bad[chosen], 0, 0, 0] = np.nan
                yield chosen, values

        for module in (extract, client_work):
            self.patch.setattr(module, "activations", spoiling)
        return self

    def losses(self):
        begin = objective.Objective.__init__
        texts = self.texts

        def noticing(self, backbone, task, examples):
            begin(self, backbone, task, examples)
            self.bad = {i for i, example in enumerate(examples) if example.text in texts}

        def spoiling(real):
            def spoiled(self, chosen, *more):
                found = real(self, chosen, *more)
                if found.ndim == 0:
                    return found * np.inf if self.bad & set(chosen) else found
                return found * found.new_tensor([np.nan if i in self.bad else 1.0 for i in chosen])

            return spoiled

        self.patch.setattr(objective.Objective, "__init__", noticing)
        for name in ("loss_of", "losses_of"):
            self.patch.setattr(objective.Objective, name, spoiling(getattr(objective.Objective, name)))
        return self


def run(world, out, privacy, **more):
    return called("run", world / "config.yaml", *sets(world, "federated", privacy, **more), "--out", out)


def rows_of(out, kind):
    """What each client sent, before the server's noise."""
    found = {}
    for frame in ServerView.open(out / "view").uploads(kind):
        found.setdefault(frame.sender, frame.upload.arrays[ARRAY])
    return found


def told(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "ifedpriv.federation"]


@pytest.fixture
def spoil(monkeypatch, world):
    return lambda privacy: Spoiled(monkeypatch, texts_of(world, privacy))


def test_one_example_counts_as_zero_and_its_client_says_so(world, tmp_path, spoil, caplog):
    assert run(world, tmp_path / "whole", EXAMPLE).code == 0
    assert not told(caplog)
    spoil(EXAMPLE).activations()
    done = run(world, tmp_path / "run", EXAMPLE)
    assert done.code == 0, done
    assert told(caplog) == ["client 2, round 0, vector: not finite, counted as zero: 1 of its rows"]
    before, after = (rows_of(tmp_path / name, UploadKind.VECTOR) for name in ("whole", "run"))
    assert set(after) == set(before) == set(range(5))
    for client in before:
        same = np.array_equal(before[client], after[client])
        assert same == (client != BROKEN)
        # The example is counted all the same: how many a client holds is not changed by what is in them.
        assert before[client][-1] == after[client][-1]
    assert "not finite" not in (tmp_path / "run" / "rounds.jsonl").read_text("utf-8")


def test_one_examples_gradient_counts_as_zero_in_a_step_of_all(world, tmp_path, spoil, caplog):
    spoil(EXAMPLE).losses()
    done = run(world, tmp_path / "run", EXAMPLE)
    assert done.code == 0, done
    assert told(caplog) == ["client 2, round 1, coefficients: not finite, counted as zero: 1 of its rows"]
    assert set(rows_of(tmp_path / "run", UploadKind.COEFFICIENTS)) == set(range(5))


def test_one_examples_gradient_counts_as_zero_in_a_clients_own_steps(world, tmp_path, spoil, caplog):
    spoil(STEPS).losses()
    done = run(world, tmp_path / "run", STEPS)
    assert done.code == 0, done
    # One in each of two steps, with every example in each.
    assert told(caplog) == ["client 2, round 1, coefficients: not finite, counted as zero: 2 gradients"]
    uploads = list(ServerView.open(tmp_path / "run" / "view").uploads(UploadKind.COEFFICIENTS))
    assert {frame.sender for frame in uploads} == set(range(5))


def test_a_whole_clients_vector_counts_as_zero(world, tmp_path, spoil, caplog):
    spoil(CLIENT).activations()
    with caplog.at_level(logging.DEBUG):
        done = run(world, tmp_path / "run", CLIENT)
    assert done.code == 0, done
    assert "nan" not in caplog.text.lower()
    assert told(caplog) == ["client 2, round 0, vector: not finite, counted as zero: the context vector"]
    sent = rows_of(tmp_path / "run", UploadKind.VECTOR)
    assert set(sent) == set(range(5))
    assert [client for client, row in sent.items() if not row.any()] == [BROKEN]
    # What such a client would make alone is not finite either.
    assert "a client whose own training came to numbers that are not finite" in " ".join(done.out.split())


def test_a_whole_clients_coefficients_count_as_no_change(world, tmp_path, spoil, caplog):
    spoil(CLIENT).losses()
    done = run(world, tmp_path / "run", CLIENT)
    assert done.code == 0, done
    assert told(caplog) == ["client 2, round 1, coefficients: not finite, counted as zero: the coefficients"]
    sent = rows_of(tmp_path / "run", UploadKind.COEFFICIENTS)
    assert [client for client, row in sent.items() if not row.any()] == [BROKEN]
    assert "NaN" not in (tmp_path / "run" / "rounds.jsonl").read_text("utf-8")


def test_a_client_that_is_hidden_by_its_own_noise_sends_noise(world, tmp_path, spoil, caplog):
    """With local trust nobody but the client can tell."""
    local = {"trust": "local", "unit": "client"}
    spoil(local).activations()
    assert run(world, tmp_path / "run", local).code == 0
    assert len(told(caplog)) == 1
    assert all(row.any() for row in rows_of(tmp_path / "run", UploadKind.VECTOR).values())


PLAIN = {
    "vectors of clients": ("uniform", "activations", "the context vector", 0, "vector"),
    "vectors of examples": ("count", "activations", "the array 'vector' of its upload", 0, "vector"),
    "vectors by class": ("class_balanced", "activations", "the array 'by_class' of its upload", 0, "vector"),
    "coefficients": ("uniform", "losses", "the coefficients", 1, "coefficients"),
}


@pytest.mark.parametrize("case", PLAIN)
def test_without_privacy_the_run_is_refused_in_one_sentence(world, tmp_path, spoil, caplog, case):
    aggregation, where, field, number, kind = PLAIN[case]
    getattr(spoil(None), where)()
    said = run(world, tmp_path / "run", None, **{"method.aggregation": aggregation}).refusal()
    assert f"client 2 has a number that is not finite in {field}, in round {number} of kind {kind}\n" in said
    assert "look for an overflow: use backbone.dtype float32" in said
    assert not told(caplog)


def test_where_examples_are_hidden_one_of_them_never_takes_its_whole_client_away(world):
    """That would move the sum by more than one row; so there is no such zero, and the run would be refused."""
    for privacy, is_there in ((EXAMPLE, False), (CLIENT, True)):
        setup = ready(world, "federated", privacy)
        release = setup.defense.releases[UploadKind.VECTOR]
        assert isinstance(release, Bounded)
        zero = release.zero(setup.method.asks(0)[1], None, 0)
        assert (zero is not None) == is_there
    assert not release.alone(zero, 5).any()


def test_adapters_that_are_not_finite_count_as_no_change(world, tmp_path, spoil, caplog):
    adapters = {"kind": "fed_lora", "rounds": 2, "rank": 2, "aggregation": "uniform", "steps": 6}
    spoil(CLIENT).losses()
    privacy = {"epsilon": 4.0, "delta": 1e-3, **CLIENT}
    changes = {"method": adapters, "defense": {"kind": "none", "privacy": privacy}}
    given = [part for name, value in changes.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    done = called("run", world / "config.yaml", *given, "--out", tmp_path / "run")
    assert done.code == 0, done
    assert [line.split(":")[0] for line in told(caplog)] == [
        "client 2, round 0, weights",
        "client 2, round 1, weights",
    ]
    sent = rows_of(tmp_path / "run", UploadKind.WEIGHTS)
    assert [client for client, row in sent.items() if not row.any()] == [BROKEN]
