"""What membership attacks and audits reach: by examples and noise, by estimator, and in what time.

    python benchmarks/audit_strength.py [--seeds 10] [--trials 10000] [--part estimators|audits|membership|release]

Membership: means of activations of the shipped model on task ``topic``, with Gaussian noise on every number, in a pool
of 1,000 candidates; the attacker is told the noise. Estimators: normal scores of a Gaussian mechanism of known ε.
Audit: a clipped sum with distributed Gaussian noise, of the size of the shipped model's vectors, and small ones with
one bug each; seconds are of the processor, and the sound one is timed at all its trials. Release: every release of some
runs, its canaries played many rounds at once and one by one, each against runs of its own. Results go to
``results/audit.json``; a part by itself leaves the others there as they are.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _shared import RESULTS, machine, print_machine, store

from attacks._base.attack import Knowledge, Others, Who
from attacks._base.declared import Declared
from attacks._base.space import read
from attacks._base.targets import Target, noisy, rounding_variance
from attacks._judging.score import Wishes, public_texts
from attacks._mechanisms.one_run import one_run, one_run_gaussian
from attacks._members.likelihood import (
    Population,
    cosine,
    inner_product,
    knowing_all_others,
    likelihood_ratio,
    shadow,
)
from attacks._members.shadows import Shadows, in_and_out, relative
from attacks._mixes.labels import counted
from attacks._program.own_audit import often
from attacks._program.released import OwnRelease, own_releases
from attacks._statistics.epsilon import ESTIMATORS, ceiling
from attacks._statistics.gaussian import epsilon_of, mu_of
from attacks._statistics.roc import auc, rate_at
from attacks.audit import audit
from defenses.codec import Precision
from defenses.entropy import InsecureSeeded
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import parse_config
from ifedpriv.data import shipped
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.experiment.prepare import prepare
from ifedpriv.icl.prompts import Position

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "_support"))
from mechanisms import BUGS, ClippedSum, base

DELTA, ALPHA, POOL = 1e-5, 0.05, 1000
SHADOWS = (4, 64)
SINGLY = 200
"""The most calls by themselves that are timed."""
_EVERYBODY = {"trust": "distributed", "epsilon": 2, "delta": DELTA, "dropout": 0.1}
_EXAMPLES = {"kind": "masked", "privacy": {**_EVERYBODY, "unit": "example", "max_examples": 256}}
_CLIENTS = {"kind": "masked", "privacy": {**_EVERYBODY, "unit": "client"}}
_WHERE = {
    "data": {"name": "mood", "train": 700},
    "partition": {"kind": "iid", "clients": 10, "examples_per_client": 50},
}
RUNS = {
    "ifed_icl": {**_WHERE, "defense": _EXAMPLES, "method": {"aggregation": "count"}},
    "prototype_icl": {
        **_WHERE,
        "defense": _CLIENTS,
        "method": {"kind": "prototype_icl", "clusters": {"number": "auto", "min_members": 3}},
    },
    "ficpd": {**_WHERE, "defense": _CLIENTS, "method": {"kind": "ficpd", "clusters": 4}},
}
"""One of each method whose uploads are noised, with everything that it releases."""


def membership(seeds: int) -> list[dict[str, Any]]:
    """Mean AUC over vectors, by examples behind one and by μ: the clip's norm over k times the noise."""
    backbone = Backbone.load(MODEL_PATH)
    data = shipped.load("topic", seed=0, train=POOL, validation=1, test=1)
    public = shipped.load("topic", seed=5, train=1000, validation=1, test=1).train
    knowledge = Knowledge(data.task, Position.LABEL, tuple(public), pool=tuple(data.train))
    vectors = read(backbone, knowledge, knowledge.pool, "").astype(np.float64)
    clip = float(np.linalg.norm(vectors.reshape(POOL, -1), axis=1).max())
    rows = []
    for k in (5, 20, 100):
        for mu in (None, 20.0, 3.33, 1.0):
            noise = 0.0 if mu is None else clip / (k * mu)
            cells: dict[str, list[float]] = {}
            population = None
            for seed in range(seeds):
                rng = np.random.default_rng([k, seed])
                members = rng.choice(POOL, k, replace=False)
                vector = vectors[members].mean(axis=0).astype(np.float16).astype(np.float64)
                aim = Target(Who(0), vector, rounding_variance(vector, Precision.FP16), None)
                aim = noisy(aim, Declared(noise), 1)
                aim = Target(aim.who, vector + noise * rng.normal(size=vector.shape), aim.variance, None)
                told = replace(knowledge, declared=Declared(noise))
                population = population or Population.of(backbone, told, [aim])
                known = Others(tuple(knowledge.pool[i] for i in members[1:]), (1 / k,) * (k - 1), 1 / k)
                held = np.isin(np.arange(POOL), members)
                (aim,) = counted(backbone, told, [aim])
                ratio = likelihood_ratio(population, aim)
                strong = knowing_all_others(backbone, knowledge, population, aim, known)
                for name, scores in (
                    ("likelihood ratio", ratio),
                    ("inner product", inner_product(population, aim)),
                    ("cosine", cosine(population, aim)),
                    ("all others known", strong),
                    *_beside_shadows(population, aim, seed),
                ):
                    kept = ~np.isnan(scores)
                    sides = scores[held & kept], scores[~held & kept]
                    cells.setdefault(name, []).append(auc(*sides))
                    if name == "likelihood ratio":
                        cells.setdefault("TPR at 1% FPR", []).append(rate_at(*sides, 0.01).value)
            epsilon = None if mu is None else epsilon_of(mu, DELTA)
            row = {"k": k, "mu": mu, "epsilon": epsilon, **{n: float(np.mean(v)) for n, v in cells.items()}}
            print({name: round(v, 3) if isinstance(v, float) else v for name, v in row.items()}, flush=True)
            rows.append(row)
    return rows


def _beside_shadows(population: Population, aim: Target, seed: int) -> list[tuple[str, Any]]:
    """Scores beside few shadows and many."""
    found: list[tuple[str, Any]] = []
    for count in SHADOWS:
        shadows = Shadows.cast(population, aim, count, seed)
        found += [
            (f"shadow, {count}", shadow(population, aim, count, seed)),
            (f"shadow, in and out, {count}", in_and_out(population, aim, shadows)),
            (f"RMIA, {count}", relative(population, aim, shadows)),
        ]
    return found


def estimators(seeds: int, trials: int) -> list[dict[str, Any]]:
    """Mean bound of every estimator at known ε, and how often one was above it."""
    rows = []
    for truth in (1.0, 2.0, 4.0, 8.0):
        found: dict[str, list[float]] = {}
        for seed in range(seeds):
            rng = np.random.default_rng([seed, 1])
            inside, outside = rng.normal(mu_of(truth, DELTA), 1, trials), rng.normal(0, 1, trials)
            for name, bound in ESTIMATORS.items():
                found.setdefault(str(name), []).append(bound(inside, outside, DELTA, ALPHA, seed))
            coins = rng.random(2 * trials) < 0.5
            scores = rng.normal(size=2 * trials) + coins * mu_of(truth, DELTA)
            found.setdefault("one run", []).append(one_run(scores[coins], scores[~coins], DELTA, ALPHA))
            found.setdefault("one run, gaussian", []).append(
                one_run_gaussian(scores[coins], scores[~coins], DELTA, ALPHA)
            )
        row: dict[str, Any] = {
            "epsilon": truth,
            **{name: float(np.mean(each)) for name, each in found.items()},
        }
        row["above the truth"] = {name: int((np.array(each) > truth).sum()) for name, each in found.items()}
        print({n: round(v, 2) if isinstance(v, float) else v for n, v in row.items()}, flush=True)
        rows.append(row)
    return rows


def audits(trials: int) -> list[dict[str, Any]]:
    """Audits of the sound mechanism at the shipped model's size, and of all bugs at a small one."""
    rows: list[dict[str, Any]] = []
    for bug in ("", *BUGS):
        mechanism = ClippedSum(bug=bug, rounds=2 if bug == "rounds share a seed" else 1)
        started = time.process_time()
        data = base() if bug else base(shape=(5, 2, 128))
        made = audit(
            mechanism, data, mechanism.claim, trials=200 if bug else trials, one_run=0 if bug else 1000
        )
        best = max(game.bounds[0].epsilon for game in made.games)
        rows.append(
            {
                "bug": bug or "none",
                "conclusion": str(made.conclusion),
                "accounted": made.claim.epsilon,
                "proved": best,
                "checks that fail": [check.name for check in made.checks if check.holds is False],
                "games that prove it": sum(str(game.conclusion) == "violation" for game in made.games),
                "seconds": round(time.process_time() - started, 1),
                "canaries": len(made.games),
                "trials": made.trials,
            }
        )
        print(rows[-1], flush=True)
    took = rows[0]["seconds"] / rows[0]["canaries"]
    print(f"{trials:,} trials a side: {rows[0]['seconds']} s, {took:.1f} s a canary", flush=True)
    return rows


def release(trials: int) -> list[dict[str, Any]]:
    """Processor seconds of an audit of a run's own releases: as they are played, and as it would be call by call."""
    rows = []
    for name, config in RUNS.items():
        setup = prepare(parse_config(config, "the run that is audited"))
        public, _ = public_texts(setup.config, setup.data, Wishes(public_texts=200))
        for own in own_releases(setup, DELTA, 3, 8, 0, public):
            assert isinstance(own, OwnRelease)
            rows.append({"run": name, **_played(own, often(trials, own.numbers))})
            print(rows[-1], flush=True)
    return rows


def _played(own: OwnRelease, trials: int) -> dict[str, Any]:
    # The table of the noise is made with the first draw.
    own.mechanism(own.base, InsecureSeeded(0, "first"))
    started = time.process_time()
    made = audit(
        own.mechanism, own.base, own.claim, trials=trials, natural=own.natural, crafted=own.crafted, one_run=0
    )
    whole = time.process_time() - started
    started = time.process_time()
    calls = min(SINGLY, trials, max(10, SINGLY * 1000 // own.numbers))
    for i in range(calls):
        own.mechanism(own.base, InsecureSeeded(i, "alone"))
    call = (time.process_time() - started) / calls
    return {
        "release": own.name,
        "accounted": own.claim.epsilon,
        "proved": max(game.bounds[0].epsilon for game in made.games),
        "conclusion": str(made.conclusion),
        "canaries": len(made.games),
        "trials": trials,
        "numbers": own.numbers,
        "seconds": round(whole, 1),
        "ms a call by itself": round(1e3 * call, 2),
        "seconds, two sides a canary and one call at a time": round(2 * trials * len(made.games) * call, 1),
    }


def main() -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--part", choices=("estimators", "audits", "membership", "release"))
    options = parser.parse_args()
    facts = machine(1)
    print_machine(facts)
    stored = RESULTS / "audit.json"
    kept = json.loads(stored.read_text(encoding="utf-8")) if options.part and stored.is_file() else {}
    asked = {
        "seeds": options.seeds,
        "trials": options.trials,
        "delta": DELTA,
        "ceilings": {str(e): ceiling(e, options.trials, DELTA, ALPHA) for e in ESTIMATORS},
    }
    result: dict[str, Any] = {**kept} if kept else {"machine": facts, **asked}
    parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "estimators": lambda: estimators(options.seeds, options.trials),
        "audits": lambda: audits(options.trials),
        "membership": lambda: membership(options.seeds),
        "release": lambda: release(options.trials),
    }
    for name, measured in parts.items():
        if options.part in (None, name):
            result[name] = measured()
            result[f"{name}, made"] = {"machine": facts, "seeds": options.seeds, "trials": options.trials}
    store("audit", result)


if __name__ == "__main__":
    main()
