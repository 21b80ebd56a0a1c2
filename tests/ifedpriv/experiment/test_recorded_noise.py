"""The noise in what a run records, kind by kind and round by round: its width, and its law.

The un-noised sums come from the running process, where clients bound their rows; everything else is read from the
recording. False-alarm rate: `ALARM` for each kind of upload in a test, half of it for its variance (chi square, both
sides) and half for its law (Kolmogorov and Smirnov, exactly); and once more for the law of all kinds together.

What this can see: half of the noise in any kind of 60 numbers or more by its variance, and from some 300 numbers on by
its law. The scores of one run are 3 numbers where they are summed: runs on many seeds have enough of them.
"""

import json
from collections import defaultdict

import numpy as np
import pytest
from attacked import attacked_config
from sampling import ALARM, Law
from scipy import stats
from tiny import examples, write_config

from defenses.dp import release as releases
from defenses.dp.release import ARRAY, Bounded
from defenses.upload import UploadKind
from defenses.view import ServerView
from ifedpriv.config import load_config
from ifedpriv.experiment.prepare import prepare
from ifedpriv.experiment.run import execute
from ifedpriv.experiment.rundir import RunDirectory

ALL_KINDS = {UploadKind.VECTOR, UploadKind.COEFFICIENTS, UploadKind.SCORES}
WAYS = {
    "central": ("none", 6, {"trust": "central"}),
    "local": ("none", 24, {"trust": "local"}),
    "masked": ("masked", 6, {"trust": "distributed", "dropout": 0.2}),
    "masked, skellam, clients": (
        "masked",
        6,
        {"trust": "distributed", "unit": "client", "grid": {"noise": "skellam"}},
    ),
}


class Spy:
    """What clients' rows add up to before noise, as the process has it while a run is played."""

    def __init__(self, patch):
        self.before = defaultdict(list)
        self.ways = {}
        contribution, several, take = releases.contribution, Bounded.several, Bounded.take
        last = []

        def contributed(*given, **named):
            found = contribution(*given, **named)
            last[:] = [found.total.astype(np.float64)]
            return found

        def played(release, offered, centre, roster, entropy, times, told=None):
            sent = several(release, offered, centre, roster, entropy, times, told)
            self.before[release.kind, offered.round].append(last[0])
            return sent

        def taken(release, aggregate, layout, centre, roster, entropy):
            coordinates = release.coordinates(centre, aggregate.round)
            self.ways[release.kind, aggregate.round] = release, coordinates, release.lattice(roster)
            return take(release, aggregate, layout, centre, roster, entropy)

        patch.setattr(releases, "contribution", contributed)
        patch.setattr(Bounded, "several", played)
        patch.setattr(Bounded, "take", taken)


def played(folder, way, patch, rounds, seed=0):
    """A run of one way, its recording, and what was spied."""
    kind, clients, section = WAYS[way]
    folder.mkdir(parents=True)
    lines = [json.dumps({"text": example.text}) for example in examples(40, 9)]
    (folder / "public.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    privacy = {
        "epsilon": 4.0,
        "delta": 1e-3,
        "max_examples": 64,
        # Shrinkage pulls a mean of noise to 0, and would have to be undone first.
        "vector": {"share": 0.4, "shrink": False},
        "coefficients": {"share": 0.3, **({} if section.get("unit") else {"rate": 0.5})},
        "scores": {"share": 0.3},
        "public": {"path": str(folder / "public.jsonl"), "texts": 32},
        **section,
    }
    aggregation = "uniform" if section.get("unit") else "count"
    calibration = {"rounds": rounds, "steps": 1, "batch_size": 4}
    method = {"kind": "ifed_icl", "aggregation": aggregation, "guard": True, "calibration": calibration}
    asked = attacked_config(folder, defense={"kind": kind, "privacy": privacy}, method=method)
    asked["evaluation"]["validation_fraction"] = 0.3
    asked |= {"partition": {"kind": "iid", "clients": clients}, "seed": seed}
    config = load_config(write_config(folder / "config.yaml", asked))
    spy = Spy(patch)
    execute(prepare(config), RunDirectory.create(folder / "run", config))
    return ServerView.open(folder / "run" / "view"), spy


def noise_of(view, spy, kind, number):
    """Noise of one round in steps, ``[uploads or sums, numbers]``, and its claimed deviation."""
    release, coordinates, terms = spy.ways[kind, number]
    before = np.stack(spy.before[kind, number])
    frames = view.uploads(kind) if release.trust == "local" else view.computed(kind)
    frames = [frame.upload for frame in frames if frame.upload.round == number]
    if release.trust == "local":
        return np.stack([upload.arrays[ARRAY] for upload in frames]) - before, terms.share
    if release.trust == "distributed":
        (mean,) = [upload.arrays[ARRAY] for upload in frames if ARRAY in upload.arrays]
        after = mean.astype(np.float64) * len(before)
        return np.rint(after) - before.sum(axis=0), terms.share * np.sqrt(len(before))
    (mean,) = frames
    flat = np.concatenate([array.reshape(-1) for array in mean.arrays.values()])
    after = coordinates.forward(flat[None])[0] * mean.weight / terms.clip * terms.steps
    after = np.append(after, mean.weight * terms.unit) if terms.counted else after
    return np.rint(after) - before.sum(axis=0), terms.noise


def evenly(noise, deviation, law):
    """Where each number lies in its claimed law: spread evenly over 0 to 1, whatever that law is."""
    claimed = Law.skellam(deviation**2) if law == "skellam" else Law.discrete_gaussian(deviation)
    below, upto = (claimed.cumulative(noise.astype(np.int64) - back) for back in (1, 0))
    return below + np.random.default_rng(5).random(noise.size) * (upto - below)


def alarms(runs):
    """Which kinds are noised otherwise than claimed, by which check; and how many numbers of each there are."""
    scaled, places = defaultdict(list), defaultdict(list)
    for view, spy in runs:
        for kind, number in spy.ways:
            noise, deviation = noise_of(view, spy, kind, number)
            scaled[kind].append(noise.reshape(-1) / deviation)
            law = spy.ways[kind, number][0].grid.noise
            places[kind].append(evenly(noise.reshape(-1), deviation, law))
    found = set()
    for kind in scaled:
        numbers = np.concatenate(scaled[kind])
        low, high = stats.chi2.ppf([ALARM / 4, 1 - ALARM / 4], numbers.size)
        if not low < np.square(numbers).sum() < high:
            found.add((str(kind), "variance"))
        if stats.kstest(np.concatenate(places[kind]), "uniform").pvalue < ALARM / 2:
            found.add((str(kind), "law"))
    together = np.concatenate([np.concatenate(parts) for parts in places.values()])
    if stats.kstest(together, "uniform").pvalue < ALARM:
        found.add(("all", "law"))
    return found, {kind: sum(map(len, parts)) for kind, parts in scaled.items()}


@pytest.fixture
def halved(monkeypatch):
    """Half of the noise that is claimed, wherever a release draws it."""
    drawn = releases.drawn
    monkeypatch.setattr(releases, "drawn", lambda kind, deviation, *rest: drawn(kind, deviation / 2, *rest))


@pytest.mark.parametrize("way", ["central", "local", "masked"])
def test_recorded_noise_has_the_claimed_law(tmp_path, way, monkeypatch):
    run = played(tmp_path / "run", way, monkeypatch, rounds=8)
    found, numbers = alarms([run])
    assert set(numbers) == ALL_KINDS
    assert len([kind for kind, _ in run[1].ways if kind is UploadKind.COEFFICIENTS]) == 8
    assert not found


@pytest.mark.parametrize("way", ["central", "local", "masked"])
def test_half_of_the_noise_is_caught(tmp_path, way, monkeypatch, halved):
    found, numbers = alarms([played(tmp_path / "run", way, monkeypatch, rounds=8)])
    many = {kind for kind, count in numbers.items() if count >= 60}
    assert many == (ALL_KINDS if way == "local" else ALL_KINDS - {UploadKind.SCORES})
    assert {(str(kind), "variance") for kind in many} <= found


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_forty_rounds_have_the_claimed_law(tmp_path, way, monkeypatch):
    assert not alarms([played(tmp_path / "run", way, monkeypatch, rounds=40)])[0]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_law_of_half_of_the_noise_is_another(tmp_path, way, monkeypatch, halved):
    found, _ = alarms([played(tmp_path / "run", way, monkeypatch, rounds=40)])
    assert {("coefficients", "law"), ("all", "law")} <= found


def on_seeds(folder, way, patch):
    """Runs of one round each, whose scores are many numbers together."""
    runs = []
    for seed in range(24):
        with patch.context() as each:
            runs.append(played(folder / str(seed), way, each, rounds=1, seed=seed))
    return runs


@pytest.mark.slow
@pytest.mark.parametrize("way", ["central", "masked", "masked, skellam, clients"])
def test_scores_on_many_seeds(tmp_path, way, monkeypatch):
    found, numbers = alarms(on_seeds(tmp_path, way, monkeypatch))
    assert numbers[UploadKind.SCORES] >= 48
    assert not found


@pytest.mark.slow
def test_half_of_the_noise_in_scores_is_caught_on_many_seeds(tmp_path, monkeypatch, halved):
    assert ("scores", "variance") in alarms(on_seeds(tmp_path, "masked", monkeypatch))[0]
