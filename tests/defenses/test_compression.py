"""Projections: linear, with orthonormal rows, never longer than what went in, and unbiased over their drawing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defenses.compression import PROJECTED, compresses, orthonormal_rows, projection
from defenses.compression_specs import FlatCompression, RowsCompression
from defenses.errors import UserError
from defenses.upload import Layout, UploadKind

LAYOUT = Layout.of({"a": (20, 6), "b": (7, 3, 2), "members": (4,)})
SPECS = (RowsCompression(keep=5), FlatCompression(keep=50))


def rows(count, layout=LAYOUT, seed=0):
    return np.random.default_rng(seed).normal(size=(count, layout.size))


def matrix(found):
    """The map as a matrix ``[kept, given]``."""
    return found.apply(np.eye(found.given.size)).T


def layouts():
    shapes = st.lists(st.lists(st.integers(1, 9), min_size=2, max_size=3).map(tuple), min_size=1, max_size=3)
    return shapes.map(
        lambda found: Layout.of({f"array {i}".replace(" ", "_"): s for i, s in enumerate(found)})
    )


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_rows_are_orthonormal_and_the_transpose_is_the_way_back(spec):
    found = projection(spec, LAYOUT, 3)
    whole = matrix(found)
    np.testing.assert_allclose(whole @ whole.T, np.eye(found.kept.size), atol=1e-12)
    back = found.undo(np.eye(found.kept.size)).T
    np.testing.assert_allclose(back, whole.T, atol=1e-12)
    once = found.undo(found.apply(rows(4)))
    np.testing.assert_allclose(found.undo(found.apply(once)), once, atol=1e-12)


@given(layout=layouts(), data=st.data())
def test_any_layout_is_projected_linearly_and_no_norm_grows(layout, data):
    most = min(shape[0] for shape in layout.shapes)
    spec = data.draw(
        st.one_of(
            st.integers(1, most).map(lambda keep: RowsCompression(keep=keep)),
            st.integers(1, layout.size).map(lambda keep: FlatCompression(keep=keep)),
        )
    )
    found = projection(spec, layout, data.draw(st.integers(0, 3)))
    given_rows = rows(2, layout)
    sent = found.apply(given_rows)
    assert sent.shape == (2, found.kept.size)
    assert (np.linalg.norm(sent, axis=1) <= np.linalg.norm(given_rows, axis=1) * (1 + 1e-12)).all()
    np.testing.assert_allclose(found.apply(given_rows.sum(axis=0)[None])[0], sent.sum(axis=0), atol=1e-10)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_arrays_of_one_axis_travel_as_they_are(spec):
    found = projection(spec, LAYOUT, 0)
    given_rows = rows(2)
    at = slice(-4, None)
    kept = dict(
        zip(
            found.kept.names,
            np.split(found.apply(given_rows), np.cumsum(found.kept.sizes)[:-1], axis=1),
            strict=True,
        )
    )
    np.testing.assert_array_equal(kept["members"], given_rows[:, at])
    np.testing.assert_array_equal(found.undo(found.apply(given_rows))[:, at], given_rows[:, at])


def test_rows_shorten_the_first_axis_and_flat_the_whole():
    assert projection(SPECS[0], LAYOUT, 0).kept.to_dict() == {"a": [5, 6], "b": [5, 3, 2], "members": [4]}
    assert projection(SPECS[1], LAYOUT, 0).kept.to_dict() == {PROJECTED: [50], "members": [4]}


@pytest.mark.parametrize(
    "spec", [RowsCompression(keep=3), FlatCompression(keep=13)], ids=lambda spec: spec.kind
)
def test_over_its_drawing_the_share_that_is_kept_is_the_promised_one(spec):
    """E PᵀP = (kept / given) I. Each coordinate's mean over 400 drawings lies within 5.5 standard errors of it: of 30,
    one fails by chance with probability below 2e-6; the seeds are fixed."""
    layout = Layout.of({"a": (10, 3)})
    x = rows(1, layout, 5)
    share = projection(spec, layout, 0).kept.size / layout.size
    found = np.stack(
        [
            (p := projection(spec.model_copy(update={"seed": seed}), layout, 0)).undo(p.apply(x))[0]
            for seed in range(400)
        ]
    )
    error = found.std(axis=0) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - share * x[0]) < 5.5 * error).all()
    assert not (np.abs(found.mean(axis=0) - x[0]) < 5.5 * error).all()


def test_each_round_has_its_own_unless_one_is_wanted():
    for spec in SPECS:
        assert not np.allclose(matrix(projection(spec, LAYOUT, 1)), matrix(projection(spec, LAYOUT, 2)))
        one = spec.model_copy(update={"each_round": False})
        np.testing.assert_array_equal(matrix(projection(one, LAYOUT, 1)), matrix(projection(one, LAYOUT, 2)))
        other = spec.model_copy(update={"seed": 1})
        assert not np.allclose(matrix(projection(spec, LAYOUT, 1)), matrix(projection(other, LAYOUT, 1)))


def test_the_drawing_is_the_same_everywhere():
    """Known answers: ends that draw another projection could not understand each other."""
    np.testing.assert_allclose(
        orthonormal_rows(2, 3, "known")[0], [-0.42011139, 0.7978625, 0.43234459], atol=1e-8
    )


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (RowsCompression(keep=8), "defense.compression.keep is 8, and array 'b' has 7 rows; keep at most 7"),
        (
            FlatCompression(keep=163),
            "defense.compression.keep is 163, and the upload has 162 numbers; keep at most 162",
        ),
    ],
    ids=["rows", "flat"],
)
def test_more_than_there_is_is_refused(spec, said):
    with pytest.raises(UserError) as refused:
        projection(spec, LAYOUT, 0)
    assert str(refused.value) == said
    full = {"keep": 7} if spec.kind == "rows" else {"keep": 162}
    whole = matrix(
        projection(
            spec.model_copy(update=full),
            Layout.of({"a": (7, 3), "b": (47, 3)} if spec.kind == "flat" else {"b": (7, 3)}),
            0,
        )
    )
    np.testing.assert_allclose(whole.T @ whole, np.eye(len(whole)), atol=1e-12)


def test_an_upload_of_counts_alone_has_nothing_to_project():
    with pytest.raises(UserError, match="none of which has two axes"):
        projection(SPECS[0], Layout.of({"members": (4,)}), 0)


def test_scores_are_never_projected():
    spec = RowsCompression()
    assert [kind for kind in UploadKind if compresses(spec, kind)] == [
        UploadKind.VECTOR,
        UploadKind.WEIGHTS,
        UploadKind.PROMPTS,
    ]
    assert not compresses(None, UploadKind.VECTOR)
    for kind in ("scores", "counts"):
        with pytest.raises(ValueError, match="kinds"):
            RowsCompression(kinds=(kind,))
