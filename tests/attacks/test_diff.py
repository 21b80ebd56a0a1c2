"""Differences of sums, from real runs too: isolated vectors are the clients' own, and nothing else is claimed."""

import json
from dataclasses import replace

import numpy as np
import pytest
from attacked import attacked_run, frames_view
from hypothesis import given
from hypothesis import strategies as st
from program import called
from tiny import LAYERS, WIDTH, examples, tiny_backbone

from attacks._base.targets import VARIANCE, read_targets
from attacks._differences.isolated import Kind, differences
from attacks._differences.sums import Sum, read_sums
from attacks._judging.score import Wishes, open_subject
from attacks._program.diff_launch import verdict_of
from attacks._program.launch import LEAKS
from attacks.diff import diff
from defenses.session import RoundInfo
from defenses.specs import MaskedSpec
from defenses.upload import UploadKind
from defenses.view import ServerView, ServerViewWriter
from defenses.view_facts import SumFacts
from ifedpriv.icl.extract import extract

SHAPE = (2, 2, 3)
MISSING = 0.4
"""With seed 0, of six clients number 3 alone fails at this rate."""


def sums_of(rosters, vectors, weights=None, recordings=None, error=0.0, seed=0):
    """Sums over rosters of given clients' vectors, each with an error of its own."""
    rng = np.random.default_rng(seed)
    found = []
    for i, roster in enumerate(rosters):
        counts = [1.0 if weights is None else weights[c] for c in sorted(roster)]
        total = sum(w * vectors[c] for w, c in zip(counts, sorted(roster), strict=True))
        total = total + error * rng.standard_normal(SHAPE)
        recording = i if recordings is None else recordings[i]
        clients = tuple(sorted(roster))
        variance = np.full(SHAPE, error**2 + 1e-18)
        found.append(
            Sum(
                recording,
                0,
                clients,
                total,
                sum(counts),
                weights is not None,
                variance,
                np.zeros_like(variance),
            )
        )
    return found


def vectors_of(clients, seed=1):
    rng = np.random.default_rng(seed)
    return {c: rng.standard_normal(SHAPE) for c in range(clients)}


@given(
    st.lists(st.frozensets(st.integers(0, 7), min_size=3), min_size=2, max_size=5, unique=True),
    st.booleans(),
)
def test_every_isolated_vector_is_the_clients_mean_and_its_error_is_as_large_as_it_says(rosters, counted):
    vectors = vectors_of(8)
    weights = {c: float(3 + c) for c in range(8)} if counted else None
    sums = sums_of(rosters, vectors, weights, error=1e-3)
    made = differences(sums, minimum=3)
    assert not made.changed
    for each in made.found:
        if each.kind is Kind.CLIENT:
            true = vectors[each.clients[0]]
            assert each.examples == (weights[each.clients[0]] if counted else None)
        else:
            shares = np.array([weights[c] if counted else 1.0 for c in each.clients])
            true = np.tensordot(shares / shares.sum(), np.stack([vectors[c] for c in each.clients]), axes=1)
            assert len(each.clients) < 3
        # Of 12 numbers; six standard errors is far beyond what chance gives in any run of this test.
        assert np.abs(each.vector - true).max() < 6 * np.sqrt(each.variance.max()) + 1e-9


def test_errors_add_up():
    """Over 400 draws, the squared error of an isolated vector is within 20% of what is said."""
    vectors = vectors_of(4)
    off = []
    for seed in range(400):
        sums = sums_of([{0, 1, 2, 3}, {0, 1, 2}], vectors, error=0.1, seed=seed)
        one = next(d for d in differences(sums, 3).found if d.clients == (3,))
        off.append((one.vector - vectors[3]) ** 2 / one.variance)
    assert np.mean(off) == pytest.approx(1, rel=0.2)


def test_noise_of_both_releases_is_added():
    sums = [
        replace(each, noised=np.full(SHAPE, n**2))
        for each, n in zip(sums_of([{0, 1, 2}, {0, 1}], vectors_of(3)), (3.0, 4.0), strict=True)
    ]
    (one,) = (d for d in differences(sums, 3).found if d.kind is Kind.CLIENT)
    assert one.noise == pytest.approx(5)


def test_a_client_that_has_grown_gives_its_new_examples_alone():
    before, new = vectors_of(3), np.full(SHAPE, 7.0)
    weights = {0: 4.0, 1: 4.0, 2: 4.0}
    grown = {**before, 1: (4 * before[1] + 2 * new) / 6}
    sums = [
        *sums_of([{0}, {1}, {2}], before, weights, recordings=[0, 0, 0]),
        *sums_of([{0}, {1}, {2}], grown, {**weights, 1: 6.0}, recordings=[1, 1, 1]),
    ]
    made = differences(sums, 3)
    assert [(d.kind, d.clients, d.examples) for d in made.found] == [(Kind.NEW, (1,), 2)]
    assert np.allclose(made.found[0].vector, new)
    assert verdict_of(made, 3)[0] == "severe"
    back = differences(
        [*(replace(s, recording=0) for s in sums[3:]), *(replace(s, recording=1) for s in sums[:3])], 3
    )
    assert [(d.kind, d.clients, d.examples) for d in back.found] == [(Kind.GONE, (1,), 2)]
    assert np.allclose(back.found[0].vector, new)


def test_new_examples_among_many_clients_are_isolated_but_not_given_to_one():
    vectors, new = vectors_of(4), np.full(SHAPE, 5.0)
    (one,) = sums_of([{0, 1, 2, 3}], vectors, dict.fromkeys(range(4), 4.0))
    later = replace(one, recording=1, total=one.total + new, weight=one.weight + 1)
    made = differences([one, later], 3)
    assert [(d.kind, d.clients, d.examples) for d in made.found] == [(Kind.NEW, (0, 1, 2, 3), 1)]
    assert np.allclose(made.found[0].vector, new)
    assert verdict_of(made, 3) == ("works", "1 examples that came or left are isolated, of clients among 4")


def test_what_a_change_is_mixed_with_is_not_claimed():
    """All of 0 to 3 again with other numbers, then 0 to 2: the difference is client 3 and the change."""
    vectors = vectors_of(4)
    first, second = sums_of([{0, 1, 2, 3}, {0, 1, 2, 3}], vectors)
    moved = replace(second, total=second.total + 1)
    (third,) = sums_of([{0, 1, 2}], vectors, recordings=[2])
    made = differences([first, moved, third], 3)
    assert made.changed
    assert [d for d in made.found if d.kind is Kind.CLIENT] == []
    assert "data have changed" in made.refused[0]
    assert verdict_of(made, 3)[0] == "inconclusive"


def test_nothing_is_claimed_of_one_sum_or_of_equal_rosters():
    vectors = vectors_of(5)
    for rosters in ([range(5)], [range(5), range(5)], [{0, 1, 2, 3, 4}, {0, 1}]):
        made = differences(sums_of([set(r) for r in rosters], vectors), 3)
        names = [d.clients for d in made.found]
        assert names == ([] if len(rosters[-1]) == 5 else [(0, 1)]) or names == []
    resisted = differences(sums_of([set(range(6)), {0, 1, 2}], vectors_of(6)), 3)
    assert verdict_of(resisted, 3)[0] == "resisted"
    assert verdict_of(differences([], 3), 3)[0] == "not evaluable"
    alone = differences(sums_of([set(range(5))], vectors), 3)
    assert verdict_of(alone, 3) == (
        "not evaluable",
        "there is one sum, over 5 clients, and no second one to subtract",
    )


def test_an_uneven_combination_is_said_and_not_read():
    """Clients 0 and 1 against each other: it depends on two clients, and is no mean of them."""
    made = differences(sums_of([{0, 2, 3}, {1, 2, 3}], vectors_of(4)), 3)
    assert made.found == ()
    assert "who count unlike in it" in made.refused[0]
    assert verdict_of(made, 3)[0] == "inconclusive"


# ---- from recordings


def masked_view(folder, sums, facts=True, weight=None):
    """A recording under masks, of given sums over given rosters of the tiny backbone's shape."""
    from tiny import task

    from defenses.codec import Precision
    from defenses.frame import SERVER, encode
    from defenses.upload import Upload
    from defenses.view import Direction
    from ifedpriv.experiment.facts import task_hash

    spec = MaskedSpec()
    with ServerViewWriter.create(
        folder, backbone=tiny_backbone().fingerprint, task=task_hash(task()), defense=spec
    ) as writer:
        for place, (clients, mean) in enumerate(sums):
            upload = Upload({"vector": mean}, weight or float(len(clients)), 0, UploadKind.VECTOR)
            if place == 0:
                everybody = tuple(sorted({c for held, _ in sums for c in held}))
                writer.begin_round(RoundInfo(0, UploadKind.VECTOR, everybody, upload.layout))
            if facts:
                writer.add_sum(SumFacts(0, UploadKind.VECTOR, clients))
            frame = encode(upload, SERVER, Precision.FP32)
            writer.append(Direction.COMPUTED, sender=SERVER, recipient=SERVER, round_number=0, frame=frame)
    return ServerView.open(folder)


def means_of(*rosters):
    rng = np.random.default_rng(3)
    vectors = {c: rng.standard_normal((LAYERS, 2, WIDTH)) for roster in rosters for c in roster}
    return vectors, [(tuple(r), np.mean([vectors[c] for c in r], axis=0).astype(np.float32)) for r in rosters]


def test_sums_of_groups_are_read_each_by_itself(tmp_path):
    _, sums = means_of((0, 1, 2), (3, 4, 5))
    view = masked_view(tmp_path / "view", sums)
    made, why = diff([view], tiny_backbone(), 3)
    assert why == ("",)
    assert [each.clients for each in made.groups] == [(0, 1, 2), (3, 4, 5)]
    assert np.allclose(made.groups[1].vector, sums[1][1])
    assert verdict_of(made, 3)[0] == "resisted"


def test_two_recordings_isolate_the_one_who_is_missing(tmp_path):
    vectors, (whole, rest) = means_of((0, 1, 2, 3), (0, 1, 2))
    views = [masked_view(tmp_path / "a", [whole]), masked_view(tmp_path / "b", [rest])]
    made, _ = diff(views, tiny_backbone(), 3)
    (one,) = made.found
    assert (one.clients, str(one.combination)) == ((3,), "1 - 2")
    assert np.abs(one.vector - vectors[3]).max() < 1e-5
    # The grid's rounding of 4 and of 3 uploads, of a step of 64 / 32767.
    assert np.sqrt(one.variance.mean()) == pytest.approx(np.sqrt(7 / 6) * 64 / 32767, rel=0.01)


def test_a_recording_that_does_not_say_whose_sums_they_are(tmp_path):
    _, sums = means_of((0, 1, 2, 3))
    with_all = masked_view(tmp_path / "a", sums, facts=False)
    assert read_sums(with_all, tiny_backbone(), 0)[0][0].clients == (0, 1, 2, 3)
    unknown = masked_view(tmp_path / "b", sums, facts=False, weight=3.0)
    found, why = read_sums(unknown, tiny_backbone(), 0)
    assert (found, why) == ((), "the recording does not say whose uploads are in its sums")


def test_a_target_keeps_the_error_that_it_was_isolated_with(tmp_path):
    vector = np.random.default_rng(0).standard_normal((LAYERS, 2, WIDTH)).astype(np.float32)
    variance = np.full(vector.size, 0.25, dtype=np.float32)
    view = frames_view(tmp_path / "view", [{"vector": vector, VARIANCE: variance}])
    (target,) = read_targets(view, tiny_backbone())[0].targets
    assert np.allclose(target.variance, 0.25, atol=1e-3)


# ---- whole runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same six clients under masks with all there, and with one missing."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        attacked_run(folder / name, defense={"kind": "masked"}, cohort={"failure_rate": rate})
        for name, rate in (("all", 0.0), ("missing", MISSING))
    ]


def test_a_client_missing_once_is_read_as_if_there_were_no_masks(runs, tmp_path):
    said = called("attack", "diff", *runs, "--pool", "150", "--json", "--out", tmp_path / "found.json")
    assert said.code == 0, said
    result = json.loads(said.out)
    assert json.loads((tmp_path / "found.json").read_text()) == result
    assert (result["verdict"], result["minimum"], result["rank"]) == ("severe", 3, 2)
    (one,) = result["isolated"]
    assert one["combination"] == "1 - 2"
    missing = set(result["recordings"][0]["sums"][0]["clients"]) - set(
        result["recordings"][1]["sums"][0]["clients"]
    )
    assert one["clients"] == sorted(missing)
    # Both runs round with one seed, so that of eleven rounding errors all but the missing client's cancel: 1/11.
    assert 0.04 < one["squared_deviation_from_truth"] < 0.25
    assert "drew their noise and rounding from one seed" in result["remarks"][0]
    by_name = {(e["attack"], f["method"], f["metric"]): f for e in result["read"] for f in e["findings"]}
    assert by_name["invert", "corpus", "corpus recall"]["vectors"] == 1
    assert list(by_name["labels", "class means", "total variation"]["by_vector"]) == [one["who"]]
    assert {e["scope"] for e in result["read"]} == {"isolated by combinations of sums"}
    assert result["scored"]
    assert "lovely" not in said.out


def test_the_gate_closes_and_the_table_says_why(runs):
    said = called("attack", "diff", *runs, "--algebra", "--fail-on-leak")
    assert said.code == LEAKS, said
    assert "ifedpriv attack diff: SEVERE" in said.out
    assert "1 clients are isolated one by one" in said.out
    assert "recording 2 (defense masked): sums over 5 clients" in said.out
    assert said.err == ""


def test_of_one_run_under_masks_there_is_nothing_to_subtract(runs):
    said = called("attack", "diff", runs[0], "--algebra", "--json", "--fail-on-leak")
    assert said.code == 0, said
    result = json.loads(said.out)
    assert (result["isolated"], result["smallest"]) == ([], [0, 1, 2, 3, 4, 5])
    why = "there is one sum, over 6 clients, and no second one to subtract"
    assert (result["verdict"], result["why"]) == ("not evaluable", why)
    table = called("attack", "diff", runs[0], "--algebra")
    assert (table.code, "diff: NOT EVALUABLE" in table.out, why in table.out) == (0, True, True)
    asked = called("attack", "diff", runs[0], "--algebra", "--json", "--min-clients", "7")
    assert json.loads(asked.out)["verdict"] == "works"


def test_isolated_vectors_are_those_of_the_clients_own_texts(runs):
    subject = open_subject(runs[0], Wishes(pool=150))
    made, _ = diff([open_subject(run, Wishes(pool=150)).view for run in runs], subject.backbone, 3)
    (one,) = made.found
    held = subject.truth[one.clients[0]]
    own = extract(subject.backbone, subject.knowledge.task, held, position=subject.knowledge.position).values
    assert np.abs(one.vector - own).max() < 0.02


def test_what_was_added_to_every_client_is_read_off_two_open_runs(tmp_path):
    """Without a defense and with counts, a second upload gives the new example of each client by itself."""
    method = {"kind": "ifed_icl", "aggregation": "count", "guard": False, "calibration": {"rounds": 0}}
    runs = [
        attacked_run(
            tmp_path / str(size),
            method=method,
            partition={"kind": "iid", "clients": 6, "examples_per_client": size},
        )
        for size in (5, 6)
    ]
    said = called("attack", "diff", *runs, "--pool", "150", "--read-with", "invert", "--json", "--reveal")
    assert said.code == 0, said
    result = json.loads(said.out)
    assert result["verdict"] == "severe"
    assert [each["examples"] for each in result["isolated"]] == [1] * 6
    recall = next(f for f in result["read"][0]["findings"] if f["metric"] == "corpus recall")
    assert recall["value"] == 1.0


def test_groups_are_read_and_coefficients_are_said_not_to_be(tmp_path):
    method = {"kind": "ifed_icl", "guard": False, "calibration": {"rounds": 1, "steps": 1, "batch_size": 4}}
    defense = {"kind": "masked", "groups": 3, "collusion": 0.1}
    run = attacked_run(tmp_path, defense=defense, method=method, partition={"kind": "iid", "clients": 9})
    said = called("attack", "diff", run, "--pool", "150", "--read-with", "labels", "--json")
    assert said.code == 0, said
    result = json.loads(said.out)
    assert result["verdict"] == "resisted"
    assert [len(one["clients"]) for one in result["recordings"][0]["sums"]] == [3, 3, 3]
    (read,) = result["read"]
    assert read["scope"] == "single sums of one round"
    assert read["findings"][0]["vectors"] == 3
    assert any("1 rounds of coefficients" in why for why in result["not_evaluable"])


def test_recordings_of_different_tasks_are_refused(runs, tmp_path):
    data = {**json.loads((runs[0] / "view" / "view.json").read_text())}
    assert data["sums"] == [{"round": 0, "kind": "vector", "clients": [0, 1, 2, 3, 4, 5]}]
    assert "holds no frames.bin" in called("attack", "diff", runs[0], tmp_path).refusal()
    assert "--strong is given to diff" in called("attack", "diff", runs[0], "--strong").refusal()
    assert "--min-clients is 1" in called("attack", "diff", runs[0], "--min-clients", "1").refusal()
    other = attacked_run(
        tmp_path / "other", method={"kind": "ifed_icl", "guard": False, "calibration": {"rounds": 0}}
    )
    (other / "view" / "view.json").write_text(json.dumps({**data, "task": "0" * 64}))
    assert "another template" in called("attack", "diff", runs[0], other).refusal()


def test_a_private_difference_has_the_noise_of_both_releases_and_says_how_much(tmp_path):
    """Masked sums with noise that clients add together: one is missing, and what is left of it is nearly all noise."""
    lines = [json.dumps({"text": example.text}) for example in examples(40, 9)]
    (tmp_path / "public.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    privacy = {
        "epsilon": 4.0,
        "delta": 1e-3,
        "trust": "distributed",
        "dropout": 0.3,
        "max_examples": 64,
        "public": {"path": str(tmp_path / "public.jsonl"), "texts": 32},
    }
    runs = [
        attacked_run(
            tmp_path / name,
            defense={"kind": "masked", "privacy": privacy},
            cohort={"failure_rate": rate},
            method={"kind": "ifed_icl", "aggregation": "count", "guard": False, "calibration": {"rounds": 0}},
        )
        for name, rate in (("all", 0.0), ("missing", MISSING))
    ]
    said = called("attack", "diff", *runs, "--algebra", "--json")
    assert said.code == 0, said
    result = json.loads(said.out)
    (one,) = result["isolated"]
    assert one["clients"] == [3]
    # Noise is nearly the whole error, and larger than in either release, since one client's examples are fewer.
    assert one["noise"] == pytest.approx(one["error"], rel=0.01)
    assert one["noise"] > 0
    assert "drew their noise and rounding from one seed" in result["remarks"][0]
    bare = called("attack", "diff", *(run / "view" for run in runs), "--config", runs[0] / "config.yaml",
                  "--noise", "0.5", "--algebra", "--json")  # fmt: skip
    (read,) = json.loads(bare.out)["isolated"]
    assert read["noise"] > 0.5
