"""Whole runs with rotated rows, rounding at random and Skellam noise: what is recorded, said and written down."""

import numpy as np
import pytest
from attacked import private_run
from scipy import stats

from attacks._readings.read_back import vector_of
from defenses.accounting.spent import mechanism_of
from defenses.dp.release import ARRAY
from defenses.entropy import InsecureSeeded
from defenses.ledger import Ledger
from defenses.view import ServerView
from ifedpriv.config import load_config
from ifedpriv.errors import UserError
from ifedpriv.experiment.prepare import prepare
from ifedpriv.experiment.rundir import RunDirectory

GRIDS = {
    "skellam": {"noise": "skellam"},
    "rotated": {"rotate": True},
    "at random": {"rounding": "conditional"},
    "all of it": {"noise": "skellam", "rotate": True, "rounding": "conditional"},
}
WAYS = {
    **{f"local, {name}": ("none", "local", grid) for name, grid in GRIDS.items()},
    "masked, all of it": ("masked", "distributed", GRIDS["all of it"]),
}


@pytest.fixture(scope="module", params=WAYS, ids=list(WAYS))
def finished(request, tmp_path_factory):
    kind, trust, grid = WAYS[request.param]
    folder = private_run(
        tmp_path_factory.mktemp("run"), kind=kind, trust=trust, grid=grid, bits=16, max_examples=32
    )
    return folder, prepare(load_config(folder / "config.yaml")), trust, grid


def bounded_sums(setup, release, roster):
    """What each client sends before noise, but for how its rows were rounded at random."""
    state, rng = setup.method.initial_state(), np.random.default_rng(0)
    found = []
    for number in roster:
        offered = setup.method.client_step(state, setup.clients[number], rng).upload
        found.append(release.alone(offered, len(roster), InsecureSeeded(number, "test")).sum(axis=0))
    return np.stack(found).astype(np.float64)


def test_the_recorded_noise_is_the_promised_one(finished):
    """Its sum of squares is within the bounds of chi square at 1e-6; rounding adds less than 1e-3 of it."""
    folder, setup, trust, _ = finished
    kind, layout = setup.method.asks(0)
    release = setup.defense.release(kind, layout)
    roster = setup.clients.numbers(0)
    terms, without = release.lattice(len(roster)), bounded_sums(setup, release, roster)
    assert terms.share**2 > 1000 * len(setup.clients[roster[0]].train) / 4
    view = ServerView.open(folder / "view")
    if trust == "local":
        sent = {frame.sender: frame.upload.arrays[ARRAY] for frame in view.uploads(kind)}
        noise = np.stack([sent[number] for number in roster]) - without
    else:
        (summed,) = [f.upload.arrays[ARRAY] for f in view.computed(kind) if ARRAY in f.upload.arrays]
        noise = (np.rint(summed.astype(np.float64) * len(roster)) - without.sum(axis=0)) / np.sqrt(
            len(roster)
        )
    assert noise.shape[-1] == terms.width
    squares = float(np.square(noise / terms.share).sum())
    low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], noise.size)
    assert low < squares < high


def test_the_ledger_and_the_statement_name_what_was_done(finished):
    folder, setup, _, grid = finished
    ledger = Ledger.from_json(RunDirectory(folder).load_checkpoint()[1]["ledger"])
    for event in ledger.events:
        mechanism = mechanism_of(event)
        assert (mechanism.name == "skellam") == (grid.get("noise") == "skellam")
        assert ("rotated" in event.released) == bool(grid.get("rotate"))
        assert ("rounded at random" in event.released) == (grid.get("rounding") == "conditional")
    statement = setup.defense.statement(ledger)
    assert statement.epsilon is not None
    assert 3.5 < statement.epsilon <= 4.0
    assert ("Skellam" in statement.summary) == (grid.get("noise") == "skellam")
    assert ("rows rotated" in statement.summary) == bool(grid.get("rotate"))
    assert any("rotation" in each for each in statement.public) == bool(grid.get("rotate"))


def test_whoever_reads_the_recording_turns_rows_back(finished):
    """The vectors that are read from single uploads lie around those of the clients, noise and all."""
    _, setup, trust, _ = finished
    if trust != "local":
        pytest.skip("a recording of sums has no single upload")
    kind, layout = setup.method.asks(0)
    release, roster = setup.defense.release(kind, layout), setup.clients.numbers(0)
    sums = bounded_sums(setup, release, roster)
    for without in sums:
        vector, units = vector_of(without, release, len(roster), 0)
        terms = release.lattice(len(roster))
        back = release.transform.forward(vector[None])[0] * units / terms.clip * terms.steps
        np.testing.assert_allclose(back, release.turned_back(without, 0), rtol=1e-3, atol=1e-2 * terms.steps)
    assert np.linalg.norm(release.turned_back(sums[0], 0)) == pytest.approx(
        np.linalg.norm(sums[0][:-1]), rel=0.01
    )


def test_skellam_noise_on_sampled_rows_is_refused_in_one_sentence(finished):
    folder, _, _, grid = finished
    if grid.get("noise") != "skellam":
        pytest.skip("there is a theorem for it")
    config = load_config(folder / "config.yaml")
    method = config.method.model_copy(
        update={"calibration": config.method.calibration.model_copy(update={"rounds": 1})}
    )
    with pytest.raises(UserError, match="there is a theorem for 'gaussian' alone"):
        prepare(config.model_copy(update={"method": method}))
