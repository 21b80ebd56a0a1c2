"""A private round is compared with the budget before anything of it is sent."""

from dataclasses import replace

import pytest
from tiny_public import public_world, ready, sets

from defenses.accounting import composition
from defenses.accounting.spent import Bound, ledger_bound
from defenses.decimals import at_most
from defenses.units import Neighbouring, Unit
from defenses.view import ServerView, ServerViewWriter
from ifedpriv.config import load_config
from ifedpriv.errors import UserError
from ifedpriv.experiment.play import federation_of, first_ledger, play
from ifedpriv.experiment.prepare import gather, protect
from ifedpriv.experiment.privacy import plan_privacy

UNITS = {"example": {"trust": "central"}, "client": {"trust": "central", "unit": "client"}}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    public_world(folder)
    return folder


def with_budget(setup, epsilon):
    """The same releases, of which their budget knows nothing."""
    spec = setup.defense.spec
    privacy = spec.privacy.model_copy(update={"epsilon": epsilon})
    return replace(setup, defense=replace(setup.defense, spec=spec.model_copy(update={"privacy": privacy})))


def bound_of(setup, ledger):
    privacy = setup.defense.spec.privacy
    found = ledger_bound(ledger, privacy.delta, Unit(privacy.unit), Neighbouring.ADD_OR_REMOVE)
    assert isinstance(found, Bound)
    return found.epsilon


def costs(setup):
    """Epsilon after each round of a whole run."""
    ledger, found = first_ledger(setup), []
    federation, state = federation_of(setup, ledger), setup.method.initial_state()
    while state.round < setup.method.rounds:
        state, _ = federation.play_round(state)
        found.append(bound_of(setup, ledger))
    return found


@pytest.mark.parametrize("unit", UNITS)
def test_the_round_that_would_exceed_the_budget_is_refused_before_it_sends(world, tmp_path, unit):
    setup = ready(world, "federated", UNITS[unit])
    after = costs(setup)
    poorer = with_budget(setup, (after[1] + after[2]) / 2)
    ledger = first_ledger(poorer)
    writer = ServerViewWriter.create(tmp_path / "view", backbone="b", task="t", defense=setup.config.defense)
    with writer:
        federation, state = federation_of(poorer, ledger, writer), poorer.method.initial_state()
        for _ in range(2):
            state, _ = federation.play_round(state)
        with pytest.raises(UserError, match="round 2 was not begun") as refused:
            federation.play_round(state)
    said = str(refused.value)
    budget = poorer.defense.spec.privacy.epsilon
    assert f"would bring epsilon to {at_most(after[2], 4)} at delta 0.001" in said
    assert f"the budget is {budget:g}, of which {at_most(after[1], 4)} is spent" in said
    # Neither a frame nor a charge: the round has not been.
    view = ServerView.open(tmp_path / "view")
    assert {frame.round for frame in view.frames()} == {0, 1}
    assert [info.number for info in view.facts.rounds] == [0, 1]
    assert bound_of(setup, ledger) == after[1]


@pytest.mark.parametrize("unit", UNITS)
def test_a_calibrated_run_comes_to_its_budget_and_is_not_refused(world, unit):
    setup = ready(world, "federated", UNITS[unit])
    last = costs(setup)[-1]
    assert 3.99 < last <= 4.0 * (1 + 1e-6)
    # Exactly what is asked for is enough, and what arithmetic rounds off; a hair more is not.
    play(with_budget(setup, last))
    play(with_budget(setup, last * (1 - 5e-7)))
    with pytest.raises(UserError, match="was not begun"):
        play(with_budget(setup, last * (1 - 5e-6)))


def test_a_check_before_a_round_and_the_statement_after_it_share_one_composition(world):
    setup = ready(world, "federated", UNITS["example"])
    ledger = first_ledger(setup)
    federation, state = federation_of(setup, ledger), setup.method.initial_state()
    caches = (composition._losses, composition._renyi_epsilon)
    for _ in range(setup.method.rounds):
        for cache in caches:
            cache.cache_clear()
        state, _ = federation.play_round(state)
        before = [cache.cache_info().misses for cache in caches]
        setup.defense.statement(ledger)
        assert [cache.cache_info().misses for cache in caches] == before
    assert sum(before) > 0


def test_noise_is_planned_for_the_clients_that_rounds_ask(world):
    """Fewer hold anything out than take part, and shares of Skellam noise are dearer the fewer there are."""
    privacy = {"trust": "distributed", "bits": 10, "unit": "client", "grid": {"noise": "skellam"}}
    changes = {"defense.kind": "masked", "partition": {"kind": "dirichlet", "alpha": 0.5, "clients": 6}}
    changes["method.calibration.rounds"] = 1
    config = load_config(world / "config.yaml", sets(world, "federated", privacy, **changes)[1::2])
    material = gather(config)
    setup = protect(config, material)
    guard = setup.method.guard_round
    assert len(setup.clients.numbers(guard)) < len(setup.clients)
    planned = plan_privacy(
        config,
        config.defense.privacy,
        setup.method,
        clients=material.clients,
        coordinates=material.coordinates,
    )
    federation = federation_of(setup, first_ledger(setup))
    events = [event for number in range(setup.method.rounds) for event in federation.prospect(number)]
    assert bound_of(setup, events) <= planned.epsilon * (1 + 1e-9)
