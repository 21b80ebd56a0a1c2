"""A library survives its file to the bit, and a client starts from what suits its own few examples."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny import WIDTH, examples, task, tiny_backbone

from ifedpriv.errors import InputError, ModelError, UserError
from ifedpriv.icl.predict import score_labels
from ifedpriv.icl.soft_prompt.client_model import BlackBox, WhiteBox
from ifedpriv.icl.soft_prompt.library import FORMAT, PromptLibrary, adapt
from ifedpriv.icl.soft_prompt.tune import TunePlan, tune
from ifedpriv.icl.soft_prompt.zeroth_order import ZerothOrder

PLAN = TunePlan(steps=10, batch_size=8, rate=0.03)


def values(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3, WIDTH)).astype(np.float32) * 0.5


def library(count=3, **changes):
    given = {"backbone": tiny_backbone().fingerprint, "facts": {"privacy": "a statement"}, **changes}
    return PromptLibrary(values(1, seed=7)[0], values(count), **given)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("count", [0, 3])
def test_round_trip_to_the_bit(tmp_path, count):
    path = tmp_path / "library.safetensors"
    library(count).save(path)
    again = PromptLibrary.load(path)
    assert np.array_equal(again.meta, library().meta)
    assert np.array_equal(again.prototypes, values(count))
    assert again.backbone == tiny_backbone().fingerprint
    assert dict(again.facts) == {"privacy": "a statement"}
    before = path.read_bytes()
    again.save(path)
    assert path.read_bytes() == before
    assert len(again) == count + 1


def test_its_prompts_by_number():
    some = library()
    assert some.prompts().shape == (4, 3, WIDTH)
    np.testing.assert_array_equal(some.prompt(0).values, some.meta)
    np.testing.assert_array_equal(some.prompt(2).values, some.prototypes[1])
    assert some.prompt(2).facts == some.facts
    for wrong in (-1, 4):
        with pytest.raises(InputError, match="a library of 4"):
            some.prompt(wrong)
    assert repr(some) == f"PromptLibrary(4 prompts of 3 tokens of width {WIDTH})"
    for array in (some.meta, some.prototypes):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_on_a_backbone_it_is_its_universal_prompt():
    texts = [e.text for e in examples(4)]
    got = score_labels(tiny_backbone(), task(), texts, injection=library())
    expected = score_labels(tiny_backbone(), task(), texts, injection=library().prompt(0))
    assert np.array_equal(got, expected)
    assert not np.array_equal(got, score_labels(tiny_backbone(), task(), texts))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ModelError, match="made for the model with fingerprint"):
        library().check(tiny_backbone(8))
    with pytest.raises(ModelError, match="all must be of one shape"):
        PromptLibrary(values(1)[0, :2], values(2))
    with pytest.raises(ModelError, match="prototypes has shape"):
        PromptLibrary(values(1)[0], values(1)[0])
    with pytest.raises(ModelError, match="prototypes holds a number that is not finite"):
        PromptLibrary(values(1)[0], values(2) * np.nan)
    wide = PromptLibrary(np.zeros((2, WIDTH + 1)), np.zeros((0, 2, WIDTH + 1)))
    with pytest.raises(ModelError, match=f"takes \\(tokens, {WIDTH}\\)"):
        wide.check(tiny_backbone())


def test_files_that_are_not_ours(tmp_path):
    path = tmp_path / "library.safetensors"
    good = {"format": FORMAT, "backbone": "", "facts": "{}"}
    meta, several = values(1)[0], values(2)
    for tensors, metadata, said in (
        ({"meta": meta}, good, "cannot be read"),
        ({"meta": meta, "prototypes": several}, {**good, "format": "ifedpriv-soft-prompt-1"}, "has format"),
        ({"meta": meta, "prototypes": several[:, :1]}, good, "one shape"),
        ({"meta": meta.astype(np.float16), "prototypes": several}, good, "cannot be read"),
    ):
        save_file(tensors, path, metadata=metadata)
        with pytest.raises(UserError, match=said) as caught:
            PromptLibrary.load(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(path.read_bytes()[:90])
    with pytest.raises(InputError, match="damaged"):
        PromptLibrary.load(path)


@pytest.mark.parametrize("plan", [PLAN, TunePlan(10, 8, 0.03, zeroth=ZerothOrder(4, 0.05))])
def test_a_client_starts_from_the_least_loss_and_tunes(plan):
    some, shots = library(), examples(8)
    box = WhiteBox if plan.zeroth is None else BlackBox
    found = adapt(some, box(tiny_backbone(), task(), shots), plan, rng())
    oracle = WhiteBox(tiny_backbone(), task(), shots)
    np.testing.assert_allclose(found.losses, oracle.losses(some.prompts(), range(8)), atol=1e-6)
    assert found.start == int(np.argmin(found.losses))
    assert np.ptp(found.losses) > 0.01
    again = tune(oracle, some.prompts()[found.start], plan, rng())
    np.testing.assert_array_equal(found.prompt.values, again.prompt)
    assert oracle.losses(found.prompt.values[None], range(8))[0] < found.losses.min() - 0.01
    assert found.queries == 4 * 8 + found.tuned.queries
    assert found.prompt.backbone == some.backbone


def test_what_a_client_tuned_does_not_carry_the_librarys_privacy_statement():
    found = adapt(library(), WhiteBox(tiny_backbone(), task(), examples(4)), PLAN, rng())
    assert dict(found.prompt.facts) == {}
    assert "values" not in repr(found)


def test_a_start_of_the_clients_own_is_one_more_candidate():
    """Better than the library's: a prompt that was tuned on these very examples."""
    some, oracle = library(), WhiteBox(tiny_backbone(), task(), examples(8))
    good = tune(oracle, some.meta, PLAN, rng()).prompt
    found = adapt(some, oracle, PLAN, rng(), [values(1, seed=5)[0], good])
    assert found.start == 5
    assert len(found.losses) == 6
    again = tune(oracle, good, PLAN, rng())
    np.testing.assert_array_equal(found.prompt.values, again.prompt)
    with pytest.raises(InputError, match="start 1 of the client's own has shape"):
        adapt(some, oracle, PLAN, rng(), [good, good[:2]])


def test_trial_steps_let_a_start_show_what_it_is_good_for():
    """The losses compared are those after the steps, from each start, with the same draws."""
    some, shots = library(1), examples(8)
    oracle = WhiteBox(tiny_backbone(), task(), shots)
    found = adapt(some, oracle, PLAN, rng(), trial_steps=4)
    tried = np.stack([tune(oracle, start, replace(PLAN, steps=4), rng()).prompt for start in some.prompts()])
    np.testing.assert_allclose(found.losses, oracle.losses(tried, range(8)), atol=1e-4)
    assert found.start == int(np.argmin(found.losses))
    assert found.queries == 2 * 4 * 8 + 2 * 8 + found.tuned.queries
    assert (found.losses < adapt(some, oracle, PLAN, rng()).losses).all()


class Told:
    """Losses as written down."""

    examples = 2

    def __init__(self, losses):
        self.given = np.array(losses)
        self.queries = 0

    def losses(self, prompts, chosen):
        self.queries += len(prompts) * len(chosen)
        return self.given[: len(prompts)]


@pytest.mark.parametrize(
    ("losses", "start"),
    [
        ([2.0, 1.0, 1.0, 3.0], 1),
        ([1.0, 1.0, 1.0, 1.0], 0),
        ([np.nan, 4.0, np.inf, 2.0], 3),
        ([np.nan] * 4, 0),
    ],
)
def test_losses_that_are_no_numbers_count_as_the_greatest(losses, start):
    plan = TunePlan(0, 1, 0.1, zeroth=ZerothOrder(1, 0.1))
    found = adapt(library(), Told(losses), plan, rng())
    assert found.start == start
    np.testing.assert_array_equal(found.prompt.values, library().prompts()[start])
    assert found.queries == 8


def test_gradients_are_not_asked_of_a_black_box():
    black = BlackBox(tiny_backbone(), task(), examples(4))
    with pytest.raises(InputError, match="losses only"):
        adapt(library(), black, PLAN, rng())
    assert black.queries == 0
