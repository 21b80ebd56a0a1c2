"""Membership: what theory says is found, complete on the shipped model undefended, and nothing without a vector."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.special import ndtr

from attacks import membership
from attacks._base.attack import Knowledge, Others, Scope, Who
from attacks._base.declared import Declared
from attacks._base.defaults import SHADOWS
from attacks._base.space import Space, clipped, read
from attacks._base.targets import Target, noisy, rounding_variance
from attacks._judging.words_alone import WordsAlone
from attacks._members.likelihood import (
    SHRUNK,
    Population,
    cosine,
    inner_product,
    knowing_all_others,
    likelihood_ratio,
    shadow,
    weights_of_all,
)
from attacks._members.near import paraphrase_pool
from attacks._mixes.labels import counted
from attacks._statistics.roc import auc
from defenses.codec import Precision
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data import shipped
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.icl.prompts import Position

SIZE, EACH = 300, 20


@cache
def scene():
    """The shipped model, an attacker's knowledge, and the candidates' activations."""
    backbone = Backbone.load(MODEL_PATH)
    data = shipped.load("topic", seed=0, train=SIZE, validation=1, test=1)
    public = shipped.load("topic", seed=5, train=SIZE, validation=1, test=1).train
    knowledge = Knowledge(data.task, Position.LABEL, tuple(public), pool=tuple(data.train))
    return backbone, knowledge, read(backbone, knowledge, knowledge.pool, "").astype(np.float64)


def members_of(seed, examples=EACH):
    return np.random.default_rng(seed).choice(SIZE, examples, replace=False)


def target(members, *, noise=0.0, seed=0, told=None, who=0):
    vector = scene()[2][members].mean(axis=0).astype(np.float16).astype(np.float64)
    variance = rounding_variance(vector, Precision.FP16)
    vector = vector + noise * np.random.default_rng([seed, 1]).normal(size=vector.shape)
    return Target(Who(who), vector, variance, told)


def area(scores, members):
    held = np.isin(np.arange(len(scores)), members)
    return auc(scores[held], scores[~held])


# ---- undefended


def test_the_likelihood_ratio_is_complete_on_undefended_means_of_twenty():
    backbone, knowledge, _ = scene()
    for seed in range(3):
        members = members_of(seed)
        (aim,) = counted(backbone, knowledge, [target(members)])
        population = Population.of(backbone, knowledge, [aim])
        assert area(likelihood_ratio(population, aim), members) >= 0.99
        assert area(shadow(population, aim, SHADOWS, 0), members) >= 0.97
        assert area(weights_of_all(population, aim), members) >= 0.99


def test_paraphrases_of_members_are_told_from_those_of_others():
    """The mean area over 5 vectors of 4 texts; without a vector, 0.5 within 0.13 (two standard errors)."""
    backbone, knowledge, _ = scene()
    areas = []
    for seed in range(5):
        members = members_of(seed, 4)
        (aim,) = counted(backbone, knowledge, [target(members, told=4)])
        population = Population.of(backbone, knowledge, [aim])
        reworded = population.with_candidates(backbone, knowledge, paraphrase_pool(knowledge))
        areas.append(area(likelihood_ratio(reworded, aim), members))
    assert np.mean(areas) > 0.65


def test_cosine_certifies_what_leaks():
    """The common baseline sees little of it: all vectors share a large mean."""
    backbone, knowledge, _ = scene()
    members = members_of(0)
    aim = target(members)
    population = Population.of(backbone, knowledge, [aim])
    simple = [area(score(population, aim), members) for score in (cosine, inner_product)]
    assert max(simple) < 0.9
    assert min(simple) > 0.5


@pytest.mark.parametrize("examples", [1, 5, 20])
def test_the_number_of_examples_is_told_from_the_vector(examples):
    backbone, knowledge, _ = scene()
    aim = target(members_of(1, examples))
    (found,) = counted(backbone, knowledge, [aim])
    assert examples / 2 <= found.number <= 2 * examples
    assert counted(backbone, knowledge, [replace(aim, examples=7)])[0].number == 7
    with pytest.raises(ValueError, match="has to be read first"):
        likelihood_ratio(Population.of(backbone, knowledge, [aim]), aim)


def test_a_strangers_vector_tells_nothing():
    """20 vectors of texts that are not in the pool: the mean area is 0.5 within 4 standard errors of 0.015."""
    backbone, knowledge, _ = scene()
    strangers = shipped.load("topic", seed=9, train=100, validation=1, test=1).train
    vectors = read(backbone, knowledge, strangers, "").astype(np.float64)
    areas, population = [], None
    for seed in range(20):
        vector = vectors[np.random.default_rng(seed).choice(100, EACH, replace=False)].mean(axis=0)
        aim = Target(Who(0), vector, rounding_variance(vector, Precision.FP16), EACH)
        population = population or Population.of(backbone, knowledge, [aim])
        areas.append(area(likelihood_ratio(population, aim), members_of(seed)))
    assert abs(np.mean(areas) - 0.5) < 0.06


# ---- the model that the ratio is optimal in


def test_the_ratio_is_as_strong_as_theory_says():
    """Gaussian activations in known coordinates, noise declared: the area of the linear test is Φ(d'/√2).

    d'² is the candidate's squared Mahalanobis norm over k², on average. 200 vectors: standard error of the mean area
    below 0.01.
    """
    rng = np.random.default_rng(0)
    size, directions, k, noise = 400, 60, 10, 0.1
    spread = np.geomspace(2, 0.1, directions)
    candidates = rng.normal(size=(size, directions)) * spread
    space = Space(
        np.zeros(directions),
        np.ones(directions),
        np.eye(directions),
        spread**2,
        np.full(directions, noise**2),
    )
    population = Population(space, spread**2, candidates, candidates, candidates.astype(np.float32))
    areas = []
    for seed in range(200):
        members = np.random.default_rng(seed).choice(size, k, replace=False)
        vector = candidates[members].mean(axis=0) + noise * np.random.default_rng([seed, 2]).normal(
            size=directions
        )
        aim = Target(Who(0), vector.reshape(1, 1, -1), np.full((1, 1, directions), noise**2), k)
        areas.append(area(likelihood_ratio(population, aim), members))
    strength = np.sqrt(np.sum(spread**2 / (spread**2 / k + noise**2)) / k**2)
    assert np.mean(areas) == pytest.approx(float(ndtr(strength / np.sqrt(2))), abs=0.04)


def test_declared_noise_is_used():
    """An attacker who knows the noise does better than one who takes it for signal, over 12 vectors."""
    backbone, knowledge, vectors = scene()
    noise = 0.3 * float(vectors.std(axis=0).mean())
    aware, unaware = [], []
    for seed in range(12):
        members = members_of(seed, 5)
        aim = target(members, noise=noise, seed=seed, told=5)
        for declared, found in ((Declared(noise), aware), (Declared(), unaware)):
            told = noisy(aim, declared, 1)
            population = Population.of(backbone, replace(knowledge, declared=declared), [told])
            found.append(area(likelihood_ratio(population, told), members))
    assert np.mean(aware) > np.mean(unaware) + 0.02
    assert np.mean(aware) > 0.9
    assert noisy(target([0]), Declared(0.5), 4).variance.mean() == pytest.approx(0.25 / 4, rel=0.1)


def test_the_strongest_adversary_is_as_strong_as_epsilon_allows():
    """Told all other examples, d' is the distance of two candidates over k σ: checked as the share of pairs won."""
    backbone, knowledge, vectors = scene()
    k, noise = 5, 0.4
    won, expected, population = [], [], None
    for seed in range(60):
        members = members_of(seed, k)
        hidden, stranger = int(members[0]), int((members.max() + 1) % SIZE)
        aim = noisy(target(members, noise=noise, seed=seed), Declared(noise), 1)
        known = Others(tuple(knowledge.pool[i] for i in members[1:]), (1 / k,) * (k - 1), 1 / k)
        population = population or Population.of(backbone, knowledge, [aim])
        scores = knowing_all_others(backbone, knowledge, population, aim, known)
        assert np.isnan(scores[members[1:]]).all()
        assert not np.isnan(scores[hidden])
        won.append(scores[hidden] > scores[stranger])
        distance = float(np.linalg.norm(vectors[hidden] - vectors[stranger]))
        expected.append(float(ndtr(distance / (2 * k * noise))))
    # 60 pairs: 4 standard errors.
    assert abs(np.mean(won) - np.mean(expected)) < 4 * 0.5 / np.sqrt(60)


def test_clipping_is_followed():
    values = np.array([[[[3.0, 4.0]]], [[[0.3, 0.4]]]], dtype=np.float32)
    found = clipped(values, Declared(clip=1.0))
    assert np.allclose(found, [[[[0.6, 0.8]]], [[[0.3, 0.4]]]])
    assert clipped(values, Declared()) is values


def test_the_covariance_is_well_conditioned():
    backbone, knowledge, _ = scene()
    population = Population.of(backbone, knowledge, [target([0])])
    assert population.variance.min() >= SHRUNK * population.space.variance.mean()
    assert np.isfinite(likelihood_ratio(population, target([0], told=1))).all()


def test_words_alone_see_another_distribution_and_only_that():
    rng = np.random.default_rng(0)
    pool = [frozenset(rng.choice(200, 12, replace=False).tolist()) for _ in range(200)]
    members = frozenset(range(60))
    alike = np.array(WordsAlone.of(pool, 0).scores(members).values)
    assert abs(area(alike, list(members)) - 0.5) < 0.15
    marked = [words | {777} if i in members else words for i, words in enumerate(pool)]
    told = np.array(WordsAlone.of(marked, 0).scores(members).values)
    assert area(told, list(members)) > 0.9


def test_every_method_answers_or_says_why(tmp_path):
    from attacked import tiny_view
    from tiny import examples, task, tiny_backbone

    view, _ = tiny_view(tmp_path / "view", 3)
    backbone = tiny_backbone()
    public, pool = examples(40, 3), examples(30, 4)
    full = membership.guess(view, backbone, Knowledge(task(), Position.LABEL, public, pool=pool))
    said = {(g.method, g.scope): (len(g.answers), g.refused) for g in full}
    assert said["likelihood ratio", Scope.UPLOADS] == (3, "")
    assert said["likelihood ratio", Scope.AGGREGATE] == (1, "")
    assert said["source", Scope.UPLOADS] == (3, "")
    assert said["all others known", Scope.UPLOADS] == (
        0,
        "the attacker has no knowledge of all other examples",
    )
    none = membership.guess(view, backbone, Knowledge(task(), Position.LABEL, public))
    assert {g.refused for g in none if g.method != "all others known"} == {
        "the attacker has no pool of candidates"
    }


def test_named_methods_alone_are_run_and_find_the_same(tmp_path):
    from attacked import tiny_view
    from tiny import examples, task, tiny_backbone

    view, _ = tiny_view(tmp_path / "view", 3)
    backbone = tiny_backbone()
    knowledge = Knowledge(task(), Position.LABEL, examples(40, 3), pool=examples(30, 4))
    full = {(g.method, g.scope): g.answers for g in membership.guess(view, backbone, knowledge)}
    for asked in [("cosine", "likelihood ratio"), ("source",), ("all others known",)]:
        some = membership.guess(view, backbone, replace(knowledge, methods=asked))
        assert {g.method for g in some} == set(asked)
        assert all(g.answers == full[g.method, g.scope] for g in some)
