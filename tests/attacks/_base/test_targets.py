"""What a recording gives to attack, and how large its rounding errors are said to be."""

import numpy as np
import pytest
from attacked import frames_view, tiny_view
from tiny import tiny_backbone

from attacks._base.attack import Scope, Who
from attacks._base.declared import Declared
from attacks._base.targets import grid_variance, read_targets, read_told, rounding_variance
from defenses.codec import Precision, decode_values, encode_values
from defenses.upload import Layout, UploadKind
from defenses.view import ServerView
from defenses.view_facts import Computes, ViewFacts
from ifedpriv.errors import UserError


@pytest.mark.parametrize("precision", list(Precision))
def test_rounding_variance_is_that_of_the_wire(precision):
    """Mean squared errors of 40,000 numbers within 15% of what is said; a wrong factor of 2 would show."""
    rng = np.random.default_rng(0)
    layout = Layout.of({"vector": (100, 2, 200)})
    vector = rng.normal(size=(100, 2, 200)).astype(np.float32)
    payload = encode_values(vector.reshape(-1), layout, UploadKind.VECTOR, precision)
    sent = (
        decode_values(payload, layout, UploadKind.VECTOR, precision).reshape(vector.shape).astype(np.float64)
    )
    error = (sent - vector) ** 2
    said = rounding_variance(sent, precision)
    assert said.shape == sent.shape
    if precision is Precision.FP32:
        # What is left is the arithmetic of another batch shape, a millionth of the row's size.
        assert np.sqrt(said).max() < 1e-5
        return
    if precision is Precision.INT4:
        # int4 clips the largest numbers on purpose; the rest is uniform over a step.
        level = np.abs(sent).max(axis=-1, keepdims=True)
        inside = np.abs(sent) < level
        assert error[inside].mean() == pytest.approx(said[inside].mean(), rel=0.15)
        return
    assert error.mean() == pytest.approx(said.mean(), rel=0.15)


def test_declared_noise_counts_in_every_vector_and_less_in_a_mean_of_several(tmp_path):
    view, _ = tiny_view(tmp_path / "view", clients=4)
    plain, told = read_targets(view, tiny_backbone()), read_told(view, tiny_backbone(), Declared(noise=0.5))
    for before, after, part in zip(plain, told, (0.25, 0.25 / 4), strict=True):
        for one, other in zip(before.targets, after.targets, strict=True):
            assert np.allclose(other.variance - one.variance, part)


def test_single_uploads_and_their_mean(tmp_path):
    view, vectors = tiny_view(tmp_path / "view", clients=4)
    singles, aggregate = read_targets(view, tiny_backbone())
    assert (singles.scope, aggregate.scope) == (Scope.UPLOADS, Scope.AGGREGATE)
    assert [target.who for target in singles.targets] == [Who(n) for n in range(4)]
    for target, vector in zip(singles.targets, vectors, strict=True):
        assert np.abs(target.vector - vector).max() <= 1e-3 * np.abs(vector).max()
        assert target.examples is None
    whole = aggregate.targets[0]
    assert whole.who == Who(None)
    assert np.allclose(whole.vector, np.mean([t.vector for t in singles.targets], axis=0))
    assert np.allclose(whole.variance, np.sum([t.variance for t in singles.targets], axis=0) / 16)


def test_weights_on_the_wire_are_numbers_of_examples(tmp_path):
    view, _ = tiny_view(tmp_path / "view", clients=2, weights=[3.0, 5.0])
    singles, aggregate = read_targets(view, tiny_backbone())
    assert [target.examples for target in singles.targets] == [3, 5]
    assert aggregate.targets[0].examples == 8
    expected = (3 * singles.targets[0].vector + 5 * singles.targets[1].vector) / 8
    assert np.allclose(aggregate.targets[0].vector, expected)


def test_one_vector_a_class(tmp_path):
    rng = np.random.default_rng(1)
    arrays = {"by_class": rng.normal(size=(2, 2, 2, 16)).astype(np.float32), "present": np.float32([1, 0])}
    other = {"by_class": rng.normal(size=(2, 2, 2, 16)).astype(np.float32), "present": np.float32([1, 1])}
    view = frames_view(tmp_path / "view", [arrays, other])
    singles, aggregate = read_targets(view, tiny_backbone())
    assert [target.who for target in singles.targets] == [Who(0, 0), Who(1, 0), Who(1, 1)]
    first = np.mean([arrays["by_class"][0], other["by_class"][0]], axis=0)
    assert np.allclose(aggregate.targets[0].vector, (first + other["by_class"][1]) / 2, atol=1e-2)


def test_where_nothing_individual_can_be_read(tmp_path, monkeypatch):
    view, vectors = tiny_view(tmp_path / "view", clients=5, summed=True)
    monkeypatch.setattr(ViewFacts, "server_computes", property(lambda facts: (Computes.MEANS,)))
    singles, aggregate = read_targets(ServerView.open(view.folder), tiny_backbone())
    assert singles.targets == ()
    assert singles.refused == "the view holds only sums over 5 clients"
    assert np.abs(aggregate.targets[0].vector - np.mean(vectors, axis=0)).max() < 1e-2


def test_another_model_is_refused(tmp_path):
    view, _ = tiny_view(tmp_path / "view", clients=1)
    with pytest.raises(UserError, match="recorded with model"):
        read_targets(view, tiny_backbone(8))


def test_a_recording_without_vectors(tmp_path):
    view = frames_view(tmp_path / "view", [])
    for targets in read_targets(view, tiny_backbone()):
        assert targets.refused == "the recording holds no round of context vectors"


def test_a_grids_rounding_is_known():
    """Mean squared errors of 20,000 numbers on a grid of 6 bits, within 10% of what is said."""
    from defenses.entropy import InsecureSeeded
    from defenses.grid import Grid
    from defenses.specs import GridSpec, MaskedSpec
    from defenses.upload import UploadKind as Kind

    spec = MaskedSpec(grid=GridSpec(bits=6))
    step = spec.grid.clip.for_kind(Kind.VECTOR) / (2**5 - 1)
    values = np.random.default_rng(0).uniform(-60, 60, 20_000).astype(np.float32)
    grid = Grid(clip=spec.grid.clip.for_kind(Kind.VECTOR), bits=6, clients=2, max_weight=1)
    assert grid.step == pytest.approx(step)
    sent, _ = grid.dequantise(grid.quantise(values, 1, InsecureSeeded(0, "test")).slots)
    view = type("View", (), {"facts": type("Facts", (), {"defense": spec})()})()
    assert np.mean((sent - values) ** 2) == pytest.approx(grid_variance(view, 1), rel=0.1)
