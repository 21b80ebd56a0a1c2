"""Who is asked and who fails is a function of seed, round and client, and of nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from ifedpriv.federation.cohort import Cohort, CohortSpec

SEEDS = st.integers(0, 2**32)


@given(st.integers(0, 40), st.floats(0.01, 1.0), st.integers(1, 500), SEEDS)
def test_a_later_round_asks_the_stated_share(size, share, number, seed):
    eligible = tuple(range(3, 3 + size))
    cohort = Cohort(CohortSpec(participation=share), seed)
    invited = cohort.invited(number, eligible)
    assert invited == Cohort(CohortSpec(participation=share), seed).invited(number, eligible)
    assert set(invited) <= set(eligible)
    assert list(invited) == sorted(set(invited))
    assert len(invited) == (max(1, round(share * size)) if size else 0)


@given(SEEDS)
def test_round_0_asks_everybody(seed):
    assert Cohort(CohortSpec(participation=0.1), seed).invited(0, tuple(range(9))) == tuple(range(9))


def test_rounds_and_seeds_draw_apart():
    """Every client is drawn sooner or later: 60 draws of 3 in 10 miss one of ten with chance 5e-9."""
    spec, eligible = CohortSpec(participation=0.3), tuple(range(10))
    drawn = [Cohort(spec, 0).invited(number, eligible) for number in range(1, 61)]
    assert {client for each in drawn for client in each} == set(eligible)
    assert len(set(drawn)) > 20
    assert drawn != [Cohort(spec, 1).invited(number, eligible) for number in range(1, 61)]


def test_clients_fail_at_the_stated_rate_and_apart_from_each_other():
    """4,000 draws at 0.3: outside 0.25 to 0.35 with chance below 1e-10; fixed by the seed besides."""
    cohort = Cohort(CohortSpec(failure_rate=0.3), 0)
    failed = [[cohort.fails(number, client) for client in range(40)] for number in range(100)]
    rate = sum(map(sum, failed)) / 4000
    assert 0.25 < rate < 0.35
    assert len(set(map(tuple, failed))) > 90
    assert len(set(zip(*failed, strict=True))) == 40
    assert failed == [[cohort.fails(number, client) for client in range(40)] for number in range(100)]


def test_nobody_fails_where_the_rate_is_0():
    assert not any(Cohort(CohortSpec(), 0).fails(number, 0) for number in range(200))
