"""Shadows: what is computed in one sweep is what its definition says, and few shadows do nearly what many do."""

import numpy as np
import pytest
from scipy.special import expit, polygamma

from attacks._base.attack import Who
from attacks._base.space import Space
from attacks._base.targets import Target
from attacks._members.likelihood import Population, likelihood_ratio, shadow
from attacks._members.shadows import (
    GAMMA,
    Shadows,
    _inverse_trigamma,
    _log_ratios,
    _with_themselves,
    in_and_out,
    moderated,
    offline_slope,
    relative,
    variance_prior,
)
from attacks._statistics.roc import auc

SIZE, DIRECTIONS, K, NOISE = 300, 40, 8, 0.3
SPREAD = np.geomspace(2, 0.1, DIRECTIONS)


def population(seed=0, long_tails=False):
    """Candidates and public texts in known coordinates; normal, or with tails that no normal model has."""
    rng = np.random.default_rng(seed)
    draw = (lambda size: rng.standard_t(3, size) / np.sqrt(3)) if long_tails else rng.standard_normal
    candidates, public = (draw((SIZE, DIRECTIONS)) * SPREAD for _ in range(2))
    noise = np.full(DIRECTIONS, NOISE**2)
    space = Space(np.zeros(DIRECTIONS), np.ones(DIRECTIONS), np.eye(DIRECTIONS), SPREAD**2, noise)
    return Population(space, SPREAD**2, candidates, public, candidates.astype(np.float32))


def target(known, members, seed=0):
    vector = known.candidates[members].mean(axis=0)
    vector = vector + NOISE * np.random.default_rng([seed, 2]).normal(size=DIRECTIONS)
    return Target(Who(0), vector.reshape(1, 1, -1), np.full((1, 1, DIRECTIONS), NOISE**2), K)


def areas(score, seeds=60, **options):
    known, found = population(**options), []
    for seed in range(seeds):
        members = np.random.default_rng(seed).choice(SIZE, K, replace=False)
        held = np.isin(np.arange(SIZE), members)
        scores = score(known, target(known, members, seed), seed)
        found.append(auc(scores[held], scores[~held]))
    return float(np.mean(found))


def cast(known, aim, count, seed=0):
    return Shadows.cast(known, aim, count, seed)


# ---- one sweep is the definition


def test_ratios_at_many_vectors_are_those_of_each():
    known = population()
    aims = [target(known, np.arange(i, i + K), i) for i in range(3)]
    points = np.stack([aim.vector.reshape(-1) for aim in aims])
    together = _log_ratios(known, known.candidates, points, K)
    for i, aim in enumerate(aims):
        assert np.allclose(together[:, i], likelihood_ratio(known, aim), rtol=1e-9, atol=1e-9)


def test_a_text_put_into_a_shadow_is_the_mean_with_one_text_exchanged():
    known = population()
    found = cast(known, target(known, np.arange(K)), 5)
    texts = known.candidates[:4]
    quick = _with_themselves(known, texts, found)
    for i, text in enumerate(texts):
        direct = _log_ratios(known, text[None], found.bare + text / K, K)[0]
        assert np.allclose(quick[i], direct, rtol=1e-9, atol=1e-9)


def test_shadows_leave_half_of_the_public_texts_alone():
    known = population()
    found = cast(known, target(known, np.arange(K)), 50)
    assert len(found.others) == SIZE // 2
    fresh = {row.tobytes() for row in found.others}
    put_in = (found.means - found.bare) * K
    assert not any(np.isclose(put_in, row).all(axis=1).any() for row in found.others[:20])
    assert len(fresh) == SIZE // 2
    with pytest.raises(ValueError, match="give 4 or more"):
        cast(known, target(known, np.arange(K)), 3)


def test_the_score_of_rmia_is_its_definition():
    known = population()
    aim = target(known, np.arange(K))
    found = cast(known, aim, 16)
    slope = offline_slope(known, found)
    assert 0 <= slope <= 1

    def probability(texts, points):
        return expit(_log_ratios(known, texts, points, K))

    def ratio(texts):
        outside = probability(texts, found.means).mean(axis=1)
        return probability(texts, aim.vector.reshape(1, -1))[:, 0] / (((1 + slope) * outside + 1 - slope) / 2)

    dominated = (ratio(known.candidates)[:, None] >= GAMMA * ratio(found.others)).mean(axis=1)
    scores = relative(known, aim, found)
    assert np.allclose(np.floor(scores * len(found.others) + 1e-6) / len(found.others), dominated)
    # Within one vector, in the order of the ratio.
    order = np.argsort(ratio(known.candidates))
    assert (np.diff(scores[order]) > 0).all()


# ---- variances


@pytest.mark.parametrize("value", [1e-3, 0.1, 1.6449340668, 50.0])
def test_the_trigamma_function_is_turned_back(value):
    assert float(polygamma(1, _inverse_trigamma(value))) == pytest.approx(value, rel=1e-8)


def test_a_prior_of_variances_is_found_again():
    """2,000 variances from a prior with 8 degrees around 3, each estimated with 6: standard errors below 10% and 3%."""
    rng = np.random.default_rng(0)
    true = 8 * 3.0 / rng.chisquare(8, 2000)
    seen = true * rng.chisquare(6, 2000) / 6
    degrees, centre = variance_prior(seen, 6)
    assert degrees == pytest.approx(8, rel=0.3)
    assert centre == pytest.approx(3.0, rel=0.1)
    closer = moderated(seen, np.ones(2000), 6)
    assert np.mean((np.log(closer) - np.log(true)) ** 2) < 0.6 * np.mean((np.log(seen) - np.log(true)) ** 2)


def test_equal_variances_are_taken_for_equal():
    seen = 2.0 * np.random.default_rng(0).chisquare(5, 3000) / 5
    expected = np.full(3000, 2.0)
    found = moderated(seen, expected, 5)
    assert found.std() / found.mean() < 0.1
    assert found.mean() == pytest.approx(2.0, rel=0.05)


# ---- strength: 60 vectors a figure, standard error of a mean area below 0.015


def test_where_the_model_holds_shadows_do_what_the_ratio_does():
    best = areas(lambda known, aim, _: likelihood_ratio(known, aim))
    assert best > 0.75
    assert areas(lambda p, t, s: in_and_out(p, t, cast(p, t, 64, s))) > best - 0.03
    assert areas(lambda p, t, s: relative(p, t, cast(p, t, 64, s))) > best - 0.03


def test_few_shadows_cost_the_offline_attack_more_than_the_others():
    offline = areas(lambda p, t, s: shadow(p, t, 4, s))
    assert areas(lambda p, t, s: in_and_out(p, t, cast(p, t, 4, s))) > offline + 0.01
    assert areas(lambda p, t, s: relative(p, t, cast(p, t, 4, s))) > offline + 0.01


def test_long_tails_do_not_break_them():
    for score in (in_and_out, relative):
        assert areas(lambda p, t, s, of=score: of(p, t, cast(p, t, 64, s)), seeds=30, long_tails=True) > 0.7


def test_vectors_of_strangers_tell_nothing():
    """60 vectors of texts that are no candidates: a mean area outside 0.5 ± 0.05 is 4 standard errors away."""
    strangers = population(seed=9)
    for score in (in_and_out, relative):

        def of_stranger(known, aim, seed, of=score):
            chosen = np.random.default_rng([seed, 5]).choice(SIZE, K, replace=False)
            other = target(strangers, chosen, seed)
            return of(known, other, cast(known, other, 16, seed))

        assert abs(areas(of_stranger) - 0.5) < 0.05
